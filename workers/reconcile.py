"""
Asking about what is still open: announced orders without a final event, and payments left pending.

A job of the queue ``ulak-confirm`` for each watch. The accept script schedules it, and takes it away when the end comes
by itself. RQ's scheduler, of which one runs however many workers there are, brings it when it is due. What is found
goes in through the same script under the same fact keys, so nothing is told twice.
"""

import logging
import math
from collections.abc import Container, Sequence
from datetime import UTC, datetime
from typing import Any

from rq import Retry, get_current_job

from receiver import confirming, watching
from receiver.asking import QueryError
from receiver.errors import Unavailable
from receiver.event import Event
from receiver.pipeline import place
from receiver.queries import QUERIES
from receiver.sink import WATCH
from receiver.watching import Watch
from workers import codes, desk
from workers.desk import Desk
from workers.questions import Asker

_FOR_EVER = 1_000_000
_TROUBLED = 600  # seconds; after no answer at all, asked again at least this often

_log = logging.getLogger("ulak.reconcile")


def ask(wire: dict[str, Any]) -> Retry | None:
    """Ask about one open payment; come back until its end is known or the times to ask are over."""
    try:
        watch = watching.from_wire(wire)
    except (KeyError, TypeError, ValueError):
        _log.error("reconcile: the job's argument is no watch")
        return None
    at = desk.at_work()
    try:
        return _ask(watch, at)
    except Unavailable as exc:
        _log.warning("reconcile %s: %s %s", watch.id, exc.reason, exc.detail)
    except Exception as exc:  # noqa: BLE001 - the job must come back; the log names the place, never a value
        _log.error("reconcile %s: %s", watch.id, place(exc))
    return _soon(watch)


def _ask(watch: Watch, at: Desk) -> Retry | None:
    key = WATCH + watch.id
    account = at.account(watch.provider, watch.account)
    job = get_current_job()
    if account is None or job is None or at.client.hget(key, "job") != job.id.encode():
        return None  # nobody can be asked any more, the end came by itself, or the watch was begun anew
    codes.refresh(at.questions, at.client, account)
    try:
        found = at.questions.ask(watch.sought, account, Asker(watch.verified, watch.source))
    except QueryError as exc:
        _say(watch, codes.told(at.client, account, exc))
        if not watch.verified and _next(watch, at.settings.reconcile_after) is None:
            # A claim that anybody can make must not come back for ever.
            at.client.delete(key)
            return None
        return _soon(watch)
    now = datetime.now(UTC)
    events = [confirming.learned(one, account, watch.channel, now, watch.order_ref) for one in found]
    told: Any = at.client.hkeys(key)
    fresh = [event for event in events if _tells(event, told)]
    new = sum(receipt.new for receipt in at.accept_all(fresh, account))
    if any(watch.id in watching.ended(event) for event in events):
        # Also where all of it was known: then the watch had begun after its end.
        at.client.delete(key)
        _say(watch, "healed" if new else "known")
        return None
    later = _next(watch, at.settings.reconcile_after)
    _say(watch, "open" if later else "gave_up")
    if later is None:
        at.client.delete(key)
    return later


def _tells(event: Event, told: Container[bytes]) -> bool:
    """
    Say whether the event says more than was said.

    That it is still open was said by what began the watch. Where API and callback cannot have one key, the kind tells.
    """
    kind = event.says.kind
    if kind in watching.OPEN:
        return False
    return kind in QUERIES[event.provider].exact or kind.value.encode() not in told


def _next(watch: Watch, spans: Sequence[int]) -> Retry | None:
    """Return the next of the times to ask; an announced order is asked for once more after its deadline."""
    age = (datetime.now(UTC) - watch.since).total_seconds()
    last = [(watch.until - watch.since).total_seconds()] if watch.until else []
    left = [span - age for span in (*spans, *last) if span > age]
    return Retry(max=_FOR_EVER, interval=max(1, math.ceil(min(left)))) if left else None


def _soon(watch: Watch) -> Retry:
    """Return when to ask again after no answer: after as long as it has lasted, and every ten minutes at least."""
    age = (datetime.now(UTC) - watch.since).total_seconds()
    return Retry(max=_FOR_EVER, interval=max(1, min(_TROUBLED, math.ceil(age))))


_AS_USUAL = frozenset({"known", "open", "healed"})


def _say(watch: Watch, word: str) -> None:
    level = logging.INFO if word in _AS_USUAL else logging.WARNING
    _log.log(level, "reconcile %s %s/%s: %s", watch.id, watch.provider, watch.account, word)
