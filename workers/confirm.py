"""
The question to the provider's API about a held fact; a job of the queue ``ulak-confirm``.

A fact leaves ``held`` once, by the script that also wrote it, so a job that runs twice does no harm; what is said
instead of it has an id of its own, and leaves it held. No answer is never taken for an answer: the job comes back after
growing pauses, and a held success is never released by waiting.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rq import Retry

from receiver import confirming
from receiver.account import Account
from receiver.asking import QueryError, Sought
from receiver.confirming import Finding
from receiver.errors import Unavailable
from receiver.event import Event, Statement, from_wire
from receiver.pipeline import place
from receiver.queries import QUERIES
from workers import codes, desk
from workers.desk import Desk

PAUSES = (5, 15, 60, 300, 900, 1800, 3600)  # seconds; the last one for ever after
_FOR_EVER = 1_000_000
# A callback may be hours late, by the providers' own retries.
_BEFORE = timedelta(days=1)
_AS_USUAL = frozenset({Finding.AGREES, Finding.OPEN})

_log = logging.getLogger("ulak.confirm")


def confirm(wire: dict[str, Any]) -> Retry | None:
    """
    Ask about one held event and settle it, or come back later.

    Whatever fails, the job comes back: RQ gives one that raises a few tries only, and the fact would stay held.
    """
    try:
        return _confirm(wire)
    except Unavailable as exc:
        _log.warning("confirm %s: %s %s", wire.get("id"), exc.reason, exc.detail)
        return _later()
    except Exception as exc:  # noqa: BLE001 - see above; the log names the place, never a value
        _log.error("confirm %s: %s", wire.get("id"), place(exc))
        return _later()


def _confirm(wire: dict[str, Any]) -> Retry | None:
    at = desk.at_work()
    event = from_wire(wire)
    account = at.account(event.provider, event.account)
    if account is None:
        _say(event, "no_credentials")
        return _later()
    exact = QUERIES[event.provider].exact

    def agrees(found: Sequence[Statement]) -> bool:
        return confirming.judge(event, found, exact).finding is Finding.AGREES

    late = datetime.now(UTC) - event.received_at > timedelta(seconds=account.confirm_for)
    try:
        # A list that was fetched for many may confirm; that something differs, only the payment's own record says.
        found = at.questions.ask(sought(event), account, enough=agrees)
    except QueryError as exc:
        _say(event, codes.told(at.client, account, exc))
        if late and account.release_unconfirmed:
            at.accept(confirming.released_unasked(event), account)
        return _later()
    judgement = confirming.judge(event, found, exact)
    if judgement.finding is Finding.OPEN and not late:
        _say(event, judgement.finding)
        return _later()
    _say(event, "gave_up" if judgement.statement is None else judgement.finding)
    # What is said instead has an id of its own; the held fact stays held, and may follow.
    if judgement.statement is None:
        at.accept(confirming.never_confirmed(event), account)
    elif judgement.finding is Finding.DIFFERS:
        at.accept(confirming.differing(event), account)
    else:
        _release(confirming.confirmed(event, judgement.statement), account, at)
        at.accept_all(confirming.since(event, found, datetime.now(UTC)), account)
    return None


def _release(settled: Event, account: Account, at: Desk) -> None:
    """Give out the fact itself. The exact bytes lie beside the held entry."""
    receipt = at.release(settled, account)
    if not receipt.new and not receipt.released:
        # The marker is gone (a failover, a flush), and with it the memory of the fact; the fact itself must not be.
        _say(settled, "marker_lost")
        at.accept(settled, account)


def sought(event: Event) -> Sought:
    says = event.says
    return Sought(
        event.channel,
        says.kind,
        says.order_ref,
        says.payment_ref,
        says.refund_ref,
        says.subscription_ref,
        since=event.received_at - _BEFORE,
    )


def _later() -> Retry:
    return Retry(max=_FOR_EVER, interval=list(PAUSES))


def _say(event: Event, word: str) -> None:
    level = logging.INFO if word in _AS_USUAL else logging.WARNING  # a warning is for a person
    _log.log(level, "confirm %s %s/%s: %s", event.id, event.provider, event.account, word)
