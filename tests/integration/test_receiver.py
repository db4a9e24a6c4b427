"""The whole way in: real HTTP to a real gunicorn, into a real Redis, out at a stock RQ worker."""

import contextlib
import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import redis

from receiver.sink import EVENTS, QUARANTINE, REFUSED

from .conftest import write_config
from .harness import (
    Receiver,
    RedisServer,
    Response,
    background,
    call,
    free_port,
    got,
    gunicorn,
    receiving,
    run_stock_worker,
    speak,
    ulak,
    until,
)

pytestmark = pytest.mark.integration

PARATIKA = "/callbacks/paratika/shop-tr/return"
LIMIT = 64 * 1024

# The two sample answers of the provider's own documentation (Direct POST, without and with 3D), field by field. Their
# hashes were made by the provider with its published sandbox secret, not by us.
NON_3D = {
    "merchantPaymentId": "PaymentId-FbnzDdx04fZu",
    "apiMerchantId": "700100000",
    "paymentSystem": "My İşbank VPOS Account (Test)",
    "paymentSystemType": "ISBANK",
    "paymentSystemEftCode": "0064",
    "pgTranDate": "20170113 12:20:35",
    "pgTranId": "17013MUjC07014059",
    "pgTranRefId": "701300002882",
    "pgOrderId": "PaymentId-FbnzDdx04fZu",
    "sessionToken": "FOEMQGVTVWOQCJRSS6DARRRV62RQK2FIKUY7ZMXKBNX6SOUJ",
    "random": "-349886350",
    "customerId": "Customer-QjOnxH8Z",
    "SD_SHA512": "bff497614a8767e3176fede4f3f8274225a8f619469a1c5eafe2e785fbc438ae"
    "b5345c51be30d976d53db5b73adf026347db1144c52cbc2133364aa13e933d45",
    "sdSha512": "7f1485a24f1790e0791fe9de5ec33d4e98057578f77a4c39fdd4bd874079d6e3"
    "af9271da020c57ed8acd7642ec801ad80dae0c574462a58a6722fbfa361a0b65",
    "responseCode": "00",
    "responseMsg": "Approved",
}
WITH_3D = {
    "merchantPaymentId": "PaymentId-FVKAjOiFHeuE",
    "apiMerchantId": "700100000",
    "paymentSystem": "ISBANK TEST",
    "paymentSystemType": "ISBANK",
    "paymentSystemEftCode": "0064",
    "pgTranDate": "20170112 14:13:13",
    "pgTranId": "17012ONNI07013454",
    "pgTranRefId": "701200002832",
    "pgOrderId": "PaymentId-FVKAjOiFHeuE",
    "customerId": "Customer-u1Q4G1oG",
    "amount": "11.76",
    "installment": "1",
    "sessionToken": "VYD7AXJ6C446GIN55V6KKOB677VRTOZHG5HTSMP3EJCMEQYF",
    "random": "tpN2ynMYAn",
    "SD_SHA512": "0f2b4945aefc71f547107898c2002c40d9d4a1508f7f00ee894138f6bc247ebc"
    "1238ead5aa01b6ba09bc7932a5957235b7837cc0270781d0a45055fe31648b61",
    "sdSha512": "099e32f8df3130457d2b1595b069794ef6ed08c85a679f72336c5371e91087b2"
    "23536b317fc43643ae0da06ea29e985a3c8185ab611606308760b0c260aa412f",
    "responseCode": "00",
    "responseMsg": "Approved",
}
SHOPPER = "5321234567"


def form(fields: Mapping[str, str], **changes: str) -> bytes:
    return urlencode({**fields, **changes}).encode()


def queued(client: redis.Redis) -> int:
    return int(client.llen("rq:queue:events"))


def entries(client: redis.Redis, stream: str) -> list[dict[bytes, bytes]]:
    found: Any = client.xrange(stream)
    return [fields for _, fields in found]


def mobile(receiver: Receiver, number: object, **more: str) -> str:
    """Return the address of a mobile payment's notice, whose token and shopper nobody may find in a log."""
    query = {"txId": f"77{number}", "status": "3", "order": f"M-{number}", "amount": "12.00", "msisdn": SHOPPER, **more}
    return f"/callbacks/payguru/shop-tr/transaction/{receiver.secret('payguru_token')}?{urlencode(query)}"


