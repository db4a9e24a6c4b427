"""Reading what the receiver has written: the streams of events, held facts, quarantine and refusals."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import redis

from receiver import connection
from receiver.sink import EVENTS, HELD, QUARANTINE, REFUSED

STREAMS = {"events": EVENTS, "held": HELD, "quarantine": QUARANTINE, "refused": REFUSED}
_BATCH = 500

Client = redis.Redis


class NoAnswerError(Exception):
    """Redis does not answer, or answers with an error; says which class of error."""


@contextmanager
def opened(url: str) -> Iterator[redis.Redis]:
    """Give a client for looking; raise NoAnswerError for whatever Redis says no to inside the block."""
    client = connection.client(url, socket_connect_timeout=2, socket_timeout=10)
    try:
        yield client
    except redis.exceptions.RedisError as exc:
        raise NoAnswerError(type(exc).__name__) from None
    finally:
        client.close()


@dataclass(frozen=True, slots=True)
class Record:
    """One stream entry; ``event`` is None where the stream holds no events."""

    entry: str
    fields: dict[str, str]
    event: dict[str, Any] | None
    request: bytes  # sealed

    @property
    def belongs_to(self) -> str:
        """What the sealed bytes were sealed with."""
        return str(self.event["id"]) if self.event else self.fields.get("digest", "")


def record(entry: bytes, raw: dict[bytes, bytes]) -> Record:
    event = orjson.loads(raw[b"event"]) if b"event" in raw else None
    words = {
        name.decode(): value.decode("utf-8", "replace")
        for name, value in raw.items()
        if name not in {b"event", b"request"}
    }
    return Record(entry.decode(), words, event, raw.get(b"request", b""))


def last(client: redis.Redis, stream: str, count: int) -> list[Record]:
    """Return the newest *count* records, oldest of them first."""
    found: Any = client.xrevrange(stream, count=count)
    return [record(entry, raw) for entry, raw in reversed(found)]


def between(client: redis.Redis, stream: str, since: datetime, until: datetime) -> Iterator[Record]:
    """Yield what was written in a time, a page at once in memory."""
    start, end = str(_milliseconds(since)), str(_milliseconds(until))
    while True:
        found: Any = client.xrange(stream, min=start, max=end, count=_BATCH)
        yield from (record(entry, raw) for entry, raw in found)
        if len(found) < _BATCH:
            return
        start = f"({found[-1][0].decode()}"


def whole_since(client: redis.Redis, stream: str, since: datetime) -> bool:
    """Say whether nothing written since then was trimmed away; in doubt it was."""
    if not client.exists(stream):
        return False
    known: Any = client.xinfo_stream(stream)
    first = known["first-entry"]
    if first and int(first[0].partition(b"-")[0]) <= _milliseconds(since):
        return True
    return bool(known.get("entries-added") == known["length"])  # which Redis tells from 7.0 on


def _milliseconds(moment: datetime) -> int:
    return max(0, int(moment.timestamp() * 1000))


def follow(client: redis.Redis, stream: str, after: str) -> Iterator[Record]:
    """Yield records as they come, for ever."""
    while True:
        found: Any = client.xread({stream: after}, count=_BATCH, block=1000)
        for _, entries in found or ():
            for entry, raw in entries:
                after = entry.decode()
                yield record(entry, raw)


def newest(client: redis.Redis, stream: str) -> Iterator[Record]:
    """Yield every record, the newest first, a page at once in memory."""
    start = "+"
    while True:
        found: Any = client.xrevrange(stream, max=start, count=_BATCH)
        yield from (record(entry, raw) for entry, raw in found)
        if len(found) < _BATCH:
            return
        start = f"({found[-1][0].decode()}"


def find(client: redis.Redis, start: str) -> Record | None:
    """Return the newest record whose event id, digest or entry id begins with *start*."""
    for stream in (EVENTS, HELD, QUARANTINE):
        for one in newest(client, stream):
            if one.belongs_to.startswith(start) or one.entry == start:
                return one
    return None
