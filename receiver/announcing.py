"""Reading what a shop announces: an order, before it redirects the shopper."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load

from receiver.expecting import Expectation
from receiver.money import Money, currency_code
from receiver.schema import Text

DEADLINE = timedelta(days=1)  # where none is named
FARTHEST = timedelta(days=90)
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}.*", re.ASCII | re.DOTALL)


class _Deadline(fields.Field[Any]):
    """An ISO 8601 time with its offset, such as ``2026-11-23T18:00:00+03:00``."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> datetime:
        del attr, data, kwargs
        try:
            found = datetime.fromisoformat(value) if isinstance(value, str) and _ISO.match(value) else None
            if found is not None and found.tzinfo is not None:
                return found.astimezone(UTC)
        except (ValueError, OverflowError):  # OverflowError: the first or the last hours of all years
            pass
        raise ValidationError("must be an ISO 8601 time with its offset, such as 2026-11-23T18:00:00+03:00")


class AnnouncementSchema(Schema):
    """What the shop sends: all text; ``amount`` in major units such as ``11.76``, ``currency`` ISO 4217."""

    provider = Text(required=True, limit=32)
    account = Text(required=True, limit=32)
    order_ref = Text(required=True, limit=128)
    amount = Text(required=True, pattern=r"[0-9]{1,15}(\.[0-9]{1,8})?")
    currency = Text(required=True, limit=3)
    deadline = _Deadline(load_default=None, allow_none=True)

    @post_load
    def _read_money(self, data: Mapping[str, Any], **_kwargs: Any) -> dict[str, Any]:
        place = "currency"
        try:
            currency = currency_code(data["currency"])
            place = "amount"
            amount = Money.parse(data["amount"], currency)
        except ValueError as exc:
            raise ValidationError(str(exc), place) from None
        if not amount.minor:
            raise ValidationError("must be more than nothing", "amount")
        return {**data, "amount": amount}


_SCHEMA = AnnouncementSchema()


def read(sent: Mapping[str, Any], now: datetime) -> Expectation:
    """Read an announcement; raise ValidationError with what is wrong, field by field. *now* is aware."""
    loaded = _SCHEMA.load(sent)
    deadline = loaded["deadline"] or now + DEADLINE
    if not now < deadline <= now + FARTHEST:
        raise ValidationError({"deadline": [f"must be in the future, and at most {FARTHEST.days} days away"]})
    return Expectation(
        loaded["provider"], loaded["account"], loaded["order_ref"], loaded["amount"], deadline, announced_at=now
    )


def faults(exc: ValidationError) -> dict[str, str]:
    """Return what is wrong with an announcement, name by name; never what was sent."""
    return {str(name): "; ".join(map(str, found)) for name, found in exc.messages_dict.items()}