def curl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["curl", "-sS", *words], capture_output=True, text=True, timeout=60, check=False)


def warm(receiver: Receiver, server: RedisServer) -> None:
    """Send until each of the two gunicorn workers has a connection to Redis."""
    with server.client() as client:

        def connected() -> bool:
            at_once(receiver, [mobile(receiver, f"9{number}") for number in range(8)])
            return sum(one["cmd"] in {"eval", "evalsha"} for one in client.client_list()) >= 2

        until(connected, "both workers are connected to Redis")
        client.flushall()


def at_once(receiver: Receiver, paths: Sequence[str]) -> list[Response]:
    """Get every path from a thread of its own, all beginning at the same moment."""
    start = threading.Barrier(len(paths))
    answers: list[Response] = []

    def run(path: str) -> None:
        start.wait()
        answers.append(receiver.get(path))

    threads = [threading.Thread(target=run, args=(path,)) for path in paths]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(answers) == len(paths)
    return answers


class TestSamples:
    def test_posted_by_curl_become_jobs_that_a_stock_worker_runs(
        self, receiver: Receiver, redis_server: RedisServer, client: redis.Redis
    ) -> None:
        for sample in (NON_3D, WITH_3D):
            fields = [word for name, value in sample.items() for word in ("--data-urlencode", f"{name}={value}")]
            sent = curl("-w", "%{http_code}", "-o", "/dev/null", *fields, receiver.base + PARATIKA)
            assert sent.stdout == "200", sent.stderr
        assert queued(client) == 2
        run_stock_worker(redis_server, "events")

        first, second = (one["event"] for one in got(client))
        assert [first["type"], second["type"]] == ["payment.succeeded", "payment.succeeded"]
        assert first["subject"] == "PaymentId-FbnzDdx04fZu"
        assert first["data"]["amount"] is None
        assert first["data"]["raw"]["paymentSystem"] == "My İşbank VPOS Account (Test)"
        assert second["subject"] == "PaymentId-FVKAjOiFHeuE"
        assert second["data"]["payment_ref"] == "17012ONNI07013454"
        assert second["data"]["amount"] == {"value": "11.76", "minor": 1176, "currency": "TRY"}
        assert second["time"] == "2017-01-12T11:13:13Z"
        assert second["data"]["trust"] == {
            "level": "signed",
            "covers": ["order_ref", "customer.ref", "status"],
            "conflict": False,
        }

    def test_posted_twice_are_one_job(self, receiver: Receiver, client: redis.Redis) -> None:
        first, second = (receiver.post(PARATIKA, form(WITH_3D)) for _ in range(2))

        assert (first.status, second.status) == (200, 200)
        assert receiver.line(second)["outcome"] == "duplicate"
        assert queued(client) == 1
        assert client.xlen(EVENTS) == 1

    @pytest.mark.parametrize("code", ["01", "10", "0", "000", "99", "\uff100"])
    def test_with_one_changed_character_in_the_response_code_are_refused(
        self, receiver: Receiver, client: redis.Redis, code: str
    ) -> None:
        answer = receiver.post(PARATIKA, form(WITH_3D, responseCode=code))

        assert answer.status == 403
        assert receiver.line(answer)["reason"] == "bad_signature"
        assert queued(client) == 0
        assert not client.exists(EVENTS)

    def test_that_were_forged_are_noted_as_refused(self, receiver: Receiver, client: redis.Redis) -> None:
        # At most 20 a second and worker are, so an earlier refusal may stand in the way of this one.
        def noted() -> list[Response]:
            sent = receiver.post(PARATIKA, form(WITH_3D, responseCode="99"))
            return [sent] if client.exists(REFUSED) else []

        (answer,) = until(noted, "a refusal is noted")

        kept = entries(client, REFUSED)[-1]
        assert kept.pop(b"received_at")
        assert kept == {
            b"provider": b"paratika",
            b"account": b"shop-tr",
            b"channel": b"return",
            b"reason": b"bad_signature",
            b"request_id": answer.headers["X-Request-Id"].encode(),
        }


