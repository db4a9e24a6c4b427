"""A store and a counter in memory: real ones, small enough to be read, in place of mocks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from receiver.errors import Stale, Unavailable
from receiver.event import Event
from receiver.expecting import Expectation, order_id
from receiver.ports import Entry, Receipt, Unreadable


@dataclass
class MemorySink:
    """``receiver.ports.EventSink``; raises *away* where one is set."""

    away: Unavailable | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    announced: dict[str, Expectation] = field(default_factory=dict)
    quarantined: dict[str, Unreadable] = field(default_factory=dict)
    refused: list[tuple[str, str, str, str]] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        return [entry.event for entry in self.entries.values()]

    @property
    def kept(self) -> int:
        return len(self.entries) + len(self.quarantined)

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        if self.away:
            raise self.away
        return self.announced.get(order_id(provider, account, order_ref))

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        if self.away:
            raise self.away
        for claim in (entry.claim for entry in entries if entry.claim):
            known = self.announced[claim.expectation]
            if known.read != claim.seen:
                raise Stale
            self.announced[claim.expectation] = replace(known, taken=claim.takes or known.taken)
        receipts = []
        for entry in entries:
            kept = self.entries.setdefault(entry.event.id, entry)
            receipts.append(Receipt(new=kept is entry, released=not kept.hold))
        return receipts

    def quarantine(self, unreadable: Unreadable) -> None:
        if self.away:
            raise self.away
        self.quarantined.setdefault(unreadable.digest, unreadable)

    def refuse(self, provider: str, account: str, channel: str, reason: str, request_id: str) -> None:
        assert request_id
        self.refused.append((provider, account, channel, reason))


@dataclass
class MemoryMetrics:
    """``receiver.ports.Metrics``; keeps what was counted, in order."""

    callbacks: list[tuple[str, str, str, str, str]] = field(default_factory=list)
    kinds: list[tuple[str, str, str]] = field(default_factory=list)
    strangers: dict[str, int] = field(default_factory=dict)

    def callback(self, provider: str, account: str, channel: str, outcome: str, reason: str, seconds: float) -> None:
        assert seconds >= 0
        self.callbacks.append((provider, account, channel, outcome, reason))

    def event(self, provider: str, account: str, kind: str) -> None:
        self.kinds.append((provider, account, kind))

    def unaccounted(self, provider: str, count: int) -> None:
        self.strangers[provider] = self.strangers.get(provider, 0) + count
