"""
Zotlo: subscriptions and single sales, told by one JSON post of several kinds.

Source: the provider's pages on its payment, refund, subscription, registration and quiz posts, old and new.
Proof: none but the token in the URL; ``queue.appId`` is compared with the account, but it is printed on public pages.
Reply: exactly HTTP 200; anything else is sent again (after 10 min, three times 30 min, 1 h) and then dropped.
Quirks: one renewal is told twice, as a payment and as a subscription: payments are read only from ``Transaction*``,
    subscriptions only from ``SubscriberUpdate``. A refund keeps the purchase's ``status``, and older senders put it
    into ``TransactionInsert``. The format of 2020 has no ``eventType`` and no ``requestID``. Numbers come as numbers or
    as text. A trial at 0.00 is no payment. Failed payments are never told.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import orjson
from marshmallow import fields as ma

from receiver import redact
from receiver.account import Account
from receiver.errors import Malformed, Quarantined, Reason, Rejected
from receiver.event import Card, Customer, Kind, Method, Moment, Statement, Subscription, Why
from receiver.message import OK_JSON, CallbackRequest, Level, Media, Notification, Reply, unique
from receiver.money import currency_code
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

PURCHASES: Mapping[str, Why] = {
    "trial": Why.TRIAL,
    "trial_to_paid": Why.CONVERSION,
    "start_paid": Why.INITIAL,
    "renewal": Why.RENEWAL,
    "reactive": Why.REACTIVATION,
    "consumable": Why.ONE_TIME,
    "set_quantity": Why.QUANTITY,
}
# What may come for nothing, and is then no payment. Of seats that were given away a subscription's own post may tell.
FREE: Mapping[Why, Kind] = {Why.TRIAL: Kind.SUBSCRIPTION_TRIAL_STARTED, Why.QUANTITY: Kind.NOTICE_RECEIVED}
REFUND_REASONS: Mapping[str, tuple[Kind, Why]] = {
    "chargeback_dispute": (Kind.PAYMENT_CHARGED_BACK, Why.CHARGEBACK),
    "chargeback_prevented": (Kind.PAYMENT_REFUNDED, Why.CHARGEBACK_PREVENTED),
}
# eventType in small letters and without its underscore: the pages write it in several ways.
CHANGES: Mapping[str, tuple[Kind, Why | None]] = {
    "newsubscriber": (Kind.SUBSCRIPTION_ACTIVATED, None),
    "renewal": (Kind.SUBSCRIPTION_RENEWED, None),
    "activetograce": (Kind.SUBSCRIPTION_PAST_DUE, None),
    "gracetoactive": (Kind.SUBSCRIPTION_RENEWED, Why.RECOVERED),
    "gracetopassive": (Kind.SUBSCRIPTION_EXPIRED, None),
    "cancel": (Kind.SUBSCRIPTION_CANCELED, None),
    "reactivate": (Kind.SUBSCRIPTION_REACTIVATED, None),
    "packageupdate": (Kind.SUBSCRIPTION_UPDATED, None),
    "packageupgrade": (Kind.SUBSCRIPTION_UPDATED, None),
    "packagedowngrade": (Kind.SUBSCRIPTION_UPDATED, None),
    "changepackage": (Kind.SUBSCRIPTION_UPDATED, None),
    "packageclosed": (Kind.SUBSCRIPTION_UPDATED, None),
}
# Where the format of 2020 names no change, the state says what can be said.
STATES: Mapping[str, Kind] = {
    "active": Kind.SUBSCRIPTION_UPDATED,
    "grace": Kind.SUBSCRIPTION_PAST_DUE,
    "passive": Kind.SUBSCRIPTION_EXPIRED,
}
# What the API answers over HTTP, and whether asking again can help.
HTTP_ANSWERS: Mapping[int, bool] = {200: False, 400: False, 500: True}
# The three types that are read; a post of another type is kept whole and says nothing about money.
PAYMENTS = frozenset({"TransactionInsert", "TransactionRefund"})
SUBSCRIPTIONS = "SubscriberUpdate"
# How a sender names the zone of its times; no other is documented.
UTC_NAMES = frozenset({"UTC", "Z", "+00:00"})
BRANDS = frozenset({"mastercard", "visa", "amex", "troy", "maestro"})

_QUEUE = ("queue.type", "queue.eventType", "queue.requestID", "queue.appId", "queue.createDate")
_DATE = tuple(f"queue.createDate.{name}" for name in ("date", "timezone", "timezone_type"))
_PAYMENT = tuple(
    f"parameters.{name}"
    for name in (
        *("id", "payment_type", "original_transaction_id", "transaction_id", "package_id", "team_id", "app_id"),
        *("status", "create_date", "purchase_date", "original_purchase_date", "expire_date", "price", "currency"),
        *("country", "refund_price", "refund_date", "is_refund", "provider_id", "provider_status"),
        *("provider_transaction_id", "provider_name", "is_transfer", "quantity", "package_price", "subscription_id"),
        *("paymentMethod", "installment", "exchange", "coupon_campaign", "language"),
    )
)
_PROFILE = tuple(
    f"parameters.profile.{name}"
    for name in (
        *("status", "realStatus", "subscriptionId", "subscriptionType", "startDate", "expireDate", "renewalDate"),
        *("package", "country", "language", "originalTransactionId", "lastTransactionId", "subscriptionPackageType"),
        *("cancellation", "cancellation.date", "cancellation.code", "quantity"),
        *("pendingQuantity", "renewalFetchCount", "freezeEndDate"),
    )
)
_PACKAGES = tuple(
    f"parameters.{package}"
    for package in (
        *("package.packageId", "package.price", "package.currency", "package.packageType", "package.name"),
        *("newPackage", "newPackage.packageId", "newPackage.startDate", "newPackage.createDate"),
        *("newPackage.discountPrice", "newPackage.price", "newPackage.currency", "newPackage.period"),
    )
)
_REGISTRATION = ("storeRegister", "country", "language", "appId", "flowId", "siteId", "registerDate")
KEPT = (*_QUEUE, *_DATE, *_PAYMENT, *_PROFILE, *_PACKAGES, *_REGISTRATION)
# People and cards: names, addresses, numbers, free text. The exact bytes are kept, encrypted.
DROPPED = (
    *("parameters.refund_reason", "parameters.profile.cancellation.reason"),
    *("parameters.subscriber_id", "parameters.credit_card", "parameters.comment", "parameters.json_payload"),
    *("parameters.profile.subscriberId", "parameters.profile.phoneNumber", "parameters.newPackage.subscriberId"),
    *("clientUuid", "clientIp", "subscriberId", "subscriberName", "registerOtpStatus"),
    *(f"parameters.customer.{name}" for name in ("id", "createDate", "country", "firstname", "lastname", "email")),
    *(f"parameters.card.{name}" for name in ("cardNumber", "expireDate", "tokenId")),
    *("client", "questions", "answers"),
    # Objects that may come as null, or as PHP's empty list.
    *("queue", "parameters", "parameters.profile", "parameters.package", "parameters.customer", "parameters.card"),
)
# The objects that are looked into; any other is one value, however deep it is.
_OBJECTS = frozenset(
    name.rsplit(".", steps)[0] for name in (*KEPT, *DROPPED) for steps in range(1, name.count(".") + 1)
)


def _key(name: str) -> Any:
    return Text(data_key=name)


class EnvelopeSchema(CallbackSchema):
    type = _key("queue.type")
    change = _key("queue.eventType")
    created = Loose(data_key="queue.createDate")
    created_date = Loose(data_key="queue.createDate.date")
    created_zone = Loose(data_key="queue.createDate.timezone")
    registered = Loose(data_key="registerDate")
    transaction = _key("parameters.transaction_id")
    status = _key("parameters.status")
    price = Amount(data_key="parameters.price")
    currency = _key("parameters.currency")
    purchase_date = Loose(data_key="parameters.purchase_date")
    expire_date = Loose(data_key="parameters.expire_date")
    is_refund = ma.Raw(data_key="parameters.is_refund", load_default=None, allow_none=True)
    refund_price = Amount(data_key="parameters.refund_price")
    refund_date = Loose(data_key="parameters.refund_date")
    refund_reason = Note(data_key="parameters.refund_reason")
    subscription = _key("parameters.subscription_id")
    package_id = _key("parameters.package_id")
    subscriber = Loose(data_key="parameters.subscriber_id")
    credit_card = Loose(data_key="parameters.credit_card")
    provider_name = Note(data_key="parameters.provider_name")
    provider_status = Note(data_key="parameters.provider_status")
    state = _key("parameters.profile.status")
    real_state = _key("parameters.profile.realStatus")
    subscription_id = _key("parameters.profile.subscriptionId")
    original = _key("parameters.profile.originalTransactionId")
    last = _key("parameters.profile.lastTransactionId")
    phase = _key("parameters.profile.subscriptionType")
    expires = Loose(data_key="parameters.profile.expireDate")
    plan = _key("parameters.profile.package")
    canceled = Loose(data_key="parameters.profile.cancellation.date")
    cancel_code = Note(data_key="parameters.profile.cancellation.code")
    frozen = Loose(data_key="parameters.profile.freezeEndDate")
    quantity = Note(data_key="parameters.profile.quantity")
    pending_quantity = Note(data_key="parameters.profile.pendingQuantity")
    profile_subscriber = Loose(data_key="parameters.profile.subscriberId")
    profile_phone = Loose(data_key="parameters.profile.phoneNumber")
    new_package = Note(data_key="parameters.newPackage.packageId")


class Settings(SettingsSchema):
    app_id = Setting()


class ApiSettings(SettingsSchema):
    base_url = BaseUrl()
    access_key = SecretRef(required=True)
    access_secret = SecretRef(required=True)
    sandbox = ma.Boolean(truthy={True}, falsy={False}, load_default=False)


_NOW = "2024-06-15 11:51:35"
_BOUGHT = {
    "queue.type": "TransactionInsert",
    "queue.eventType": "transaction",
    "queue.requestID": "sandbox-request",
    "parameters.id": "38359",
    "parameters.payment_type": "subscription",
    "parameters.original_transaction_id": "sandbox-original",
    "parameters.transaction_id": "sandbox-transaction",
    "parameters.package_id": "weekly",
    "parameters.status": "start_paid",
    "parameters.purchase_date": _NOW,
    "parameters.expire_date": "2024-06-22 11:51:35",
    "parameters.price": "9.99",
    "parameters.currency": "TRY",
    "parameters.subscriber_id": "sandbox@example.com",
    "parameters.credit_card": "41111111****1111",
    "parameters.is_refund": "0",
    "parameters.provider_status": "mastercard",
    "parameters.provider_name": "Credit Card",
    "parameters.subscription_id": "9292132",
}
_REFUNDED = _BOUGHT | {
    "queue.type": "TransactionRefund",
    "queue.eventType": "refund",
    "parameters.is_refund": "1",
    "parameters.refund_price": "9.99",
    "parameters.refund_date": "2024-06-16 09:00:00",
}
_SUBSCRIBER = {
    "queue.type": "SubscriberUpdate",
    "queue.eventType": "newSubscriber",
    "queue.requestID": "sandbox-request",
    "parameters.profile.status": "active",
    "parameters.profile.realStatus": "active",
    "parameters.profile.subscriberId": "sandbox@example.com",
    "parameters.profile.subscriptionId": "10414",
    "parameters.profile.subscriptionType": "paid",
    "parameters.profile.expireDate": "2024-06-22 11:51:35",
    "parameters.profile.package": "weekly",
    "parameters.profile.originalTransactionId": "sandbox-original",
    "parameters.profile.lastTransactionId": "sandbox-transaction",
    "parameters.profile.quantity": "1",
    "parameters.profile.pendingQuantity": "0",
}
_CANCELED = {
    "queue.eventType": "cancel",
    "parameters.profile.realStatus": "passive",
    "parameters.profile.cancellation.date": _NOW,
    "parameters.profile.cancellation.code": "CU00001",
}


def _paid(changes: Mapping[str, str], base: Mapping[str, str] = _BOUGHT) -> Scenario:
    return Scenario("webhook", {**base, **changes}, unique=("parameters.transaction_id",))


def _subscriber(changes: Mapping[str, str]) -> Scenario:
    return Scenario("webhook", _SUBSCRIBER | dict(changes), unique=("parameters.profile.subscriptionId",))


class Zotlo:
    name = "zotlo"
    title = "Zotlo (subscriptions)"
    adds_commission = False
    retries_for = 2 * 3600 + 40 * 60  # after 10 min, three times after 30 min, and once after 1 h
    channels: Mapping[str, Channel] = {
        "webhook": Channel("webhook", ("POST",), (Media.JSON,), Token.ROUTE, EnvelopeSchema(), KEPT, DROPPED)
    }
    settings = SettingsSchemas(Settings(), ApiSettings(), takes=frozenset({"token"}), needs=frozenset({"token"}))
    scenarios: Mapping[str, Scenario] = {
        "success": _paid({}),
        "trial": _paid({"parameters.status": "trial", "parameters.price": "0.00"}),
        "paid-trial": _paid({"parameters.status": "trial", "parameters.price": "1.00"}),
        "conversion": _paid({"parameters.status": "trial_to_paid"}),
        "renewal": _paid({"parameters.status": "renewal"}),
        "reactivation": _paid({"parameters.status": "reactive"}),
        "one-time": _paid({"parameters.status": "consumable", "parameters.payment_type": "consumable"}),
        "unlisted": _paid({"parameters.status": "something_new"}),
        "refund": _paid({}, _REFUNDED),
        "partial-refund": _paid({"parameters.refund_price": "5.00"}, _REFUNDED),
        "old-refund": _paid({"queue.type": "TransactionInsert", "queue.eventType": ""}, _REFUNDED),
        "chargeback": _paid({"parameters.refund_reason": "chargeback_dispute"}, _REFUNDED),
        "chargeback-prevented": _paid({"parameters.refund_reason": "chargeback_prevented"}, _REFUNDED),
        "subscription-started": _subscriber({}),
        "subscription-renewed": _subscriber({"queue.eventType": "renewal"}),
        "subscription-grace": _subscriber({"queue.eventType": "activeToGrace", "parameters.profile.status": "grace"}),
        "subscription-recovered": _subscriber({"queue.eventType": "graceToActive"}),
        "subscription-expired": _subscriber(
            {"queue.eventType": "graceToPassive", "parameters.profile.status": "passive"}
        ),
        "subscription-canceled": _subscriber(_CANCELED),
        "subscription-reactivated": _subscriber({"queue.eventType": "reactivate"}),
        "subscription-updated": _subscriber({"queue.eventType": "packageUpgrade"}),
        "subscription-unlisted": _subscriber({"queue.eventType": "somethingNew"}),
        "registration": Scenario("webhook", {"clientUuid": "sandbox", "registerDate": _NOW}, unique=("clientUuid",)),
    }

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        sent = request.fields()
        fields = unique(_flat(sent, account))
        envelope = any(name.partition(".")[0] in {"queue", "parameters"} for name in sent)
        app, kind = _text(fields.get("queue.appId" if envelope else "appId")), _text(fields.get("queue.type"))
        if app is not None and app != account.options["app_id"]:
            raise Rejected(Reason.WRONG_APP)
        if envelope and not (app and kind):
            raise Quarantined(Reason.UNREADABLE_FIELD)
        read = kind == SUBSCRIPTIONS or kind in PAYMENTS
        return (Notification(fields, Level.ROUTE, token_id, digest=None if read else _digest(sent)),)

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        del channel
        kind = fields["type"]
        if kind in PAYMENTS:
            return _payment(fields, account)
        if kind == SUBSCRIPTIONS:
            return _change(fields, account)
        told = Kind.NOTICE_RECEIVED if kind is None else Kind.PAYMENT_UNKNOWN
        return Statement(told, fact_key=("notice", kind, note.digest), status_code=kind, occurred=_created(fields))

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        return OK_JSON

    def sign(self, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
        tree: dict[str, Any] = {}
        fields = dict(scenario.fields)
        if "queue.type" in fields:
            created = {"date": now.strftime("%Y-%m-%d %H:%M:%S.%f"), "timezone_type": 3, "timezone": "UTC"}
            tree = {"queue": {"appId": account.options["app_id"], "createDate": created}, "parameters": {}}
        for name, value in fields.items():
            *path, last = name.split(".")
            place = tree
            for step in path:
                place = place.setdefault(step, {})
            if value:
                place[last] = value
        return CallbackRequest("webhook", "POST", b"", orjson.dumps(tree), Media.JSON, now, "simulated")


def _flat(tree: Mapping[str, Any], account: Account, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give nested fields dotted names; of the merchant's own parameters only what the account lets through."""
    for name, value in tree.items():
        if name in {"custom_parameters", "customParameters"} and path:
            own = value if isinstance(value, dict) else {}
            yield from ((key, found) for key, found in own.items() if key in account.custom)
        elif isinstance(value, dict) and path + name in _OBJECTS:
            yield from _flat(value, account, f"{path}{name}.")
        else:
            yield path + name, value


