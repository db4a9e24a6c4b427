"""
From events to the store: the verdict on what the shop announced, the routes, whether it waits, what is asked later.

The receiver and the workers both put events in through here, so a fact gets the same treatment wherever it was learned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from receiver import expecting, redact, routing, watching
from receiver.account import Account, Confirm
from receiver.errors import Later, Reason, Stale, Unavailable
from receiver.event import WEIGHTY, Event, Kind, fact_id
from receiver.expecting import Expectation
from receiver.message import CallbackRequest, Level
from receiver.ports import Ask, Claim, Entry, EventSink, HoldingSink, Provider, Receipt, State
from receiver.queries import QUERIES
from receiver.routing import Route
from receiver.watching import Watch

_TRIES = 5
# What is said once of a payment, or of a refund: a second time it is the same, whatever the fact keys. That it is still
# open is said only where there is a reason for it.
_ONCE = dict.fromkeys(
    (
        *(Kind.PAYMENT_AUTHORIZED, Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_FAILED, Kind.PAYMENT_CANCELED),
        *(Kind.PAYMENT_EXPIRED, Kind.PAYMENT_VOIDED, Kind.PAYMENT_REFUNDED, Kind.PAYMENT_CHARGED_BACK),
        Kind.PAYMENT_PENDING,
    ),
    "payment_ref",
) | dict.fromkeys((Kind.PAYMENT_PARTIALLY_REFUNDED, Kind.PAYMENT_REFUND_FAILED), "refund_ref")

_Known = Mapping[str, Expectation | None]


@dataclass(frozen=True, slots=True)
class Sealed:
    """An event with the exact bytes it came from, sealed; none where a worker learned of it."""

    event: Event
    request: bytes = b""


@dataclass(frozen=True, slots=True)
class Placing:
    """Puts events of one configuration into a store. ``first_ask`` is how many seconds a payment may stay open."""

    routes: Sequence[Route]
    first_ask: int

    def accept(
        self, store: EventSink, items: Sequence[Sealed], provider: Provider, account: Account, source: str = ""
    ) -> Sequence[Receipt]:
        """
        Accept events of *account*, each with its verdict; raise Unavailable where they could not be kept.

        *source* is the client's address, and only its digest is kept.
        """
        from_where = redact.pseudonym(source, account) or ""

        def entries() -> list[Entry]:
            known = self._known(store, [item.event for item in items if not holds(item.event, account)], account)
            return [self._entry(item, provider, account, known, from_where) for item in items]

        return _repeated(lambda: store.accept(entries()))

    def release(self, store: HoldingSink, event: Event, provider: Provider, account: Account) -> Receipt:
        """Give out a confirmed fact that was held; see ``HoldingSink.release``."""

        def entry() -> Entry:
            return self._entry(Sealed(event), provider, account, self._known(store, [event], account))

        return _repeated(lambda: store.release([entry()]))[0]

    def accept_kept(
        self, store: EventSink, entries: Sequence[Entry], providers: Mapping[str, Provider]
    ) -> Sequence[Receipt]:
        """Accept what another store has kept; what that one could not judge is judged now, which decides its routes."""

        def judged(entry: Entry) -> Entry:
            event, order = entry.event, entry.event.says.order_ref
            found = store.expected(event.provider, event.account, order) if order else None
            event = _judged(event, found, providers[event.provider])
            ended, told = _watches(event) if entry.ended else ((), ())
            routes, claim = routing.targets(event, self.routes), _claim(event, found)
            return replace(entry, event=event, routes=routes, claim=claim, ended=ended, told=told, judge=False)

        return _repeated(lambda: store.accept([judged(entry) if entry.judge else entry for entry in entries]))

    def _known(self, store: EventSink, events: Sequence[Event], account: Account) -> _Known | None:
        """
        Read what was announced, where the account announces and there is anything to hold against it.

        None where the store leaves that for later.
        """
        if not account.expected_tokens:
            return {}
        orders = {event.says.order_ref for event in events if event.says.kind in expecting.JUDGED}
        try:
            return {order: store.expected(account.provider, account.slug, order) for order in orders if order}
        except Later:
            return None

    def _entry(
        self,
        item: Sealed,
        provider: Provider,
        account: Account,
        known: _Known | None,
        source: str = "",
    ) -> Entry:
        event = item.event
        state = _state(event) if account.api else None
        if holds(event, account):
            return Entry(event, routing.targets(event, self.routes), item.request, hold=True, state=state)
        claim = None
        if account.expected_tokens and known is not None:
            found = known.get(event.says.order_ref or "")
            event = _judged(event, found, provider)
            claim = _claim(event, found)
        ended, told = _watches(event) if account.api else ((), ())
        return Entry(
            event,
            routing.targets(event, self.routes),
            item.request,
            claim=claim,
            state=state,
            ended=ended,
            told=told,
            ask=self._ask(event, provider, source) if account.api else None,
            judge=known is None and event.says.kind in expecting.JUDGED,
        )

    def announced(self, known: Expectation, provider: Provider, account: Account) -> Ask | None:
        """Return what is asked about an order that the shop announced; nothing where the API finds no orders."""
        if not account.api or not QUERIES[provider.name].by_order:
            return None
        watch = watching.of_expectation(known, next(iter(provider.channels)))
        lives = int((known.deadline - known.announced_at).total_seconds()) + watching.LIVES
        return Ask(watch.id, self.first_ask, lives, watch.to_json())

    def doubted(
        self, payment_ref: str | None, request: CallbackRequest, provider: Provider, account: Account
    ) -> Ask | None:
        """Return what is asked about a payment whose callback could not be read without guessing."""
        if not payment_ref or not account.api:
            return None
        kind = Kind.PAYMENT_UNKNOWN
        watch = Watch(provider.name, account.slug, request.channel, kind, request.received_at, payment_ref=payment_ref)
        return Ask(watch.id, 0, watching.LIVES, watch.to_json())

    def _ask(self, event: Event, provider: Provider, source: str) -> Ask | None:
        watch = watching.of_event(event, source)
        if watch is None:
            return None
        at_once = provider.channels[event.channel].asks_at_once
        after = 0 if at_once else self.first_ask
        return Ask(watch.id, after, watching.LIVES, watch.to_json(), claimed=not watch.verified)


def _repeated(attempt: Callable[[], Sequence[Receipt]]) -> Sequence[Receipt]:
    """Try again where the order was taken by another payment while we looked."""
    for _ in range(_TRIES):
        try:
            return attempt()
        except Stale:
            continue
    raise Unavailable(Reason.REDIS_REFUSED, "an announced order changes all the time")


def _state(event: Event) -> State | None:
    """Return the mark of what the event says of its payment; None where the same may be said of it more than once."""
    says = event.says
    ref = _ONCE.get(says.kind, "")
    named = getattr(says, ref) if ref else None
    if not named or (says.kind is Kind.PAYMENT_PENDING and says.reason is None):
        return None
    # An id that was read back is that of a fact which a callback told.
    teller = "callback" if event.origin == "callback" or event.known_id else "api"
    # With the order, for a browser may have put another payment's id there, and must not hide what is said of that.
    key = ("state", says.kind, says.reason, says.order_ref, named)
    return State(fact_id(event.provider, event.account, key), teller)


def _judged(event: Event, found: Expectation | None, provider: Provider) -> Event:
    return replace(event, expected=expecting.verdict(event, found, adds_commission=provider.adds_commission))


def _watches(event: Event) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the watches that an event ends, and those that are told of it."""
    ended = watching.ended(event)
    # What has a state is told once by that; the rest of what callbacks tell, the watch has to remember.
    if event.origin != "callback" or _state(event):
        return ended, ()
    return ended, tuple(name for name in watching.names(event) if name not in ended)


def _claim(event: Event, found: Expectation | None) -> Claim | None:
    if found is None or event.expected is None:
        return None
    takes = expecting.payment_name(event) if event.says.kind in expecting.TAKES and not found.taken else ""
    return Claim(found.id, found.read, takes if event.expected in expecting.TAKING else "")


def holds(event: Event, account: Account) -> bool:
    """
    Say whether the fact waits for the provider's API (docs/events.md, Confirmation).

    ``unproven`` holds what gives or takes something until status and amount are covered; for a subscription the status
    is enough. A null amount is not covered.
    """
    if account.confirm is Confirm.NEVER or event.trust.level is Level.CONFIRMED or event.says.kind not in WEIGHTY:
        return False
    if account.confirm is Confirm.ALWAYS:
        return True
    covers = event.trust.covers
    paid = event.says.kind.startswith("subscription.") or ("amount" in covers and event.says.amount is not None)
    return not ("status" in covers and paid)
