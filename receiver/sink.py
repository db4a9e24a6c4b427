"""
The store: one Lua call a callback, after which the fact is in the stream, on the queues and remembered.

Its keys are in docs/architecture.md. Jobs are written in RQ's own format, so that stock RQ consumes them.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, Self

import orjson
import redis
import redis.exceptions
from rq.job import Job
from rq.queue import Queue
from rq.registry import ScheduledJobRegistry
from rq.results import Result

from receiver.config import Settings
from receiver.connection import Wire, connect, error_word
from receiver.errors import Reason, Stale, Unavailable
from receiver.expecting import Expectation, order_id
from receiver.money import Money
from receiver.ports import Ask, Claim, Entry, Receipt, Unreadable
from receiver.routing import ASK, CONFIRM

EVENTS = "ulak:events"
HELD = "ulak:held"
QUARANTINE = "ulak:quarantine"
REFUSED = "ulak:refused"
FULL = "ulak:full"
FACT = "ulak:fact:"
EXPECTED = "ulak:expected:"
WATCH = "ulak:watch:"
CLAIMS = "ulak:claims"
STATE = "ulak:state:"
_SEEN = "ulak:quarantine:seen:"
_PROBE = "ulak:probe"

REFUSED_KEPT = 10_000  # entries of ulak:refused; anyone on the internet can make one

# RQ reads these from the job's hash. The first retry comes at once and needs no scheduler, so that a job whose worker
# was killed goes on under a stock worker too; the later ones give a consumer's database time to come back.
JOB_TIMEOUT = 180
JOB_RESULT_TTL = 60  # a finished job can be looked at for a minute; it costs 6 kB for that long
JOB_FAILURE_TTL = 30 * 24 * 3600
JOB_RETRY_PAUSES = (0, 10, 60, 300, 900)

_REFUSE_EVERY = 0.05  # seconds; a flood of refusals must not become a flood of writes

_DONE, _RELEASED, _HELD = 0, 1, 2
_IS_FULL, _FOREIGN, _STALE = -1, -2, -3
_NO_CLAIM = Claim("")
_NO_ASK = Ask("", 0, 0, b"")
# A flood of claims, which anybody can make, must not fill Redis with questions.
CLAIMS_WAITING = 5_000

_LONG = 10 * 365 * 24 * 3600

Mode = Literal["new", "hold", "release"]


class Announced(IntEnum):
    """What became of an announcement."""

    NEW = 0
    SAME = 1
    CHANGED = 2
    PAID = 3  # with another amount: it stays as it was


class _Script:
    """A Lua script of one file or several, sent by its digest, and by its text where Redis does not know it (again)."""

    def __init__(self, *names: str) -> None:
        self._text = "".join((Path(__file__).parent / name).read_text("utf-8") for name in names)
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()

    def call(self, wire: Wire, keys: Sequence[str], args: Sequence[Any]) -> tuple[Any, int]:
        """Return its answer, and how many replicas have what it wrote, where they are waited for."""
        try:
            return wire.write("EVALSHA", self._sha, len(keys), *keys, *args)
        except redis.exceptions.NoScriptError:
            return wire.write("EVAL", self._text, len(keys), *keys, *args)


class RedisSink:
    """``receiver.ports.EventSink`` on Redis. It connects at the first use, so a fork before that is harmless."""

    def __init__(self, client: redis.Redis, dedupe_days: int, wait_replicas: int = 0) -> None:
        self._wire = Wire(client, wait_replicas)
        self._wait_replicas = wait_replicas
        self._ttl = str(dedupe_days * 24 * 3600)
        self._accept = _Script("jobs.lua", "accept.lua")
        self._expect = _Script("jobs.lua", "expect.lua")
        self._quarantine = _Script("jobs.lua", "quarantine.lua")
        self._try = _Script("probe.lua")
        self._job_settings = (
            self._ttl,
            Queue.redis_queue_namespace_prefix,
            Job.redis_job_namespace_prefix,
            Queue.redis_queues_keys,
            JOB_TIMEOUT,
            JOB_RESULT_TTL,
            JOB_FAILURE_TTL,
            len(JOB_RETRY_PAUSES),
            orjson.dumps(JOB_RETRY_PAUSES),
            ASK.queue,
            ScheduledJobRegistry.key_template.format(ASK.queue),
            ASK.job,
            WATCH,
            Result.get_key(""),  # type: ignore[no-untyped-call]
            CLAIMS_WAITING,
            CLAIMS,
            _PROBE if wait_replicas else "",
        )
        self._refuse_again = 0.0
        self._ready_until = 0.0

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the sink of a configuration, on a connection of its own for each thread."""
        return cls(connect(settings.redis_url), settings.dedupe_days, settings.wait_replicas)

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        return self._store((entry, "hold" if entry.hold else "new") for entry in entries)

    def release(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        return self._store((entry, "release") for entry in entries)

    def _store(self, entries: Iterable[tuple[Entry, Mode]]) -> Sequence[Receipt]:
        args: list[Any] = []
        modes: list[Mode] = []
        for entry, mode in entries:
            event, claim, ask = entry.event, entry.claim or _NO_CLAIM, entry.ask or _NO_ASK
            modes.append(mode)
            routes = orjson.dumps([target.route for target in entry.routes])
            # What is held has one job, the question to the provider's API; its routes come when it is released.
            jobs = (CONFIRM,) if mode == "hold" else entry.routes
            args += (FACT + event.id, mode, event.says.kind, event.to_json(), routes, entry.request, len(jobs))
            for target in jobs:
                args += (f"{event.id}-{target.route}", target.queue, target.job)
            order = EXPECTED + claim.expectation if claim.expectation else ""
            state = (STATE + entry.state.name, entry.state.teller) if entry.state else ("", "")
            args += (*state, order, claim.seen, claim.takes)
            args += (len(entry.ended), *entry.ended, len(entry.told), *entry.told, *_watch(ask))
        states = self._run(self._accept, (EVENTS, HELD, FULL), (*self._now(), len(modes), *args))
        return [
            Receipt(new=state == _DONE, released=mode != "hold" if state == _DONE else state == _RELEASED)
            for state, mode in zip(states, modes, strict=True)
        ]

    def _now(self) -> tuple[Any, ...]:
        """Return what jobs.lua wants first: the time in RQ's own writing and in Unix seconds, and how jobs are kept."""
        now = datetime.now(UTC)
        return (now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), f"{now.timestamp():.3f}", *self._job_settings)

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        found: Any = self._called(
            lambda: self._wire.call(
                "HMGET",
                EXPECTED + order_id(provider, account, order_ref),
                *("minor", "currency", "deadline", "announced_at", "taken"),
            )
        )
        if found[0] is None:
            return None
        minor, currency, deadline, announced_at, taken = (value.decode() if value else "" for value in found)
        times = (datetime.fromisoformat(deadline), datetime.fromisoformat(announced_at))
        return Expectation(provider, account, order_ref, Money(int(minor), currency), *times, taken=taken)

    def expect(self, known: Expectation, ask: Ask | None) -> Announced:
        """
        Keep what the shop announced for ``dedupe_days`` after its deadline, and begin to ask for it.

        Raise Unavailable where it cannot be kept. What is paid stays as it was announced.
        """
        asked = ask or _NO_ASK
        lives = int(self._ttl) or _LONG
        own = (
            known.amount.minor,
            known.amount.currency,
            known.deadline.isoformat(),
            known.announced_at.isoformat(),
            lives + int((known.deadline - known.announced_at).total_seconds()),
            *_watch(asked),
        )
        (state,) = self._run(self._expect, (EXPECTED + known.id, FULL), (*self._now(), *own))
        return Announced(state)

    def quarantine(self, unreadable: Unreadable) -> None:
        callback = unreadable.callback
        entry = {
            "provider": unreadable.provider,
            "account": unreadable.account,
            "channel": callback.channel,
            "reason": unreadable.reason,
            "digest": unreadable.digest,
            "received_at": callback.received_at.isoformat(),
            "request_id": callback.request_id,
            "encoding": callback.encoding,
            "token_id": unreadable.token_id,
            "order": unreadable.order,
            "request": unreadable.request,
        }
        pairs = [part for pair in entry.items() for part in pair]
        mark = f"{_SEEN}{unreadable.provider}:{unreadable.account}:{callback.channel}:{unreadable.digest}"
        ask = unreadable.ask or _NO_ASK
        self._run(self._quarantine, (mark, QUARANTINE, FULL), (*self._now(), *_watch(ask), *pairs))

    def refuse(self, provider: str, account: str, channel: str, reason: str, request_id: str) -> None:
        """Note a refusal, at most 20 a second; the metrics count them all."""
        now = time.monotonic()
        if now < self._refuse_again:
            return
        self._refuse_again = now + _REFUSE_EVERY
        entry = {
            "provider": provider,
            "account": account,
            "channel": channel,
            "reason": reason,
            "request_id": request_id,
            "received_at": datetime.now(UTC).isoformat(),
        }
        pairs = [part for pair in entry.items() for part in pair]
        self._called(lambda: self._wire.call("XADD", REFUSED, "MAXLEN", "~", REFUSED_KEPT, "*", *pairs))

    def probe(self) -> None:
        """Raise Unavailable unless a callback could be kept now; a script writes a short-lived key."""
        self._run(self._try, (FULL, _PROBE), ())

    def ready(self) -> None:
        """Do as ``probe``, once a second at most."""
        if time.monotonic() >= self._ready_until:
            self.probe()
            self._ready_until = time.monotonic() + 1.0

    def _run(self, script: _Script, keys: Sequence[str], args: Sequence[Any]) -> list[int]:
        answer, copies = self._called(lambda: script.call(self._wire, keys, args))
        if answer == _IS_FULL:
            raise Unavailable(Reason.REDIS_FULL)
        if answer == _FOREIGN:
            raise Unavailable(Reason.REDIS_REFUSED, "a ulak or rq key has a foreign type")
        if answer == _STALE:
            raise Stale
        if copies < self._wait_replicas:
            raise Unavailable(Reason.REPLICAS_MISSING, f"{copies} of {self._wait_replicas}")
        return list(answer) if isinstance(answer, list) else [answer]

    def _called(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except redis.exceptions.RedisError as exc:
            raise _unavailable(exc) from None


def _watch(ask: Ask) -> tuple[Any, ...]:
    return (ask.id, ask.after, ask.lives, ask.watch, "1" if ask.claimed else "0")


def _unavailable(exc: redis.exceptions.RedisError) -> Unavailable:
    """Tell "did not answer" from "answered no"; the detail is the error's class or Redis's own error word."""
    word = error_word(exc)
    if word == "NOREPLICAS":
        return Unavailable(Reason.REPLICAS_MISSING, word)
    if isinstance(exc, (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError)) and not isinstance(
        exc, (redis.exceptions.BusyLoadingError, redis.exceptions.AuthenticationError)
    ):
        return Unavailable(Reason.REDIS_UNREACHABLE, word)
    return Unavailable(Reason.REDIS_REFUSED, word)
