"""HTTP beside the callbacks: is it alive, can it keep a callback, what has it counted."""

from collections.abc import Callable
from ipaddress import ip_address

import orjson
from flask import Flask, Request, Response, request

from receiver import metrics, signing, web
from receiver.account import Secret
from receiver.errors import Reason, Rejected, Unavailable

_PROXY_HEADERS = ("Forwarded", "X-Forwarded-For", "X-Real-Ip")


def register(app: Flask, ready: Callable[[], None], metrics_token: Secret | None) -> None:
    """Add ``/healthz``, ``/readyz`` and ``/metrics``. *ready* raises Unavailable where no callback could be kept."""

    def healthz() -> Response:
        return _json(200, {"status": "ok"})

    def readyz() -> Response:
        try:
            ready()
        except Unavailable as exc:
            return _json(503, {"status": "unavailable", "reason": exc.reason.value})
        return _json(200, {"status": "ready"})

    def exposition() -> Response:
        if not _may_read(request, metrics_token):
            return web.refused(Reason.FORBIDDEN, ("Cache-Control", "no-store"))
        body, content_type = metrics.exposition()
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
