"""
Paynet: unsigned JSON posts for a paid order (``confirmation``) and a refund, and the browser's 3-D Secure return.

Source: the provider's pages on confirmation_url, refunds, result codes and error types.
Proof: none but the token in the URL. The ``return`` comes through the shopper's browser and proves nothing at all:
    a claim, given only to routes that ask for claims.
Reply: undocumented; HTTP 200 and a small JSON object once stored. Retries are undocumented too.
Quirks: the reference is spelt ``referance_no`` in the documented body; ``netAmount`` is in camel case there;
    ``xact_id`` comes only sometimes; ``TL`` is the lira; ``is_succeed`` comes as boolean, text or number. HTTP 200 and
    code 0 say that a call worked, not that money was taken.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from receiver import browser
from receiver.account import Account
from receiver.errors import Quarantined, Reason
from receiver.event import Card, Category, Failure, Kind, Method, Statement, Why
from receiver.message import OK_JSON, CallbackRequest, Level, Media, Notification, Reply
from receiver.money import currency_code
from receiver.ports import Channel, Scenario, SettingsSchemas, Settled, Token
from receiver.schema import (
    Amount,
    BaseUrl,
    CallbackSchema,
    Flag,
    Installments,
    Loose,
    Note,
    SecretRef,
    SettingsSchema,
    Text,
    moment,
    money,
)

# The refund post: an approved request is not yet money back, and full or partial is not said.
REFUNDS: Mapping[str, tuple[Kind, Category | None]] = {
    "0": (Kind.PAYMENT_REFUND_PENDING, None),
    "1": (Kind.PAYMENT_REFUND_FAILED, Category.BANK_DECLINE),
}
# What a call of the provider's API answers in `code`. None: no failure, or the outcome is open.
RESULT_CODES: Mapping[str, Category | None] = {
    "0": None,
    "1": Category.BANK_DECLINE,
    "2": Category.MERCHANT_SETUP,
    "3": Category.MERCHANT_SETUP,
    "4": Category.MERCHANT_SETUP,
    "5": Category.DUPLICATE,
    "6": None,
    "7": Category.MERCHANT_SETUP,
    "8": Category.PROVIDER_ERROR,
    "9": Category.MERCHANT_SETUP,
    "10": Category.PROVIDER_ERROR,
    "11": Category.MERCHANT_SETUP,
    "12": None,
    "13": Category.UNKNOWN,
    "14": Category.CARD_DATA,
    "15": Category.MERCHANT_SETUP,
    "16": Category.THREEDS,
    "17": Category.DUPLICATE,
    "18": Category.CARD_DATA,
    "19": Category.MERCHANT_SETUP,
    "20": Category.MERCHANT_SETUP,
    "21": Category.MERCHANT_SETUP,
    "100": None,  # the same success, told again
}
ERROR_TYPES: Mapping[str, Category | None] = {
    "api_error": Category.PROVIDER_ERROR,
    "invalid_request_error": Category.MERCHANT_SETUP,
    "authorization_error": Category.MERCHANT_SETUP,
    "no_data_error": None,  # a look-up that found nothing is no failure of a payment
}
# The state of a payment order (PayLink).
STATUSES: Mapping[str, Kind] = {
    "0": Kind.PAYMENT_PENDING,
    "2": Kind.PAYMENT_PENDING,  # charged outside: for a person to look at
    "3": Kind.PAYMENT_SUCCEEDED,
    "4": Kind.PAYMENT_FAILED,
    "5": Kind.PAYMENT_CANCELED,
    "6": Kind.PAYMENT_CANCELED,
}
# What the API answers over HTTP, and whether asking again can help.
HTTP_ANSWERS: Mapping[int, bool] = {200: False, 400: False, 401: False, 403: False, 404: False, 405: False}

CONFIRMATION_KEPT = (
    *("referance_no", "reference_no", "xact_date", "xact_id", "agent_id", "bank_id", "instalment", "card_type"),
    *("amount", "netAmount", "net_amount", "comission", "comission_tax", "currency", "authorization_code"),
    *("order_id", "is_succeed", "paynet_error_id", "paynet_error_message", "bank_error_id", "bank_error_message"),
)
REFUND_KEPT = ("xact_id", "code", "status", "message")
RETURN_KEPT = ("message", "paynet_error_message", "ref")


class ConfirmationSchema(CallbackSchema):
    misspelt = Text(data_key="referance_no", limit=128)
    reference = Text(data_key="reference_no", limit=128)
    is_succeed = Flag()
    amount = Amount()
    currency = Text()
    xact_id = Text()
    xact_date = Loose()
    authorization_code = Text()
    order_id = Text()
    instalment = Installments()
    card_number = Loose()
    paynet_error_id = Note()
    paynet_error_message = Note()
    bank_error_id = Note()
    bank_error_message = Note()


class RefundSchema(CallbackSchema):
    xact_id = Text(required=True)
    code = Text(required=True, limit=20)
    status = Note()
    message = Note()


class ReturnSchema(CallbackSchema):
    session_id = Text(limit=500)
    token_id = Text(limit=500)
    ref = Text(limit=128)
    message = Note()
    paynet_error_message = Note()


class ApiSettings(SettingsSchema):
    base_url = BaseUrl()
    secret_key = SecretRef(required=True)


_CONFIRMATION = {
    "referance_no": "ORDER-4001",
    "xact_date": "2026-11-20T10:15:00",
    "agent_id": "1",
    "bank_id": "ISBK",
    "instalment": "0",
    "card_holder": "SANDBOX",
    "card_number": "454360****1234",
    "amount": "100.00",
    "netAmount": "97.50",
    "comission": "2.12",
    "comission_tax": "0.38",
    "currency": "TL",
    "authorization_code": "123456",
    "order_id": "BANK-1",
    "is_succeed": "true",
}
_REFUND = {"xact_id": "900001", "code": "0", "status": "1", "message": ""}
_BACK = {"session_id": "sandbox-session", "token_id": "sandbox-token", "ref": "ORDER-4001"}


class Paynet:
    name = "paynet"
    title = "Paynet (card)"
    adds_commission = True
    retries_for = 0
    channels: Mapping[str, Channel] = {
        "confirmation": Channel(
            "confirmation",
            ("POST",),
            (Media.JSON,),
            Token.ROUTE,
            ConfirmationSchema(),
            CONFIRMATION_KEPT,
            dropped=("card_holder", "card_number"),
        ),
        "refund": Channel(
            "refund", ("POST",), (Media.JSON,), Token.ROUTE, RefundSchema(), REFUND_KEPT, asks_at_once=True
        ),
        # Dropped are two ids that would let anyone charge the payment; the shop's own form fields may come along.
        "return": Channel(
            "return",
            ("POST",),
            (Media.FORM,),
            Token.BROWSER,
            ReturnSchema(),
            RETURN_KEPT,
            dropped=("session_id", "token_id"),
            any_name=True,
            browser=True,
        ),
    }
    settings = SettingsSchemas(
        SettingsSchema(),
        ApiSettings(),
        takes=frozenset({"token", "browser_token", "result_url", "result_secret", "relay"}),
        needs=frozenset({"token", "browser_token"}),
    )
    scenarios: Mapping[str, Scenario] = {
        "success": Scenario("confirmation", _CONFIRMATION, unique=("referance_no", "order_id")),
        "declined": Scenario(
            "confirmation",
            _CONFIRMATION | {"is_succeed": "false", "authorization_code": ""},
            unique=("referance_no", "order_id"),
        ),
        "refund": Scenario("refund", _REFUND, unique=("xact_id",)),
        "refund-refused": Scenario("refund", _REFUND | {"code": "1"}, unique=("xact_id",)),
        "refund-unlisted": Scenario("refund", _REFUND | {"code": "77"}, unique=("xact_id",)),
        "return": Scenario("return", _BACK, unique=("ref", "session_id", "token_id")),
        "return-failed": Scenario(
            "return",
            {"session_id": "sandbox-session", "ref": "ORDER-4001", "paynet_error_message": "3D"},
            unique=("ref", "session_id"),
        ),
    }

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        del account
        fields = request.fields()
        if request.channel == "return":
            # The shop may name the order in the address that it gave to Paynet: `?ref=`. A claim like all the rest.
            fields = {name: value for name, value in request.query_fields().items() if name == "ref"} | fields
            return (Notification(fields, Level.CLAIMED, token_id),)
        return (Notification(fields, Level.ROUTE, token_id),)

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        del account
        return _SAYS[channel](fields, note)

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        if request.channel != "return":
            return OK_JSON
        # The shop must charge with the posted ids, or show why it cannot: it always has to go on itself.
        return browser.settled(settled, account, request.received_at, request.request_id, relay=account.relay)

    def sign(self, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
        del account
        fields = dict(scenario.fields)
        if scenario.channel == "return":
            query = urlencode({"ref": fields.pop("ref", "")}).encode()
            body, media = urlencode(fields).encode(), Media.FORM
        else:
            query, media = b"", Media.JSON
            flags = {"true": True, "false": False}
            typed = {name: flags.get(value, value) for name, value in fields.items()}
            body = orjson.dumps(typed)
        return CallbackRequest(scenario.channel, "POST", query, body, media, now, "simulated")


def _confirmation(fields: Mapping[str, Any], note: Notification) -> Statement:
    reference, taken = _reference(fields), fields["is_succeed"]
    digits = fields["card_number"] or ""
    bank_error, own_error = fields["bank_error_id"], fields["paynet_error_id"]
    failure = Failure(
        Category.PROVIDER_ERROR if own_error and not bank_error else Category.BANK_DECLINE,
        bank_error or own_error,
        fields["bank_error_message"] or fields["paynet_error_message"],
    )
    return Statement(
        kind=Kind.PAYMENT_SUCCEEDED if taken else Kind.PAYMENT_FAILED,
        fact_key=(reference, fields["authorization_code"], fields["order_id"], "true" if taken else "false"),
        status_code=_verbatim(note.fields["is_succeed"]),
        order_ref=reference,
        payment_ref=fields["xact_id"],
        amount=money(fields["amount"], _currency(fields["currency"])),
        failure=None if taken else failure,
        method=Method.CARD,
        card=Card(
            last4=digits[-4:] if len(digits) > 4 and digits[-4:].isdecimal() else None,
            installments=fields["instalment"],
        ),
        occurred=moment(fields["xact_date"]),
    )


def _refund(fields: Mapping[str, Any], note: Notification) -> Statement:
    del note
    code = fields["code"]
    kind, category = REFUNDS.get(code, (Kind.PAYMENT_UNKNOWN, RESULT_CODES.get(code)))
    return Statement(
        kind=kind,
        fact_key=(fields["xact_id"], code),
        status_code=code,
        status_text=fields["status"],
        refund_ref=fields["xact_id"],
        failure=Failure(category, code, fields["message"]) if category else None,
        method=Method.CARD,
        card=Card(),
    )


def _return(fields: Mapping[str, Any], note: Notification) -> Statement:
    del note
    session, token, order = fields["session_id"], fields["token_id"], fields["ref"]
    if not (session or token or order):
        raise Quarantined(Reason.UNREADABLE_FIELD)
    return Statement(
        kind=Kind.PAYMENT_PENDING,
        # Nothing in it is proven, so no better key is to be had; it never shares one with a payment.
        fact_key=("return", session, token, order),
        status_code=None,
        status_text=fields["paynet_error_message"] or fields["message"],
        order_ref=order,
        reason=Why.THREEDS_ONLY if token else None,
        method=Method.CARD,
        card=Card(),
    )


_SAYS = {"confirmation": _confirmation, "refund": _refund, "return": _return}


def _reference(fields: Mapping[str, Any]) -> str:
    """Return the order's reference under either spelling; two that differ cannot both be true."""
    found = {value for value in (fields["misspelt"], fields["reference"]) if value}
    if len(found) > 1:
        raise Quarantined(Reason.CONFLICTING_FIELD)
    if not found:
        raise Quarantined(Reason.UNREADABLE_FIELD)
    return str(found.pop())


def _currency(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return currency_code(text)
    except ValueError:
        raise Quarantined(Reason.UNREADABLE_FIELD) from None


def _verbatim(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()