class TestOneCallback:
    def test_is_exactly_one_command_to_redis(self, own_receiver: Receiver, own_redis: RedisServer) -> None:
        warm(own_receiver, own_redis)
        with own_redis.client() as client, own_redis.client() as other, contextlib.ExitStack() as stack:
            client.ping()  # its connection is made before anybody listens
            monitor = stack.enter_context(other.monitor())
            for number in range(10):
                assert own_receiver.get(mobile(own_receiver, number)).status == 200
            assert own_receiver.get(mobile(own_receiver, 1)).status == 200
            client.echo("that is all")
            commands = []
            while (seen := monitor.next_command())["command"] != "ECHO that is all":
                if seen["client_type"] != "lua":
                    commands.append(seen["command"].split()[0])

        assert commands == ["EVALSHA"] * 11

    def test_sent_200_times_at_once_is_one_job(self, receiver: Receiver, client: redis.Redis) -> None:
        answers = at_once(receiver, [mobile(receiver, 1)] * 200)

        assert {(one.status, one.body) for one in answers} == {(200, b"OK")}
        assert queued(client) == 1
        assert client.xlen(EVENTS) == 1
        outcomes = [receiver.line(one)["outcome"] for one in answers]
        assert sorted(outcomes) == ["accepted", *["duplicate"] * 199]

    def test_is_one_line_of_the_log_without_a_secret(self, receiver: Receiver, client: redis.Redis) -> None:
        answer = receiver.get(mobile(receiver, 7, item="gizli şey"))
        line = receiver.line(answer)
        (kept,) = entries(client, EVENTS)

        assert line.pop("ms") > 0
        assert line.pop("time").endswith("Z")
        assert line == {
            "event": "callback",
            "level": "info",
            "request_id": answer.headers["X-Request-Id"],
            "provider": "payguru",
            "account": "shop-tr",
            "channel": "transaction",
            "outcome": "accepted",
            "key_id": "file:payguru_token",
            "event_id": orjson.loads(kept[b"event"])["id"],
        }

    def test_that_is_refused_is_a_warning_with_its_reason(self, receiver: Receiver) -> None:
        answer = receiver.get(f"/callbacks/payguru/shop-tr/transaction/{'x' * 32}?txId=1&status=3")
        line = receiver.line(answer)

        assert answer.status == 404
        assert answer.json() == {"error": "not_found", "request_id": answer.headers["X-Request-Id"]}
        assert (line["level"], line["outcome"], line["reason"]) == ("warning", "refused", "bad_token")

    def test_that_cannot_be_read_is_quarantined_and_answered_as_stored(
        self, receiver: Receiver, client: redis.Redis
    ) -> None:
        for _ in range(2):
            answer = receiver.get(mobile(receiver, 8) + "&status=4")
            assert (answer.status, answer.body) == (200, b"OK")

        line = receiver.line(answer)
        assert (line["level"], line["outcome"], line["reason"]) == ("error", "quarantined", "conflicting_field")
        assert client.xlen(QUARANTINE) == 1
        assert queued(client) == 0
        assert receiver.get(mobile(receiver, 8)).status == 200
        assert queued(client) == 1


