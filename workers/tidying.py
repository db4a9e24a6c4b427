"""
The keeper's work at the streams: what nobody needs any more is trimmed, and a question that was lost is asked again.

Streams are cut at their old end only, by their ids, which are the time on Redis's clock. Nothing is cut that waits for
somebody: a fact that is held, a callback in quarantine, an entry that a consumer group has not acknowledged.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from rq.job import Job

from receiver import confirming
from receiver.errors import Unavailable
from receiver.event import from_wire
from receiver.ports import Entry
from receiver.routing import CONFIRM
from receiver.sink import EVENTS, FACT, HELD, QUARANTINE, RedisSink
from workers.chores import Done, Shift, Tally
from workers.lost import Suspects
from workers.quarantine import RESOLVED

_PAGE = 100
_CUT = 10_000  # entries that are cut in one round at most
_DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class _Id:
    """What a stream calls an entry."""

    milliseconds: int
    number: int = 0

    @classmethod
    def of(cls, text: bytes) -> "_Id":
        milliseconds, _, number = text.partition(b"-")
        return cls(int(milliseconds), int(number or 0))

    @property
    def next(self) -> "_Id":
        return _Id(self.milliseconds, self.number + 1)

    def __str__(self) -> str:
        return f"{self.milliseconds}-{self.number}"

    def __lt__(self, other: "_Id") -> bool:
        return (self.milliseconds, self.number) < (other.milliseconds, other.number)


class Trimming:
    """Cuts what is older than ``events_keep`` and settled."""

    # Whole nodes first, which is quick; then the rest, unless there was more than a round may cut.
    _TRIM = """
    local cut = redis.call('XTRIM', KEYS[2], 'MINID', '~', ARGV[2], 'LIMIT', ARGV[3])
    if cut < ARGV[3] / 2 then cut = cut + redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2]) end
    return cut
    """

    def __init__(self, shift: Shift) -> None:
        self._client = shift.client
        self._lease = shift.lease
        self._keep = shift.settings.events_keep

    def do(self) -> Tally:
        seconds, _ = self._client.time()
        old = _Id((seconds - self._keep) * 1000)
        cut = self._trim(EVENTS, min((old, *self._acknowledged(EVENTS))))
        cut += self._trim(HELD, self._settled(HELD, old, self._released))
        resolved = self._settled(QUARANTINE, old, self._resolved)
        if gone := self._trim(QUARANTINE, resolved):
            notes: Any = self._client.hkeys(RESOLVED)
            self._client.hdel(RESOLVED, *(entry for entry in notes if _Id.of(entry) < resolved))
        return Counter({Done.TRIMMED: cut + gone})

    def _trim(self, stream: str, below: _Id) -> int:
        return int(self._lease.write(self._TRIM, [stream], [str(below), _CUT]))

    def _acknowledged(self, stream: str) -> Iterable[_Id]:
        """Yield for each consumer group the first entry that it has not acknowledged; no route has a group yet."""
        if not self._client.exists(stream):
            return
        groups: Any = self._client.xinfo_groups(stream)
        for group in groups:
            pending: Any = self._client.xpending(stream, group["name"])
            yield _Id.of(pending["min"]) if pending["pending"] else _Id.of(group["last-delivered-id"]).next

    def _settled(self, stream: str, old: _Id, settles: Any) -> _Id:
        """Return the first entry that is young or waits for somebody."""
        for count in (1, _PAGE):  # mostly the very first one waits
            found: Any = self._client.xrange(stream, max=f"({old}", count=count)
            settled = settles(found)
            waiting = [entry for (entry, _), done in zip(found, settled, strict=True) if not done]
            if waiting:
                return _Id.of(waiting[0])
            last = found[-1][0] if found else b"0-0"
        return _Id.of(last).next

    def _released(self, found: Sequence[Any]) -> list[bool]:
        markers = [FACT + orjson.loads(fields[b"event"])["id"] for _, fields in found]
        known: Any = self._client.mget(markers) if markers else []
        return [marker != b"held" for marker in known]

    def _resolved(self, found: Sequence[Any]) -> list[bool]:
        known: Any = self._client.hmget(RESOLVED, [entry for entry, _ in found]) if found else []
        return [word is not None for word in known]

    def forget(self) -> None:
        """Nothing is remembered."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A held fact: its entry in the stream, and the facts that are told in its place when asking has ended."""

    id: str
    entry: str = field(compare=False)
    instead: tuple[str, ...] = field(compare=False)


class LostQuestions:
    """
    Asks again about a held fact whose job is gone.

    A fact about which something else was told stays held, and is not asked about: that was the end of the asking.
    What is told so is remembered for ``dedupe_days``, so an older fact is left alone.
    """

    def __init__(self, shift: Shift, sink: RedisSink) -> None:
        self._client = shift.client
        self._sink = sink
        self._days = shift.settings.dedupe_days
        self._suspects = Suspects[_Question](shift.settings.keeper.grace, shift.clock)
        self._after = ""

    def do(self) -> Tally:
        questions = {*self._suspects, *self._page()}
        again = [self._ask(question) for question in self._suspects.look(self._lost(questions))]
        return Counter({Done.ASKED_AGAIN: sum(again)})

    def _page(self) -> list[_Question]:
        """Return the facts of the next page whose job is not there."""
        start = f"({self._after}" if self._after else self._oldest()
        found: Any = self._client.xrange(HELD, min=start, count=_PAGE)
        self._after = found[-1][0].decode() if len(found) == _PAGE else ""
        wires = [(entry.decode(), orjson.loads(fields[b"event"])) for entry, fields in found]
        with self._client.pipeline(transaction=False) as pipe:
            for _, wire in wires:
                pipe.get(FACT + wire["id"])
                pipe.exists(_job(wire["id"]))
            answers = iter(pipe.execute())
        pairs = zip(answers, answers, strict=True)
        return [
            _question(entry, wire)
            for (entry, wire), (marker, there) in zip(wires, pairs, strict=True)
            if marker == b"held" and not there
        ]

    def _oldest(self) -> str:
        if not self._days:
            return "-"
        seconds, _ = self._client.time()
        return str((seconds - self._days * _DAY) * 1000)

    def _lost(self, questions: Iterable[_Question]) -> list[_Question]:
        lost = []
        for one in questions:
            with self._client.pipeline(transaction=False) as pipe:
                pipe.get(FACT + one.id)
                pipe.exists(_job(one.id), *(FACT + other for other in one.instead))
                marker, there = pipe.execute()
            if marker == b"held" and not there:
                lost.append(one)
        return lost

    def _ask(self, question: _Question) -> bool:
        """Put the fact in as a callback would that came again: the accept script sees that its job is gone."""
        found: Any = self._client.xrange(HELD, min=question.entry, max=question.entry)
        if not found:
            return False
        fields = found[0][1]
        entry = Entry(from_wire(orjson.loads(fields[b"event"])), (), fields[b"request"], hold=True)
        try:
            self._sink.accept([entry])
        except Unavailable:  # full, or away: it stays a suspect
            return False
        return True

    def forget(self) -> None:
        self._suspects.forget()


def _job(fact: str) -> str:
    return f"{Job.redis_job_namespace_prefix}{fact}-{CONFIRM.route}"


def _question(entry: str, wire: dict[str, Any]) -> _Question:
    event = from_wire(wire)
    return _Question(event.id, entry, (confirming.differing(event).id, confirming.never_confirmed(event).id))
