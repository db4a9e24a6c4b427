"""
Payguru mobile payment: unsigned notices by GET, one URL for transactions and one for subscriptions.

Source: the provider's notification page (parameter template, status codes) and its API samples.
Proof: none but the token in the URL that the merchant gave to Payguru, so level ``route`` and nothing covered.
Reply: undocumented; ``OK`` once stored. No time and no sequence number is sent.
Quirks: the URL is the merchant's own template, so parameter names are the merchant's (``names``), and the printed
    template holds stray blanks that end up around names and values. Payguru appends the query of the landing page,
    which the end user can edit: a second ``status`` behind the true one is the user's. The same numbers mean other
    things in Payguru's PHS product, which is a provider of its own.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from marshmallow import ValidationError, validate
from marshmallow import fields as ma

from receiver import redact
from receiver.account import Account
from receiver.errors import Malformed, Quarantined, Reason
from receiver.event import Category, Customer, Failure, Kind, Method, Statement, Subscription, Why
from receiver.message import OK_TEXT, CallbackRequest, Level, Media, Notification, Reply, decode_pairs
from receiver.ports import Channel, Scenario, SettingsSchemas, Settled, Token
from receiver.schema import Amount, BaseUrl, CallbackSchema, Note, Setting, SettingsSchema, Text, money

# Kind, reason, category. 9 is in the table of codes, -9 only in the text about `rejected`: both are accepted.
TRANSACTIONS: Mapping[str, tuple[Kind, Why | None, Category | None]] = {
    "1": (Kind.PAYMENT_PENDING, None, None),
    "3": (Kind.PAYMENT_SUCCEEDED, None, None),
    "4": (Kind.PAYMENT_FAILED, None, Category.OPERATOR_ERROR),
    "5": (Kind.PAYMENT_EXPIRED, None, None),
    "6": (Kind.PAYMENT_REFUNDED, None, None),
    "7": (Kind.PAYMENT_REFUND_PENDING, None, None),
    "8": (Kind.PAYMENT_CANCELED, Why.OTHER_PENDING, Category.UNKNOWN),
    "9": (Kind.PAYMENT_CANCELED, Why.NOT_CONFIRMED, Category.NOT_CONFIRMED),
    "-18": (Kind.PAYMENT_CANCELED, Why.OTHER_PENDING, Category.UNKNOWN),
    "-5": (Kind.PAYMENT_FAILED, None, Category.MERCHANT_SETUP),
    "-8": (Kind.PAYMENT_FAILED, None, Category.MERCHANT_SETUP),
    "-9": (Kind.PAYMENT_CANCELED, Why.NOT_CONFIRMED, Category.NOT_CONFIRMED),
}
# `unknown` is a documented state, the start of a subscription; an unlisted word is subscription.unknown.
SUBSCRIPTIONS: Mapping[str, Kind] = {
    "unknown": Kind.SUBSCRIPTION_PENDING,
    "active": Kind.SUBSCRIPTION_ACTIVATED,
    "retry": Kind.SUBSCRIPTION_PAST_DUE,
    "cancelled": Kind.SUBSCRIPTION_CANCELED,
    "canceled": Kind.SUBSCRIPTION_CANCELED,
    "suspend": Kind.SUBSCRIPTION_SUSPENDED,
    "suspended": Kind.SUBSCRIPTION_SUSPENDED,
    "rejected": Kind.SUBSCRIPTION_REJECTED,
}
# What the provider's API answers over HTTP, and whether asking again can help.
HTTP_ANSWERS: Mapping[int, bool] = {
    200: False, 204: False, 400: False, 403: False, 404: False, 409: False, 429: True, 500: True, 503: True,
}  # fmt: skip
OPERATORS = {"1": "Turkcell", "4": "Türk Telekom", "5": "Vodafone"}

NAMES = (
    *("msisdn", "txId", "status", "operator", "order", "item", "amount", "service", "error", "errorDesc"),
    *("billingType", "subsId"),
)
KEPT = tuple(name for name in NAMES if name != "msisdn")
# The template's marker for the operator is xxOidxx, and some merchants name the parameter after it.
_ALIASES = {"oid": "operator"}
# The API's samples carry a missing reference as this text.
_ABSENT = frozenset({"null", "NULL"})
# The charset is not documented: UTF-8 first, then the Turkish Windows code page, which old senders use.
# Last comes one that takes any byte: what the end user adds to the query must not make the notice unreadable.
_ENCODINGS = ("utf-8", "windows-1254", "latin-1")


class TransactionSchema(CallbackSchema):
    tx_id = Text(data_key="txId", required=True, absent=_ABSENT)
    status = Text(required=True, limit=20, absent=_ABSENT)
    subs_id = Text(data_key="subsId", absent=_ABSENT)
    order = Text(absent=_ABSENT)
    amount = Amount(absent=_ABSENT)
    service = Text(absent=_ABSENT)
    msisdn = Text(limit=100, absent=_ABSENT)
    error = Note(absent=_ABSENT)
    error_desc = Note(data_key="errorDesc", absent=_ABSENT)


class SubscriptionSchema(TransactionSchema):
    tx_id = Text(data_key="txId", absent=_ABSENT)
    subs_id = Text(data_key="subsId", required=True, absent=_ABSENT)


def _one_name_each(names: Mapping[str, str]) -> None:
    told = [parameter.strip().lower() for parameter in names.values()]
    told += [name.lower() for name in NAMES if name not in names]
    if len(set(told)) != len(told):
        raise ValidationError("give one parameter to two fields; name the other one too")


class Settings(SettingsSchema):
    names = ma.Dict(
        keys=ma.String(validate=validate.OneOf(NAMES)),
        values=Setting(),
        load_default=dict,
        validate=_one_name_each,
    )


class ApiSettings(SettingsSchema):
    base_url = BaseUrl()
    merchant_id = Setting()
    service_id = Setting()


_SAMPLE = {
    "msisdn": "5XXXXXXXXX",
    "txId": "12345678912345",
    "status": "3",
    "operator": "1",
    "order": "ORDER-2001",
    "item": "1 aylık abonelik",
    "amount": "12.00",
    "service": "1234",
    "error": "",
    "errorDesc": "",
    "billingType": "",
    "subsId": "",
}
_CYCLE = {name: _SAMPLE[name] for name in ("msisdn", "txId", "operator", "service", "order", "billingType")}
_ERROR = {"error": "Yetersiz limit", "errorDesc": "17|Limit error:onetime"}


def _transaction(status: str, extra: Mapping[str, str] = MappingProxyType({})) -> Scenario:
    return Scenario("transaction", _SAMPLE | {"status": status} | dict(extra), unique=("order", "txId"))


def _subscription(status: str) -> Scenario:
    return Scenario("subscription", _CYCLE | {"subsId": "12345678", "status": status}, unique=("txId", "subsId"))


class Payguru:
    name = "payguru"
    title = "Payguru (mobile payment)"
    adds_commission = False
    retries_for = 0
    # Behind the provider's fields comes the end user's own query, hence any name.
    channels: Mapping[str, Channel] = {
        name: Channel(name, ("GET", "POST"), (Media.FORM,), Token.ROUTE, schema, KEPT, ("msisdn",), any_name=True)
        for name, schema in (("transaction", TransactionSchema()), ("subscription", SubscriptionSchema()))
    }
    settings = SettingsSchemas(Settings(), ApiSettings(), takes=frozenset({"token"}), needs=frozenset({"token"}))
    scenarios: Mapping[str, Scenario] = {
        "success": _transaction("3"),
        "pending": _transaction("1"),
        "operator-error": _transaction("4", _ERROR),
        "expired": _transaction("5"),
        "refunded": _transaction("6"),
        "refund-pending": _transaction("7"),
        "other-pending": _transaction("8"),
        "not-confirmed": _transaction("9"),
        "rejected-by-customer": _transaction("-9"),
        "other-pending-renewal": _transaction("-18"),
        "wrong-amount": _transaction("-5"),
        "wrong-phone": _transaction("-8"),
        "unlisted": _transaction("77"),
        "subscription-started": _subscription("unknown"),
        "subscription-active": _subscription("active"),
        "subscription-retry": _subscription("retry"),
        "subscription-canceled": _subscription("cancelled"),
        "subscription-suspended": _subscription("suspend"),
        "subscription-rejected": _subscription("rejected"),
        "subscription-unlisted": _subscription("paused"),
    }

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        return (Notification(_merged(request, account), Level.ROUTE, token_id),)

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        subscribing = channel == "subscription"
        status, msisdn = fields["status"], fields["msisdn"]
        if subscribing:
            kind, why, category = SUBSCRIPTIONS.get(status.lower(), Kind.SUBSCRIPTION_UNKNOWN), None, None
        else:
            kind, why, category = TRANSACTIONS.get(status, (Kind.PAYMENT_UNKNOWN, None, None))
        error, detail = fields["error"], fields["error_desc"]
        return Statement(
            kind=kind,
            fact_key=(channel, fields["subs_id"], fields["tx_id"], status, fields["error"]),
            status_code=status,
            order_ref=fields["order"],
            payment_ref=fields["tx_id"],
            subscription_ref=fields["subs_id"],
            reason=why,
            # The notice names no currency; the provider charges in lira only. A subscription notice has no amount.
            amount=None if subscribing else money(fields["amount"], "TRY"),
            failure=Failure(category, error or status, detail) if category else None,
            method=Method.CARRIER,
            customer=Customer(key=redact.pseudonym(msisdn, account), phone=redact.phone(msisdn, account)),
            subscription=Subscription(plan=fields["service"]) if subscribing else None,
        )

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        del settled, request, account
        return OK_TEXT

    def sign(self, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
        names = account.options["names"]
        query = urlencode({names.get(name, name): value for name, value in scenario.fields.items()})
        return CallbackRequest(scenario.channel, "GET", query.encode(), b"", None, now, "simulated")


def _merged(request: CallbackRequest, account: Account) -> dict[str, str]:
    """
    Bring the parameters under our names; equal repeats are one, differing ones are quarantined.

    The second value of a known name comes from the end user's own query. It is never believed, and neither is the
    first, for the merchant's template may have been edited too: a person or the API has to look. Names that are not
    ours are left out, but for those that the account lets through.
    """
    ours = _spelling(account.options["names"])
    query = _named(decode_pairs(request.query, _ENCODINGS), ours, account)
    body = _named(decode_pairs(request.body, _ENCODINGS), ours, account)
    if not {name for name, _ in query}.isdisjoint(name for name, _ in body):
        raise Malformed(Reason.DUPLICATE_FIELD)
    fields: dict[str, str] = {}
    known = set(NAMES)
    for name, value in (*query, *body):
        if fields.setdefault(name, value) != value and name in known:
            # The provider's own parameters come before the end user's, so the first id is the payment's. If not, no
            # harm is done: the API is asked what is true of it.
            first = dict(reversed((*query, *body))).get("txId")
            raise Quarantined(Reason.CONFLICTING_FIELD, first if request.channel == "transaction" else None)
    return fields


def _spelling(names: Mapping[str, str]) -> dict[str, str]:
    """Map each parameter, in small letters, to our name for it: the merchant's own where it gave one."""
    ours = {name.lower(): name for name in NAMES if name not in names}
    if "operator" not in names:
        ours |= _ALIASES
    return ours | {parameter.strip().lower(): name for name, parameter in names.items()}


def _named(pairs: list[tuple[str, str]], ours: Mapping[str, str], account: Account) -> list[tuple[str, str]]:
    stripped = ((name.strip(), value.strip()) for name, value in pairs)
    named = ((ours.get(name.lower(), name if name in account.custom else ""), value) for name, value in stripped)
    return [(name, value) for name, value in named if name]
