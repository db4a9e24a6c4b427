"""HTTP in, HTTP out: whatever the bytes are, the answer has a reason word and a request id."""

import re
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder, TestResponse

from receiver.errors import REASONS, Reason, Unavailable
from receiver.message import Outcome
from tests.accounts import BROWSER_TOKEN, TOKEN
from tests.desk import FORM, JSON, Desk
from tests.lines import Lines
from tests.memory import MemoryMetrics, MemorySink
from tests.samples import readable

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "NONSENSE")
UNKNOWN = (
    *("/", "/callbacks", "/callbacks/", "/callbacks//", "/callbacks/none/shop/return", "/callbacks/paratika"),
    *("/callbacks/paratika/none/return", "/callbacks/paratika/shop", "/callbacks/paratika/shop/none"),
    *("/callbacks/paratika/shop/return/token", "/callbacks/paratika/SHOP/return", "/callbacks/Paratika/shop/return"),
    *("/callbacks/paynet/shop/confirmation", f"/callbacks/paynet/shop/confirmation/{BROWSER_TOKEN}"),
    *(f"/callbacks/paynet/shop/return/{TOKEN}", f"/callbacks/paynet/shop/confirmation/{TOKEN}/more"),
    *(f"/callbacks/paynet/shop/confirmation/{TOKEN}x", f"/callbacks/paynet/shop/confirmation/{TOKEN[:-1]}"),
    *("/callbacks/paynet/shop/confirmation/%00", "/callbacks/paynet/shop/confirmation/%F0%9F%98%80"),
    *(
        "/callbacks/paynet/shop/confirmation/\u00e9",
        "/favicon.ico",
        "/../callbacks",
        "/callbacks/paratika//shop/return",
    ),
)
PAID = readable("paratika")[0]


def told(answer: TestResponse) -> str:
    """Return the answer without its request id, headers included."""
    request_id = answer.headers["X-Request-Id"]
    assert re.fullmatch("[0-9a-f]{32}", request_id)
    return f"{answer.status}\n{answer.headers}\n{answer.text}".replace(request_id, "ID")


@pytest.mark.parametrize("method", METHODS)
def test_every_unknown_address_is_answered_alike(method: str, desk: Desk) -> None:
    answers = {told(desk.client.open(path, method=method)) for path in UNKNOWN if path.startswith("/callbacks/")}

    assert len(answers) == 1
    assert answers.pop().startswith("404")
    assert desk.sink.kept == 0


@pytest.mark.parametrize("method", METHODS)
def test_an_address_that_is_no_callback_is_answered_in_the_same_words(method: str, desk: Desk) -> None:
    """Flask answers these: the order of its headers is its own, and says nothing of an account."""
    callback, *others = [desk.client.open(path, method=method) for path in ("/callbacks/x", *UNKNOWN)]
    for other in others:
        assert sorted(told(other).lower().split()) == sorted(told(callback).lower().split())


def test_the_log_says_what_was_unknown_and_the_answer_does_not(desk: Desk, logged: Lines) -> None:
    for path in ("none/shop/return", "paratika/none/return", "paratika/shop/none", "paynet/shop/refund/wrong"):
        assert desk.client.post(f"/callbacks/{path}").json["error"] == "not_found"  # type: ignore[index]

    assert [line["reason"] for line in logged] == ["no_provider", "no_account", "no_channel", "bad_token"]
    assert [line.get("account") for line in logged] == [None, None, "shop", "shop"]
    assert "none" not in repr([line.get("provider") for line in logged[:1]] + [line.get("channel") for line in logged])
    assert len(desk.sink.refused) == 3


@pytest.mark.parametrize(
    ("provider", "channel", "allowed"),
    [
        ("payguru", "transaction", "GET, POST"),
        ("payguru-phs", "notify", "GET, POST"),
        ("paratika", "return", "POST"),
        ("paynet", "confirmation", "POST"),
        ("paynet", "return", "POST"),
    ],
)
def test_another_method_is_405_and_says_which_is_allowed(provider: str, channel: str, allowed: str, desk: Desk) -> None:
    for method in METHODS:
        if method not in allowed.split(", "):
            answer = desk.send(provider, channel, method=method)
            assert (method, answer.status_code, answer.headers["Allow"]) == (method, 405, allowed)
            assert method == "HEAD" or "method_not_allowed" in answer.text
    assert desk.sink.kept == 0


@pytest.mark.parametrize(
    "content_type", ["text/plain", "multipart/form-data; boundary=x", JSON, "x", f"{FORM}x", ";", f"{FORM},{FORM}"]
)
def test_another_type_is_415(content_type: str, desk: Desk) -> None:
    answer = desk.send("paratika", "return", data=PAID.body, content_type=content_type)

    assert (answer.status_code, desk.reason) == (415, "unsupported_media_type")


@pytest.mark.parametrize("charset", ["utf-16", "utf-7", "koi8-r", "x", "idna", "base64", "rot13", "utf-8, utf-16"])
def test_another_charset_is_415(charset: str, desk: Desk) -> None:
    answer = desk.send("paratika", "return", data=PAID.body, content_type=f'{FORM}; charset="{charset}"')

    assert answer.status_code == 415


