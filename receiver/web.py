"""
HTTP to CallbackRequest and Reply to HTTP; nothing here knows a provider.

Order of checks: provider, account, channel and token (404, all alike), method (405), type (415), size (413, counted
while reading), then proof. Whatever the bytes are, the answer has a reason word and a request id.
"""

import contextlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from receiver import browser, log, signing
from receiver.account import Account
from receiver.errors import REASONS, Reason, Rejected, Unavailable, UnknownEndpoint
from receiver.message import Outcome, Reply
from receiver.pipeline import Endpoint, Pipeline, place
from receiver.ports import Provider, Token
from receiver.reading import Environ, read

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

RETRY_AFTER = "30"  # seconds
_PREFIX = "/callbacks/"
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/expected"})


@dataclass(frozen=True, slots=True)
class CallbackView:
    """Takes any request below ``/callbacks/`` and always answers it."""

    providers: Mapping[str, Provider]
    accounts: Mapping[tuple[str, str], Account]
    pipeline: Pipeline

    def __call__(self, environ: Environ, rest: str, line: log.Line) -> Reply:
        started = perf_counter()
        endpoint = None
        try:
            endpoint = self._endpoint(rest, line)
            callback = read(environ, endpoint.channel, line.request_id)
            reply = self.pipeline.handle(callback, endpoint, line)
        except Rejected as exc:
            reply = self._refused(exc.reason, line, endpoint)
        except Unavailable as exc:
            line.outcome, line.detail = Outcome.UNAVAILABLE, exc.detail
            reply = self._refused(exc.reason, line, endpoint)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must ask the provider to come again, not be a 500
            line.outcome, line.detail = Outcome.UNAVAILABLE, place(exc)
            reply = self._refused(Reason.INTERNAL_ERROR, line, endpoint)
        self._tell(line, perf_counter() - started)
        return reply

    def _tell(self, line: log.Line, seconds: float) -> None:
        """Count and log; a full disk or a closed output must not change the answer to a callback that is stored."""
        with contextlib.suppress(Exception):
            log.callback(line, seconds * 1000)
        with contextlib.suppress(Exception):
            outcome, reason = line.outcome, line.reason
            self.pipeline.metrics.callback(line.provider, line.account, line.channel, outcome, reason, seconds)

    def _endpoint(self, rest: str, line: log.Line) -> Endpoint:
        name, slug, channel_name, token, *more = *rest.split("/"), "", "", ""
        provider = self.providers.get(name)
        if provider is None:
            raise UnknownEndpoint(Reason.NO_PROVIDER)
        line.provider = name
        account = self.accounts.get((name, slug))
        if account is None:
            raise UnknownEndpoint(Reason.NO_ACCOUNT)
        line.account = slug
        channel = provider.channels.get(channel_name)
        if channel is None:
            raise UnknownEndpoint(Reason.NO_CHANNEL)
        line.channel = channel_name
        if any(more):
            raise UnknownEndpoint(Reason.BAD_TOKEN)
        wanted = account.browser_tokens if channel.token is Token.BROWSER else account.tokens
        if channel.token is Token.NONE or (channel.token is Token.OPTIONAL and not wanted):
            if token:
                raise UnknownEndpoint(Reason.BAD_TOKEN)
            return Endpoint(provider, account, channel)
        order = ""
        try:
            if channel.token is Token.BROWSER:
                secret, order = browser.proven(wanted, token)
            else:
                secret, _ = signing.match(wanted, token, lambda known: known.value)
        except Rejected:
            raise UnknownEndpoint(Reason.BAD_TOKEN) from None
        return Endpoint(provider, account, channel, secret.key_id, order)

    def _refused(self, reason: Reason, line: log.Line, endpoint: Endpoint | None) -> Reply:
        line.reason = reason.value
        status = REASONS[reason].status
        if line.outcome is Outcome.REFUSED and line.provider:
            self.pipeline.sink.refuse(line.provider, line.account, line.channel, reason.value, line.request_id)
        headers: tuple[tuple[str, str], ...] = ()
        if endpoint and reason is Reason.METHOD_NOT_ALLOWED:
            headers = (("Allow", ", ".join(endpoint.channel.methods)),)
        if status == 503:
            headers = (("Retry-After", RETRY_AFTER),)
        # One word for every unknown address, so that nobody learns which account exists.
        word = Reason.NOT_FOUND.value if status == 404 else reason.value
        if endpoint and endpoint.channel.browser:
            shown = browser.refused(status, word, line.request_id)
            return Reply(status, shown.body, shown.content_type, (*shown.headers, *headers))
        return refusal(status, word, line.request_id, headers)


