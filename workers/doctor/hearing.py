"""Reading the newest entries of the streams, as many as take a moment: who called, what waits, what needs asking."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, pairwise
from typing import Any

import redis
from rq.job import Job

from receiver.account import Account
from receiver.config import Settings
from receiver.event import own_id
from receiver.queries import QUERIES
from receiver.routing import CONFIRM
from receiver.sink import EVENTS, FACT, HELD, QUARANTINE, REFUSED
from receiver.watching import OPEN
from workers import budget, quarantine, streams
from workers.budget import Budget
from workers.doctor.facts import Flow, Group, Heard, Spending
from workers.streams import Record

LOOK = 10_000  # entries of each stream
_PAGE = 500
_DAY = 24 * 3600.0
_SETTLING = 600.0  # seconds in which a question may be on its way between two of RQ's lists
# What is said of a held fact that stays held for good (receiver.confirming): then nobody waits for it any more.
_SAID_INSTEAD = ("differs", "unconfirmed")


@dataclass(slots=True)
class _Seen:
    """What is gathered while reading. Times are Unix seconds."""

    now: float
    calls: dict[str, set[float]] = field(default_factory=lambda: defaultdict(set))
    refusals: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    asked: Counter[str] = field(default_factory=Counter)  # callbacks of a day that the API is asked about
    held: list[Record] = field(default_factory=list)

    def take(self, stream: str, one: Record) -> None:
        """Note who called. What a worker learned by asking is no call; a refusal may be anybody's."""
        if stream == REFUSED:
            self.refusals[_whose(one.fields)].append(_at(one))
        elif stream == QUARANTINE:
            self.calls[_whose(one.fields)].add(_at(one))
        elif one.event is not None:
            data = one.event["data"]
            if stream == HELD:
                self.held.append(one)
            if data["origin"] == "callback":
                received = datetime.fromisoformat(data["received_at"]).timestamp()
                self.calls[_whose(data)].add(received)
                if self.now - received < _DAY and (stream == HELD or one.event["type"] in OPEN):
                    self.asked[_whose(data)] += 1


def flow_of(client: redis.Redis, settings: Settings) -> Flow:
    seen = _Seen(time.time())
    reach, cut = [], []
    for stream in (EVENTS, HELD, QUARANTINE, REFUSED):
        oldest = None
        for oldest in islice(streams.newest(client, stream), LOOK):
            seen.take(stream, oldest)
        if oldest is not None:
            reach.append(seen.now - _at(oldest))
            if client.xlen(stream) > LOOK and stream != REFUSED:
                cut.append(reach[-1])
    window = min(cut) if cut else max(reach, default=0.0)
    live = [name for name, account in _named(settings) if not account.test]
    long, forgotten = _held(client, settings, seen)
    return Flow(
        seen=window,
        whole=not cut,
        groups=tuple(_groups(client, seen.now)),
        heard={name: _heard(seen.calls[name], seen.refusals[name], seen.now) for name in live},
        held_long=long,
        held_forgotten=forgotten,
        quarantined=_quarantined(client),
        spendings=tuple(_spendings(client, settings, seen.asked, min(window, _DAY) if cut else _DAY)),
    )


def _named(settings: Settings) -> Iterator[tuple[str, Account]]:
    return ((f"{account.provider}/{account.slug}", account) for account in settings.accounts.values())


def _whose(named: Mapping[str, Any]) -> str:
    return f"{named.get('provider')}/{named.get('account')}"


def _at(one: Record) -> float:
    return int(one.entry.partition("-")[0]) / 1000


def _heard(calls: Iterable[float], refusals: Iterable[float], now: float) -> Heard:
    times = sorted(calls)
    last = times[-1] if times else 0.0
    longest = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
    return Heard(now - last, longest, len(times), sum(at > last for at in refusals))


def _held(client: redis.Redis, settings: Settings, seen: _Seen) -> tuple[dict[str, int], dict[str, int]]:
    """Count the facts that wait longer than they should, and those that nobody asks about any more."""
    accounts = dict(_named(settings))
    remembered = settings.dedupe_days * _DAY or float("inf")
    long: Counter[str] = Counter()
    forgotten: Counter[str] = Counter()
    for at in range(0, len(seen.held), _PAGE):
        for one, asked in _waiting(client, seen.held[at : at + _PAGE]):
            age = seen.now - _at(one)
            name = _whose((one.event or {})["data"])
            if not asked and _SETTLING < age < remembered:
                forgotten[name] += 1
            elif asked and age > (accounts[name].confirm_for if name in accounts else _DAY):
                long[name] += 1
    return dict(long), dict(forgotten)


def _waiting(client: redis.Redis, records: Sequence[Record]) -> Iterator[tuple[Record, bool]]:
    """Yield what is held still, and whether the job that asks about it is there."""
    with client.pipeline(transaction=False) as pipe:
        for one in records:
            pipe.get(FACT + one.belongs_to)
            pipe.exists(f"{Job.redis_job_namespace_prefix}{one.belongs_to}-{CONFIRM.route}")
            pipe.exists(*(FACT + own_id(one.belongs_to, word) for word in _SAID_INSTEAD))
        found = iter(pipe.execute())
    for one, marker, asked, said in zip(records, found, found, found, strict=True):
        if marker == b"held" and not said:
            yield one, bool(asked)


def _quarantined(client: redis.Redis) -> dict[str, int]:
    """Count what was not tried again, or in vain."""
    counts: Counter[str] = Counter()
    found = list(islice(streams.newest(client, QUARANTINE), LOOK))
    for one, state in zip(found, quarantine.states(client, found), strict=True):
        if state == quarantine.OPEN:
            counts[f"{_whose(one.fields)} {one.fields.get('reason')}"] += 1
    return dict(counts)


def _groups(client: redis.Redis, now: float) -> Iterator[Group]:
    """Find how old the oldest entry is that a group was not given, or has not acknowledged; Redis 6.2 tells no lag."""
    for stream in (EVENTS, HELD, QUARANTINE, REFUSED):
        told: Any = client.xinfo_groups(stream) if client.exists(stream) else ()
        for group in told:
            name, last = group["name"], group["last-delivered-id"].decode()
            following: Any = client.xrange(stream, min=f"({last}", count=1)
            unread = [entry for entry, _ in following]
            pending: Any = client.xpending(stream, name) if group["pending"] else {}
            oldest = [entry for entry in (*unread, pending.get("min")) if entry]
            behind = max((now - int(entry.partition(b"-")[0]) / 1000 for entry in oldest), default=0.0)
            yield Group(stream, name.decode("utf-8", "replace"), behind)


def _spendings(client: redis.Redis, settings: Settings, asked: Counter[str], window: float) -> Iterator[Spending]:
    """Compare what a day's callbacks need with the budget of each merchant whose provider counts by the day."""
    merchants: dict[str, list[str]] = defaultdict(list)
    limits = {}
    for name, account in _named(settings):
        most = QUERIES[account.provider].limits.per_day if account.api else 0
        if most:
            whose = budget.merchant(account)
            merchants[whose].append(name)
            limits[whose] = most
    for whose, names in merchants.items():
        needed = sum(asked[name] for name in names)
        spent = Budget(client).spent(budget.a_day(whose, limits[whose]))
        # Where the newest entries do not reach back a whole day, a day is told by its part.
        yield Spending(tuple(names), round(needed * _DAY / max(window, 1.0)), spent, limits[whose])
