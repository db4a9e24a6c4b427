"""
The spool: keeps callbacks on the local disk while the store is away (docs/adr/0014-the-spool.md).

A row holds what the accept script needs, so it is never verified again: secrets may have been rotated since. Nothing is
in clear that is not in clear in Redis.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson

from receiver.errors import Later
from receiver.event import from_wire
from receiver.expecting import Expectation
from receiver.message import CallbackRequest
from receiver.ports import Ask, Entry, Receipt, State, Target, Unreadable
from receiver.rows import Row, SpoolFile

_READY_FOR = 1.0  # seconds that an answer of ``ready`` is good for
_QUARANTINED = "quarantine:"


class Spool:
    """``receiver.ports.EventSink`` on a file of this machine."""

    def __init__(self, file: SpoolFile) -> None:
        self._file = file
        self._ready_until = 0.0

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        """What the shop announced is in Redis; a payment is held against it when it gets there."""
        raise Later

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        """Keep events, each id once. What is not held counts as released: nothing but Redis stands in its way."""
        kept = self._file.keep([_row_of_event(entry) for entry in entries])
        return [Receipt(new=new, released=released) for new, released in kept]

    def quarantine(self, unreadable: Unreadable) -> None:
        self._file.keep([_row_of_unreadable(unreadable)])

    def refuse(self, provider: str, account: str, channel: str, reason: str, request_id: str) -> None:
        """A refusal is no fact, and the metrics count it."""

    def ready(self) -> None:
        """Raise Unavailable unless a callback could be kept now; tried once a second at most."""
        if time.monotonic() >= self._ready_until:
            self._file.ready()
            self._ready_until = time.monotonic() + _READY_FOR


def _row_of_event(entry: Entry) -> Row:
    head = {
        "event": orjson.Fragment(entry.event.to_json()),
        "routes": entry.routes,
        "hold": entry.hold,
        "judge": entry.judge,
        "state": entry.state,
        "ended": entry.ended,
        "told": entry.told,
        "ask": entry.ask,
    }
    return Row(entry.event.id, not entry.hold, orjson.dumps(head, default=bytes.decode), entry.request)


def _row_of_unreadable(kept: Unreadable) -> Row:
    callback = kept.callback
    head = {
        "provider": kept.provider,
        "account": kept.account,
        "reason": kept.reason,
        "digest": kept.digest,
        "channel": callback.channel,
        "received_at": callback.received_at,
        "request_id": callback.request_id,
        "encoding": callback.encoding,
        "ask": kept.ask,
        "token_id": kept.token_id,
        "order": kept.order,
    }
    name = f"{_QUARANTINED}{kept.provider}:{kept.account}:{callback.channel}:{kept.digest}"
    return Row(name, released=False, head=orjson.dumps(head, default=bytes.decode), sealed=kept.request)


def read(row: Row) -> Entry | Unreadable:
    """Read back what was kept; raises LookupError, TypeError or ValueError where this version cannot."""
    head = orjson.loads(row.head)
    if row.id.startswith(_QUARANTINED):
        return _unreadable(head, row.sealed)
    return Entry(
        from_wire(head["event"]),
        tuple(Target(**one) for one in head["routes"]),
        row.sealed,
        hold=head["hold"],
        judge=head["judge"],
        state=State(**head["state"]) if head["state"] else None,
        ended=tuple(head["ended"]),
        told=tuple(head["told"]),
        ask=_ask(head["ask"]),
    )


def _unreadable(head: Mapping[str, Any], sealed: bytes) -> Unreadable:
    at, names = datetime.fromisoformat(head["received_at"]), (head["request_id"], head["encoding"])
    # Query and body are in the sealed bytes only, as they are in Redis.
    callback = CallbackRequest(head["channel"], "", b"", b"", None, at, *names)
    whose = (head["provider"], head["account"], head["reason"], head["digest"])
    return Unreadable(*whose, callback, sealed, _ask(head["ask"]), head["token_id"], head["order"])


def _ask(kept: Mapping[str, Any] | None) -> Ask | None:
    return Ask(**{**kept, "watch": kept["watch"].encode()}) if kept else None
