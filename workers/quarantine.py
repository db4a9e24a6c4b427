"""
Trying again what lies in quarantine, for a person to do after an upgrade: today's code reads the bytes that were kept.

The token was proven when the callback came and is not kept; a hash is proven anew. What can be read now is put into the
store like a callback, by the same script, so that it is an event once however often it is tried. An entry is never
deleted: what became of it is noted beside the stream.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from receiver.config import Settings
from receiver.errors import Reason, Rejected, Unavailable, UnknownEndpoint
from receiver.expecting import Expectation
from receiver.log import Line
from receiver.message import CallbackRequest, Media, Outcome
from receiver.pipeline import Endpoint, NoSpool, Pipeline, place
from receiver.placing import Placing
from receiver.ports import Entry, EventSink, Receipt, Token, Unreadable
from receiver.providers import BY_NAME
from receiver.seal import Opened, Sealed, Sealer
from receiver.sink import FACT, QUARANTINE, STATE
from workers import streams
from workers.streams import Record

RESOLVED = "ulak:quarantine:resolved"
NOT_OPENED = "not_opened"
TOO_OLD = "too_old"
# Beside the reasons of a callback, why an entry stays where it is, and what to do.
WHY_NOT: Mapping[str, tuple[str, str]] = {
    NOT_OPENED: (
        "The kept bytes of a quarantined callback cannot be opened with any data_key of the configuration.",
        "Put the key of that time back, behind the newest one in `data_key`.",
    ),
    TOO_OLD: (
        "A quarantined callback is older than dedupe_days: a good copy of it may have come and be forgotten.",
        "Look in the provider's panel whether its event is missing; `--old` tries it all the same.",
    ),
}
STAYS = "stays"
OPEN = "open"  # not tried again, or in vain
_PASSED = frozenset({Outcome.ACCEPTED, Outcome.HELD, Outcome.DUPLICATE})
_SHOWN = ("provider", "account", "channel", "digest", "reason")
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which entries are tried: those that fit all that is given; ``digest`` may be cut short."""

    provider: str | None = None
    account: str | None = None
    reason: str | None = None
    digest: str | None = None

    def takes(self, one: Record) -> bool:
        wanted = {"provider": self.provider, "account": self.account, "reason": self.reason}
        fits = all(value is None or one.fields.get(name) == value for name, value in wanted.items())
        return fits and one.fields.get("digest", "").startswith(self.digest or "")


@dataclass(frozen=True, slots=True)
class Tried:
    """What became of one entry. ``why`` says why it stays; ``was`` is why it came into quarantine."""

    entry: str
    provider: str
    account: str
    channel: str
    digest: str
    was: str
    outcome: str
    why: str = ""
    detail: str = ""
    events: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        """Say it for a terminal: what became of it, of which callback, and why or as which event."""
        told = " ".join(filter(None, (self.why, self.detail))) or " ".join(event[:12] for event in self.events)
        return f"{self.outcome:<9}  {self.provider}/{self.account} {self.channel}  {self.digest[:12]}  {told}"