def _text(value: object) -> str | None:
    return value.strip() if isinstance(value, str) else None


def _digest(sent: Mapping[str, Any]) -> str:
    """
    Stand for a post that has no reference of its own, in the fact key.

    Over all that was sent but the number of the sending: which other names matter, nobody knows.
    """
    queue = sent.get("queue")
    told = dict(sent)
    if isinstance(queue, dict):
        told["queue"] = {name: value for name, value in queue.items() if name != "requestID"}
    try:
        return sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
    except orjson.JSONEncodeError:
        raise Malformed(Reason.BAD_BODY) from None  # nested hundreds of times


def _payment(fields: Mapping[str, Any], account: Account) -> Statement:
    status, transaction = fields["status"], fields["transaction"]
    if transaction is None or status is None:
        raise Quarantined(Reason.UNREADABLE_FIELD)
    currency = _currency(fields["currency"])
    price, returned = money(fields["price"], currency), money(fields["refund_price"], currency)
    refunded = fields["type"] == "TransactionRefund" or _truth(fields["is_refund"])
    kind, why = _refunded(fields) if refunded else _bought(status, fields["price"])
    subscribing = kind is Kind.SUBSCRIPTION_TRIAL_STARTED
    brand = (fields["provider_status"] or "").lower()
    last4 = (fields["credit_card"] or "")[-4:]
    return Statement(
        kind=kind,
        fact_key=(
            *(transaction, status, "refunded" if refunded else None),
            *((fields["refund_date"], returned.value if returned else fields["refund_price"]) if refunded else ()),
        ),
        status_code=status,
        status_text=fields["provider_status"],
        payment_ref=transaction,
        subscription_ref=fields["subscription"],
        reason=why,
        amount=None if subscribing else price,
        refund=returned if refunded else None,
        method=_method(fields),
        card=Card(last4=last4 if last4.isdecimal() else None, brand=brand if brand in BRANDS else None),
        customer=_customer(fields["subscriber"], None, account),
        subscription=Subscription(plan=fields["package_id"], period_end=_iso(fields["expire_date"])),
        occurred=_utc(fields["refund_date"] if refunded else fields["purchase_date"]),
    )


