"""
Comparing a provider's own list of a time with what was received. Pure; workers.listing asks and reads.

The fact's id decides where list and callback have one key; elsewhere the kind and the references do. In doubt there is
no difference, for a false alarm a day teaches people to look away.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from receiver.account import Account
from receiver.confirming import AGREEING
from receiver.event import WEIGHTY, Event, Kind, Statement, fact_id
from receiver.watching import OPEN

T = TypeVar("T")
# A success that a list does not bear out, and what was said when it was asked about by itself.
Doubt = tuple[Event, Sequence[Statement]]


class What(StrEnum):
    """What differs. The same word is in the table, the JSON and the documentation."""

    MISSING = "missing"  # they have it, and nothing about this payment was given out
    HELD = "held"  # it came, and waits for confirmation
    OTHER_AMOUNT = "other_amount"
    OTHER_STATE = "other_state"  # about this payment something else was given out
    NOT_LISTED = "not_listed"  # a success was given out, and they have no such payment
    ACCEPTED = "accepted"  # it was missing, and was put in now


_UNPAID = frozenset({Kind.PAYMENT_FAILED, Kind.PAYMENT_CANCELED, Kind.PAYMENT_EXPIRED})
# A callback tells these under a key of its own where the query does not call them exact. All others have one key: the
# callback's, or where no callback tells them, the API's.
_TWO_KEYS = _UNPAID | {Kind.PAYMENT_AUTHORIZED, Kind.PAYMENT_REFUND_FAILED}
COMPARED = WEIGHTY | _TWO_KEYS
# A list that has the payment in one of these states bears out that it was paid; that it is open may just be late news.
_BORNE_OUT = AGREEING[Kind.PAYMENT_SUCCEEDED] | OPEN


@dataclass(frozen=True, slots=True)
class Difference:
    """What the provider states beside what was given out or is held; one of them may be missing."""

    what: What
    id: str
    theirs: Statement | None = None
    ours: Event | None = None

    @property
    def acceptable(self) -> bool:
        """Whether the stated fact can be put in: not where it would contradict what was given out."""
        if self.theirs is None:
            return False
        return self.what is What.MISSING or (self.what is What.OTHER_STATE and self.theirs.kind not in _UNPAID)

    def to_wire(self) -> dict[str, Any]:
        says = self.theirs or (self.ours.says if self.ours else None)
        return {
            "what": self.what,
            "kind": says.kind if says else None,
            "order_ref": says.order_ref if says else None,
            "payment_ref": says.payment_ref if says else None,
            "refund_ref": says.refund_ref if says else None,
            "theirs": _wire(self.theirs),
            "ours": _wire(self.ours.says if self.ours else None),
            "id": self.id,
        }


def _wire(says: Statement | None) -> dict[str, Any] | None:
    if says is None:
        return None
    amount, refund = (money.to_wire() if money else None for money in (says.amount, says.refund))
    return {"kind": says.kind, "amount": amount, "refund": refund}


@dataclass(frozen=True, slots=True)
class Received:
    """
    What came for one account around the time, and the markers of the facts that the list states.

    ``whole`` says that nothing of the time was trimmed away. ``held`` are those that still wait.
    """

    released: Sequence[Event]
    held: Sequence[Event]
    markers: Mapping[str, str]
    whole: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    ``received`` of the ``listed`` facts are as we have them.

    ``open`` have no end yet and are not compared; of ``forgotten`` nobody can tell, for the stream begins later.
    """

    listed: int
    received: int
    open: int
    forgotten: int
    differences: Sequence[Difference]


class _Index(Generic[T]):
    """Finds what is said about one payment: by the provider's id, and by the order where one side names no id."""

    def __init__(self, said: Iterable[tuple[Statement, T]]) -> None:
        self._payments: dict[str, list[T]] = {}
        self._orders: dict[str, list[T]] = {}
        self._nameless: dict[str, list[T]] = {}  # by order, and without a payment's id
        for says, item in said:
            self._add(self._payments, says.payment_ref, item)
            self._add(self._orders, says.order_ref, item)
            if says.payment_ref is None:
                self._add(self._nameless, says.order_ref, item)

    @staticmethod
    def _add(index: dict[str, list[T]], ref: str | None, item: T) -> None:
        if ref is not None:
            index.setdefault(ref, []).append(item)

    def about(self, says: Statement) -> list[T]:
        order = says.order_ref or ""
        if says.payment_ref is None:
            return self._orders.get(order, [])
        return self._payments.get(says.payment_ref, []) + self._nameless.get(order, [])


def ids(stated: Iterable[Statement], account: Account) -> dict[str, Statement]:
    """Return each fact of a list once, by its id."""
    return {fact_id(account.provider, account.slug, one.fact_key): one for one in stated}


