"""
HTTP to CallbackRequest and Reply to HTTP; nothing here knows a provider.

Order of checks: provider, account, channel and token (404, all alike), method (405), type (415), size (413, counted
while reading), then proof. Whatever the bytes are, the answer has a reason word and a request id.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter

import orjson
from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.routing import Rule

from receiver import browser, log, signing
from receiver.account import Account
from receiver.errors import REASONS, Malformed, Reason, Rejected, Unavailable, UnknownEndpoint
from receiver.message import CallbackRequest, Media, Outcome, Reply
from receiver.pipeline import Endpoint, Pipeline, place
from receiver.ports import Channel, Provider, Token

LIMIT = 64 * 1024
RETRY_AFTER = "30"  # seconds
_DRAINED = 1024 * 1024
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

    def __call__(self, rest: str) -> Response:
        started = perf_counter()
        line = log.Line(os.urandom(16).hex())
        endpoint = None
        try:
            endpoint = self._endpoint(rest, line)
            callback = _read(request, endpoint.channel, line.request_id)
            reply = self.pipeline.handle(callback, endpoint, line)
        except Rejected as exc:
            reply = self._refused(exc.reason, line, endpoint)
        except Unavailable as exc:
            line.outcome, line.detail = Outcome.UNAVAILABLE, exc.detail
            reply = self._refused(exc.reason, line, endpoint)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must ask the provider to come again, not be a 500
            line.outcome, line.detail = Outcome.UNAVAILABLE, place(exc)
            reply = self._refused(Reason.INTERNAL_ERROR, line, endpoint)
        seconds = perf_counter() - started
        self.pipeline.metrics.callback(line.provider, line.account, line.channel, line.outcome, line.reason, seconds)
        log.callback(line, seconds * 1000)
        _forget(request, line)
        return _response(reply, line.request_id)

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


def _read(sent: Request, channel: Channel, request_id: str) -> CallbackRequest:
    method = sent.method
    if method not in channel.methods:
        raise Rejected(Reason.METHOD_NOT_ALLOWED)
    media, encoding = _media(sent, channel) if method == "POST" else (None, "utf-8")
    body = _body(sent)
    if media is None and body:
        raise Malformed(Reason.BAD_BODY)  # a GET with a body has two readings
    return CallbackRequest(
        channel=channel.name,
        method=method,
        query=sent.query_string,
        body=body,
        media=media,
        received_at=datetime.now(UTC),
        request_id=request_id,
        encoding=encoding,
    )


def _media(sent: Request, channel: Channel) -> tuple[Media, str]:
    header = sent.headers.get("Content-Type", "")
    if sent.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Rejected(Reason.UNSUPPORTED_MEDIA_TYPE)
    if not header.strip():
        return channel.media[0], "utf-8"
    named, options = parse_options_header(header)
    encoding = _ENCODINGS.get(options.get("charset", "").lower())
    for media in channel.media:
        if named.lower() == media.value and encoding:
            return media, encoding
    raise Rejected(Reason.UNSUPPORTED_MEDIA_TYPE)


def _body(sent: Request) -> bytes:
    """Read at most LIMIT bytes, before anything else touches the stream: a parsed form would leave nothing to hash."""
    sent.max_content_length = LIMIT
    try:
        return sent.get_data(cache=False, parse_form_data=False)
    except RequestEntityTooLarge:
        _drain(sent)
        raise Rejected(Reason.TOO_LARGE) from None
    except Exception:  # noqa: BLE001 - the server's own errors for a broken or cut-off body have no common class
        raise Malformed(Reason.BAD_BODY) from None


def _drain(sent: Request) -> None:
    """Take a little more of a body that is refused, or a client that is still sending never reads the answer."""
    stream, left = sent.environ["wsgi.input"], _DRAINED
    try:
        while left > 0 and (piece := stream.read(LIMIT)):
            left -= len(piece)
    except Exception:  # noqa: BLE001, S110 - see _body; the answer is decided already
        pass


def _forget(sent: Request, line: log.Line) -> None:
    """Take token, query and referrer out of what a server's access log prints after the answer."""
    known = "/".join(filter(None, ("/callbacks", line.provider, line.account, line.channel)))
    sent.environ.update(PATH_INFO=known, RAW_URI=known, REQUEST_URI=known, QUERY_STRING="")
    sent.environ.pop("HTTP_REFERER", None)


def _response(reply: Reply, request_id: str) -> Response:
    response = Response(reply.body, reply.status, content_type=reply.content_type)
    response.autocorrect_location_header = False  # ours is whole, and its query is signed as it stands
    response.headers["X-Request-Id"] = request_id
    for name, value in reply.headers:
        response.headers[name] = value
    return response


def register(app: Flask, view: CallbackView) -> None:
    """Put the callbacks on *app*: one rule for every method, so that an unknown address is 404 whatever the method."""
    app.url_map.merge_slashes = False  # a redirect would tell a provider's client nothing that it understands
    app.url_map.add(Rule("/callbacks/<path:rest>", endpoint="callback"))
    app.view_functions["callback"] = view
    app.register_error_handler(HTTPException, _other)


def _other(exc: HTTPException) -> Response:
    """Answer an address that is none of ours in the same words."""
    reason = Reason.METHOD_NOT_ALLOWED if exc.code == 405 else Reason.NOT_FOUND
    request_id = os.urandom(16).hex()
    headers = tuple((name, value) for name, value in exc.get_headers() if name == "Allow")
    return _response(refusal(REASONS[reason].status, reason.value, request_id, headers), request_id)
