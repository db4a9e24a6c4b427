"""
Announcing an order from Python, for a shop that runs beside Ulak, with its configuration and its Redis::

    from workers.expect import expect

    expect("paratika", "shop-tr", "ORDER-1", "11.76", "TRY")

A shop elsewhere posts the same to ``/expected`` (docs/events.md, Expected payments).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

from marshmallow import ValidationError

from receiver import announcing, config
from receiver.errors import Reason, Rejected
from receiver.placing import Placing
from receiver.providers import BY_NAME
from receiver.sink import Announced, RedisSink


class AnnouncementError(ValueError):
    """An announcement is wrong: ``fields`` says what, name by name, and never what was given."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {what}" for name, what in fields.items()))
        self.fields = dict(fields)


def expect(
    provider: str,
    account: str,
    order_ref: str,
    amount: str | Decimal,
    currency: str,
    deadline: datetime | str | None = None,
) -> str:
    """
    Announce an order before the shopper is redirected; return ``new``, ``same`` or ``changed``.

    *amount* is in major units and never a float; *deadline* has its offset, and is a day from now where left out.

    Raise AnnouncementError; LookupError where the account does not announce; Rejected ``already_paid`` where the order
    is paid and another amount was given; Unavailable where it was not kept, or nobody knows: announce it again.
    """
    sent = {
        "provider": provider,
        "account": account,
        "order_ref": order_ref,
        "amount": format(amount, "f") if isinstance(amount, Decimal) else amount,
        "currency": currency,
        "deadline": deadline.isoformat() if isinstance(deadline, datetime) else deadline,
    }
    return announce(_built(), sent)


@dataclass(frozen=True, slots=True)
class Announcing:
    """What an announcement needs of the configuration."""

    settings: config.Settings
    sink: RedisSink
    placing: Placing


def announce(at: Announcing, sent: Mapping[str, object]) -> str:
    """Announce what a shop sent, with the errors of ``expect``."""
    try:
        known = announcing.read(sent, datetime.now(UTC))
    except ValidationError as exc:
        raise AnnouncementError(announcing.faults(exc)) from None
    found = at.settings.accounts.get((known.provider, known.account))
    if found is None or not found.expected_tokens:
        raise LookupError(f"no account {known.provider}/{known.account} with an expected_token is in the configuration")
    done = at.sink.expect(known, at.placing.announced(known, BY_NAME[known.provider], found))
    if done is Announced.PAID:
        raise Rejected(Reason.ALREADY_PAID)
    return done.name.lower()


def opened(settings: config.Settings) -> Announcing:
    """Connect at the first announcement, to the Redis of *settings*."""
    sink = RedisSink.of(settings)
    return Announcing(settings, sink, Placing(settings.routes, settings.reconcile_after[0]))


@cache
def _built() -> Announcing:
    """Read the configuration once a process, like the receiver."""
    return opened(config.load())