def doubtful(
    stated: Sequence[Statement], released: Iterable[Event], account: Account, since: datetime, until: datetime
) -> list[Event]:
    """Return the successes given out that happened in the time and that the list does not bear out."""
    known, index = ids(stated, account), _Index((one, one) for one in stated)
    return [
        event
        for event in released
        if event.says.kind is Kind.PAYMENT_SUCCEEDED
        and since <= _when(event) < until
        and event.id not in known
        and not any(one.kind in _BORNE_OUT for one in index.about(event.says))
    ]


def _when(event: Event) -> datetime:
    return event.says.occurred.at if event.says.occurred else event.received_at


def compare(
    stated: Sequence[Statement],
    received: Received,
    account: Account,
    exact: frozenset[Kind],
    doubted: Sequence[Doubt] = (),
) -> Comparison:
    """
    Compare each fact that the list states with what was received.

    *exact* are the kinds whose statements carry the callback's own fact key (``receiver.asking.Query``).
    """
    facts, comparing = ids(stated, account), _Comparing(received, exact, doubted)
    counts = {"received": 0, "open": 0, "forgotten": 0}
    differences = []
    for name, one in facts.items():
        found = comparing.judge(name, one)
        if isinstance(found, Difference):
            differences.append(found)
        else:
            counts[found] += 1
    differences += [_doubted(event, found) for event, found in comparing.doubted.values()]
    return Comparison(listed=len(facts), differences=differences, **counts)


def _doubted(event: Event, found: Sequence[Statement]) -> Difference:
    against = next((one for one in found if one.kind in _UNPAID), None)
    return Difference(What.OTHER_STATE if against else What.NOT_LISTED, event.id, against, event)


class _Comparing:
    """``doubted`` shrinks as statements explain what is doubted."""

    def __init__(self, received: Received, exact: frozenset[Kind], doubted: Sequence[Doubt]) -> None:
        self._received = received
        self._exact = exact
        self._released = {event.id: event for event in received.released}
        self._held = {event.id: event for event in received.held}
        self._given = _Index((event.says, event) for event in received.released if _tells(event))
        self._waiting = _Index((event.says, event) for event in received.held if _tells(event))
        self.doubted = {event.id: (event, found) for event, found in doubted}

    def judge(self, name: str, one: Statement) -> Difference | str:
        """Return what differs, or what the statement counts as."""
        if one.kind not in COMPARED:
            return "open"
        given, marker = self._given.about(one), self._received.markers.get(name)
        same = self._released.get(name) or self._same(one, given)
        if same:
            return Difference(What.OTHER_AMOUNT, name, one, same) if _differ(same.says, one) else "received"
        if marker == "released":
            return "received"  # and trimmed since
        waiting = self._waiting.about(one)
        held = self._held.get(name) or self._same(one, waiting) or next(iter(waiting), None)
        if held or marker == "held":
            other = held is not None and held.says.kind is one.kind and _differ(held.says, one)
            return Difference(What.OTHER_AMOUNT if other else What.HELD, name, one, held)
        return self._unknown(name, one, given)

    def _same(self, one: Statement, events: Sequence[Event]) -> Event | None:
        """Return the event of the same fact where its id cannot tell; who failed to pay did so under any name."""
        if one.kind in self._exact:
            return None
        kinds = _UNPAID if one.kind in _UNPAID else {one.kind}
        same = (event for event in events if event.says.kind in kinds)
        return next((event for event in same if _agree(event.says.refund_ref, one.refund_ref)), None)

    def _unknown(self, name: str, one: Statement, given: Sequence[Event]) -> Difference | str:
        """Judge a fact of which there is no trace: ours may be beyond it, or against it."""
        weighty = [event for event in given if event.says.kind in WEIGHTY]
        if one.kind in _UNPAID and weighty:
            against = next((event for event in weighty if self.doubted.pop(event.id, None)), None)
            return Difference(What.OTHER_STATE, name, one, against) if against else "received"
        if one.kind is Kind.PAYMENT_AUTHORIZED and any(event.says.kind in AGREEING[one.kind] for event in weighty):
            return "received"
        if one.kind in _TWO_KEYS - self._exact and not self._received.whole:
            return "forgotten"
        if not given:
            return Difference(What.MISSING, name, one)
        return Difference(What.OTHER_STATE, name, one, (weighty or given)[-1])


def _tells(event: Event) -> bool:
    """Say whether an event tells a payment's end; what is said beside a fact that waits does not."""
    return event.says.kind in COMPARED and event.says.kind.startswith("payment.") and not event.trust.conflict


def _differ(ours: Statement, theirs: Statement) -> bool:
    """Say whether the amounts differ; one that a side does not know differs from none."""
    return not (_agree(ours.amount, theirs.amount) and _agree(ours.refund, theirs.refund))


def _agree(ours: object, theirs: object) -> bool:
    return ours is None or theirs is None or ours == theirs
