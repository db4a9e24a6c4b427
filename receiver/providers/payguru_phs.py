"""
Payguru cash payment and bank transfer (PHS): a notice with an MD5 ``key`` when money has been matched to an order.

Source: the provider's notify-service and status-code pages.
Proof: ``key`` = hex MD5 of service code, merchant id, txid, code, order, amount, merchant key and service key, joined
    without any border. It does not cover status, bank and time. Digits can move between neighbours under one digest,
    so txid must be digits and amount a plain decimal without leading zeros. Between order and amount a digit can still
    move: the amount is proven only together with an order that the shop knows.
Reply: the bare text ``OK`` accepts the money, so it is said only for a status in ``accept`` (3 and 6 by default);
    anything else that is stored gets ``NOT ACCEPTED``.
Quirks: the hash is over the *text* of the amount: ``1.00`` and ``1.0`` differ, so a JSON number is kept as written.
    5 and 8 mean something else than in Payguru's mobile payment. The provider's own sample compares with a single
    equals sign, which accepts every forgery.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from marshmallow import fields as ma
from marshmallow import validate

from receiver import signing
from receiver.account import Account
from receiver.event import Kind, Method, Statement, Why
from receiver.message import OK_TEXT, CallbackRequest, Level, Media, Notification, Outcome, Reply
from receiver.ports import Channel, Scenario, SettingsSchemas, Settled, Token
from receiver.schema import (
    Amount,
    BaseUrl,
    CallbackSchema,
    Loose,
    Note,
    SecretRef,
    Setting,
    SettingsSchema,
    Text,
    moment,
    money,
)

# In the order of the hash, behind service code and merchant id.
SIGNED = ("txid", "code", "order", "amount")
COVERS = ("payment_ref", "order_ref", "amount")

STATUSES: Mapping[str, tuple[Kind, Why | None]] = {
    "1": (Kind.PAYMENT_PENDING, None),
    "2": (Kind.PAYMENT_PENDING, None),  # about an earlier delivery of the notice, not about money
    "3": (Kind.PAYMENT_SUCCEEDED, None),
    "5": (Kind.PAYMENT_PENDING, Why.AWAITING_MERCHANT),
    "6": (Kind.PAYMENT_REFUNDED, None),
    "8": (Kind.PAYMENT_PENDING, Why.PARTIAL_PAYMENT),
}
NOT_ACCEPTED = Reply(200, b"NOT ACCEPTED")

KEPT = ("txid", "code", "order", "status", "amount", "transaction_date", "bank")


class NotifySchema(CallbackSchema):
    txid = Text(required=True, pattern=r"[0-9]{1,30}")
    code = Text(required=True)
    order = Text(required=True)
    amount = Amount(required=True)
    status = Text(required=True, limit=20)
    transaction_date = Loose()
    bank = Note()


class KeyPair(SettingsSchema):
    # In the order of the hash: the two are joined to one secret.
    merchant_key = SecretRef(required=True)
    service_key = SecretRef(required=True)


class Settings(SettingsSchema):
    merchant_id = Setting()
    service_code = Setting()
    secrets = ma.List(ma.Nested(KeyPair), required=True, validate=validate.Length(min=1))
    accept = ma.List(ma.Integer(strict=True), load_default=lambda: [3, 6])


class ApiSettings(SettingsSchema):
    base_url = BaseUrl()
    server_ip = Setting()


_SAMPLE = {
    "txid": "12345",
    "code": "XXXX01234567",
    "order": "ORDER-3001",
    "status": "3",
    "amount": "1.00",
    "transaction_date": "2026-11-20 10:15:00",
    "bank": "isbank",
}


def _scenario(status: str) -> Scenario:
    return Scenario("notify", _SAMPLE | {"status": status}, unique=("order", "txid"))


class PayguruPhs:
    name = "payguru-phs"
    title = "Payguru PHS (cash, bank transfer)"
    adds_commission = False
    retries_for = 0
    channels: Mapping[str, Channel] = {
        "notify": Channel("notify", ("GET", "POST"), (Media.JSON,), Token.OPTIONAL, NotifySchema(), KEPT, ("key",))
    }
    settings = SettingsSchemas(Settings(), ApiSettings(), takes=frozenset({"token"}), needs=frozenset())
    scenarios: Mapping[str, Scenario] = {
        "success": _scenario("3"),
        "processing": _scenario("1"),
        "not-notified": _scenario("2"),
        "awaiting-merchant": _scenario("5"),
        "refunded": _scenario("6"),
        "partial": _scenario("8"),
        "unlisted": _scenario("77"),
    }

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        del token_id
        fields = request.fields()
        given = fields.get("key")
        given = given.lower() if isinstance(given, str) else None
        text = _signed_text(fields, account)
        secret, digest = signing.match(account.secrets, given, lambda key: _digest(text, key.value))
        return (Notification(fields, Level.SIGNED, secret.key_id, frozenset(SIGNED), COVERS, digest.decode()),)

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        status = fields["status"]
        kind, why = STATUSES.get(status, (Kind.PAYMENT_UNKNOWN, None))
        return Statement(
            kind=kind,
            fact_key=(note.digest, status),
            status_code=status,
            order_ref=fields["order"],
            payment_ref=fields["txid"],
            reason=why,
            amount=money(fields["amount"], "TRY"),
            # Cash at a branch and a transfer arrive alike; the notice does not tell them apart.
            method=Method.BANK_TRANSFER,
            occurred=moment(fields["transaction_date"]),
        )

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        del request
        if settled.outcome is Outcome.QUARANTINED:
            return NOT_ACCEPTED
        accepted = {str(status) for status in account.options["accept"]}
        return OK_TEXT if all(event.says.status_code in accepted for event in settled.events) else NOT_ACCEPTED

    def sign(self, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
        key = _digest(_signed_text(scenario.fields, account), account.secrets[0].value).decode()
        query = urlencode({**scenario.fields, "key": key}).encode()
        return CallbackRequest("notify", "GET", query, b"", None, now, "simulated")


def _signed_text(fields: Mapping[str, Any], account: Account) -> bytes:
    """Join what is hashed, as sent; a field that is missing adds nothing, and the schema asks for it afterwards."""
    sent = (fields.get(name) for name in SIGNED)
    values = (value for value in sent if isinstance(value, str))
    return "".join((account.options["service_code"], account.options["merchant_id"], *values)).encode()


def _digest(text: bytes, secret: bytes) -> bytes:
    return signing.hex_digest("md5", text + secret)
