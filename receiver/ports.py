"""The seams: what the pipeline asks of a provider and of the outside world."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from marshmallow import Schema

from receiver.account import Account
from receiver.event import Event, Statement
from receiver.expecting import Expectation
from receiver.message import CallbackRequest, Media, Notification, Outcome, Reply


class Token(StrEnum):
    """Which secret of the account stands at the end of a channel's URL."""

    NONE = "none"
    ROUTE = "token"
    OPTIONAL = "optional"  # wanted only where the account has one
    BROWSER = "browser_token"


@dataclass(frozen=True, slots=True)
class Channel:
    """
    One URL of a provider: who calls it, how, and what it may carry.

    ``media`` lists what a POST may be, the usual one first. ``kept`` are the field names copied to the event's ``raw``,
    ``dropped`` those known and left out; any other is counted as unaccounted, unless ``any_name`` says that strangers
    are normal here.
    """

    name: str
    methods: tuple[str, ...]
    media: tuple[Media, ...]
    token: Token
    schema: Schema
    kept: tuple[str, ...]
    dropped: tuple[str, ...] = ()
    any_name: bool = False
    browser: bool = False
    asks_at_once: bool = False  # the outcome is only ever known from the API, so it is asked without delay
    known: frozenset[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset((*self.kept, *self.dropped)))


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named callback that the simulator can send: the provider's fields without proof."""

    channel: str
    fields: Mapping[str, str]
    # Fields that get a fresh suffix in each callback; the first is the reference that a person would look for.
    unique: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a callback that was stored. ``released`` is false while a fact is held for confirmation."""

    outcome: Outcome
    events: Sequence[Event] = ()
    released: bool = False


@dataclass(frozen=True, slots=True)
class SettingsSchemas:
    """
    The provider's own settings of an account, and those under ``[accounts.api]``.

    ``takes`` names the settings common to several providers that make sense here, ``needs`` those that must be there.
    """

    account: Schema
    api: Schema
    takes: frozenset[str]
    needs: frozenset[str]
    published_secrets: frozenset[str] = field(default=frozenset(), repr=False)


class Provider(Protocol):
    """Everything the receiver knows about one provider. Stateless: no I/O, no clock."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def channels(self) -> Mapping[str, Channel]: ...
    @property
    def settings(self) -> SettingsSchemas: ...
    @property
    def scenarios(self) -> Mapping[str, Scenario]: ...
    @property
    def adds_commission(self) -> bool:
        """Say whether a payment in instalments may be more than the order, by a commission that the shopper pays."""

    @property
    def retries_for(self) -> int:
        """For how many seconds a callback that was not taken comes again; 0 where no page says that it does."""

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        """
        Prove the callback authentic, all of it, or raise Rejected (or Quarantined, where only the address is proven).

        *token_id* names the route token that was in the URL, already compared; empty where the channel has none.
        """

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        """Say it in our words. *fields* is the loaded schema; raise Quarantined where a value has no single meaning."""

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        """The bytes that this provider reads as "got it"."""

    def sign(self, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
        """Make an authentic callback: simulator, bench, tests."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where one route wants its jobs: an RQ queue and the dotted name of a callable."""

    route: str
    queue: str
    job: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What a verdict rests on: what was announced and who had paid it, as it was read, and who pays it now."""

    expectation: str
    seen: str = ""
    takes: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """One state of one payment, told once; *teller* is ``callback`` or ``api``, whose fact keys may differ."""

    name: str
    teller: str


@dataclass(frozen=True, slots=True)
class Ask:
    """A question to be asked in *after* seconds, given up after *lives*; ``watch`` is ``watching.Watch`` as JSON."""

    id: str
    after: int
    lives: int
    watch: bytes
    claimed: bool = False  # it rests on what anybody could claim, and gives way to a question that does not


@dataclass(frozen=True, slots=True)
class Entry:
    """
    An event on its way to the store: its routes, and the exact request bytes, sealed.

    ``ended`` are the watches that it ends, ``told`` those that are told of its kind; ``ask`` begins one. ``judge`` says
    that it still has to be held against what the shop announced, which decides its routes.
    """

    event: Event
    routes: Sequence[Target]
    request: bytes = field(repr=False)
    hold: bool = False
    claim: Claim | None = None
    state: State | None = None
    ended: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    ask: Ask | None = None
    judge: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """The store's answer for one event: was it new, and is the fact released (or held)."""

    new: bool
    released: bool


@dataclass(frozen=True, slots=True)
class Unreadable:
    """
    An authentic callback that cannot be read, for quarantine.

    ``token_id`` and ``order`` are what the token in its address proved, so that it can be tried again without one.
    """

    provider: str
    account: str
    reason: str
    digest: str
    callback: CallbackRequest
    request: bytes = field(repr=False)
    ask: Ask | None = None
    token_id: str = ""
    order: str = ""


class EventSink(Protocol):
    """Where events are kept: Redis, or the spool while that is away."""

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        """
        Return what the shop announced of this order; raise Unavailable where that cannot be told.

        A store that never knows raises Later: what it keeps is judged on its way to the one that does.
        """

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        """Dedupe, record and enqueue in one atomic step; raise Unavailable where that fails, Stale by a Claim."""

    def quarantine(self, unreadable: Unreadable) -> None:
        """Keep it once; raise Unavailable where that cannot be done."""

    def refuse(self, provider: str, account: str, channel: str, reason: str, request_id: str) -> None:
        """Note a refusal for people to look at; raise Unavailable where that cannot be done."""


class HoldingSink(EventSink, Protocol):
    """A store that also lets go of what it held."""

    def release(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        """
        Give out facts that were held: once, however often it is called.

        A receipt that is neither new nor released says that the fact is not held (any more).
        """


class Metrics(Protocol):
    """Counters and durations; labels hold configured names and reason words only."""

    def callback(
        self, provider: str, account: str, channel: str, outcome: str, reason: str, seconds: float
    ) -> None: ...
    def event(self, provider: str, account: str, kind: str) -> None: ...
    def unaccounted(self, provider: str, count: int) -> None: ...
