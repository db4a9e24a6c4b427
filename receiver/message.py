"""
What comes in (CallbackRequest), what is proven of it (Notification), and what goes back (Reply).

Reading is strict: a body that can be read in two ways is refused, for the provider might read the other one.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NoReturn
from urllib.parse import unquote_to_bytes

from receiver.errors import Malformed, Reason

Pairs = list[tuple[str, str]]


class Literal(str):
    """A JSON number exactly as it was written: ``1.00`` and ``1.0`` are one amount and two hashes."""

    __slots__ = ()


class Level(StrEnum):
    """How far an event is proven; EVENTS: Trust. Ordered from least to most by ``rank``."""

    CLAIMED = "claimed"
    ROUTE = "route"
    SIGNED = "signed"
    CONFIRMED = "confirmed"

    @property
    def rank(self) -> int:
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Level)}


class Media(StrEnum):
    """The body formats that providers send."""

    FORM = "application/x-www-form-urlencoded"
    JSON = "application/json"


def decode_pairs(raw: bytes, encodings: tuple[str, ...]) -> Pairs:
    """
    Read an urlencoded query or body into (name, value) pairs in the order sent.

    Each field is decoded by the first of *encodings* that fits; raise Malformed where none does. Bytes are handled as
    bytes until then: ``urllib.parse.parse_qsl`` decodes by one encoding only and drops fields without ``=``.
    """
    parts = (part.partition(b"=") for part in raw.replace(b"+", b" ").split(b"&") if part)
    return [(_decode(name, encodings), _decode(value, encodings)) for name, _, value in parts]


def _decode(raw: bytes, encodings: tuple[str, ...]) -> str:
    plain = unquote_to_bytes(raw) if b"%" in raw else raw
    if plain.isascii():
        return plain.decode("ascii")
    for encoding in encodings:
        try:
            return plain.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Malformed(Reason.BAD_ENCODING)


def unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Turn pairs into a mapping; a name that comes twice is Malformed, for either may be the one that was hashed."""
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise Malformed(Reason.DUPLICATE_FIELD)
        fields[name] = value
    return fields


def respelled(sent: Mapping[str, Any], spelling: Mapping[str, str]) -> dict[str, Any]:
    """
    Give each known name its documented spelling, found in *spelling* by its small letters.

    Two spellings of one name are one field sent twice, so Malformed.
    """
    return unique((spelling.get(name.lower(), name), value) for name, value in sent.items())


def _constant(_word: str) -> NoReturn:
    raise Malformed(Reason.BAD_BODY)


# Built once: json.loads with hooks builds a decoder at every call. Numbers stay text, so that no float ever exists.
_DECODER = json.JSONDecoder(
    parse_float=Literal, parse_int=Literal, parse_constant=_constant, object_pairs_hook=unique, strict=True
)


def decode_json(raw: bytes, encoding: str) -> dict[str, Any]:
    """Read a JSON object; NaN, a repeated key, a lone surrogate, endless nesting or anything else raises Malformed."""
    try:
        # A byte order mark is no content (.NET senders write one).
        text = raw.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError:
        raise Malformed(Reason.BAD_ENCODING) from None
    try:
        value = _DECODER.decode(text)
        if "\\u" in text:
            # An escape can name half of a surrogate pair, which is no text and cannot be stored as UTF-8.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Malformed(Reason.BAD_ENCODING) from None
    except (ValueError, RecursionError):
        raise Malformed(Reason.BAD_BODY) from None
    if not isinstance(value, dict):
        raise Malformed(Reason.BAD_BODY)
    return value


@dataclass(frozen=True, slots=True)
class CallbackRequest:
    """One HTTP delivery: exact bytes and our clock. ``media`` is None where there is no body."""

    channel: str
    method: str
    query: bytes = field(repr=False)
    body: bytes = field(repr=False)
    media: Media | None
    received_at: datetime  # aware, UTC
    request_id: str
    encoding: str = "utf-8"
    source: str = field(default="", repr=False)  # the client's address; only a digest of it is ever kept

    def fields(self, *fallback: str) -> dict[str, Any]:
        """
        Return what was sent: the query of a GET, the body of a POST.

        A repeated name, and a name both in query and body, is Malformed: which one is true would be a guess.
        *fallback* names charsets to try for a form's field that is not in the announced one.
        """
        if self.media is None:
            return unique(decode_pairs(self.query, (self.encoding,)))
        if self.media is Media.JSON:
            fields = decode_json(self.body, self.encoding)
        else:
            fields = unique(decode_pairs(self.body, (self.encoding, *fallback)))
        if self.query and not fields.keys().isdisjoint(self.query_fields()):
            raise Malformed(Reason.DUPLICATE_FIELD)
        return fields

    def query_fields(self) -> dict[str, str]:
        """Return the query of the URL, each name once."""
        return unique(decode_pairs(self.query, ("utf-8",)))


@dataclass(frozen=True, slots=True)
class Notification:
    """
    One authenticated message out of a callback. Only ``Provider.verify`` makes these.

    ``fields`` is what was sent, as text; ``signed`` are the provider's own names under its hash; ``covers`` the same
    in the event's words.
    """

    fields: Mapping[str, Any] = field(repr=False)
    level: Level
    key_id: str
    signed: frozenset[str] = frozenset()
    covers: tuple[str, ...] = ()
    digest: str | None = field(default=None, repr=False)  # the proven hash, where it is part of the fact key


class Outcome(StrEnum):
    """What became of a callback; a metric label and a log word."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    HELD = "held"
    SPOOLED = "spooled"
    QUARANTINED = "quarantined"
    REFUSED = "refused"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class Reply:
    """The exact answer to the provider or the shopper's browser."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()


OK_TEXT = Reply(200, b"OK")
OK_JSON = Reply(200, b'{"ok":true}', "application/json")
