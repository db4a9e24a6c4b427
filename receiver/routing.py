"""Which routes take an event: decided once, when it is accepted, and written beside it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from receiver.event import Event
from receiver.message import Level
from receiver.ports import Target

# Where a held fact goes: a worker asks the provider's API. Capitals keep its job ids apart from any route's.
CONFIRM = Target("CONFIRM", "ulak-confirm", "workers.confirm.confirm")


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

    def takes(self, event: Event) -> bool:
        return (
            _fits(event.says.kind, self.kinds)
            and _fits(event.provider, self.providers)
            and _fits(event.account, self.accounts)
            and (self.test == "both" or event.test == (self.test == "test"))
            and event.trust.level.rank >= self.min_trust.rank
            and self.covers.issubset(event.trust.covers)
        )


@lru_cache(maxsize=1024)
def _fits(value: str, patterns: tuple[str, ...]) -> bool:
    family = value.partition(".")[0] + ".*"
    return any(pattern in {"*", value, family} for pattern in patterns)


def targets(event: Event, routes: Iterable[Route]) -> tuple[Target, ...]:
    """Return where *event* goes; none at all is possible, and the event is kept in the stream all the same."""
    return tuple(route.target for route in routes if route.takes(event))
