"""``POST /expected``: whatever the bytes are, the answer has a reason word and says nothing of other accounts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder, TestResponse

from receiver import orders, signing, web
from receiver.account import Secret
from receiver.errors import Reason, Unavailable
from receiver.expecting import Expectation
from receiver.money import Money
from receiver.pipeline import NoSpool, Pipeline
from receiver.placing import Placing
from receiver.ports import Ask
from receiver.providers import BY_NAME
from receiver.seal import Sealer
from receiver.sink import Announced
from tests.accounts import ACCOUNTS
from tests.lines import Lines
from tests.memory import MemoryMetrics, MemorySink

TOKEN = "expected-token-0123456789"
OLD_TOKEN = "expected-token-of-last-year"
SENT = {"provider": "paratika", "account": "shop", "order_ref": "ORDER-1", "amount": "11.76", "currency": "TRY"}
SHOP = replace(
    ACCOUNTS["paratika"],
    expected_tokens=(Secret("env:NEW", TOKEN.encode()), Secret("env:OLD", OLD_TOKEN.encode())),
)
SILENT = ACCOUNTS["paynet"]
METHODS = ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "NONSENSE")


@dataclass
class Shop:
    """Announces to a receiver whose store answers *says*, or raises *away*."""

    says: Announced = Announced.NEW
    away: Exception | None = None
    kept: list[tuple[Expectation, Ask | None]] = field(default_factory=list)
    counted: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        app = Flask("ulak", static_folder=None)
        known = {(account.provider, account.slug): account for account in (SHOP, SILENT)}
        placing = Placing((), 120)
        pipeline = Pipeline(MemorySink(), placing, Sealer(), MemoryMetrics(), NoSpool())
        web.register(app, web.CallbackView(BY_NAME, known, pipeline))
        orders.register(app, orders.AnnouncementView(BY_NAME, known, placing, self._keep, self._count))
        self.client = app.test_client()

    def _keep(self, known: Expectation, ask: Ask | None) -> Announced:
        if self.away:
            raise self.away
        self.kept.append((known, ask))
        return self.says

    def _count(self, provider: str, account: str, outcome: str) -> None:
        self.counted.append((provider, account, outcome))

    def announce(self, token: str | None = TOKEN, /, **changes: Any) -> TestResponse:
        return self.post(json.dumps({**SENT, **changes}).encode(), token)

    def post(self, body: bytes, token: str | None = TOKEN, **sent: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        sent.setdefault("content_type", "application/json")
        return self.client.open("/expected", data=body, headers=headers, **{"method": "POST", **sent})


@pytest.fixture
def shop() -> Iterator[Shop]:
    """Every answer of the test is checked for what all of them have."""
    made = Shop()
    open_ = made.client.open

    def checked(*args: Any, **kwargs: Any) -> TestResponse:
        answer = open_(*args, **kwargs)
        assert answer.headers["Cache-Control"] == "no-store"
        assert len(answer.headers["X-Request-Id"]) == 32
        assert answer.status_code != 500
        return answer

    made.client.open = checked  # type: ignore[method-assign]
    yield made
    assert len(made.counted) >= 1


def told(answer: TestResponse) -> str:
    """Return the answer without its request id, headers included."""
    return f"{answer.status}\n{answer.headers}\n{answer.text}".replace(answer.headers["X-Request-Id"], "ID")


def refused(answer: TestResponse) -> tuple[int, str]:
    body = json.loads(answer.text)
    assert body.pop("request_id") == answer.headers["X-Request-Id"]
    return answer.status_code, str(body.pop("error"))


class TestAnnouncement:
    @pytest.mark.parametrize(
        ("says", "word"), [(Announced.NEW, "new"), (Announced.SAME, "same"), (Announced.CHANGED, "changed")]
    )
    def test_is_answered_with_what_became_of_it(self, shop: Shop, says: Announced, word: str) -> None:
        shop.says = says
        answer = shop.announce()

        assert (answer.status_code, answer.json) == (200, {"ok": True, "announced": word})
        assert shop.counted == [("paratika", "shop", word)]

    def test_is_kept_as_it_was_sent(self, shop: Shop) -> None:
        shop.announce(order_ref="S\u0130PAR\u0130\u015e-1")
        ((known, ask),) = shop.kept

        assert (known.provider, known.account, known.order_ref) == ("paratika", "shop", "S\u0130PAR\u0130\u015e-1")
        assert known.amount == Money(1176, "TRY")
        assert ask is None  # no [accounts.api], so nobody can be asked

    @pytest.mark.parametrize(
        ("amount", "minor"), [("11.76", 1176), ("11.760", 1176), ("12", 1200), ("0.29", 29), ("1.1", 110)]
    )
    def test_may_have_the_amount_as_a_json_number_which_never_becomes_a_float(
        self, shop: Shop, amount: str, minor: int
    ) -> None:
        body = json.dumps(SENT).replace('"11.76"', amount).encode()

        assert shop.post(body).status_code == 200
        assert shop.kept[0][0].amount == Money(minor, "TRY")

    @pytest.mark.parametrize("amount", ["1e2", "-1", "0", "NaN", "1E+2", "-0", "11.765"])
    def test_with_any_other_json_number_is_refused(self, shop: Shop, amount: str) -> None:
        assert shop.post(json.dumps(SENT).replace('"11.76"', amount).encode()).status_code == 400
        assert shop.kept == []

    @pytest.mark.parametrize("token", [TOKEN, OLD_TOKEN])
    def test_is_taken_under_each_token_while_rotating(self, shop: Shop, token: str) -> None:
        assert shop.announce(token).status_code == 200

    @pytest.mark.parametrize("content_type", ["", "application/json; charset=utf-8", "APPLICATION/JSON"])
    def test_may_name_its_type_in_other_ways(self, shop: Shop, content_type: str) -> None:
        assert shop.post(json.dumps(SENT).encode(), content_type=content_type).status_code == 200

    def test_is_logged_without_order_and_amount(self, shop: Shop, logged: Lines) -> None:
        answer = shop.announce(OLD_TOKEN)
        (line,) = logged

        assert line.pop("ms") >= 0
        assert line.pop("time")
        assert line == {
            "level": "info",
            "event": "expected",
            "request_id": answer.headers["X-Request-Id"],
            "provider": "paratika",
            "account": "shop",
            "outcome": "new",
            "key_id": "env:OLD",
        }

    def test_of_a_paid_order_with_other_data_is_409(self, shop: Shop, logged: Lines) -> None:
        shop.says = Announced.PAID

        assert refused(shop.announce()) == (409, "already_paid")
        assert (logged[0]["outcome"], logged[0]["reason"]) == ("refused", "already_paid")
        assert shop.counted == [("paratika", "shop", "refused")]


class TestProof:
    def test_is_missed_alike_whatever_is_wrong(self, shop: Shop, logged: Lines) -> None:
        tokens = (None, "", "x", TOKEN[:-1], TOKEN + "x", " " + TOKEN, "\u00e9", "nobody")
        providers: list[Any] = ["none", "", "Paratika", " paratika", 1, None, [], {"a": 1}]
        accounts: list[Any] = ["none", "", "SHOP", "shop ", True, ["shop"]]
        headers = (TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}", "Bearer", f"Token {TOKEN}")
        answers = [
            *(shop.announce(token) for token in tokens),
            *(shop.announce(provider=name) for name in providers),
            *(shop.announce(account=name) for name in accounts),
            shop.announce(provider="paynet"),  # an account that announces nothing
            shop.post(b"{}"),
            *(shop.client.post("/expected", json=SENT, headers={"Authorization": header}) for header in headers),
        ]

        assert {told(answer) for answer in answers} == {told(answers[0])}
        assert refused(answers[0]) == (401, "unauthorized")
        assert answers[0].headers["WWW-Authenticate"] == "Bearer"
        assert shop.kept == []
        assert set(shop.counted) == {("", "", "refused")}
        assert all("provider" not in line and "account" not in line for line in logged)

    def test_comes_before_the_fields(self, shop: Shop) -> None:
        """Nobody without the token learns how an announcement is written."""
        assert refused(shop.announce("wrong", amount="x")) == (401, "unauthorized")

    def test_may_have_its_scheme_in_any_case(self, shop: Shop) -> None:
        answer = shop.client.post("/expected", json=SENT, headers={"Authorization": f"bearer {TOKEN}"})

        assert answer.status_code == 200

    def test_is_compared_also_where_there_is_no_account(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        compared: list[int] = []
        match = signing.match

        def noted(wanted: Any, *args: Any) -> Any:
            compared.append(len(wanted))
            return match(wanted, *args)

        monkeypatch.setattr(signing, "match", noted)
        changed: list[dict[str, Any]] = [{}, {"account": "none"}, {"provider": "paynet"}, {"provider": []}]
        for changes in changed:
            shop.announce("wrong", **changes)

        assert compared == [2, 1, 1, 1]


class TestBadInput:
    @pytest.mark.parametrize("method", METHODS)
    def test_of_another_method_is_405(self, shop: Shop, method: str) -> None:
        answer = shop.client.open("/expected", method=method)

        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
        assert method == "HEAD" or refused(answer) == (405, "method_not_allowed")

    @pytest.mark.parametrize(
        "content_type", ["application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-16", "x"]
    )
    def test_of_another_type_is_415(self, shop: Shop, content_type: str) -> None:
        answer = shop.post(json.dumps(SENT).encode(), content_type=content_type)

        assert refused(answer) == (415, "unsupported_media_type")

    @pytest.mark.parametrize("chunked", [False, True])
    def test_past_64_kib_is_413(self, shop: Shop, *, chunked: bool) -> None:
        builder = EnvironBuilder("/expected", method="POST", data=b"{" + b" " * 65536 + b"}")
        environ = builder.get_environ() | {"CONTENT_TYPE": "application/json"}
        if chunked:
            del environ["CONTENT_LENGTH"]
            environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}

        assert refused(shop.client.open(environ)) == (413, "too_large")

    @pytest.mark.parametrize(
        ("body", "word"),
        [
            *((body, "bad_body") for body in (b"", b"[]", b"1", b'"x"', b"null", b"{", b"{}{}", b'{"a":NaN}', b"\x00")),
            (b"[" * 60000, "bad_body"),
            (b'{"a":' * 10000 + b"1" + b"}" * 10000, "bad_body"),
            (b'{"provider":"paratika","provider":"paynet"}', "duplicate_field"),
            (b'{"account":{"a":1,"a":2}}', "duplicate_field"),
            (b'{"a":"\xff"}', "bad_encoding"),
            (b'{"a":"\\ud800"}', "bad_encoding"),
            (b'{"\\udfff":1}', "bad_encoding"),
        ],
        ids=repr,
    )
    def test_that_is_no_object_of_one_reading_is_400(self, shop: Shop, body: bytes, word: str) -> None:
        assert refused(shop.post(body)) == (400, word)

    def test_in_a_query_beside_the_body_is_a_field_sent_twice(self, shop: Shop) -> None:
        answer = shop.post(json.dumps(SENT).encode(), query_string="account=other")

        assert refused(answer) == (400, "duplicate_field")

    def test_of_wrong_fields_is_400_and_says_what_is_wrong_and_never_the_value(self, shop: Shop, logged: Lines) -> None:
        answer = shop.announce(amount="13,37-secret", deadline="secret", dedline="secret")

        assert refused(answer) == (400, "bad_announcement")
        fields = json.loads(answer.text)["fields"]
        assert fields.keys() == {"amount", "deadline", "dedline"}
        assert fields["amount"] == "has an unknown form"
        assert "secret" not in answer.text
        assert (logged[0]["reason"], logged[0]["detail"]) == ("bad_announcement", "amount,deadline")
        assert shop.counted == [("paratika", "shop", "refused")]
        assert shop.kept == []

    @pytest.mark.parametrize("seed", range(40))
    def test_of_any_single_changed_byte_is_answered(self, shop: Shop, seed: int) -> None:
        body = bytearray(json.dumps({**SENT, "deadline": None}).encode())
        for at in range(seed % 4, len(body), 4):
            changed = bytes([*body[:at], (body[at] + 1 + seed * 6) % 256, *body[at + 1 :]])
            assert shop.post(changed).status_code in {200, 400, 401}


class TestStore:
    @pytest.mark.parametrize("reason", [Reason.REDIS_UNREACHABLE, Reason.REDIS_FULL, Reason.REDIS_REFUSED])
    def test_that_is_away_or_full_is_503_and_asks_to_come_again(
        self, shop: Shop, logged: Lines, reason: Reason
    ) -> None:
        shop.away = Unavailable(reason, "OOM")
        answer = shop.announce()

        assert refused(answer) == (503, reason.value)
        assert answer.headers["Retry-After"] == "30"
        assert "OOM" not in answer.text
        assert (logged[0]["level"], logged[0]["detail"]) == ("error", "OOM")
        assert shop.counted == [("paratika", "shop", "unavailable")]

    def test_that_fails_in_a_way_nobody_thought_of_is_503_and_tells_no_text(self, shop: Shop, logged: Lines) -> None:
        shop.away = RuntimeError("ORDER-1 in an error's text")
        answer = shop.announce()

        assert refused(answer) == (503, "internal_error")
        assert "ORDER-1" not in answer.text
        assert "ORDER-1" not in repr(logged)
        assert logged[0]["detail"].startswith("RuntimeError at ")