def _bought(status: str, price: str | None) -> tuple[Kind, Why | None]:
    why = PURCHASES.get(status)
    if why is None:
        return Kind.PAYMENT_UNKNOWN, None
    if why not in FREE:
        return Kind.PAYMENT_SUCCEEDED, why
    if price is None:
        return Kind.PAYMENT_UNKNOWN, why  # only the price tells whether money was taken
    return (FREE[why] if Decimal(price) == 0 else Kind.PAYMENT_SUCCEEDED), why


def _refunded(fields: Mapping[str, Any]) -> tuple[Kind, Why | None]:
    known = REFUND_REASONS.get((fields["refund_reason"] or "").lower())
    if known is not None:
        return known
    price, returned = fields["price"], fields["refund_price"]
    partial = price is not None and returned is not None and Decimal(returned) < Decimal(price)
    return (Kind.PAYMENT_PARTIALLY_REFUNDED if partial else Kind.PAYMENT_REFUNDED), None


def _change(fields: Mapping[str, Any], account: Account) -> Statement:
    subscription = fields["subscription_id"] or fields["original"]
    if subscription is None:
        raise Quarantined(Reason.UNREADABLE_FIELD)
    kind, why = _changed(fields)
    expires = _iso(fields["expires"])
    # A canceled subscription is served to its end, unless the state says that the end is behind us.
    over = (fields["state"] or "").lower() == "passive"
    ends = (_iso(fields["canceled"]) or expires) if over else expires
    ending = kind in {Kind.SUBSCRIPTION_CANCELED, Kind.SUBSCRIPTION_EXPIRED}
    return Statement(
        kind=kind,
        fact_key=(
            # Where the format of 2020 names no change, the state is what changed.
            *("subscription", subscription, _word(fields["change"]) or fields["state"]),
            *(fields["expires"], fields["last"], fields["canceled"]),
            *(fields["plan"], fields["new_package"], fields["quantity"], fields["pending_quantity"]),
        ),
        status_code=fields["change"] or fields["state"],
        status_text="/".join(filter(None, (fields["state"], fields["real_state"]))) or None,
        payment_ref=fields["last"],
        subscription_ref=subscription,
        reason=why,
        customer=_customer(fields["profile_subscriber"], fields["profile_phone"], account),
        subscription=Subscription(fields["plan"], fields["phase"], expires, ends if ending else None),
        occurred=_created(fields),
    )


