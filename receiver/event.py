"""The event: one fact about one payment, subscription or instalment, in the words of docs/events.md."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

import orjson

from receiver.message import Level
from receiver.money import Money


class Kind(StrEnum):
    """What an event says; the CloudEvents ``type``. Nothing outside this list is ever sent."""

    PAYMENT_PENDING = "payment.pending"
    PAYMENT_AUTHORIZED = "payment.authorized"
    PAYMENT_SUCCEEDED = "payment.succeeded"
    PAYMENT_FAILED = "payment.failed"
    PAYMENT_CANCELED = "payment.canceled"
    PAYMENT_EXPIRED = "payment.expired"
    PAYMENT_VOIDED = "payment.voided"
    PAYMENT_REFUND_PENDING = "payment.refund_pending"
    PAYMENT_REFUNDED = "payment.refunded"
    PAYMENT_PARTIALLY_REFUNDED = "payment.partially_refunded"
    PAYMENT_REFUND_FAILED = "payment.refund_failed"
    PAYMENT_CHARGED_BACK = "payment.charged_back"
    PAYMENT_UNKNOWN = "payment.unknown"
    SUBSCRIPTION_PENDING = "subscription.pending"
    SUBSCRIPTION_TRIAL_STARTED = "subscription.trial_started"
    SUBSCRIPTION_ACTIVATED = "subscription.activated"
    SUBSCRIPTION_RENEWED = "subscription.renewed"
    SUBSCRIPTION_PAST_DUE = "subscription.past_due"
    SUBSCRIPTION_SUSPENDED = "subscription.suspended"
    SUBSCRIPTION_REACTIVATED = "subscription.reactivated"
    SUBSCRIPTION_CANCELED = "subscription.canceled"
    SUBSCRIPTION_REJECTED = "subscription.rejected"
    SUBSCRIPTION_EXPIRED = "subscription.expired"
    SUBSCRIPTION_UPDATED = "subscription.updated"
    SUBSCRIPTION_UNKNOWN = "subscription.unknown"
    INSTALLMENT_PENDING = "installment.pending"
    INSTALLMENT_PAID = "installment.paid"
    INSTALLMENT_PARTIALLY_PAID = "installment.partially_paid"
    INSTALLMENT_PAST_DUE = "installment.past_due"
    INSTALLMENT_CANCELED = "installment.canceled"
    NOTICE_RECEIVED = "notice.received"


# Kinds that give or take something: an account that confirms holds them until status and amount are covered.
WEIGHTY = frozenset(
    {
        Kind.PAYMENT_SUCCEEDED,
        Kind.PAYMENT_AUTHORIZED,
        Kind.PAYMENT_REFUNDED,
        Kind.PAYMENT_PARTIALLY_REFUNDED,
        Kind.PAYMENT_CHARGED_BACK,
        Kind.PAYMENT_VOIDED,
        Kind.SUBSCRIPTION_ACTIVATED,
        Kind.SUBSCRIPTION_RENEWED,
        Kind.SUBSCRIPTION_REACTIVATED,
        Kind.SUBSCRIPTION_TRIAL_STARTED,
        Kind.INSTALLMENT_PAID,
    }
)


class Why(StrEnum):
    """The event's ``reason``: says more than the kind."""

    PARTIAL_PAYMENT = "partial_payment"
    AWAITING_MERCHANT = "awaiting_merchant"
    THREEDS_ONLY = "threeds_only"
    NOT_CONFIRMED = "not_confirmed"
    OTHER_PENDING = "other_pending"
    TRIAL = "trial"
    CONVERSION = "conversion"
    INITIAL = "initial"
    RENEWAL = "renewal"
    REACTIVATION = "reactivation"
    ONE_TIME = "one_time"
    QUANTITY = "quantity"
    RECOVERED = "recovered"
    CHARGEBACK = "chargeback"
    CHARGEBACK_PREVENTED = "chargeback_prevented"
    UNCONFIRMED = "unconfirmed"


