"""
Payments whose end is not known yet: what is asked about them later, and which events end the waiting. Pure.

A watch belongs to a refund, a payment or an order, whichever of them the event names first. The store keeps it as a key
and a scheduled job, both written and taken away by the script that accepts events.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from receiver.asking import Sought
from receiver.event import Event, Kind
from receiver.expecting import LACKING, Expectation
from receiver.message import Level

# Seconds that a watch may last where nobody answers; its job gives up when the key is gone.
LIVES = 14 * 24 * 3600
# An event of these leaves a payment open. An unknown status is asked about too: the API may know a better word.
OPEN = frozenset({Kind.PAYMENT_PENDING, Kind.PAYMENT_UNKNOWN, Kind.PAYMENT_REFUND_PENDING})
_FAILED = frozenset({Kind.PAYMENT_FAILED, Kind.PAYMENT_REFUND_FAILED})
_UNPAID = frozenset({Kind.PAYMENT_CANCELED, Kind.PAYMENT_EXPIRED})
_ENDED = frozenset(
    {
        Kind.PAYMENT_SUCCEEDED,
        Kind.PAYMENT_AUTHORIZED,
        Kind.PAYMENT_VOIDED,
        Kind.PAYMENT_REFUNDED,
        Kind.PAYMENT_PARTIALLY_REFUNDED,
        Kind.PAYMENT_CHARGED_BACK,
    }
)


@dataclass(frozen=True, slots=True)
class Watch:
    """What will be asked, since when it is open, and who made us ask (``receiver.asking.Sought``)."""

    provider: str
    account: str
    channel: str
    kind: Kind
    since: datetime
    order_ref: str | None = None
    payment_ref: str | None = None
    refund_ref: str | None = None
    subscription_ref: str | None = None
    until: datetime | None = None  # asked once more when this is over
    verified: bool = True
    source: str = ""

    @property
    def id(self) -> str:
        """What the watch is called: by the refund, the payment or the order, whichever is the nearest."""
        whose = ("announced", self.order_ref) if self.until else ("order", self.order_ref)
        refs = (("refund", self.refund_ref), ("payment", self.payment_ref), whose)
        found = [_name(what, self.provider, self.account, ref) for what, ref in refs if ref]
        if not found:
            raise ValueError("a watch needs a reference to ask by")
        return found[0]

    @property
    def sought(self) -> Sought:
        return Sought(
            self.channel,
            self.kind,
            self.order_ref,
            self.payment_ref,
            self.refund_ref,
            self.subscription_ref,
            since=self.since,
        )

    def to_json(self) -> bytes:
        return orjson.dumps(self)


def from_wire(wire: Mapping[str, Any]) -> Watch:
    """Read back what ``to_json`` made."""
    times = {name: datetime.fromisoformat(wire[name]) for name in ("since", "until") if wire[name]}
    return Watch(**{**wire, "kind": Kind(wire["kind"]), **times})


def of_event(event: Event, source: str = "") -> Watch | None:
    """
    Return what is to be asked about a callback that leaves a payment open; None where nothing names it.

    What we say ourselves (another amount, never confirmed) is for a person, and asks nothing.
    """
    says = event.says
    if says.kind not in OPEN or event.origin != "callback" or not names(event):
        return None
    return Watch(
        event.provider,
        event.account,
        event.channel,
        says.kind,
        event.received_at,
        says.order_ref,
        says.payment_ref,
        says.refund_ref,
        says.subscription_ref,
        verified=event.trust.level is not Level.CLAIMED,
        source=source,
    )


def of_expectation(known: Expectation, channel: str) -> Watch:
    return Watch(
        known.provider,
        known.account,
        channel,
        Kind.PAYMENT_PENDING,
        known.announced_at,
        order_ref=known.order_ref,
        until=known.deadline,
    )


def names(event: Event) -> tuple[str, ...]:
    """Return the ids of the watches that an event concerns: of its refund, its payment, its order, its announcement."""
    says = event.says
    refs = (
        *(("refund", says.refund_ref), ("payment", says.payment_ref)),
        *((what, says.order_ref) for what in ("order", "announced")),
    )
    return tuple(_name(what, event.provider, event.account, ref) for what, ref in refs if ref)


def ended(event: Event) -> tuple[str, ...]:
    """
    Return which of the watches that an event concerns it ends.

    Whatever ends unpaid, or with too little, does not end what was announced: another attempt may follow.
    """
    concerned, kind = names(event), event.says.kind
    if kind in _UNPAID or (kind in _ENDED and event.expected in LACKING):
        return concerned[:-1] if event.says.order_ref else concerned
    if kind in _ENDED:
        return concerned
    return concerned[:1] if kind in _FAILED else ()


def _name(what: str, provider: str, account: str, ref: str) -> str:
    return hashlib.sha256(orjson.dumps([what, provider, account, ref])).hexdigest()
