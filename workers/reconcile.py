"""
Asking about what is still open: announced orders without a final event, and payments left pending.

A job of the queue ``ulak-ask`` for each watch. The accept script schedules it, and takes it away when the end comes by
itself. RQ's scheduler, of which one runs however many workers there are, brings it when it is due. What is found goes
in through the same script under the same fact keys; docs/adr/0011 says what that cannot keep from being told twice.
"""

import logging
import math
from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rq import Retry

from receiver import confirming, expecting, watching
from receiver.asking import QueryError
from receiver.errors import Unavailable
from receiver.event import Event, Kind
from receiver.pipeline import place
from receiver.providers import BY_NAME
from receiver.queries import QUERIES
from receiver.sink import CLAIMS, WATCH
from receiver.watching import Watch
from workers import codes, desk
from workers.desk import Desk
from workers.questions import Asker

_FOR_EVER = 1_000_000
_TROUBLED = 3600  # seconds; after no answer at all, asked again at least this often
_NOW = 1.0  # seconds; RQ cuts the fraction off, and would come a little too early

_log = logging.getLogger("ulak.reconcile")


def ask(wire: dict[str, Any]) -> Retry | None:
    """Ask about one open payment; come back until its end is known or the times to ask are over."""
    try:
        watch = watching.from_wire(wire)
        name = watch.id
    except (AttributeError, KeyError, TypeError, ValueError):
        _log.error("reconcile: the job's argument is no watch")
        return None
    at = None
    try:
        at = desk.at_work()
        return _ask(watch, at)
    except Unavailable as exc:
        _log.warning("reconcile %s: %s %s", name, exc.reason, exc.detail)
    except Exception as exc:  # noqa: BLE001 - the job must come back; the log names the place, never a value
        _log.error("reconcile %s: %s", name, place(exc))
    # Where the configuration cannot be read, RQ would give up after a few tries.
    return _soon(watch, at) if at else Retry(max=_FOR_EVER, interval=_TROUBLED)


def _ask(watch: Watch, at: Desk) -> Retry | None:
    key = WATCH + watch.id
    if at.client.hget(key, "job") != at.job.encode():
        return None  # the end came by itself, or the watch was begun anew
    account = at.account(watch.provider, watch.account)
    if account is None:
        _say(watch, "no_credentials")
        return _soon(watch, at)
    codes.refresh(at.questions, at.client, account)
    try:
        found = at.questions.ask(watch.sought, account, Asker(watch.verified, watch.source))
    except QueryError as exc:
        _say(watch, codes.told(at.client, account, exc))
        return _soon(watch, at)
    now = datetime.now(UTC)
    events = [confirming.learned(one, account, watch.channel, now, watch.order_ref) for one in found]
    told: Any = at.client.hkeys(key)
    fresh = [event for event in events if _tells(event, told)]
    new = sum(receipt.new for receipt in at.accept_all(fresh, account))
    if _is_over(watch, events, at):
        # Also where all of it was known: then the watch had begun after its end.
        _forget(watch, at)
        _say(watch, "healed" if new else "known")
        return None
    later = _next(watch, at.settings.reconcile_after)
    _say(watch, "open" if later else "gave_up")
    if later is None:
        _forget(watch, at)
    return later


def _tells(event: Event, told: Container[bytes]) -> bool:
    """
    Say whether the event says more than was said.

    That it is still open is for a person where there is a reason, and else no news. Where neither key nor payment can
    show that a callback told the same, its kind does.
    """
    says = event.says
    if says.kind in {Kind.PAYMENT_PENDING, Kind.PAYMENT_REFUND_PENDING}:
        return says.reason is not None
    return says.kind in QUERIES[event.provider].exact or says.kind.value.encode() not in told


def _is_over(watch: Watch, events: Sequence[Event], at: Desk) -> bool:
    """Say whether this is the end of what is watched; an announced order waits for the whole of its money."""
    if watch.until is not None and watch.order_ref is not None:
        known = at.sink.expected(watch.provider, watch.account, watch.order_ref)
        commission = BY_NAME[watch.provider].adds_commission
        said = [expecting.verdict(event, known, adds_commission=commission) for event in events]
        events = [replace(event, expected=verdict) for event, verdict in zip(events, said, strict=True)]
    return any(watch.id in watching.ended(event) for event in events)


# Only while it is ours: an order that was announced anew has a new job.
_FORGET = """
if redis.call('HGET', KEYS[1], 'job') == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[2], ARGV[2])
end
"""


def _forget(watch: Watch, at: Desk) -> None:
    at.client.eval(_FORGET, 2, WATCH + watch.id, CLAIMS, at.job, watch.id)


def _next(watch: Watch, spans: Sequence[int]) -> Retry | None:
    """Return the next of the times to ask; an announced order is asked for once more after its deadline."""
    age = (datetime.now(UTC) - watch.since).total_seconds()
    last = [(watch.until - watch.since).total_seconds()] if watch.until else []
    left = [span - age for span in (*spans, *last) if span > age + _NOW]
    return Retry(max=_FOR_EVER, interval=max(1, math.ceil(min(left)))) if left else None


def _soon(watch: Watch, at: Desk) -> Retry | None:
    """
    Return when to ask again after no answer: after as long as it has lasted, and every hour at least.

    A claim that anybody can make comes back at the usual times only, and not for ever.
    """
    if not watch.verified:
        later = _next(watch, at.settings.reconcile_after)
        if later is None:
            _forget(watch, at)
        return later
    age = (datetime.now(UTC) - watch.since).total_seconds()
    return Retry(max=_FOR_EVER, interval=max(1, min(_TROUBLED, math.ceil(age))))


_AS_USUAL = frozenset({"known", "open", "healed"})


def _say(watch: Watch, word: str) -> None:
    level = logging.INFO if word in _AS_USUAL else logging.WARNING
    _log.log(level, "reconcile %s %s/%s: %s", watch.id, watch.provider, watch.account, word)
