"""Beside the callbacks: alive, ready, counted."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from receiver import health, web
from receiver.account import Secret
from receiver.errors import Reason, Unavailable
from receiver.pipeline import NoSpool, Pipeline
from receiver.placing import Placing
from receiver.rows import State
from receiver.seal import Sealer
from tests.memory import MemoryMetrics, MemorySink

TOKEN = "metrics-token-0123456789"


def nothing_wrong() -> None:
    """It would keep a callback."""


def client_of(
    ready: Any = nothing_wrong, token: str = "", spool: Any = nothing_wrong, state: Any = State
) -> FlaskClient:
    app = Flask("ulak", static_folder=None)
    pipeline = Pipeline(MemorySink(), Placing((), 120), Sealer(), MemoryMetrics(), NoSpool())
    web.register(app, web.CallbackView({}, {}, pipeline))
    metrics_token = Secret("env:METRICS", token.encode()) if token else None
    health.register(app, health.Ready(ready, spool), state, metrics_token)
    return app.test_client()


def metrics_status(client: FlaskClient, address: str = "127.0.0.1", **headers: str) -> int:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get("/metrics", headers=sent, environ_overrides={"REMOTE_ADDR": address}).status_code


def failing(reason: Reason) -> Callable[[], None]:
    def ready() -> None:
        raise Unavailable(reason, "detail")

    return ready


def test_alive_is_alive_whatever_redis_does() -> None:
    answer = client_of(failing(Reason.REDIS_UNREACHABLE)).get("/healthz")

    assert (answer.status_code, answer.json) == (200, {"status": "ok"})
    assert answer.headers["Cache-Control"] == "no-store"


def test_ready_means_that_a_callback_could_be_kept() -> None:
    assert client_of().get("/readyz").json == {"status": "ready"}


@pytest.mark.parametrize("reason", [Reason.REDIS_UNREACHABLE, Reason.REDIS_FULL, Reason.REDIS_REFUSED])
def test_degraded_means_that_the_spool_keeps_callbacks_and_says_why(reason: Reason) -> None:
    answer = client_of(failing(reason)).get("/readyz")

    assert (answer.status_code, answer.json) == (200, {"status": "degraded", "reason": reason.value})


@pytest.mark.parametrize("reason", [Reason.SPOOL_FULL, Reason.SPOOL_BUSY, Reason.SPOOL_REFUSED])
def test_not_ready_says_what_is_wrong_with_the_spool(reason: Reason) -> None:
    answer = client_of(failing(Reason.REDIS_UNREACHABLE), spool=failing(reason)).get("/readyz")

    assert (answer.status_code, answer.json) == (503, {"status": "unavailable", "reason": reason.value})


def test_a_spool_that_is_broken_is_no_matter_while_redis_answers() -> None:
    assert client_of(spool=failing(Reason.SPOOL_REFUSED)).get("/readyz").json == {"status": "ready"}


def test_a_fault_of_ours_is_503_and_not_a_missing_page() -> None:
    def faulty() -> None:
        raise RuntimeError("a secret in an error's text")

    answer = client_of(faulty).get("/readyz")

    assert answer.status_code == 503
    assert "secret" not in answer.text


@pytest.mark.usefixtures("metrics_folder")
@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1"])
def test_metrics_are_for_this_machine(address: str) -> None:
    assert metrics_status(client_of(), address) == 200


@pytest.mark.parametrize("address", ["10.0.0.1", "8.8.8.8", "2001:db8::1", "", "localhost", "127.0.0.1.example"])
def test_metrics_are_not_for_others(address: str) -> None:
    assert metrics_status(client_of(), address) == 403
    assert metrics_status(client_of(token=TOKEN), address) == 403


def test_who_may_not_read_metrics_is_told_a_reason_and_a_request_id() -> None:
    answers = [client_of().get("/metrics", environ_overrides={"REMOTE_ADDR": "10.0.0.1"}) for _ in range(2)]
    ids = [answer.headers["X-Request-Id"] for answer in answers]

    assert [answer.json for answer in answers] == [{"error": "forbidden", "request_id": one} for one in ids]
    assert len(set(ids)) == 2
    assert answers[0].headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("header", ["X_Forwarded_For", "Forwarded", "X_Real_Ip"])
def test_a_proxy_on_this_machine_is_not_this_machine(header: str) -> None:
    assert metrics_status(client_of(token=TOKEN), **{header: "127.0.0.1"}) == 403


@pytest.mark.usefixtures("metrics_folder")
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_metrics_are_for_who_has_the_token(scheme: str) -> None:
    assert metrics_status(client_of(token=TOKEN), "10.0.0.1", Authorization=f"{scheme} {TOKEN}") == 200


@pytest.mark.parametrize(
    "given", [TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", "Bearer \u00e9", f"Bearer  {TOKEN}"]
)
def test_another_token_reads_no_metrics(given: str) -> None:
    assert metrics_status(client_of(token=TOKEN), "10.0.0.1", Authorization=given) == 403
    assert metrics_status(client_of(), "10.0.0.1", Authorization=given) == 403


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_what_is_only_read_cannot_be_posted_to(path: str) -> None:
    answer = client_of().post(path)

    assert answer.status_code == 405
    assert "GET" in answer.headers["Allow"]
    assert answer.json == {"error": "method_not_allowed", "request_id": answer.headers["X-Request-Id"]}
