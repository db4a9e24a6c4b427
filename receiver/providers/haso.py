"""
HASO (Hemen Al Sonra Öde), buy now and pay later: two browser forms, and a post from server to server as a fallback.

Source: the provider's pages on new transactions (okUrl, failUrl, callbackUrl), on the payment plan and on error codes.
Proof: none. ``ok`` and ``fail`` come through the shopper's browser and are claims; ``callback`` has the route token.
    Whether money will come, only the API says, so no more than ``payment.pending`` comes from here.
Reply: ``OK`` to the callback, undocumented; the browser goes back to the shop.
Quirks: the table of posted fields is on no page that was read. Certain are ``transactionCode`` and ``customerId``;
    ``merchantOid`` is very likely. Names are taken in any case. ``fail`` says failed or canceled, and not which.
    Amounts are text, a hundred times the lira, without a decimal sign.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from receiver import browser, redact
from receiver.account import Account
from receiver.errors import Quarantined, Reason
from receiver.event import Customer, Kind, Method, Statement
from receiver.message import OK_TEXT, CallbackRequest, Level, Media, Notification, Reply, respelled
from receiver.money import Money
from receiver.ports import Channel, Scenario, SettingsSchemas, Settled, Token
from receiver.schema import BaseUrl, CallbackSchema, Note, SecretRef, Setting, SettingsSchema, Text

# One instalment of the payment plan, as the API tells it.
INSTALLMENTS: Mapping[str, Kind] = {
    "0": Kind.INSTALLMENT_PENDING,
    "1": Kind.INSTALLMENT_PAID,
    "2": Kind.INSTALLMENT_PARTIALLY_PAID,
    "3": Kind.INSTALLMENT_PAST_DUE,
    "4": Kind.INSTALLMENT_CANCELED,
}
# Codes with a documented meaning; all others come from the provider's living list, GetErrorCodes.
SUCCEEDED = "RS100"
REFUND_MADE_BEFORE = "H307"
REFUND_NOT_FOUND = "H308"

KEPT = ("transactionCode", "merchantOid", "orderAmount", "errorCode", "status", "limit")
DROPPED = ("customerId", "errorMessage")  # the message is free text, and may name the customer
_SPELLING = {name.lower(): name for name in (*KEPT, *DROPPED)}


class CallbackFields(CallbackSchema):
    transaction_code = Text(data_key="transactionCode", limit=64)
    merchant_oid = Text(data_key="merchantOid", limit=64)
    order_amount = Text(data_key="orderAmount", pattern=r"[0-9]{1,15}")
    customer_id = Text(data_key="customerId", limit=64)
    error_code = Note(data_key="errorCode")
    limit = Note()


class Settings(SettingsSchema):
    merchant_id = Setting()


class ApiSettings(SettingsSchema):
    base_url = BaseUrl()
    hmac_key = SecretRef(required=True)
    salt = SecretRef(required=True)
    ip_address = Setting(optional=True)


_SAMPLE = {
    "transactionCode": "TC-5001",
    "merchantOid": "ORDER-5001",
    "orderAmount": "50000",
    "customerId": "C1",
}


def _scenario(channel: str, changes: Mapping[str, str] = _SAMPLE) -> Scenario:
    return Scenario(channel, {**_SAMPLE, **changes}, unique=("merchantOid", "transactionCode"))


def _page(name: str) -> Channel:
    schema = CallbackFields()
    return Channel(
        name,
        ("POST",),
        (Media.FORM,),
        Token.BROWSER,
        schema,
        KEPT,
        DROPPED,
        any_name=True,
        browser=True,
        asks_at_once=True,
    )


class Haso:
    name = "haso"
    title = "HASO (buy now, pay later)"
    adds_commission = False
    retries_for = 0
    # The posted fields are not documented, hence any name.
    channels: Mapping[str, Channel] = {
        "ok": _page("ok"),
        "fail": _page("fail"),
        "callback": Channel(
            "callback",
            ("POST", "GET"),
            (Media.FORM, Media.JSON),
            Token.ROUTE,
            CallbackFields(),
            KEPT,
            DROPPED,
            any_name=True,
            asks_at_once=True,
        ),
    }
    settings = SettingsSchemas(
        Settings(),
        ApiSettings(),
        takes=frozenset({"token", "browser_token", "result_url", "result_secret"}),
        needs=frozenset({"token", "browser_token"}),
    )
    scenarios: Mapping[str, Scenario] = {
        "ok": _scenario("ok"),
        "fail": _scenario("fail", {"errorCode": "SANDBOX"}),
        "callback": _scenario("callback"),
        "limit": Scenario("callback", {"customerId": "C1", "limit": "100000"}, unique=("customerId",)),
    }

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        del account
        level = Level.ROUTE if request.channel == "callback" else Level.CLAIMED
        # No page names the charset. What a fact rests on is ASCII, so a wrong guess spoils a sentence at most.
        fields = respelled(request.fields("windows-1254", "latin-1"), _SPELLING)
        return (Notification(fields, level, token_id),)

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        code, order = fields["transaction_code"], fields["merchant_oid"]
        customer = Customer(key=redact.pseudonym(fields["customer_id"], account))
        if code is None and order is None:
            # The limit's answer comes to the same address and names only the customer.
            if channel == "callback" and fields["customer_id"] and fields["limit"]:
                key = ("limit", fields["customer_id"], fields["limit"])
                return Statement(
                    Kind.NOTICE_RECEIVED, key, status_code="limit", method=Method.CREDIT, customer=customer
                )
            raise Quarantined(Reason.UNREADABLE_FIELD)
        # What a browser claims has a key of its own, or a made-up claim would make the true callback a duplicate.
        state = "callback" if channel == "callback" else f"claimed-{channel}"
        amount = fields["order_amount"]
        return Statement(
            kind=Kind.PAYMENT_PENDING,
            fact_key=(code, None if code else order, state),
            status_code=state.removeprefix("claimed-"),
            status_text=fields["error_code"],
            order_ref=order,
            payment_ref=code,
            amount=Money(int(amount), "TRY") if amount else None,
            method=Method.CREDIT,
            customer=customer,
        )

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        if request.channel == "callback":
            return OK_TEXT
        return browser.settled(settled, account, request.received_at, request.request_id, relay=False)

    def sign(self, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
        body = urlencode(scenario.fields).encode()
        return CallbackRequest(scenario.channel, "POST", b"", body, Media.FORM, now, "simulated")
