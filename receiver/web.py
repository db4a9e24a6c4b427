"""
HTTP to CallbackRequest and Reply to HTTP; nothing here knows a provider.

Order of checks: provider, account, channel and token (404, all alike), method (405), type (415), size (413, counted
while reading), then proof. Whatever the bytes are, the answer has a reason word and a request id.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson
from flask import Flask, Response
from werkzeug.exceptions import HTTPException
from werkzeug.http import parse_options_header

from receiver import browser, log, signing
from receiver.account import Account
from receiver.errors import REASONS, Malformed, Reason, Rejected, Unavailable, UnknownEndpoint
from receiver.message import CallbackRequest, Media, Outcome, Reply
from receiver.pipeline import Endpoint, Pipeline, place
from receiver.ports import Channel, Provider, Token

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

Environ = dict[str, Any]

LIMIT = 64 * 1024
RETRY_AFTER = "30"  # seconds
_DRAINED = 1024 * 1024
_STALLED = 5.0  # seconds without a byte; shorter than gunicorn's own time-out for a worker
_PREFIX = "/callbacks/"
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_OPEN_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
_ENCODINGS = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "iso-8859-9": "iso-8859-9",
    "windows-1254": "windows-1254",
    "iso-8859-1": "iso-8859-1",
}


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
            callback = _read(environ, endpoint.channel, line.request_id)
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
        try:
            secret, _ = signing.match(wanted, token, lambda known: known.value)
        except Rejected:
            raise UnknownEndpoint(Reason.BAD_TOKEN) from None
        return Endpoint(provider, account, channel, secret.key_id)

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


def refusal(status: int, word: str, request_id: str, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A reason word, a request id, and nothing else."""
    return Reply(status, orjson.dumps({"error": word, "request_id": request_id}), "application/json", headers)


def _read(environ: Environ, channel: Channel, request_id: str) -> CallbackRequest:
    method = environ["REQUEST_METHOD"]
    if method not in channel.methods:
        raise Rejected(Reason.METHOD_NOT_ALLOWED)
    media, encoding = _media(environ, channel) if method == "POST" else (None, "utf-8")
    body = _body(environ)
    if media is None and body:
        raise Malformed(Reason.BAD_BODY)  # a GET with a body has two readings
    return CallbackRequest(
        channel=channel.name,
        method=method,
        query=environ.get("QUERY_STRING", "").encode("latin-1"),
        body=body,
        media=media,
        received_at=datetime.now(UTC),
        request_id=request_id,
        encoding=encoding,
    )


def _media(environ: Environ, channel: Channel) -> tuple[Media, str]:
    if environ.get("HTTP_CONTENT_ENCODING", "").lower() not in {"", "identity"}:
        raise Rejected(Reason.UNSUPPORTED_MEDIA_TYPE)
    named, encoding = _content_type(environ.get("CONTENT_TYPE", "").strip() or channel.media[0].value)
    for media in channel.media:
        if named == media.value and encoding:
            return media, encoding
    raise Rejected(Reason.UNSUPPORTED_MEDIA_TYPE)


@lru_cache(maxsize=64)
def _content_type(header: str) -> tuple[str, str | None]:
    """Media type and Python codec; a sender writes the same header each time."""
    named, options = parse_options_header(header)
    return named.lower(), _ENCODINGS.get(options.get("charset", "").lower())


def _body(environ: Environ) -> bytes:
    """
    Read the whole body, at most LIMIT bytes, before anything else touches the stream.

    Not werkzeug's reader: under a server that marks the end of the input itself it returns a body that is cut off, or
    longer than the limit, as if it were whole.
    """
    declared = environ.get("CONTENT_LENGTH") or ""
    # Cut, for int() refuses thousands of digits, and all of these sizes are too large alike.
    size = int(declared.lstrip("0")[:20] or "0") if declared.isdecimal() else None
    if size is None and "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    if size is not None and size > LIMIT:
        _drain(environ)
        raise Rejected(Reason.TOO_LARGE)
    wanted = LIMIT + 1 if size is None else size
    try:
        with _patience(environ):
            body = _exactly(environ["wsgi.input"], wanted)
    except Exception:  # noqa: BLE001 - the server's own errors for a broken or cut-off body have no common class
        raise Malformed(Reason.BAD_BODY) from None
    if len(body) > LIMIT:
        _drain(environ)
        raise Rejected(Reason.TOO_LARGE)
    if size is not None and len(body) != size:
        raise Malformed(Reason.BAD_BODY)
    return body


def _exactly(stream: Any, wanted: int) -> bytes:
    """Read until *wanted* bytes are there or the stream ends; one read may bring less."""
    body: bytes = stream.read(wanted)
    while 0 < len(body) < wanted and (more := stream.read(wanted - len(body))):
        body += more
    return body


@contextlib.contextmanager
def _patience(environ: Environ) -> Iterator[None]:
    """Give a stalled client up ourselves; gunicorn would abort the whole worker for it, with a 500."""
    sock = environ.get("gunicorn.socket")
    if sock is None:
        yield
        return
    before = sock.gettimeout()
    sock.settimeout(_STALLED)
    try:
        yield
    finally:
        sock.settimeout(before)


def _drain(environ: Environ) -> None:
    """Take a little more of a body that is refused, or a client that is still sending never reads the answer."""
    stream, left = environ["wsgi.input"], _DRAINED
    with contextlib.suppress(Exception), _patience(environ):
        while left > 0 and (piece := stream.read(LIMIT)):
            left -= len(piece)


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
    request_id = os.urandom(16).hex()
    if not isinstance(exc, HTTPException) or (exc.code or 500) >= 500:
        log.note("fault", request_id=request_id, detail=place(exc))
        headers: tuple[tuple[str, str], ...] = (("Retry-After", RETRY_AFTER),)
        return _response(refusal(503, Reason.INTERNAL_ERROR.value, request_id, headers), request_id)
    reason = Reason.METHOD_NOT_ALLOWED if exc.code == 405 else Reason.NOT_FOUND
    headers = tuple((name, value) for name, value in exc.get_headers() if name == "Allow")
    return _response(refusal(REASONS[reason].status, reason.value, request_id, headers), request_id)


def _response(reply: Reply, request_id: str) -> Response:
    headers = [("X-Request-Id", request_id), *reply.headers]
    return Response(reply.body, reply.status, headers, content_type=reply.content_type)
