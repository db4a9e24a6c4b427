"""Which routes take an event: decided once, when it is accepted, and written beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from receiver.account import Account
from receiver.event import Event, Kind, Verdict
from receiver.expecting import JUDGED
from receiver.message import Level
from receiver.ports import Target

# Where a held fact goes: a worker asks the provider's API. Capitals keep its job ids apart from any route's.
CONFIRM = Target("CONFIRM", "ulak-confirm", "workers.confirm.confirm")
# Where it is asked about what is open: by workers of its own, for a flood of claims must not make a held fact wait.
ASK = Target("ASK", "ulak-ask", "workers.reconcile.ask")
OURS = frozenset({CONFIRM.queue, ASK.queue})
NO_VERDICT = "none"  # what a route calls an event without a verdict


@dataclass(frozen=True, slots=True)
class Route:
    """Takes an event that every one of these fits; ``*`` fits any, and ``payment.*`` any kind of that family."""

    target: Target
    kinds: tuple[str, ...] = ("*",)
    providers: tuple[str, ...] = ("*",)
    accounts: tuple[str, ...] = ("*",)
    test: str = "both"  # "live", "test" or "both"
    min_trust: Level = Level.ROUTE
    covers: frozenset[str] = frozenset()
    verdicts: frozenset[str] = frozenset()  # empty: any, and none

    def takes(self, event: Event) -> bool:
        return (
            _fits(event.says.kind, self.kinds)
            and _fits(event.provider, self.providers)
            and _fits(event.account, self.accounts)
            and (self.test == "both" or event.test == (self.test == "test"))
            and event.trust.level.rank >= self.min_trust.rank
            and self.covers.issubset(event.trust.covers)
            and (not self.verdicts or (event.expected or NO_VERDICT) in self.verdicts)
        )


def unrouted(account: Account, kind: Kind, routes: Iterable[Route]) -> set[str]:
    """Return the verdicts on events of *kind* that no route takes, where one of its routes chooses among them."""
    fitting = [
        route
        for route in routes
        if _fits(kind, route.kinds)
        and _fits(account.provider, route.providers)
        and _fits(account.slug, route.accounts)
        and (route.test == "both" or account.test == (route.test == "test"))
    ]
    if not any(route.verdicts for route in fitting):
        return set()
    # A route that wants more proof does not take the rest.
    taking = [route for route in fitting if not route.covers and route.min_trust.rank <= Level.ROUTE.rank]
    if not all(route.verdicts for route in taking):
        return set()
    judged = account.expected_tokens and kind in JUDGED
    possible = {NO_VERDICT} | ({verdict.value for verdict in Verdict} if judged else set())
    return possible.difference(*(route.verdicts for route in taking))


@lru_cache(maxsize=1024)
def _fits(value: str, patterns: tuple[str, ...]) -> bool:
    family = value.partition(".")[0] + ".*"
    return any(pattern in {"*", value, family} for pattern in patterns)


def targets(event: Event, routes: Iterable[Route]) -> tuple[Target, ...]:
    """Return where *event* goes; none at all is possible, and the event is kept in the stream all the same."""
    return tuple(route.target for route in routes if route.takes(event))