def _changed(fields: Mapping[str, Any]) -> tuple[Kind, Why | None]:
    if fields["change"] is not None:
        known = CHANGES.get(_word(fields["change"]))
        # No page names the event of a freeze; the date that ends it is in the profile.
        frozen = Kind.SUBSCRIPTION_SUSPENDED if fields["frozen"] else Kind.SUBSCRIPTION_UNKNOWN
        return known or (frozen, None)
    if fields["canceled"] or fields["cancel_code"]:
        return Kind.SUBSCRIPTION_CANCELED, None
    return STATES.get((fields["state"] or "").lower(), Kind.SUBSCRIPTION_UNKNOWN), None


def _word(change: str | None) -> str:
    """The pages write one event in several ways: with capitals or without, and with an underscore."""
    return (change or "").lower().replace("_", "")


def _truth(value: object) -> bool:
    text = str(value).lower() if value is not None else ""
    if text in {"1", "true", "0", "false", ""}:
        return text in {"1", "true"}
    raise Quarantined(Reason.UNREADABLE_FIELD)


def _method(fields: Mapping[str, Any]) -> Method:
    provider = (fields["provider_name"] or "").lower()
    if "card" in provider or fields["credit_card"]:
        return Method.CARD
    return Method.WALLET if "paypal" in provider else Method.UNKNOWN


def _customer(subscriber: str | None, number: str | None, account: Account) -> Customer:
    address = subscriber if subscriber and "@" in subscriber else None
    phone = number or (None if address else subscriber)
    return Customer(
        key=redact.pseudonym(subscriber, account),
        phone=redact.phone(phone, account),
        email=redact.email(address, account),
    )


def _currency(text: str | None) -> str | None:
    try:
        return currency_code(text) if text else None
    except ValueError:
        raise Quarantined(Reason.UNREADABLE_FIELD) from None


def _utc(text: str | None) -> Moment | None:
    return moment(text, UTC)


def _created(fields: Mapping[str, Any]) -> Moment | None:
    found = _utc(fields["created_date"])
    if found is None or fields["created_zone"] is None:
        return found or _utc(fields["created"] or fields["registered"])
    return Moment(found.at, "provider") if fields["created_zone"].upper() in UTC_NAMES else None


def _iso(text: str | None) -> str | None:
    found = _utc(text)
    return found.at.isoformat() if found else None
