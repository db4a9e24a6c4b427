"""
The question to the provider's API about a held fact; a job of the queue ``ulak-confirm``.

A fact leaves ``held`` once, by the script that also wrote it, so a job that runs twice does no harm; what is said
instead of it has an id of its own, and leaves it held. No answer is never taken for an answer: the job comes back after
growing pauses, and a held success is never released by waiting.
"""

import logging
import os
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from rq import Retry, get_current_job

from receiver import config, confirming, routing
from receiver.asking import Answered, Call, Limits, QueryError, Sought, Trouble
from receiver.confirming import Finding
from receiver.errors import Unavailable
from receiver.event import Event, from_wire
from receiver.pipeline import place
from receiver.ports import Entry
from receiver.queries import QUERIES
from receiver.sink import RedisSink, connect
from workers import outgoing
from workers.budget import Budget

PAUSES = (5, 15, 60, 300, 900, 1800, 3600)  # seconds; the last one for ever after
_FOR_EVER = 1_000_000
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
    settings = _settings()
    event = from_wire(wire)
    account = settings.accounts.get((event.provider, event.account))
    if account is None or not account.api:
        _say(event, "no_credentials")
        return _later()
    job = get_current_job()
    if job is None:
        raise RuntimeError("confirm is a job of RQ and runs in its worker")
    sink = _sink()
    late = datetime.now(UTC) - event.received_at > timedelta(seconds=account.confirm_for)
    query = QUERIES[event.provider]
    try:
        found = outgoing.ask(query.ask(sought(event), account), _within(Budget(job.connection), event, query.limits))
    except QueryError as exc:
        _say(event, exc.trouble)
        if late and account.release_unconfirmed:
            _beside(confirming.released_unasked(event), settings, sink)
        return _later()
    judgement = confirming.judge(event, found, query.exact)
    if judgement.finding is Finding.OPEN and not late:
        _say(event, judgement.finding)
        return _later()
    _say(event, "gave_up" if judgement.statement is None else judgement.finding)
    if judgement.statement is None:
        _beside(confirming.never_confirmed(event), settings, sink)
    elif judgement.finding is Finding.DIFFERS:
        _beside(confirming.differing(event), settings, sink)
    else:
        _release(confirming.confirmed(event, judgement.statement), settings, sink)
        for later in confirming.since(event, found, datetime.now(UTC)):
            _beside(later, settings, sink)
    return None


def _release(settled: Event, settings: config.Settings, sink: RedisSink) -> None:
    """Give out the fact itself. The exact bytes lie beside the held entry."""
    (receipt,) = sink.release([Entry(settled, routing.targets(settled, settings.routes), b"")])
    if not receipt.new and not receipt.released:
        # The marker is gone (a failover, a flush), and with it the memory of the fact; the fact itself must not be.
        _say(settled, "marker_lost")
        _beside(settled, settings, sink)


@cache
def _settings() -> config.Settings:
    """Load the configuration once a worker; like the receiver, it is started again after a change."""
    return config.load(os.environ)


@cache
def _sink() -> RedisSink:
    """Write over a connection of our own: RQ's pool hands out a hundred, and each sink takes one for good."""
    return RedisSink(connect(_settings().redis_url), _settings().dedupe_days)


@cache
def _transport() -> outgoing.Transport:
    """Keep connections, and the list of certificate authorities, while the worker lives."""
    return outgoing.transport()


def _within(budget: Budget, event: Event, limits: Limits) -> outgoing.Transport:
    """Count each call, for some questions take two."""

    def make(call: Call) -> Answered:
        if not budget.take(event.provider, event.account, limits):
            raise QueryError(Trouble.API_LIMITED)
        return _transport()(call)

    return make


def sought(event: Event) -> Sought:
    says = event.says
    return Sought(event.channel, says.kind, says.order_ref, says.payment_ref, says.refund_ref, says.subscription_ref)


def _beside(event: Event, settings: config.Settings, sink: RedisSink) -> None:
    """Give out what has an id of its own, once. The held fact stays held: it is not what we say now, and may follow."""
    sink.accept([Entry(event, routing.targets(event, settings.routes), b"")])


def _later() -> Retry:
    return Retry(max=_FOR_EVER, interval=list(PAUSES))


def _say(event: Event, word: str) -> None:
    level = logging.INFO if word in _AS_USUAL else logging.WARNING  # a warning is for a person
    _log.log(level, "confirm %s %s/%s: %s", event.id, event.provider, event.account, word)
