"""
``ulak reconcile``: a provider's own list of a time beside what was received, and what is missing put in.

The list is asked first and the store read after it, so that what comes meanwhile is not called missing. A success that
the list does not have is asked about by itself: lists go by days and by changes, each provider's in its own way.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import redis

from receiver import confirming
from receiver.account import Account
from receiver.asking import QueryError, Sought
from receiver.config import Settings
from receiver.errors import Reason, Unavailable
from receiver.event import Event, Statement, from_wire
from receiver.placing import Placing
from receiver.providers import BY_NAME
from receiver.queries import LISTS, QUERIES
from receiver.schema import TURKEY
from receiver.sink import EVENTS, FACT, HELD, RedisSink
from workers import streams
from workers.comparing import Comparison, Difference, Received, What, compare, doubtful, ids
from workers.desk import Desk
from workers.questions import Questions

DAY = timedelta(days=1)
LONGEST = timedelta(days=31)
ASKED_ALONE = 100  # successes that the list does not have; more of them are no accident that asking would explain
_BATCH = 1000
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """A time, up to and without its end."""

    since: datetime
    until: datetime


def span(since: str, until: str | None, now: datetime, dedupe_days: int) -> Span:
    """
    Read a time from the command line; raise ValueError with a sentence.

    A day is a Turkish one, and meant whole. Without *until*: that day, or up to *now*.
    """
    start = _moment(since, "--since")
    end = _moment(until or since, "--until", last=True) if until or _DAY.fullmatch(since) else now
    end = min(end, now)
    if start >= end:
        raise ValueError("--since must be before --until, and in the past")
    if end - start > LONGEST:
        raise ValueError(f"--since and --until are more than {LONGEST.days} days apart; ask for a shorter time")
    if dedupe_days and start < now - timedelta(days=dedupe_days):
        raise ValueError(f"what came is remembered for {dedupe_days} days (dedupe_days): --since is before that")
    return Span(start, end)


def _moment(text: str, option: str, *, last: bool = False) -> datetime:
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), time(), TURKEY) + (DAY if last else timedelta())
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{option} {text!r} is no day such as 2026-11-22 and no ISO time") from None
    if found.tzinfo is None:
        raise ValueError(f"{option} {text!r} needs an offset from UTC, as in 2026-11-22T09:30:00+03:00")
    return found


def askable(settings: Settings, provider: str, slug: str) -> Account:
    """Return the account whose list can be asked; raise LookupError with a sentence that says what there is."""
    if provider not in BY_NAME:
        raise LookupError(f"no provider is called {provider!r}; there are {', '.join(BY_NAME)}")
    if provider not in LISTS:
        raise LookupError(f"{provider} has no list that can be asked; these have one: {', '.join(sorted(LISTS))}")
    account = settings.accounts.get((provider, slug))
    if account is None:
        there = ", ".join(known for name, known in settings.accounts if name == provider) or "none"
        raise LookupError(f"no account of {provider} is called {slug!r}; the configuration has: {there}")
    if not account.api:
        raise LookupError(f"{provider}/{slug} has no [accounts.api], so its provider cannot be asked")
    return account


@dataclass(frozen=True, slots=True)
class Report:
    """What a comparison came to; ``refused`` says why putting in ended early."""

    account: Account
    span: Span
    comparison: Comparison
    refused: Reason | None = None

    @property
    def differs(self) -> bool:
        """Whether anything is left that differs."""
        return any(one.what is not What.ACCEPTED for one in self.comparison.differences)

    def to_wire(self) -> dict[str, Any]:
        found = self.comparison
        return {
            "provider": self.account.provider,
            "account": self.account.slug,
            "since": self.span.since.isoformat(),
            "until": self.span.until.isoformat(),
            "counts": {
                "listed": found.listed,
                "received": found.received,
                "open": found.open,
                "forgotten": found.forgotten,
                **{what.value: sum(one.what is what for one in found.differences) for what in What},
            },
            "refused": self.refused,
            "differences": [one.to_wire() for one in found.differences],
        }


def desk_of(settings: Settings, client: redis.Redis) -> Desk:
    """Return a desk for a command; what it puts in goes over the sink's own connection."""
    sink = RedisSink.of(settings)
    return Desk(settings, sink, Placing(settings.routes, settings.reconcile_after[0]), client, Questions(client))


def reconcile(at: Desk, account: Account, whole: Span, *, accept: bool) -> Report:
    """Compare, and with *accept* put in what is missing; raise QueryError where there is no list."""
    stated = at.questions.listed(whole.since, whole.until, account)
    received = _received(at.client, account, whole.since, ids(stated, account))
    doubted = [
        (event, _explained(at.questions, event, account) if number < ASKED_ALONE else ())
        for number, event in enumerate(doubtful(stated, received.released, account, whole.since, whole.until))
    ]
    left = [(event, found) for event, found in doubted if doubtful(found, [event], account, whole.since, whole.until)]
    found = compare(stated, received, account, QUERIES[account.provider].exact, left)
    report = Report(account, whole, found)
    return _accepted(at, report) if accept else report


def _explained(questions: Questions, event: Event, account: Account) -> Sequence[Statement]:
    """Ask about one success; nothing where that gives no answer, for then the list is all we know."""
    says = event.says
    sought = Sought(
        event.channel,
        says.kind,
        says.order_ref,
        says.payment_ref,
        says.refund_ref,
        says.subscription_ref,
        since=event.received_at - DAY,
    )
    try:
        return questions.ask(sought, account)
    except QueryError:
        return ()


def _received(client: redis.Redis, account: Account, since: datetime, wanted: Iterable[str]) -> Received:
    """Read what came since a day before the time; callbacks may be late, and clocks of zones be guessed."""
    now = datetime.now(UTC)
    released = list(_events(client, EVENTS, account, since - DAY, now))
    held = list(_events(client, HELD, account, since - DAY, now))
    markers = _markers(client, {*wanted, *(event.id for event in held)})
    waiting = [event for event in held if markers.get(event.id) == "held"]
    return Received(released, waiting, markers, streams.whole_since(client, EVENTS, since))


def _events(client: redis.Redis, stream: str, account: Account, since: datetime, until: datetime) -> Iterator[Event]:
    whose = (account.provider, account.slug)
    for one in streams.between(client, stream, since, until):
        if one.event and (one.event["data"]["provider"], one.event["data"]["account"]) == whose:
            yield replace(from_wire(one.event), raw={}, custom={})


def _markers(client: redis.Redis, wanted: Iterable[str]) -> Mapping[str, str]:
    """Return the markers of those facts that are known."""
    names, found = list(wanted), {}
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        values: Any = client.mget([FACT + name for name in batch])
        found.update({name: value.decode() for name, value in zip(batch, values, strict=True) if value})
    return found


def _accepted(at: Desk, report: Report) -> Report:
    """Put in what can be; a fact that came in the meantime is no difference any more."""
    account, found = report.account, report.comparison
    channel = next(iter(BY_NAME[account.provider].channels))
    kept: list[Difference] = []
    refused, came = None, 0
    for one in found.differences:
        if refused or not one.acceptable or one.theirs is None:
            kept.append(one)
            continue
        try:
            receipt = at.accept(confirming.learned(one.theirs, account, channel, datetime.now(UTC)), account)
        except Unavailable as exc:
            refused = exc.reason
            kept.append(one)
            continue
        if receipt.new:
            kept.append(replace(one, what=What.ACCEPTED))
        elif receipt.released:
            came += 1
        else:
            kept.append(replace(one, what=What.HELD))
    comparison = replace(found, received=found.received + came, differences=kept)
    return replace(report, comparison=comparison, refused=refused)