class TestSecrets:
    """Token, query string and shopper are in no log, whoever writes it."""

    def assert_kept(self, receiver: Receiver, before: tuple[int, int]) -> None:
        written = receiver.log.read_bytes()[before[0] :] + receiver.access_log.read_bytes()[before[1] :]
        for secret in (receiver.secret("payguru_token"), SHOPPER, "msisdn", "txId", "referrer-of-the-test"):
            assert secret.encode() not in written, written.decode()

    def sizes(self, receiver: Receiver) -> tuple[int, int]:
        return receiver.log.stat().st_size, receiver.access_log.stat().st_size

    def test_are_not_in_the_access_log_of_what_is_accepted_or_refused(self, receiver: Receiver) -> None:
        before = self.sizes(receiver)
        known = mobile(receiver, 1)
        referrer = {"Referer": f"http://shop.example/{SHOPPER}/referrer-of-the-test"}
        for address in (known, known + "&status=4", known.replace("shop-tr", "shop-xx"), known + "/more"):
            receiver.get(address, **referrer)
        receiver.post(known, b"msisdn=" + SHOPPER.encode(), **referrer)
        receiver.post(known, b"msisdn=" + SHOPPER.encode(), Content_Type="text/plain", **referrer)

        def logged() -> bytes:
            return receiver.access_log.read_bytes()[before[1] :]

        until(lambda: logged().count(b"\n") >= 6, "six lines of the access log")
        assert b"GET /callbacks/payguru/shop-tr/transaction HTTP/1.1" in logged()
        self.assert_kept(receiver, before)

    @pytest.mark.parametrize(
        "prefix", ["/api/callbacks", "//callbacks", "/callbacks/callbacks", "/callback", "/CALLBACKS", "/healthz"]
    )
    def test_are_not_in_the_access_log_of_an_address_that_is_mistyped(self, receiver: Receiver, prefix: str) -> None:
        before = self.sizes(receiver)
        receiver.get(mobile(receiver, 1).replace("/callbacks", prefix, 1))

        until(lambda: self.sizes(receiver)[1] > before[1], "a line of the access log")
        self.assert_kept(receiver, before)

    @pytest.mark.parametrize(
        "spoilt",
        [
            lambda target: f"GET {target} HTTP/9.9",
            lambda target: f"GET {target}",
            lambda target: f"GET {target}&item=x {SHOPPER} HTTP/1.1",
            lambda target: f"G@T {target} HTTP/1.1",
        ],
        ids=["version", "no version", "blank in the query", "method"],
    )
    def test_are_not_in_the_log_of_a_request_line_that_is_no_http(
        self, receiver: Receiver, spoilt: Callable[[str], str]
    ) -> None:
        before = self.sizes(receiver)
        answer = speak(receiver.port, f"{spoilt(mobile(receiver, 1))}\r\nHost: x\r\n\r\n".encode(), half_close=True)

        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert receiver.get("/healthz").status == 200
        self.assert_kept(receiver, before)

    def test_are_not_in_a_log_where_gunicorn_gives_up_a_worker_that_hangs(
        self, own_redis: RedisServer, tmp_path: Path
    ) -> None:
        config = write_config(tmp_path)
        with receiving(config, own_redis.ulak(config), "--timeout", "1") as receiver:
            before = self.sizes(receiver)
            head = f"POST {mobile(receiver, 1)} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            typed = "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
            answer = speak(receiver.port, f"{head}{typed}msisdn={SHOPPER}".encode(), within=15)

            assert b" 200 " not in answer.partition(b"\r\n")[0]
            until(lambda: receiver.get(mobile(receiver, 2)).status == 200, "the next callback is served")
            self.assert_kept(receiver, before)


