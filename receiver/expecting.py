"""
Expected payments: what the shop announced before it redirected, and what a payment is against it.

Pure. The store keeps an Expectation and who took it; ``receiver.placing`` asks for it before a payment is accepted.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

import orjson

from receiver.event import Event, Kind, Verdict
from receiver.money import Money

# Kinds that are held against the announcement: money was taken, or is reserved.
JUDGED = frozenset({Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_AUTHORIZED})
# Only taken money takes the order: what was reserved is captured under an id of its own.
TAKES = frozenset({Kind.PAYMENT_SUCCEEDED})
# A payment with one of these has paid the order, and the next one comes on top.
TAKING = frozenset({Verdict.MATCH, Verdict.AMOUNT_UNPROVEN, Verdict.OVERPAID})
# With one of these the order is still open: the right payment may follow.
LACKING = frozenset({Verdict.UNDERPAID, Verdict.WRONG_CURRENCY})


@dataclass(frozen=True, slots=True)
class Expectation:
    """One announced order. ``taken`` names the payment that paid it; empty while none has."""

    provider: str
    account: str
    order_ref: str
    amount: Money
    deadline: datetime
    announced_at: datetime
    taken: str = ""

    @property
    def read(self) -> str:
        """What ``accept.lua`` compares, to see that nothing has changed since it was read."""
        return f"{self.amount.minor} {self.amount.currency} {self.taken}"

    @property
    def id(self) -> str:
        return order_id(self.provider, self.account, self.order_ref)


def order_id(provider: str, account: str, order_ref: str) -> str:
    """Hex SHA-256 that stands for an order in the names of keys: an order reference may hold any sign."""
    return hashlib.sha256(orjson.dumps(["order", provider, account, order_ref])).hexdigest()


def payment_name(event: Event) -> str:
    """Return what tells one payment of an order from another: the provider's id, or the fact where it sends none."""
    return event.says.payment_ref or event.id


def verdict(event: Event, known: Expectation | None, *, adds_commission: bool) -> Verdict | None:
    """
    Hold a payment against what was announced (docs/events.md, Expected payments); None where that makes no sense.

    *adds_commission*: the provider may add an instalment commission to the amount, so that more than was announced is
    what was announced where the payment is in instalments.
    """
    if event.says.kind not in JUDGED:
        return None
    if known is None:
        return Verdict.UNKNOWN_ORDER
    if known.taken and known.taken != payment_name(event):
        # A subscription charges the order it began with again and again.
        return None if event.says.subscription_ref else Verdict.ALREADY_PAID
    return _compared(event, known.amount, adds_commission=adds_commission)


def _compared(event: Event, announced: Money, *, adds_commission: bool) -> Verdict:
    paid, card = event.says.amount, event.says.card
    if paid is not None and paid.currency != announced.currency:
        return Verdict.WRONG_CURRENCY
    if paid is not None and paid.minor < announced.minor:
        return Verdict.UNDERPAID
    in_parts = adds_commission and ((card.installments if card else None) or 1) > 1
    if paid is not None and paid.minor > announced.minor and not in_parts:
        return Verdict.OVERPAID
    # An order that nobody proved may be another order's payment, shown to us once more.
    proven = paid is not None and {"amount", "order_ref"}.issubset(event.trust.covers)
    return Verdict.MATCH if proven else Verdict.AMOUNT_UNPROVEN
