"""Events made by hand, for tests of what comes after the providers."""

from datetime import UTC, datetime
from typing import Any

from receiver.event import Event, Kind, Statement, Trust
from receiver.message import Level
from receiver.money import Money

NOW = datetime(2026, 11, 22, 9, 30, 0, 123456, tzinfo=UTC)


def event_of(
    kind: Kind = Kind.PAYMENT_SUCCEEDED,
    *,
    provider: str = "paratika",
    account: str = "shop",
    test: bool = True,
    level: Level = Level.SIGNED,
    covers: tuple[str, ...] = ("order_ref", "status"),
    **says: Any,
) -> Event:
    says.setdefault("amount", Money(1176, "TRY"))
    says.setdefault("fact_key", ("ORDER-1",))
    statement = Statement(kind=kind, status_code="00", order_ref=says.pop("order_ref", "ORDER-1"), **says)
    return Event(provider, account, "return", test, NOW, Trust(level, covers), statement)