class Verdict(StrEnum):
    """What a payment is against the order that the shop announced; the event's ``expected``."""

    MATCH = "match"
    AMOUNT_UNPROVEN = "amount_unproven"  # equal, but the amount is not covered
    UNDERPAID = "underpaid"
    OVERPAID = "overpaid"
    WRONG_CURRENCY = "wrong_currency"
    UNKNOWN_ORDER = "unknown_order"
    ALREADY_PAID = "already_paid"  # another payment took the order


class Category(StrEnum):
    """Why a payment failed, in one list for all providers."""

    INSUFFICIENT_FUNDS = "insufficient_funds"
    CARD_DATA = "card_data"
    BANK_DECLINE = "bank_decline"
    FRAUD = "fraud"
    THREEDS = "threeds"
    LIMIT = "limit"
    CUSTOMER_CANCELED = "customer_canceled"
    NOT_CONFIRMED = "not_confirmed"
    OPERATOR_ERROR = "operator_error"
    MERCHANT_SETUP = "merchant_setup"
    PROVIDER_ERROR = "provider_error"
    DUPLICATE = "duplicate"
    UNKNOWN = "unknown"


class Method(StrEnum):
    """What the payment was made with."""

    CARD = "card"
    CARRIER = "carrier"
    BANK_TRANSFER = "bank_transfer"
    CASH = "cash"
    CREDIT = "credit"
    WALLET = "wallet"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Failure:
    category: Category
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Card:
    """Never more of a card than this."""

    last4: str | None = None
    brand: str | None = None
    installments: int | None = None


@dataclass(frozen=True, slots=True)
class Customer:
    """``ref`` is the merchant's own id; the rest is masked or keyed by ``receiver.redact``."""

    ref: str | None = None
    key: str | None = None
    phone: str | None = None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    plan: str | None = None
    phase: str | None = None
    period_end: str | None = None
    ends_at: str | None = None


@dataclass(frozen=True, slots=True)
class Installment:
    ref: str
    number: int | None = None
    due: str | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    level: Level
    covers: tuple[str, ...] = ()
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """A time the provider named; ``zone`` is ``provider`` where it said the zone too, else ``assumed``."""

    at: datetime
    zone: str


@dataclass(frozen=True, slots=True)
class Statement:
    """
    What a provider's notification says, in our words; ``Provider.normalize`` makes these.

    ``fact_key`` says what makes two deliveries the same fact (docs/events.md). Money is exact, references are text,
    ``status_code`` is the provider's own word.
    """

    kind: Kind
    fact_key: tuple[str | None, ...] = field(repr=False)  # may hold a session's id or the proven hash
    status_code: str | None
    status_text: str | None = None
    order_ref: str | None = None
    payment_ref: str | None = None
    refund_ref: str | None = None
    subscription_ref: str | None = None
    reason: Why | None = None
    amount: Money | None = None
    refund: Money | None = None
    failure: Failure | None = None
    method: Method = Method.UNKNOWN
    card: Card | None = None
    customer: Customer = Customer()
    subscription: Subscription | None = None
    installment: Installment | None = None
    occurred: Moment | None = None