@pytest.mark.parametrize(
    "content_type", [f"{FORM}; charset=UTF-8", f"{FORM};charset=utf8", FORM.upper(), f'{FORM}; charset="utf-8"; x=y']
)
def test_the_type_may_be_written_in_other_ways(content_type: str, desk: Desk) -> None:
    assert desk.send("paratika", "return", data=PAID.body, content_type=content_type).status_code == 303


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "x"])
def test_a_compressed_body_is_415(coding: str, desk: Desk) -> None:
    answer = desk.send("paratika", "return", data=PAID.body, content_type=FORM, headers={"Content-Encoding": coding})

    assert answer.status_code == 415


@pytest.mark.parametrize("vector", [PAID, readable("paynet")[0]], ids=str)
def test_a_missing_type_is_taken_for_the_channels_own(vector: Any, desk: Desk) -> None:
    assert replace(vector, content_type="").send(desk).status_code in {200, 303}
    assert desk.outcome == "accepted"


def test_each_answer_has_its_own_request_id_and_the_log_has_the_same(desk: Desk, logged: Lines) -> None:
    answers = [
        desk.send("paratika", "return", data=body, content_type=FORM) for body in (PAID.body, PAID.body, b"", b"a")
    ]
    ids = [answer.headers["X-Request-Id"] for answer in answers]

    assert len(set(ids)) == 4
    assert ids == [line["request_id"] for line in logged]


def test_a_request_id_of_the_sender_is_not_taken_over(desk: Desk) -> None:
    answer = desk.send("paratika", "return", data=b"", headers={"X-Request-Id": "theirs\u00e9"})

    assert answer.headers["X-Request-Id"] != "theirs\u00e9"


@pytest.mark.parametrize("reason", [Reason.REDIS_UNREACHABLE, Reason.REDIS_FULL, Reason.REDIS_REFUSED])
@pytest.mark.parametrize("provider", ["payguru", "payguru-phs", "paratika", "paynet"])
def test_what_cannot_be_kept_is_503_with_retry_after(provider: str, reason: Reason) -> None:
    desk = Desk(sink=MemorySink(Unavailable(reason, "detail")))
    answer = readable(provider)[0].send(desk)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert reason.value in answer.text
    assert (desk.outcome, desk.reason) == ("unavailable", reason.value)
    assert desk.sink.refused == []


class Faulty(MemorySink):
    def accept(self, entries: Any) -> Any:
        raise RuntimeError("a secret in an error's text")


@pytest.mark.parametrize("provider", ["payguru", "payguru-phs", "paratika", "paynet"])
def test_a_fault_of_our_own_is_503_and_tells_its_place_only(provider: str, logged: Lines) -> None:
    desk = Desk(sink=Faulty())
    answer = readable(provider)[0].send(desk)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "internal_error" in answer.text
    assert logged[-1]["detail"].startswith("RuntimeError at test_web.py:")
    assert "secret in an error" not in repr(logged) + answer.text


def test_a_browser_sees_a_page_in_turkish_and_english(desk: Desk) -> None:
    refused = desk.send("paratika", "return", data=b"responseCode=00", content_type=FORM)
    away = PAID.send(Desk(sink=MemorySink(Unavailable(Reason.REDIS_UNREACHABLE))))
    wrong = desk.send("paratika", "return", method="GET")
    for answer, status in ((refused, 403), (away, 503), (wrong, 405)):
        assert (status, "text/html; charset=utf-8") == (answer.status_code, answer.content_type)
        assert 'lang="tr"' in answer.text
        assert 'lang="en"' in answer.text
        assert answer.headers["X-Request-Id"] in answer.text
        assert answer.headers["Cache-Control"] == "no-store"
    assert "doğrulanamadı" in refused.text
    assert "yenileyin" in away.text


def test_a_program_sees_a_word_and_an_id_and_nothing_else(desk: Desk) -> None:
    answer = desk.send("paynet", "confirmation", data=b"{", content_type=JSON)

    assert answer.json == {"error": "bad_body", "request_id": answer.headers["X-Request-Id"]}
    assert answer.content_type == JSON


def test_the_access_log_sees_neither_token_nor_query_nor_referrer(desk: Desk) -> None:
    for path in (
        f"/callbacks/paynet/shop/confirmation/{TOKEN}",
        f"/callbacks/paynet/other/confirmation/{TOKEN}",
        f"/x/{TOKEN}",
    ):
        builder = EnvironBuilder(
            path, method="POST", query_string="phone=5000000007", headers=[("Referer", f"https://x/{TOKEN}")]
        )
        environ = builder.get_environ()
        environ.update(RAW_URI=f"{path}?phone=5000000007", REQUEST_URI=path)
        b"".join(desk.client.application.wsgi_app(environ, lambda *_: bytes))
        shown = repr(
            {
                name: environ.get(name)
                for name in ("PATH_INFO", "RAW_URI", "REQUEST_URI", "QUERY_STRING", "HTTP_REFERER")
            }
        )
        assert TOKEN not in shown
        assert "5000000007" not in shown


class Silent(MemoryMetrics):
    def callback(self, *_labels: Any) -> None:
        raise OSError("the disk is full")


def test_a_full_disk_of_the_metrics_does_not_change_the_answer() -> None:
    desk = Desk(metrics=Silent())

    assert PAID.send(desk).status_code == 303
    assert desk.sink.kept == 1


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_is_explained(reason: Reason) -> None:
    text = REASONS[reason]

    assert text.status in {200, 400, 401, 403, 404, 405, 409, 413, 415, 503}
    assert text.meaning.endswith(".")
    assert text.remedy.endswith(".")


def test_every_outcome_is_a_word_for_logs() -> None:
    assert all(re.fullmatch("[a-z]+", outcome.value) for outcome in Outcome)