class TestBadInput:
    def address(self, receiver: Receiver) -> str:
        return f"/callbacks/paynet/shop-tr/confirmation/{receiver.secret('paynet_token')}"

    @pytest.mark.parametrize("chunked", [False, True])
    @pytest.mark.parametrize("over", [1, LIMIT])
    def test_over_64_kib_is_413_that_the_client_reads(
        self, receiver: Receiver, client: redis.Redis, *, chunked: bool, over: int
    ) -> None:
        answer = call_json(receiver, self.address(receiver), b"{" + b" " * (LIMIT + over - 2) + b"}", chunked=chunked)

        assert answer.status == 413
        assert answer.json() == {"error": "too_large", "request_id": answer.headers["X-Request-Id"]}
        assert queued(client) == 0

    def test_over_64_kib_is_not_cut_down_to_what_fits(self, receiver: Receiver, client: redis.Redis) -> None:
        body = form(WITH_3D) + b"&customData=" + b"x" * LIMIT
        answer = call(receiver.port, PARATIKA, body, chunked=True)

        assert answer.status == 413
        assert queued(client) == 0

    @pytest.mark.parametrize("chunked", [False, True])
    def test_of_64_kib_is_read(self, receiver: Receiver, *, chunked: bool) -> None:
        answer = call_json(receiver, self.address(receiver), b"[" + b" " * (LIMIT - 2) + b"]", chunked=chunked)

        assert (answer.status, answer.json()["error"]) == (400, "bad_body")

    @pytest.mark.parametrize("more", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect:"]])
    def test_of_10_mb_is_413_that_curl_reads(self, receiver: Receiver, tmp_path: Path, more: list[str]) -> None:
        big = tmp_path / "big"
        big.write_bytes(b"x" * 10_000_000)
        for _ in range(3):
            sent = curl(
                *("-H", "Content-Type: application/json", *more, "--data-binary", f"@{big}"),
                *("-w", "\n%{http_code}", receiver.base + self.address(receiver)),
            )
            assert sent.stdout.endswith("\n413"), sent.stderr
            assert '"too_large"' in sent.stdout

    @pytest.mark.parametrize(
        "line", [b"X-Long: " + b"x" * 10_000_000, b"y" * 10_000_000, b"GET /" + b"z" * 10_000_000 + b" HTTP/1.1"]
    )
    def test_of_a_line_of_10_mb_is_answered_or_closed_and_the_next_callback_is_served(
        self, receiver: Receiver, line: bytes
    ) -> None:
        begun = time.monotonic()
        start = b"" if line.startswith(b"GET") else f"GET {mobile(receiver, 1)} HTTP/1.1\r\nHost: x\r\n".encode()
        answer = speak(receiver.port, start + line + b"\r\n\r\n")

        assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
        assert time.monotonic() - begun < 10
        assert receiver.get(mobile(receiver, 2)).status == 200

    def test_that_is_cut_off_behind_the_signed_fields_is_400(self, receiver: Receiver, client: redis.Redis) -> None:
        body = form(WITH_3D)
        head = f"POST {PARATIKA} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        typed = "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        answer = speak(receiver.port, (head + typed).encode() + body[:-10], half_close=True)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"bad_body" in answer
        assert queued(client) == 0

    def test_that_comes_to_a_halt_is_given_up_within_15_seconds(self, own_receiver: Receiver) -> None:
        head = f"POST {PARATIKA} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        halted = {"in the body": f"{head}\r\nresponseCode=00", "in the headers": head}
        answers: dict[str, tuple[bytes, float]] = {}

        def stall(name: str) -> None:
            begun = time.monotonic()
            answers[name] = speak(own_receiver.port, halted[name].encode()), time.monotonic() - begun

        threads = [threading.Thread(target=stall, args=(name,)) for name in halted]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

        assert answers["in the body"][0].startswith(b"HTTP/1.1 400 ")
        assert all(seconds < 15 for _, seconds in answers.values())
        assert own_receiver.get(mobile(own_receiver, 1)).status == 200

    def test_that_is_cut_off_within_a_chunk_is_400(self, receiver: Receiver, client: redis.Redis) -> None:
        body = form(WITH_3D)
        head = f"POST {PARATIKA} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        typed = f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{len(body):x}\r\n"
        answer = speak(receiver.port, (head + typed).encode() + body[:-10], half_close=True)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert queued(client) == 0

    def test_of_a_whole_body_without_the_last_chunk_is_400(self, receiver: Receiver, client: redis.Redis) -> None:
        body = form(WITH_3D)
        head = f"POST {PARATIKA} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        typed = f"Content-Type: application/x-www-form-urlencoded\r\n\r\n{len(body):x}\r\n"
        answer = speak(receiver.port, (head + typed).encode() + body + b"\r\n", half_close=True)

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert queued(client) == 0

    @pytest.mark.parametrize(
        "target",
        ["/callbacks/%ff/%00", "/callbacks/" + "a/" * 2000, "/callbacks/paratika/../..", "/%c0%af", "/callbacks"],
    )
    def test_at_any_other_address_is_404_in_the_same_words(self, receiver: Receiver, target: str) -> None:
        answer = receiver.get(target)

        assert answer.status == 404
        assert answer.json() == {"error": "not_found", "request_id": answer.headers["X-Request-Id"]}

    def test_with_a_method_that_nobody_sends_is_405(self, receiver: Receiver) -> None:
        for method in ("PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"):
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)) as connection:
                connection.request(method, PARATIKA)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 405, method
                assert answer.headers["Allow"] == "POST"
                assert "X-Request-Id" in answer.headers


def call_json(receiver: Receiver, path: str, body: bytes, *, chunked: bool) -> Response:
    return call(receiver.port, path, body, {"Content-Type": "application/json"}, chunked=chunked)