@dataclass(frozen=True)
class Event:
    """One statement, whose it is, and how far it is proven. ``raw`` is redacted."""

    provider: str
    account: str
    channel: str
    test: bool
    received_at: datetime
    trust: Trust
    says: Statement
    custom: Mapping[str, str] = field(default_factory=dict, repr=False)
    raw: Mapping[str, str] = field(default_factory=dict, repr=False)
    origin: str = "callback"
    expected: Verdict | None = None  # where the shop announces its orders (receiver.expecting)
    known_id: str | None = None  # of an event that was read back: its fact key is not in it

    @cached_property
    def id(self) -> str:
        """Hex SHA-256 over provider, account and fact key: letters and digits only, so a job id can hold it."""
        if self.known_id is not None:
            return self.known_id
        return fact_id(self.provider, self.account, self.says.fact_key)

    def to_wire(self) -> dict[str, Any]:
        """Return the CloudEvents 1.0 object that consumers get (structured mode, version 1 of docs/events.md)."""
        says = self.says
        received = self.received_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        wire: dict[str, Any] = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/{self.provider}/{self.account}",
            "type": says.kind.value,
        }
        if says.order_ref:
            wire["subject"] = says.order_ref
        wire["time"] = _utc(says.occurred.at) if says.occurred else received
        wire["datacontenttype"] = "application/json"
        wire["dataschema"] = "urn:ulak:event:1"
        wire["data"] = {
            "provider": self.provider,
            "account": self.account,
            "channel": self.channel,
            "test": self.test,
            "origin": self.origin,
            "order_ref": says.order_ref,
            "payment_ref": says.payment_ref,
            "refund_ref": says.refund_ref,
            "subscription_ref": says.subscription_ref,
            "status": {"code": says.status_code, "text": says.status_text},
            "reason": says.reason,
            "amount": says.amount.to_wire() if says.amount else None,
            "refund": says.refund.to_wire() if says.refund else None,
            "failure": says.failure,
            "method": says.method,
            "card": says.card,
            "customer": says.customer,
            "subscription": says.subscription,
            "installment": says.installment,
            "occurred_at": says.occurred.at.isoformat() if says.occurred else None,
            "occurred_at_zone": says.occurred.zone if says.occurred else "none",
            "received_at": received,
            "trust": self.trust,
            "expected": self.expected,
            "replay": False,
            "custom": self.custom,
            "raw": self.raw,
        }
        return wire

    def to_json(self) -> bytes:
        """The bytes that are stored and enqueued; orjson writes the nested records and enums by itself."""
        return orjson.dumps(self.to_wire())


def _utc(moment: datetime) -> str:
    text = moment.astimezone(UTC).isoformat()
    return text.removesuffix("+00:00") + "Z"


def fact_id(provider: str, account: str, fact_key: tuple[str | None, ...]) -> str:
    """Hex SHA-256 of the fact: what two deliveries of it have in common."""
    return hashlib.sha256(orjson.dumps([provider, account, *fact_key])).hexdigest()


def own_id(event_id: str, word: str) -> str:
    """Return the id of what we say about a fact beside it, as that nobody confirmed it; *word* tells them apart."""
    return hashlib.sha256(orjson.dumps([event_id, word])).hexdigest()


def from_wire(wire: Mapping[str, Any]) -> Event:
    """Read back an event that ``to_wire`` made; the fact key is not in it, so its id is taken as it stands."""
    data = wire["data"]
    occurred = data["occurred_at"]
    says = Statement(
        kind=Kind(wire["type"]),
        fact_key=(),
        status_code=data["status"]["code"],
        status_text=data["status"]["text"],
        order_ref=data["order_ref"],
        payment_ref=data["payment_ref"],
        refund_ref=data["refund_ref"],
        subscription_ref=data["subscription_ref"],
        reason=Why(data["reason"]) if data["reason"] else None,
        amount=_money(data["amount"]),
        refund=_money(data["refund"]),
        failure=Failure(**data["failure"]) if data["failure"] else None,
        method=Method(data["method"]),
        card=Card(**data["card"]) if data["card"] else None,
        customer=Customer(**data["customer"]),
        subscription=Subscription(**data["subscription"]) if data["subscription"] else None,
        installment=Installment(**data["installment"]) if data["installment"] else None,
        occurred=Moment(datetime.fromisoformat(occurred), data["occurred_at_zone"]) if occurred else None,
    )
    trust = data["trust"]
    return Event(
        provider=data["provider"],
        account=data["account"],
        channel=data["channel"],
        test=data["test"],
        received_at=datetime.fromisoformat(data["received_at"]),
        trust=Trust(Level(trust["level"]), tuple(trust["covers"]), trust["conflict"]),
        says=says,
        custom=data["custom"],
        raw=data["raw"],
        origin=data["origin"],
        expected=Verdict(data["expected"]) if data["expected"] else None,
        known_id=wire["id"],
    )


def _money(wire: Mapping[str, Any] | None) -> Money | None:
    return Money(wire["minor"], wire["currency"]) if wire else None
