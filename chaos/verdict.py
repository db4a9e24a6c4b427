"""The senders' memory held against the streams and the shop's database: lost, twice, out of nowhere."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from chaos.callbacks import ASKED
from receiver.sink import EVENTS, HELD, QUARANTINE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import redis

    from chaos.consumer import Shop
    from chaos.senders import Ledger, Sent

_PAGE = 2000


@dataclass(frozen=True)
class Kept:
    """What the streams hold."""

    events: Counter[str]
    wanted: Counter[tuple[str, str]]  # the effects that the entries' routes ask for
    held: Counter[str]
    quarantined: Counter[str]
    told: dict[str, int]  # events that the API told of, with the number of the callback that they belong to

    @classmethod
    def read(cls, client: redis.Redis) -> Kept:
        events: Counter[str] = Counter()
        wanted: Counter[tuple[str, str]] = Counter()
        told = {}
        for raw in _entries(client, EVENTS):
            event = orjson.loads(raw[b"event"])
            events[event["id"]] += 1
            wanted.update((event["id"], route) for route in orjson.loads(raw[b"routes"]))
            data = event["data"]
            if data["origin"] != "callback" and data["account"] == ASKED:
                told[event["id"]] = _number(data["order_ref"], data["payment_ref"])
        held = Counter(str(orjson.loads(raw[b"event"])["id"]) for raw in _entries(client, HELD))
        quarantined = Counter(raw[b"digest"].decode() for raw in _entries(client, QUARANTINE))
        return cls(events, wanted, held, quarantined, told)


def _entries(client: redis.Redis, stream: str) -> Iterator[dict[bytes, bytes]]:
    after = "-"
    while True:
        found: Any = client.xrange(stream, min=after, count=_PAGE)
        for _, raw in found:
            yield raw
        if len(found) < _PAGE:
            return
        after = f"({found[-1][0].decode()}"


def _number(*references: str | None) -> int:
    """Return the number of the callback that a reference belongs to; all its references end in it."""
    return next((int(one[-9:]) for one in references if one and one[-9:].isdecimal()), 0)


@dataclass
class Verdict:
    """What must be nothing, with what it is of; and what is merely counted."""

    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    nowhere: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)  # what did not go as a run must go
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, list[str]]:
        return {
            "lost": self.lost,
            "twice": self.twice,
            "out of nowhere": self.nowhere,
            "strange answers": self.strange,
            "broken": self.broken,
        }

    @property
    def is_good(self) -> bool:
        return not any(self.faults.values())


def compare(ledger: Ledger, kept: Kept, shop: Shop) -> Verdict:
    """Hold what was answered with success against what is there, and what is there against what was sent."""
    verdict = Verdict(strange=list(ledger.strange))
    answered = [one for one in ledger.sent if one.is_answered and not one.callback.forged]
    verdict.lost = [*_missing(answered, kept), *_without_effect(kept, shop)]
    if shop.again_while_calm:
        verdict.twice.append(f"{shop.again_while_calm} jobs ran twice before anything was killed")
    for what, found in (("stream entry", kept.events), ("held entry", kept.held), ("quarantine", kept.quarantined)):
        verdict.twice += [f"{count} x {what} {name}" for name, count in found.items() if count > 1]
    verdict.twice += [f"{count} x effect {key}" for key, count in shop.effects.items() if count > 1]
    verdict.nowhere = list(_unsent(ledger, kept, shop))
    verdict.counts = {
        "facts": len({fact for one in answered for fact in one.callback.ids}),
        "events": kept.events.total(),
        "held before": kept.held.total(),
        "told by the API": len(kept.told),
        "quarantined": kept.quarantined.total(),
        "effects": shop.effects.total(),
        "jobs run again": shop.again,
    }
    return verdict


def _missing(answered: Iterable[Sent], kept: Kept) -> Iterator[str]:
    told = set(kept.told.values())
    for one in answered:
        callback = one.callback
        for fact in callback.ids:
            if fact not in kept.events:
                held = "held for ever" if fact in kept.held else "in no stream"
                yield f"{callback.label} {callback.number}: {fact} is {held}"
        if callback.digest and callback.digest not in kept.quarantined:
            yield f"{callback.label} {callback.number}: {callback.digest} is not in quarantine"
        if callback.asks and callback.number not in told:
            yield f"{callback.label} {callback.number}: nobody asked the API"


def _without_effect(kept: Kept, shop: Shop) -> Iterator[str]:
    for event, route in kept.wanted:
        if (event, route) not in shop.effects:
            yield f"no effect of {event} by the route {route}"


def _unsent(ledger: Ledger, kept: Kept, shop: Shop) -> Iterator[str]:
    sent = [one.callback for one in ledger.sent if not one.callback.forged]
    facts = {fact for one in sent for fact in one.ids}
    digests = {one.digest for one in sent if one.digest}
    asked = {one.number for one in sent if f"/{ASKED} " in one.label}
    for event in (*kept.events, *kept.held):
        if event not in facts and kept.told.get(event) not in asked:
            yield f"event {event}"
    for digest in kept.quarantined:
        if digest not in digests:
            yield f"quarantined {digest}"
    for key in shop.effects:
        if key not in kept.wanted:
            yield f"effect {key}"
