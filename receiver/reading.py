"""
Reading a request strictly: method, type, size, then the whole body, whatever the bytes are.

Not with werkzeug's reader of bodies: under a server that marks the end of the input itself, it returns a body that is
cut off, or longer than the limit, as if it were whole.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from werkzeug.http import parse_options_header

from receiver.errors import Malformed, Reason, Rejected
from receiver.message import CallbackRequest, Media
from receiver.ports import Channel

Environ = dict[str, Any]

LIMIT = 64 * 1024
_DRAINED = 1024 * 1024
_NEAR = frozenset({"", "127.0.0.1", "::1"})  # a unix socket has no address
_STALLED = 5.0  # seconds without a byte; shorter than gunicorn's own time-out for a worker
_ENCODINGS = {
    "": "utf-8",
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "iso-8859-9": "iso-8859-9",
    "windows-1254": "windows-1254",
    "iso-8859-1": "iso-8859-1",
}


def read(environ: Environ, channel: Channel, request_id: str) -> CallbackRequest:
    """Turn a WSGI request to *channel* into a CallbackRequest; raise Rejected where it is not as the provider calls."""
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
        source=_source(environ),
    )


def _source(environ: Environ) -> str:
    """
    Return the client's address, as our own proxy names it where one stands before us on this machine.

    The last entry of the header is the proxy's; what stands before it, anybody may have written.
    """
    peer: str = environ.get("REMOTE_ADDR", "")
    named = environ.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip() if peer in _NEAR else ""
    return (named or peer)[:64]


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
    """Return the whole body; too_large past LIMIT, counted while reading, bad_body where it is not as long as said."""
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
