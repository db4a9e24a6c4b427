"""
From events to the store: the verdict on what the shop announced, the routes, whether it waits, what is asked later.

The receiver and the workers both put events in through here, so a fact gets the same treatment wherever it was learned.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from receiver import expecting, redact, routing, watching
from receiver.account import Account, Confirm
from receiver.errors import Reason, Stale, Unavailable
from receiver.event import WEIGHTY, Event, Kind
from receiver.expecting import Expectation
from receiver.message import CallbackRequest, Level
from receiver.ports import Ask, Claim, Entry, EventSink, HoldingSink, Provider, Receipt
from receiver.routing import Route
from receiver.watching import Watch

_TRIES = 5


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

    def _known(self, store: EventSink, events: Sequence[Event], account: Account) -> dict[str, Expectation | None]:
        """Read what was announced, where the account announces and there is anything to hold against it."""
        if not account.expected_tokens:
            return {}
        orders = {event.says.order_ref for event in events if event.says.kind in expecting.JUDGED}
        return {order: store.expected(account.provider, account.slug, order) for order in orders if order}

    def _entry(
        self,
        item: Sealed,
        provider: Provider,
        account: Account,
        known: Mapping[str, Expectation | None],
        source: str = "",
    ) -> Entry:
        event = item.event
        if holds(event, account):
            return Entry(event, routing.targets(event, self.routes), item.request, hold=True)
        claim = None
        if account.expected_tokens:
            found = known.get(event.says.order_ref or "")
            said = expecting.verdict(event, found, adds_commission=provider.adds_commission)
            event = replace(event, expected=said)
            claim = _claim(event, found)
        concerned = watching.names(event) if account.api else ()
        ended = watching.ended(event) if account.api else ()
        # What the API itself told has one key whenever it is told, so only callbacks need to be remembered.
        told = [name for name in concerned if name not in ended] if event.origin == "callback" else []
        return Entry(
            event,
            routing.targets(event, self.routes),
            item.request,
            claim=claim,
            ended=ended,
            told=tuple(told),
            ask=self._ask(event, provider, source) if concerned else None,
        )

    def announced(self, known: Expectation, provider: Provider, account: Account) -> Ask | None:
        """Return what is asked about an order that the shop announced; nothing where nobody can be asked."""
        if not account.api:
            return None
        watch = watching.of_expectation(known, next(iter(provider.channels)))
        lives = int((known.deadline - known.announced_at).total_seconds()) + watching.LIVES
        return Ask(watch.id, self.first_ask, lives, watch.to_json())

    def doubted(
        self, payment_ref: str | None, request: CallbackRequest, provider: Provider, account: Account
    ) -> Ask | None:
        """Return what is asked about a payment whose callback could not be read without guessing."""
        if payment_ref is None or not account.api:
            return None
        kind = Kind.PAYMENT_UNKNOWN
        watch = Watch(provider.name, account.slug, request.channel, kind, request.received_at, payment_ref=payment_ref)
        return Ask(watch.id, 0, watching.LIVES, watch.to_json())

    def _ask(self, event: Event, provider: Provider, source: str) -> Ask | None:
        watch = watching.of_event(event, source)
        if watch is None:
            return None
        at_once = provider.channels[event.channel].asks_at_once
        return Ask(watch.id, 0 if at_once else self.first_ask, watching.LIVES, watch.to_json())


def _repeated(attempt: Callable[[], Sequence[Receipt]]) -> Sequence[Receipt]:
    """Try again where the order was taken by another payment while we looked."""
    for _ in range(_TRIES):
        try:
            return attempt()
        except Stale:
            continue
    raise Unavailable(Reason.REDIS_REFUSED, "an announced order changes all the time")


def _claim(event: Event, found: Expectation | None) -> Claim | None:
    if found is None or event.expected is None:
        return None
    takes = expecting.payment_name(event) if event.says.kind in expecting.TAKES and not found.taken else ""
    return Claim(found.id, found.taken, takes if event.expected in expecting.TAKING else "")


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