class TestBesideTheCallbacks:
    def counted(self, receiver: Receiver, **headers: str) -> dict[str, float]:
        answer = receiver.get("/metrics", **headers)
        assert answer.status == 200
        pairs = (line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def test_healthz_and_readyz_answer(self, receiver: Receiver) -> None:
        assert (receiver.get("/healthz").status, receiver.get("/healthz").json()) == (200, {"status": "ok"})
        assert (receiver.get("/readyz").status, receiver.get("/readyz").json()) == (200, {"status": "ready"})

    def test_metrics_count_over_both_workers(self, receiver: Receiver, client: redis.Redis) -> None:
        labels = 'account="shop-tr",channel="transaction",outcome="accepted",provider="payguru",reason=""'
        name = f"ulak_callbacks_total{{{labels}}}"
        events = 'ulak_events_total{account="shop-tr",kind="payment.succeeded",provider="payguru"}'
        timer = 'ulak_callback_seconds_count{provider="payguru"}'
        before = self.counted(receiver)
        at_once(receiver, [mobile(receiver, number) for number in range(40)])

        assert client.xlen(EVENTS) == 40
        for _ in range(6):
            after = self.counted(receiver)
            for one in (name, events, timer):
                assert after[one] - before.get(one, 0) == 40, one

    def test_metrics_are_for_this_machine_or_the_bearer_of_the_token(self, receiver: Receiver) -> None:
        for header in ("X_Forwarded_For", "Forwarded", "X_Real_Ip"):
            answer = receiver.get("/metrics", **{header: "127.0.0.1"})
            assert answer.status == 403
            assert b"ulak_" not in answer.body
        wrong = receiver.get(
            "/metrics", X_Forwarded_For="203.0.113.9", Authorization="Bearer metrics-token-of-the-testS"
        )
        assert wrong.status == 403
        token = f"Bearer {receiver.secret('metrics_token')}"
        assert self.counted(receiver, X_Forwarded_For="203.0.113.9", Authorization=token)

    def test_the_next_callback_is_served_after_a_worker_was_killed(self, own_receiver: Receiver) -> None:
        path = Path(f"/proc/{own_receiver.process.pid}/task/{own_receiver.process.pid}/children")
        first, _ = workers = until(lambda: _pair(path), "two workers")
        subprocess.run(["/bin/kill", "-KILL", str(first)], check=True)
        until(lambda: (now := _pair(path)) and now != workers, "a new worker")

        answers = at_once(own_receiver, [mobile(own_receiver, number) for number in range(20)])
        assert {one.status for one in answers} == {200}
        assert self.counted(own_receiver)['ulak_callback_seconds_count{provider="payguru"}'] == 20


def _pair(path: Path) -> list[str]:
    found = path.read_text().split()
    return found if len(found) == 2 else []


class TestFaultyConfiguration:
    def test_stops_gunicorn_with_every_fault_listed(self, redis_server: RedisServer, tmp_path: Path) -> None:
        config = write_config(tmp_path)
        text = config.read_text().replace('merchant_id = "123"\n', "").replace('"file:paynet_token"', '"file:nowhere"')
        config.write_text(text + '\n[[routes]]\nname = "Bad Name"\njob = "no_dot"\n')
        log = tmp_path / "web.log"
        with background(gunicorn(free_port()), redis_server.ulak(config), log) as process:
            code = process.wait(20)
        told = [line.removeprefix("ulak: ") for line in log.read_text().splitlines() if line.startswith("ulak: ")]
        checked = ulak("check", "--json", env=redis_server.ulak(config))

        assert code == 1
        assert told == orjson.loads(checked.stdout)["faults"]
        assert len(told) >= 4
        assert "Traceback" not in log.read_text()
        for place in ("merchant_id", "token", "routes[1]"):
            assert any(place in fault for fault in told), told

    def test_that_does_not_exist_stops_gunicorn_with_a_sentence(
        self, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        log = tmp_path / "web.log"
        with background(gunicorn(free_port()), redis_server.ulak(tmp_path / "none.toml"), log) as process:
            assert process.wait(20) == 1

        assert "none.toml: cannot be read (No such file or directory); ULAK_CONFIG names the file" in log.read_text()
        assert "Traceback" not in log.read_text()


class TestStopping:
    def test_lets_the_callback_in_hand_finish(self, own_redis: RedisServer, tmp_path: Path) -> None:
        config = write_config(tmp_path)
        with receiving(config, own_redis.ulak(config)) as receiver:
            body = form(WITH_3D)
            head = f"POST {PARATIKA} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            with socket.create_connection(("127.0.0.1", receiver.port), timeout=15) as stream:
                stream.sendall(head + body[:-10])
                time.sleep(0.3)  # nothing to poll: the worker must be waiting in the body
                receiver.process.send_signal(signal.SIGTERM)
                stream.sendall(body[-10:])
                answer = stream.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert receiver.process.wait(15) == 0
        with own_redis.client() as client:
            assert queued(client) == 1
