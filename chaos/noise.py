"""Odd requests: spoiled callbacks and announcements, lies about the length, other addresses, plain noise."""

from __future__ import annotations

import io
import json
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chaos.callbacks import ASKED, Making
from receiver.providers import BY_NAME
from tests.mutations import METHODS, TYPES, Sent, mutated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from receiver.config import Settings

_PATHS = (
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/expected",
    "/callbacks",
    "/callbacks/",
    "//",
    "/%2e%2e",
    "/static/x",
)
_LENGTHS = ("", "-1", "0", "1", "99999999999999999999", "65537", "1e3", " 5", "0x10", "\u0661")
_HEADERS = (
    "HTTP_AUTHORIZATION",
    "HTTP_TRANSFER_ENCODING",
    "HTTP_CONTENT_ENCODING",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_EXPECT",
)


@dataclass(frozen=True)
class Request:
    """What is sent, and what it was before it was spoiled (nothing where it never was authentic)."""

    sent: Sent
    original: Sent | None = None
    provider: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    length: str | None = None

    @property
    def authorization(self) -> str:
        return dict(self.headers).get("HTTP_AUTHORIZATION", "")

    @property
    def environ(self) -> dict[str, Any]:
        sent = self.sent
        return {
            "REQUEST_METHOD": sent.method,
            "PATH_INFO": sent.path,
            "QUERY_STRING": sent.query.decode("latin-1"),
            "CONTENT_TYPE": sent.content_type,
            "CONTENT_LENGTH": str(len(sent.body)) if self.length is None else self.length,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.input": io.BytesIO(sent.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.url_scheme": "http",
            "wsgi.version": (1, 0),
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            **dict(self.headers),
        }


class Noise:
    """Makes requests: number and seed say which."""

    def __init__(self, settings: Settings, seed: str) -> None:
        self._seed = seed
        made = [one for one in Making(settings, random.Random(seed)).one_of_each() if not one.forged]
        self._originals = [
            (
                one.label.partition("/")[0],
                Sent(one.path, request.method, request.query, request.body, request.media or ""),
            )
            for one in made
            for request in [one.request]
        ]
        self._announcements = list(_announcements(settings))

    def request(self, number: int) -> Request:
        dice = random.Random(f"{self._seed} {number}")
        kind = dice.random()
        if kind < 0.08:
            return self._announcement(dice)
        if kind < 0.16:
            return _nonsense(dice)
        provider, original = dice.choice(self._originals)
        if kind < 0.24:
            headers = tuple((name, dice.choice(TYPES)) for name in _HEADERS if dice.random() < 0.2)
            return Request(original, original, provider, headers, dice.choice((None, *_LENGTHS)))
        return Request(mutated(original, dice), original, provider)

    def _announcement(self, dice: random.Random) -> Request:
        original, token = dice.choice(self._announcements)
        header = dice.choice((token, token, token[:-1], token + "x", "", "Bearer", "Basic eDp5", dice.choice(TYPES)))
        return Request(mutated(original, dice), None, "", (("HTTP_AUTHORIZATION", header),))


def _announcements(settings: Settings) -> Iterator[tuple[Sent, str]]:
    for provider in BY_NAME:
        order = {"provider": provider, "account": ASKED, "order_ref": "ORDER-1", "amount": "11.76", "currency": "TRY"}
        token = settings.accounts[provider, ASKED].expected_tokens[0].value.decode()
        yield Sent("/expected", "POST", b"", json.dumps(order).encode(), "application/json"), f"Bearer {token}"


def _nonsense(dice: random.Random) -> Request:
    path = dice.choice(_PATHS) + "".join(chr(dice.randrange(256)) for _ in range(dice.choice((0, 0, 1, 30))))
    body = dice.randbytes(dice.choice((0, 10, 500, 70_000)))
    sent = Sent(path, dice.choice(METHODS), dice.randbytes(dice.choice((0, 5, 200))), body, dice.choice(TYPES))
    headers = tuple((name, dice.choice(TYPES)) for name in _HEADERS if dice.random() < 0.2)
    return Request(sent, None, "", headers, dice.choice((None, None, *_LENGTHS)))
