"""
HTTP to the providers' APIs, only ever from workers: TLS verified, time-outs, no redirect, answers of a limited size.

What goes wrong becomes a QueryError with a reason word; addresses, headers and bodies are in no error and no log.
"""

import ssl
import time
from collections.abc import Callable, Generator
from typing import TypeVar

import urllib3

from receiver.asking import Answered, Call, QueryError, Trouble

LARGEST = 1024 * 1024
CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
DEADLINE = 20.0  # seconds for a whole answer
_PIECE = 65536

Transport = Callable[[Call], Answered]
Learned = TypeVar("Learned")


def transport(read_timeout: float = READ_TIMEOUT) -> Transport:
    """Return a function that makes one call; connections are kept while it lives. *read_timeout* is in seconds."""
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=read_timeout)
    pool = urllib3.PoolManager(ssl_context=ssl.create_default_context(), retries=False, timeout=timeout)

    def make(call: Call) -> Answered:
        try:
            response = pool.request(
                call.method,
                call.url,
                headers=dict(call.headers),
                body=call.body or None,
                redirect=False,
                preload_content=False,
            )
            try:
                body = _body(response, time.monotonic() + DEADLINE)
            finally:
                response.release_conn()
        except (urllib3.exceptions.HTTPError, OSError, ValueError):
            raise QueryError(Trouble.NO_ANSWER) from None
        if len(body) > LARGEST:
            raise QueryError(Trouble.API_UNREADABLE)
        return Answered(response.status, body)

    return make


def _body(response: urllib3.BaseHTTPResponse, until: float) -> bytes:
    """Read at most a little more than LARGEST, and give up a server that drips."""
    body = b""
    while len(body) <= LARGEST and (piece := response.read1(_PIECE, decode_content=True)):
        body += piece
        if time.monotonic() > until:
            response.close()
            raise QueryError(Trouble.NO_ANSWER)
    return body


def ask(conversation: Generator[Call, Answered, Learned], make: Transport) -> Learned:
    """Hold the conversation over *make*, and return what it learned; raise QueryError where the API gave no answer."""
    try:
        call = next(conversation)
        while True:
            call = conversation.send(make(call))
    except StopIteration as done:
        learned: Learned = done.value
        return learned
