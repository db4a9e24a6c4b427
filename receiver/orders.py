"""
``POST /expected``: a shop announces an order before it redirects the shopper (docs/events.md, Expected payments).

The account stands in the body, so that is read before anything is proven; until then no answer depends on an account.
"""

import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import orjson
from flask import Flask, Response, request
from marshmallow import ValidationError

from receiver import announcing, log, signing
from receiver.account import Account, Secret
from receiver.errors import REASONS, Reason, Rejected, Unavailable
from receiver.expecting import Expectation
from receiver.message import Media, Outcome, Reply
from receiver.pipeline import place
from receiver.placing import Placing
from receiver.ports import Ask, Channel, Provider, Token
from receiver.reading import Environ, read
from receiver.sink import Announced
from receiver.web import RETRY_AFTER, refusal

PATH = "/expected"
_CHANNEL = Channel("expected", ("POST",), (Media.JSON,), Token.NONE, announcing.AnnouncementSchema(), kept=())
_NO_STORE = ("Cache-Control", "no-store")
_HEADERS = {401: ("WWW-Authenticate", "Bearer"), 405: ("Allow", "POST"), 503: ("Retry-After", RETRY_AFTER)}
# Compared with where there is no account, so that its absence takes as long; nobody can know it.
_NOBODYS = (Secret("nobody", secrets.token_hex().encode()),)


@dataclass(frozen=True, slots=True)
class AnnouncementView:
    """
    Takes any request to ``/expected`` and always answers it.

    *keep* is ``RedisSink.expect``; *count* gets provider, account and outcome, both names empty until proven.
    """

    providers: Mapping[str, Provider]
    accounts: Mapping[tuple[str, str], Account]
    placing: Placing
    keep: Callable[[Expectation, Ask | None], Announced]
    count: Callable[[str, str, str], None]

    def __call__(self, environ: Environ, line: log.Line) -> Reply:
        started = perf_counter()
        reply = self._answer(environ, line)
        # A full disk or a closed output must not change the answer to what is kept.
        with contextlib.suppress(Exception):
            log.announcement(line, (perf_counter() - started) * 1000)
        with contextlib.suppress(Exception):
            self.count(line.provider, line.account, line.outcome)
        return reply

    def _answer(self, environ: Environ, line: log.Line) -> Reply:
        try:
            line.outcome = self._announced(environ, line)
        except ValidationError as exc:
            wrong = announcing.faults(exc)
            line.detail = ",".join(sorted(wrong.keys() & _CHANNEL.schema.fields.keys()))
            return _refused(Reason.BAD_ANNOUNCEMENT, line, fields=wrong)
        except Rejected as exc:
            return _refused(exc.reason, line)
        except Unavailable as exc:
            line.outcome, line.detail = Outcome.UNAVAILABLE, exc.detail
            return _refused(exc.reason, line)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must ask the shop to come again, not be a 500
            line.outcome, line.detail = Outcome.UNAVAILABLE, place(exc)
            return _refused(Reason.INTERNAL_ERROR, line)
        return Reply(200, orjson.dumps({"ok": True, "announced": line.outcome}), "application/json", (_NO_STORE,))

    def _announced(self, environ: Environ, line: log.Line) -> str:
        asked = read(environ, _CHANNEL, line.request_id)
        sent = asked.fields()
        account = self._proven(sent, environ.get("HTTP_AUTHORIZATION", ""), line)
        known = announcing.read(sent, asked.received_at)
        done = self.keep(known, self.placing.announced(known, self.providers[account.provider], account))
        if done is Announced.PAID:
            raise Rejected(Reason.ALREADY_PAID)
        return done.name.lower()

    def _proven(self, sent: Mapping[str, Any], header: str, line: log.Line) -> Account:
        """Return the account whose token was sent; raise Rejected in the same words whatever is wrong."""
        provider, slug = (name if isinstance(name, str) else "" for name in (sent.get("provider"), sent.get("account")))
        account = self.accounts.get((provider, slug))
        wanted = account.expected_tokens if account else ()
        scheme, _, given = header.partition(" ")
        try:
            secret, _ = signing.match(wanted or _NOBODYS, given, lambda known: known.value)
        except Rejected:
            raise Rejected(Reason.UNAUTHORIZED) from None
        if account is None or not wanted or scheme.lower() != "bearer":
            raise Rejected(Reason.UNAUTHORIZED)
        line.provider, line.account, line.key_id = account.provider, account.slug, secret.key_id
        return account


def _refused(reason: Reason, line: log.Line, **more: object) -> Reply:
    line.reason = reason.value
    status = REASONS[reason].status
    headers = (_NO_STORE, *([_HEADERS[status]] if status in _HEADERS else []))
    return refusal(status, reason.value, line.request_id, headers, **more)


def register(app: Flask, view: AnnouncementView) -> None:
    def expected() -> Response:
        line = log.Line(os.urandom(16).hex())
        reply = view(request.environ, line)
        headers = [("X-Request-Id", line.request_id), *reply.headers]
        return Response(reply.body, reply.status, headers, content_type=reply.content_type)

    # A rule without methods, which Flask's own way to add one does not know: a wrong method is refused like the rest.
    app.url_map.add(app.url_rule_class(PATH, endpoint="expected"))
    app.view_functions["expected"] = expected
