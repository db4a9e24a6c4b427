"""
Marshmallow fields for what providers send, and the settings they share.

What a fact rests on is strict: a value of an unknown form fails, and the callback is quarantined. What is only shown to
people is lenient. marshmallow's own Decimal takes ``1e3`` and rounds, its Boolean takes ``on``: hence these.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields

from receiver import redact
from receiver.account import Reference
from receiver.errors import Quarantined, Reason
from receiver.event import Moment
from receiver.money import Money

# Turkey has kept UTC+03:00 all year since 2016; older callbacks do not come.
TURKEY = timezone(timedelta(hours=3))

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # and halves of surrogate pairs, which are no text
_AMOUNT = re.compile(r"(0|[1-9][0-9]{0,14})(\.[0-9]{1,8}|,[0-9]{1,2})?", re.ASCII)
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:.+", re.ASCII)
_SMALL = re.compile(r"[0-9]{1,2}", re.ASCII)
_BOOLS = {"true": True, "1": True, "false": False, "0": False}


class CallbackSchema(Schema):
    """A provider adds fields when it likes: what is not named is left out here and counted elsewhere."""

    class Meta:
        unknown = EXCLUDE


class SettingsSchema(Schema):
    """Settings are ours: an unknown key is a typing slip and refused."""

    class Meta:
        unknown = RAISE


class Text(fields.Field[Any]):
    """
    Identifying text: stripped, without control characters, at most *limit* characters.

    Empty text, and each word in *absent*, is None; where the field is required that is an error.
    """

    def __init__(
        self,
        *,
        data_key: str | None = None,
        required: bool = False,
        limit: int = 200,
        pattern: str = "",
        absent: frozenset[str] = frozenset(),
    ) -> None:
        if required:
            super().__init__(data_key=data_key, required=True)
        else:
            super().__init__(data_key=data_key, allow_none=True, load_default=None)
        self._limit = limit
        self._pattern = re.compile(pattern, re.ASCII) if pattern else None
        self._absent = absent

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str | None:
        del attr, data, kwargs
        if not isinstance(value, str):
            raise ValidationError("is not text")
        text = value.strip()
        if not text or text in self._absent:
            if self.required:
                raise ValidationError("is empty")
            return None
        if len(text) > self._limit or _CONTROL.search(text):
            raise ValidationError("is too long or holds control characters")
        if self._pattern and not self._pattern.fullmatch(text):
            raise ValidationError("has an unknown form")
        return str(text)


class Loose(Text):
    """Text whose form is looked at later: cleaned and cut to *limit*; what is no text is None, and nothing fails."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str | None:
        del attr, data, kwargs
        if not isinstance(value, str):
            return None
        return _CONTROL.sub(" ", self._cleaned(value)).strip()[: self._limit] or None

    def _cleaned(self, text: str) -> str:
        return text


class Note(Loose):
    """Text that is only shown to people; card and phone numbers are taken out before it is cut."""

    def _cleaned(self, text: str) -> str:
        return redact.scrub(text)


class Amount(Text):
    """Plain decimal text; one comma with one or two digits behind it is the Turkish decimal sign and becomes a dot."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str | None:
        text = super()._deserialize(value, attr, data, **kwargs)
        if text is not None and not _AMOUNT.fullmatch(text):
            raise ValidationError("is not a plain decimal")
        return text.replace(",", ".") if text else None


class Flag(fields.Field[Any]):
    """A strict boolean: true and false as JSON, as text in any case, or as 1 and 0. Nothing else is guessed."""

    def __init__(self, *, data_key: str | None = None) -> None:
        super().__init__(data_key=data_key, required=True)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> bool:
        del attr, data, kwargs
        if isinstance(value, bool):
            return value
        found = _BOOLS.get(value.strip().lower()) if isinstance(value, str) else None
        if found is None:
            raise ValidationError("is not a boolean")
        return found


class Installments(fields.Field[Any]):
    """The number of instalments, for show; 0 is the providers' word for one payment, and what is no number is None."""

    def __init__(self) -> None:
        super().__init__(allow_none=True, load_default=None)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> int | None:
        del attr, data, kwargs
        return (int(value) or 1) if isinstance(value, str) and _SMALL.fullmatch(value) else None


class Setting(fields.String):
    """
    Text of a provider's own settings, stripped; an *optional* one is empty where left out, any other never.

    Nobody would find a blank one before the first callback, or the first question to the API, fails.
    """

    def __init__(self, *, optional: bool = False) -> None:
        if optional:
            super().__init__(load_default="")
        else:
            super().__init__(required=True)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, attr, data, **kwargs)).strip()
        if self.required and not text:
            raise ValidationError("must not be empty")
        return text


class SecretRef(fields.Field[Any]):
    """A reference to a secret, ``env:NAME`` or ``file:PATH``; the configuration resolves it. Never echoed."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any) -> Reference:
        del attr, data, kwargs
        if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
            raise ValidationError("must be a reference, env:NAME or file:PATH; never the secret itself")
        return Reference(value)


def BaseUrl() -> fields.Url:  # noqa: N802 - used like the field classes above
    """The address of a provider's API; sandboxes on this machine have plain http and no domain."""
    return fields.Url(required=True, schemes={"http", "https"}, require_tld=False)


def money(text: str | None, currency: str | None) -> Money | None:
    """Build Money from an Amount field; None where amount or currency is not known, Quarantined where they differ."""
    if text is None or not currency:
        return None
    try:
        return Money.parse(text, currency)
    except ValueError:
        raise Quarantined(Reason.UNREADABLE_FIELD) from None


# Besides ISO, which fits Paratika's `20170112 14:13:13` too.
_FORMATS = (
    "%d/%m/%Y %H:%M:%S.%f",  # Paratika, the Java samples
    "%d/%m/%Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
)
# fromisoformat reads week dates and cut-off ones too: `2017112` would be some day in November.
_ISO = re.compile(r"[0-9]{4}(-?)[0-9]{2}\1[0-9]{2}[ T][0-9]{2}:[0-9]{2}", re.ASCII)
_EPOCH_MS = re.compile(r"[0-9]{13}", re.ASCII)
_YEARS = range(2000, 2100)


def moment(text: str | None, zone: tzinfo = TURKEY) -> Moment | None:
    """
    Read a provider's time; None where the form is not known, for a time is shown and never decides.

    Epoch milliseconds and ISO with an offset carry their zone; anything else is taken as of *zone* and marked so.
    """
    if not text:
        return None
    if _EPOCH_MS.fullmatch(text):
        # Not fromtimestamp(ms / 1000): a float would move the microseconds.
        at: datetime | None = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(text))
    else:
        at = _parse_time(text)
    if at is None or at.year not in _YEARS:
        return None
    if at.tzinfo is not None:
        return Moment(at, "provider")
    return Moment(at.replace(tzinfo=zone), "assumed")


def _parse_time(text: str) -> datetime | None:
    if _ISO.match(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)  # noqa: DTZ007 - the caller sets the zone
        except ValueError:
            continue
    return None
