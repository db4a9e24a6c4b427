"""Spoils requests: odd bytes, flipped bits, doubled and moved parts, other names, methods and types."""

import contextlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tests.desk import FORM, JSON
from tests.samples import SIGNED, Vector

ODD = (
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"%00",
    b"%",
    b"%zz",
    b"%ed%a0%80",
    b"&",
    b"=",
    b"|",
    b"+",
    b"\n",
    b"\r\n",
    b";",
)
ODD_JSON = (
    b'"',
    b"{",
    b"}",
    b"[" * 400,
    b",",
    b":",
    b"\\ud800",
    b"NaN",
    b"1e999",
    b"-0",
    b"null",
    b"true",
    b"\xef\xbb\xbf",
)
METHODS = (
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "get",
    "ÖDE",
    "X" * 50,
)
TYPES = (
    *(
        "",
        FORM,
        JSON,
        "text/plain",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        f"{FORM}; charset=utf-16",
    ),
    *(f"{FORM}; charset=iso-8859-9", f"{JSON};charset=windows-1254", f"{FORM}; charset*0*=utf''%ff", ";", "/", '"'),
    *(
        "application/json, application/json",
        f"{FORM}; charset",
        "\xff/\xff",
        f"{JSON}; charset*=x'y'%",
        f"{JSON} ; =;==",
    ),
)


@dataclass(frozen=True)
class Sent:
    path: str
    method: str
    query: bytes
    body: bytes
    content_type: str


def sent_of(vector: Vector) -> Sent:
    path = f"/callbacks/{vector.provider}/shop/{vector.channel}" + (f"/{vector.token}" if vector.token else "")
    return Sent(path, vector.method, vector.query, vector.body, vector.content_type)


def flip(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]


def delete(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) or 1)
    return raw[:at] + raw[at + rng.choice((1, 1, 2, 9)) :]


def insert(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice((*ODD, *ODD_JSON, bytes([rng.randrange(256)]))) + raw[at:]


def mix_parts(raw: bytes, rng: random.Random) -> bytes:
    """Double, drop or move one part of a form or an object."""
    border = b"&" if b"&" in raw else b", "
    parts = raw.split(border)
    part = parts.pop(rng.randrange(len(parts)))
    times = rng.choice((0, 1, 2))
    for _ in range(times):
        parts.insert(rng.randrange(len(parts) + 1), part)
    return border.join(parts)


def change_value(raw: bytes, rng: random.Random) -> bytes:
    """Give one field of a form another value, or another field's value."""
    parts = raw.split(b"&")
    at = rng.randrange(len(parts))
    name, _, value = parts[at].partition(b"=")
    other = rng.choice(parts).partition(b"=")[2]
    parts[at] = name + b"=" + rng.choice((other, b"", b"00", b"3", value[::-1], value + b"0", value.swapcase(), b"%E9"))
    return b"&".join(parts)


def change_name(raw: bytes, rng: random.Random) -> bytes:
    parts = raw.split(b"&")
    at = rng.randrange(len(parts))
    name, sign, value = parts[at].partition(b"=")
    parts[at] = rng.choice((name.upper(), name + b"+", b"%20" + name, name[:-1], b"", name + b"[]")) + sign + value
    return b"&".join(parts)


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(flip, delete, insert, mix_parts, change_value, change_name),
)


def mutated(sent: Sent, rng: random.Random) -> Sent:
    path, method, query, body, content_type = sent.path, sent.method, sent.query, sent.body, sent.content_type
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        where = rng.random()
        if where < 0.05:
            path = insert(path.encode(), rng).decode("latin-1")
        elif where < 0.08:
            path = delete(path.encode("latin-1"), rng).decode("latin-1")
        elif where < 0.12:
            method = rng.choice(METHODS)
        elif where < 0.18:
            content_type = rng.choice(TYPES)
        elif where < 0.2:
            query, body = body, query
        elif where < 0.24:
            query = rng.choice((query, body)) + b"&" + rng.choice((query, body))
        elif body and (not query or rng.random() < 0.7):
            body = rng.choice(MUTATIONS)(body, rng)
        elif query:
            query = rng.choice(MUTATIONS)(query, rng)
    return Sent(path, method, query, body, content_type)


def text(raw: str, charset: str) -> str:
    """Decode one part as announced, or as the old Turkish senders write."""
    for encoding in (charset, "windows-1254", "latin-1"):
        with contextlib.suppress(UnicodeDecodeError):
            return raw.encode("latin-1").decode(encoding)
    raise AssertionError("latin-1 takes any byte")


def signed_values(provider: str, sent: Sent) -> tuple[str, ...]:
    """Read what was sent with the standard library, and take out what the provider's hash covers."""
    if sent.method.upper() == "POST" and provider == "payguru-phs":
        fields = json.loads(sent.body.decode("utf-8-sig"), parse_int=str, parse_float=str)
    else:
        raw = sent.query if sent.method.upper() == "GET" else sent.body
        pairs = parse_qsl(raw.decode("latin-1"), keep_blank_values=True, encoding="latin-1", max_num_fields=1000)
        charset = "iso-8859-9" if "8859-9" in sent.content_type else "utf-8"
        fields = {text(name, charset): text(value, charset) for name, value in pairs}
    if provider == "paratika":
        fields = {name.lower(): value for name, value in fields.items()}
        return tuple(fields.get(name.lower(), "") for name in SIGNED["paratika"])
    # The hash joins these without a border (EVENTS: Trust), so the joined text is what it proves.
    return ("".join(fields.get(name, "") for name in SIGNED[provider]),)