class Retrial:
    """Puts entries through the pipeline; *dry* only says what would become of them."""

    def __init__(self, settings: Settings, client: redis.Redis, sink: EventSink, *, dry: bool, old: bool) -> None:
        self._settings = settings
        self._client = client
        self._dry = dry
        self._sealer = Sealer(settings.data_keys)
        days = settings.dedupe_days
        # Older, a good copy of the same fact may have passed and be forgotten: a person must want that.
        self._oldest = datetime.now(UTC) - timedelta(days=days) if days and not old else _BEGINNING
        self._pipeline = Pipeline(
            sink=_Second(sink, self._known if dry else None),
            placing=Placing(settings.routes, settings.reconcile_after[0]),
            sealer=self._sealer,
            metrics=_Uncounted(),
            spool=NoSpool(),
        )

    def run(self, choice: Choice) -> Iterator[Tried]:
        """Try what is chosen and not resolved, oldest first; raise Unavailable where the store cannot keep it."""
        found: Any = self._client.hkeys(RESOLVED)
        resolved = {entry.decode() for entry in found}
        for one in streams.between(self._client, QUARANTINE, _BEGINNING, datetime.now(UTC)):
            if one.entry in resolved or not choice.takes(one):
                continue
            tried = self._try(one)
            if tried.outcome != STAYS and not self._dry:
                self._client.hset(RESOLVED, one.entry, tried.outcome)
            yield tried

    def _try(self, one: Record) -> Tried:
        line = Line(one.fields.get("request_id", ""))
        try:
            if datetime.fromisoformat(one.fields["received_at"]) < self._oldest:
                line.reason = TOO_OLD
            else:
                endpoint = self._endpoint(one)
                opened = self._sealer.open(one.request, one.belongs_to)
                self._pipeline.handle(_request(one, opened), endpoint, line)
        except Sealed:
            line.reason = NOT_OPENED
        except Rejected as exc:
            line.reason = exc.reason.value
        except Unavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - one entry that our code fails on must not stop the others
            line.reason, line.detail = Reason.INTERNAL_ERROR.value, place(exc)
        passed = line.outcome in _PASSED
        provider, account, channel, digest, was = (one.fields.get(name, "") for name in _SHOWN)
        return Tried(
            *(one.entry, provider, account, channel, digest, was),
            outcome=line.outcome if passed else STAYS,
            why="" if passed else line.reason,
            detail=line.detail,
            events=tuple(line.events),
        )

    def _endpoint(self, one: Record) -> Endpoint:
        """Find where the callback arrived; what the token in its address proved is read from the entry."""
        kept = one.fields
        provider = BY_NAME.get(kept["provider"])
        if provider is None:
            raise UnknownEndpoint(Reason.NO_PROVIDER)
        account = self._settings.accounts.get((kept["provider"], kept["account"]))
        if account is None:
            raise UnknownEndpoint(Reason.NO_ACCOUNT)
        channel = provider.channels.get(kept["channel"])
        if channel is None:
            raise UnknownEndpoint(Reason.NO_CHANNEL)
        if channel.token is Token.BROWSER and "order" not in kept:
            # The token may have been good for one order only, and which one was not kept.
            raise UnknownEndpoint(Reason.BAD_TOKEN)
        return Endpoint(provider, account, channel, kept.get("token_id", ""), kept.get("order", ""))

    def _known(self, entry: Entry) -> Receipt:
        """Tell what the store would say, by the marks of the fact and of its payment's state."""
        marker: Any = self._client.get(FACT + entry.event.id)
        if marker is not None:
            return Receipt(new=False, released=marker == b"released")
        teller: Any = self._client.get(STATE + entry.state.name) if entry.state else None
        told = bool(entry.state and teller and teller.decode() != entry.state.teller)
        return Receipt(new=not told, released=told or not entry.hold)


def _request(one: Record, opened: Opened) -> CallbackRequest:
    kept = one.fields
    return CallbackRequest(
        channel=kept["channel"],
        method=opened.method,
        query=opened.query,
        body=opened.body,
        media=Media(opened.media) if opened.media else None,
        received_at=datetime.fromisoformat(kept["received_at"]),
        request_id=kept["request_id"],
        encoding=kept.get("encoding", "utf-8"),
    )


class _Second:
    """The store for a callback that lies in quarantine: what still cannot be read is not put there once more."""

    def __init__(self, sink: EventSink, instead: Callable[[Entry], Receipt] | None) -> None:
        self._sink = sink
        self._instead = instead

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        return self._sink.expected(provider, account, order_ref)

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        return [self._instead(entry) for entry in entries] if self._instead else self._sink.accept(entries)

    def quarantine(self, unreadable: Unreadable) -> None:
        """It is there."""

    def refuse(self, provider: str, account: str, channel: str, reason: str, request_id: str) -> None:
        """Nobody called."""


class _Uncounted:
    """The counters are the web workers' own, and count callbacks that came."""

    def callback(self, provider: str, account: str, channel: str, outcome: str, reason: str, seconds: float) -> None:
        """See above."""

    def event(self, provider: str, account: str, kind: str) -> None:
        """See above."""

    def unaccounted(self, provider: str, count: int) -> None:
        """See above."""


def states(client: redis.Redis, records: Sequence[Record]) -> list[str]:
    """Say of entries of the quarantine what became of each: OPEN, or the outcome of trying it again."""
    if not records:
        return []
    found: Any = client.hmget(RESOLVED, [one.entry for one in records])
    return [word.decode() if word else OPEN for word in found]
