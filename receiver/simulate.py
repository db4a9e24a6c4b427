"""What a provider would send, signed with the account's own secret: for trying, testing and measuring."""

import http.client
import random
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson

from receiver import browser
from receiver.account import Account
from receiver.message import CallbackRequest, Media, decode_json, decode_pairs
from receiver.ports import Channel, Provider, Scenario, Token

_TIMEOUT = 35.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the receiver said."""

    status: int
    body: bytes
    location: str | None


def path(account: Account, channel: Channel, order: str | None = None) -> str:
    """
    Return the callback path of *channel*, with the account's newest token where it has one.

    With *order* the token is for that order alone; raise ValueError where there can be none.
    """
    if order is not None and channel.token is not Token.BROWSER:
        raise ValueError(f"{channel.name} has no browser_token, so there is none for one order either")
    tokens = {
        Token.ROUTE: account.tokens,
        Token.OPTIONAL: account.tokens,
        Token.BROWSER: account.browser_tokens,
        Token.NONE: (),
    }[channel.token]
    steps = ["", "callbacks", account.provider, account.slug, channel.name]
    if order is not None:
        return "/".join([*steps, browser.order_token(tokens[0].value, order)])
    return "/".join(steps + [token.value.decode() for token in tokens[:1]])


def fresh(scenario: Scenario, settings: Mapping[str, str], source: random.Random) -> Scenario:
    """Return *scenario* with *settings* put in, and new references where none were set, so that it is a new fact."""
    # Digits, for some providers take nothing else as a transaction id.
    suffix = f"{source.randrange(10**9):09}"
    fields = {name: value + suffix if name in scenario.unique else value for name, value in scenario.fields.items()}
    return replace(scenario, fields=fields | dict(settings))


def make(provider: Provider, scenario: Scenario, account: Account, now: datetime) -> CallbackRequest:
    return provider.sign(scenario, account, now)


def tampered(request: CallbackRequest, field: str) -> CallbackRequest:
    """Change the last character of one field after signing, as somebody in the middle would."""
    if request.media is Media.JSON:
        sent = decode_json(request.body, "utf-8")
        sent[field] = _changed(str(sent.get(field, "")))
        return replace(request, body=orjson.dumps(sent))
    if request.media is Media.FORM:
        return replace(request, body=_tampered_pairs(request.body, field))
    return replace(request, query=_tampered_pairs(request.query, field))


def _tampered_pairs(raw: bytes, field: str) -> bytes:
    pairs = decode_pairs(raw, ("utf-8",))
    if field not in dict(pairs):
        pairs.append((field, ""))
    return urlencode([(name, _changed(value) if name == field else value) for name, value in pairs]).encode()


def _changed(text: str) -> str:
    return text[:-1] + ("1" if text[-1:] != "1" else "2")


def send(base: str, where: str, request: CallbackRequest) -> Answer:
    """Send it over HTTP; raise OSError where nobody answers. A redirect is not followed: it is the answer."""
    parts = urlsplit(base)
    kind: Any = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT)
    target = parts.path.rstrip("/") + where + (f"?{request.query.decode()}" if request.query else "")
    headers = {"Content-Type": request.media.value} if request.media else {}
    try:
        connection.request(request.method, target, body=request.body or None, headers=headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(), answer.getheader("Location"))
    except http.client.HTTPException as exc:
        raise OSError(f"no HTTP answer: {type(exc).__name__}") from exc
    finally:
        connection.close()


def as_curl(base: str, where: str, request: CallbackRequest) -> str:
    """Return a shell command that sends the same bytes."""
    target = base.rstrip("/") + where + (f"?{request.query.decode()}" if request.query else "")
    parts: Iterable[str] = ("curl", "-sS", "-i")
    if request.media:
        parts = (*parts, "-H", f"Content-Type: {request.media.value}", "--data-raw", request.body.decode())
    return " ".join(shlex.quote(part) for part in (*parts, target))
