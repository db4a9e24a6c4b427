"""HTTP beside the callbacks: is it alive, can it keep a callback, what has it counted."""

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

import orjson
from flask import Flask, Request, Response, request

from receiver import metrics, signing, web
from receiver.account import Secret
from receiver.errors import Reason, Rejected, Unavailable
from receiver.rows import State

_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


@dataclass(frozen=True, slots=True)
class Ready:
    """Who could keep a callback; each raises Unavailable where it could not."""

    store: Callable[[], None]
    spool: Callable[[], None]

    def answer(self) -> tuple[int, dict[str, str]]:
        """Tell it by a status and a word: who takes callbacks into the spool takes them, but a person is wanted."""
        try:
            self.store()
        except Unavailable as away:
            try:
                self.spool()
            except Unavailable as worse:
                return 503, {"status": "unavailable", "reason": worse.reason.value}
            return 200, {"status": "degraded", "reason": away.reason.value}
        return 200, {"status": "ready"}


def register(app: Flask, ready: Ready, spool: Callable[[], State], metrics_token: Secret | None) -> None:
    """Add ``/healthz``, ``/readyz`` and ``/metrics``; *spool* counts what is in it."""

    def healthz() -> Response:
        return _json(200, {"status": "ok"})

    def readyz() -> Response:
        return _json(*ready.answer())

    def exposition() -> Response:
        if not _may_read(request, metrics_token):
            return web.refused(Reason.FORBIDDEN, ("Cache-Control", "no-store"))
        body, content_type = metrics.exposition(spool)
        return Response(body, content_type=content_type)

    app.add_url_rule("/healthz", view_func=healthz)
    app.add_url_rule("/readyz", view_func=readyz)
    app.add_url_rule("/metrics", view_func=exposition)


def _may_read(sent: Request, token: Secret | None) -> bool:
    """From loopback, or with the token: the labels name accounts. What a proxy passes on is not from loopback."""
    if _is_loopback(sent.remote_addr) and not any(name in sent.headers for name in _PROXY_HEADERS):
        return True
    scheme, _, given = sent.headers.get("Authorization", "").partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    try:
        signing.match((token,), given, lambda known: known.value)
    except Rejected:
        return False
    return True


def _is_loopback(address: str | None) -> bool:
    try:
        return ip_address(address or "").is_loopback
    except ValueError:
        return False


def _json(status: int, body: dict[str, str]) -> Response:
    response = Response(orjson.dumps(body), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