def refusal(
    status: int, word: str, request_id: str, headers: tuple[tuple[str, str], ...] = (), **more: object
) -> Reply:
    """A reason word, a request id, and nothing else but what is named."""
    body = orjson.dumps({"error": word, "request_id": request_id, **more})
    return Reply(status, body, "application/json", headers)


class Entrance:
    """
    The WSGI callable before Flask: gives callbacks to their view, and everything else to Flask.

    A callback needs none of Flask's contexts, sessions and signals, and they were a third of its time (docs/adr). Once
    a request is answered, token, query and referrer are taken out of the environ, for a server's access log prints
    them; that goes for every request, since one that reaches no callback may carry a token as well.
    """

    def __init__(self, view: CallbackView, flask: "WSGIApplication") -> None:
        self._view = view
        self._flask = flask

    def __call__(self, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        shown = path if path in _OPEN_PATHS else "/-"
        try:
            if not path.startswith(_PREFIX):
                return self._flask(environ, start_response)
            line = log.Line(os.urandom(16).hex())
            reply = self._view(environ, path[len(_PREFIX) :], line)
            shown = "/".join(filter(None, ("/callbacks", line.provider, line.account, line.channel)))
            return _answer(reply, line.request_id, environ, start_response)
        finally:
            environ.update(PATH_INFO=shown, RAW_URI=shown, REQUEST_URI=shown, QUERY_STRING="")
            environ.pop("HTTP_REFERER", None)
            environ["ulak.discreet"] = True


def _answer(reply: Reply, request_id: str, environ: Environ, start_response: "StartResponse") -> Iterable[bytes]:
    headers = [
        ("Content-Type", reply.content_type),
        ("Content-Length", str(len(reply.body))),
        ("X-Request-Id", request_id),
        *reply.headers,
    ]
    start_response(_STATUS_LINES[reply.status], headers)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [reply.body]


def register(app: Flask, view: CallbackView) -> None:
    """Put the callbacks before *app*, and make everything else answer in the same words."""
    app.register_error_handler(Exception, _other)
    app.wsgi_app = Entrance(view, app.wsgi_app)  # type: ignore[method-assign]


def _other(exc: Exception) -> Response:
    """Answer what no callback view answered; a fault of ours is 503, and the log names its place."""
    if not isinstance(exc, HTTPException) or (exc.code or 500) >= 500:
        answer = refused(Reason.INTERNAL_ERROR, ("Retry-After", RETRY_AFTER))
        log.note("fault", request_id=answer.headers["X-Request-Id"], detail=place(exc))
        return answer
    reason = Reason.METHOD_NOT_ALLOWED if exc.code == 405 else Reason.NOT_FOUND
    return refused(reason, *((name, value) for name, value in exc.get_headers() if name == "Allow"))


def refused(reason: Reason, *headers: tuple[str, str]) -> Response:
    """Answer what is beside the callbacks in the same words: a reason, a request id of its own, and nothing else."""
    request_id = os.urandom(16).hex()
    reply = refusal(REASONS[reason].status, reason.value, request_id, headers)
    named = [("X-Request-Id", request_id), *reply.headers]
    return Response(reply.body, reply.status, named, content_type=reply.content_type)
