"""Comparing a held fact with what the provider's API says (docs/events.md, Confirmation). Pure; workers do the rest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from receiver.account import Account
from receiver.event import Event, Kind, Statement, Trust, Why, fact_id, own_id
from receiver.message import Level

# Which states of the API agree with a held kind: the same, and those that only come after it.
_AFTER_SALE = frozenset(
    {
        Kind.PAYMENT_SUCCEEDED,
        Kind.PAYMENT_VOIDED,
        Kind.PAYMENT_REFUND_PENDING,
        Kind.PAYMENT_REFUND_FAILED,
        Kind.PAYMENT_PARTIALLY_REFUNDED,
        Kind.PAYMENT_REFUNDED,
        Kind.PAYMENT_CHARGED_BACK,
    }
)
_REFUNDS = frozenset({Kind.PAYMENT_PARTIALLY_REFUNDED, Kind.PAYMENT_REFUNDED, Kind.PAYMENT_CHARGED_BACK})
_SUBSCRIBED = frozenset(
    {
        Kind.SUBSCRIPTION_ACTIVATED,
        Kind.SUBSCRIPTION_RENEWED,
        Kind.SUBSCRIPTION_REACTIVATED,
        Kind.SUBSCRIPTION_TRIAL_STARTED,
    }
)
AGREEING = {
    Kind.PAYMENT_SUCCEEDED: _AFTER_SALE,
    Kind.PAYMENT_AUTHORIZED: _AFTER_SALE | {Kind.PAYMENT_AUTHORIZED},
    Kind.PAYMENT_VOIDED: frozenset({Kind.PAYMENT_VOIDED}),
    Kind.PAYMENT_REFUNDED: _REFUNDS,
    Kind.PAYMENT_PARTIALLY_REFUNDED: _REFUNDS,
    Kind.PAYMENT_CHARGED_BACK: _REFUNDS,
    Kind.INSTALLMENT_PAID: frozenset({Kind.INSTALLMENT_PAID}),
    Kind.SUBSCRIPTION_ACTIVATED: _SUBSCRIBED - {Kind.SUBSCRIPTION_TRIAL_STARTED},
    Kind.SUBSCRIPTION_RENEWED: frozenset({Kind.SUBSCRIPTION_RENEWED}),
    Kind.SUBSCRIPTION_REACTIVATED: frozenset({Kind.SUBSCRIPTION_REACTIVATED}),
    Kind.SUBSCRIPTION_TRIAL_STARTED: frozenset({Kind.SUBSCRIPTION_TRIAL_STARTED}),
}
# Where an API knows payments only, the reason of the payment proves what happened to the subscription.
_PAID_FOR = {
    Kind.SUBSCRIPTION_ACTIVATED: frozenset({Why.INITIAL, Why.TRIAL, Why.CONVERSION}),
    Kind.SUBSCRIPTION_RENEWED: frozenset({Why.RENEWAL, Why.CONVERSION}),
    Kind.SUBSCRIPTION_REACTIVATED: frozenset({Why.REACTIVATION}),
}


class Finding(StrEnum):
    """What a comparison came to."""

    AGREES = "agrees"
    DIFFERS = "differs"  # another amount or currency
    OPEN = "open"  # not found, or a negative answer to a positive callback: no answer


@dataclass(frozen=True, slots=True)
class Judgement:
    finding: Finding
    statement: Statement | None = None


def judge(event: Event, found: Sequence[Statement], exact: frozenset[Kind] = frozenset()) -> Judgement:
    """
    Compare fact, kind, amount and currency of the held *event* with what the API states.

    *exact* are the kinds whose statements carry the callback's own fact key (``receiver.asking.Query``).
    """
    says = event.says
    agreeing = AGREEING.get(says.kind, frozenset())
    same = [one for one in found if one.kind in agreeing and _is_it(event, one, exact)]
    if says.kind in _SUBSCRIBED:
        same += _payments_of(event, found)
        return Judgement(Finding.AGREES, same[-1]) if same else Judgement(Finding.OPEN)
    # The statement of the very kind knows the amount; a later one stands in where the API keeps only the last state.
    very = [one for one in same if one.payment_ref == says.payment_ref] or same
    best = next((one for one in very if one.kind is says.kind), very[-1] if very else None)
    if best is None or best.amount is None or (says.refund is not None and best.refund is None):
        return Judgement(Finding.OPEN)
    if says.amount not in {None, best.amount} or says.refund not in {None, best.refund}:
        return Judgement(Finding.DIFFERS, best)
    return Judgement(Finding.AGREES, best)


def _is_it(event: Event, one: Statement, exact: frozenset[Kind]) -> bool:
    """Say whether the API speaks of this very fact, and not of another one of the same order or customer."""
    says, covers = event.says, event.trust.covers
    if one.kind is says.kind and one.kind in exact:
        return fact_id(event.provider, event.account, one.fact_key) == event.id
    if "order_ref" in covers:
        # The order is proven, so it may find the payment; a payment id that is proven too must agree.
        very = "payment_ref" not in covers or says.payment_ref == one.payment_ref
        return says.order_ref is not None and says.order_ref == one.order_ref and very
    if not _agree(says.order_ref, one.order_ref):
        return False
    refs = ((says.payment_ref, one.payment_ref), (says.subscription_ref, one.subscription_ref))
    known = [ours == theirs for ours, theirs in refs if ours is not None and theirs is not None]
    return bool(known) and all(known) and (one.kind is not says.kind or says.status_code == one.status_code)


def _payments_of(event: Event, found: Sequence[Statement]) -> list[Statement]:
    """Return payments that prove a change of the held subscription; none where money went back since."""
    says = event.says
    if any(one.kind in _REFUNDS for one in found):
        return []
    reasons = _PAID_FOR.get(says.kind, frozenset())
    return [
        one
        for one in found
        if one.kind in {Kind.PAYMENT_SUCCEEDED, Kind.SUBSCRIPTION_TRIAL_STARTED}
        and one.reason in reasons
        and None not in {says.payment_ref, says.subscription_ref}
        and (says.payment_ref, says.subscription_ref) == (one.payment_ref, one.subscription_ref)
    ]


def _agree(ours: str | None, theirs: str | None) -> bool:
    return ours is None or theirs is None or ours == theirs


# What may have happened to the money since, and is told beside the confirmed fact.
SINCE = _AFTER_SALE - {Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_REFUND_FAILED, Kind.PAYMENT_REFUND_PENDING}


def since(event: Event, found: Iterable[Statement], now: datetime) -> list[Event]:
    """Return what the API says happened later: a success that was voided since must not stand alone."""
    says = event.says
    if says.kind in SINCE:
        return []
    proven_order = says.order_ref if "order_ref" in event.trust.covers else None
    return [
        replace(
            event,
            says=replace(one, order_ref=one.order_ref or proven_order),
            trust=Trust(Level.CONFIRMED, stated(one)),
            received_at=now,
            origin="confirmation",
            known_id=None,
            raw={},
            custom={},
        )
        for one in found
        if one.kind in SINCE and _agree(says.order_ref, one.order_ref)
    ]


def confirmed(event: Event, statement: Statement) -> Event:
    """
    Return the held fact with what the API added and proved; its id stays.

    What neither the callback proved nor the API states is left out, or replaced by what the API states.
    """
    says, covers = event.says, event.trust.covers
    returning = says.kind in _REFUNDS and statement.kind in _REFUNDS
    proven = replace(
        says,
        # A full refund of which we knew no amount may turn out to be a partial one, or a bank's.
        kind=statement.kind if returning else says.kind,
        reason=statement.reason if returning else says.reason,
        amount=None if says.kind in _SUBSCRIBED else statement.amount,
        refund=statement.refund if returning else says.refund,
        order_ref=says.order_ref if "order_ref" in covers else statement.order_ref,
        payment_ref=says.payment_ref if "payment_ref" in covers else statement.payment_ref or says.payment_ref,
    )
    return replace(
        event,
        says=proven,
        trust=Trust(Level.CONFIRMED, _covers(event, proven, statement)),
        origin="confirmation",
        known_id=event.id,
    )


def _covers(event: Event, proven: Statement, statement: Statement) -> tuple[str, ...]:
    """Return what was proven before, and each value of the event that the API itself stated now."""
    known, stated = _values(proven), _values(statement)
    # The same kind is the same status, in whatever word the API has for it.
    agreed = {"status"} if proven.kind is statement.kind else set()
    now = (name for name, value in known.items() if value is not None and (value == stated[name] or name in agreed))
    return tuple(dict.fromkeys((*event.trust.covers, *now)))


def stated(says: Statement) -> tuple[str, ...]:
    return tuple(name for name, value in _values(says).items() if value is not None)


def learned(says: Statement, account: Account, channel: str, now: datetime, order_ref: str | None = None) -> Event:
    """
    Return what the API states as an event of its own, found by reconciliation and proven by the API.

    Where it names no order, the one that we asked with is given, and not among what is covered.
    """
    return Event(
        provider=account.provider,
        account=account.slug,
        channel=channel,
        test=account.test,
        received_at=now,
        trust=Trust(Level.CONFIRMED, stated(says)),
        says=replace(says, order_ref=says.order_ref or order_ref),
        origin="reconciliation",
    )


def _values(says: Statement) -> dict[str, object]:
    return {
        "order_ref": says.order_ref,
        "payment_ref": says.payment_ref,
        "status": says.status_code,
        "amount": says.amount,
    }


def differing(event: Event) -> Event:
    """Return what is said where the API names another amount: pending, in conflict, for a person to look at."""
    return _instead(event, Kind.PAYMENT_PENDING, "differs", conflict=True)


def never_confirmed(event: Event) -> Event:
    """Return what is said where the API did not agree in time: unknown, in conflict."""
    family = event.says.kind.value.partition(".")[0]
    kind = Kind.SUBSCRIPTION_UNKNOWN if family == "subscription" else Kind.PAYMENT_UNKNOWN
    return _instead(event, kind, "unconfirmed", conflict=True)


def released_unasked(event: Event) -> Event:
    """Return what an account with ``unconfirmed = "release"`` is told while nobody answers: pending, and no more."""
    return _instead(event, Kind.PAYMENT_PENDING, "unanswered", conflict=False)


def _instead(event: Event, kind: Kind, word: str, *, conflict: bool) -> Event:
    return replace(
        event,
        says=replace(event.says, kind=kind, reason=Why.UNCONFIRMED),
        trust=replace(event.trust, conflict=conflict),
        origin="confirmation",
        known_id=own_id(event.id, word),
    )
