"""HASO's living list of codes: fetched once a day, kept with its age, told to people."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from receiver import config
from receiver.account import Account, Secret
from receiver.asking import Answered, Call, QueryError, Sought, Trouble
from receiver.event import Kind
from workers import codes, sandbox
from workers.codes import State
from workers.questions import Questions

from .harness import RedisServer, environment, ulak
from .playing import played

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
KEY = "ulak:codes:haso:shop"
ACCOUNT = Account(
    "haso",
    "shop",
    options={"merchant_id": "1000"},
    api={
        "base_url": "https://api.example",
        "hmac_key": Secret("env:KEY", b"the-key"),
        "salt": Secret("env:SALT", b"the-salt"),
        "ip_address": "",
    },
)


@dataclass
class Haso:
    """Answers every question with ``body``; without one, with an error of its own."""

    body: dict[str, Any] | None = None
    asked: list[str] = field(default_factory=list)

    def answer(self, call: Call) -> Answered:
        self.asked.append(call.url.rpartition("/")[2])
        return Answered(200 if self.body else 500, orjson.dumps(self.body or {}))


def listing(**texts: str) -> dict[str, Any]:
    entries = [{"errorCode": code, "message": text} for code, text in texts.items()]
    return {"Success": True, "Errors": [], "Data": {"ErrorCodes": entries}}


GOOD = listing(H307="already refunded", H308="refund not found")


@pytest.fixture
def haso() -> Haso:
    return Haso()


@pytest.fixture
def questions(client: redis.Redis, haso: Haso) -> Questions:
    return Questions(client, haso.answer)


class TestRefresh:
    def test_fetches_the_list_once_a_day(self, client: redis.Redis, haso: Haso, questions: Questions) -> None:
        haso.body = GOOD
        for _ in range(5):
            codes.refresh(questions, client, ACCOUNT, NOW)

        assert haso.asked == ["GetErrorCodes"]
        assert orjson.loads(client.get(KEY) or b"") == {
            "fetched_at": NOW.isoformat(),
            "trouble": "",
            "codes": {"H307": "already refunded", "H308": "refund not found"},
        }
        assert 23 * 3600 < client.ttl(f"{KEY}:asked") <= 24 * 3600

    def test_of_many_workers_asks_with_one(self, client: redis.Redis, haso: Haso) -> None:
        haso.body = GOOD
        workers = [
            threading.Thread(target=codes.refresh, args=(Questions(client, haso.answer), client, ACCOUNT))
            for _ in range(8)
        ]
        for one in workers:
            one.start()
        for one in workers:
            one.join()

        assert haso.asked == ["GetErrorCodes"]

    def test_asks_no_provider_that_has_no_list(self, client: redis.Redis, haso: Haso, questions: Questions) -> None:
        codes.refresh(questions, client, Account("paynet", "shop", api={"base_url": "https://api.example"}))

        assert (haso.asked, client.keys("ulak:codes:*")) == ([], [])

    @pytest.mark.parametrize(
        ("body", "trouble"),
        [
            (None, Trouble.API_FAULT),
            ({"Success": False, "Errors": ["H100 no access"], "Data": None}, Trouble.API_REFUSED),
            ({"Success": True, "Errors": [], "Data": {"ErrorCodes": "none"}}, Trouble.API_UNREADABLE),
            (listing(), Trouble.API_UNREADABLE),
            (listing(**{"no code at all, a sentence": "x", "H1": ""}), Trouble.API_UNREADABLE),
        ],
    )
    def test_notes_why_there_is_none_and_leaves_it_for_an_hour(
        self,
        client: redis.Redis,
        haso: Haso,
        questions: Questions,
        caplog: pytest.LogCaptureFixture,
        body: dict[str, Any] | None,
        trouble: Trouble,
    ) -> None:
        haso.body = body
        codes.refresh(questions, client, ACCOUNT)
        codes.refresh(questions, client, ACCOUNT)

        known = codes.kept(client, "haso", "shop")
        assert (known.state, known.trouble, known.texts) == (State.NONE, trouble, {})
        assert haso.asked == ["GetErrorCodes"]
        assert 0 < client.ttl(f"{KEY}:asked") <= codes.AGAIN
        assert [record.getMessage() for record in caplog.records] == [f"codes haso/shop: {trouble}"]

    def test_that_fails_leaves_the_old_list_in_use(self, client: redis.Redis, haso: Haso, questions: Questions) -> None:
        haso.body = GOOD
        codes.refresh(questions, client, ACCOUNT, NOW)
        haso.body = None
        client.delete(f"{KEY}:asked")
        codes.refresh(questions, client, ACCOUNT, NOW + timedelta(days=2))

        known = codes.kept(client, "haso", "shop", NOW + timedelta(days=2))
        assert (known.state, known.fetched_at, known.trouble) == (State.OLD, NOW, "api_fault")
        told = codes.text_of(client, "haso", "shop", "H308")
        assert told == codes.CodeText("H308", "refund not found", State.OLD, NOW)


class TestAge:
    @pytest.mark.parametrize(("days", "state"), [(0, State.FRESH), (7, State.FRESH), (8, State.OLD), (400, State.OLD)])
    def test_of_more_than_a_week_is_old(
        self, client: redis.Redis, haso: Haso, questions: Questions, days: int, state: State
    ) -> None:
        haso.body = GOOD
        codes.refresh(questions, client, ACCOUNT, NOW)

        assert codes.kept(client, "haso", "shop", NOW + timedelta(days=days)).state is state


class TestText:
    def test_is_found_for_a_code_of_the_list(self, client: redis.Redis, haso: Haso, questions: Questions) -> None:
        haso.body = GOOD
        codes.refresh(questions, client, ACCOUNT)

        found = codes.text_of(client, "haso", "shop", " h308 ")
        assert found is not None
        assert (found.code, found.text, found.state) == ("H308", "refund not found", State.FRESH)
        assert codes.text_of(client, "haso", "shop", "H999") is None
        assert codes.text_of(client, "haso", "other", "H308") is None
        assert codes.text_of(client, "paynet", "shop", "H308") is None

    def test_holds_no_person_and_no_line_of_its_own(
        self, client: redis.Redis, haso: Haso, questions: Questions
    ) -> None:
        haso.body = listing(H1="call 05301112233\nor ayse@example.com, card 4111 1111 1111 1111" + "!" * 900)
        codes.refresh(questions, client, ACCOUNT)

        found = codes.text_of(client, "haso", "shop", "H1")
        assert found is not None
        assert found.text.startswith("call [phone] or [email], card [card]!!!")
        assert len(found.text) == 200

    def test_goes_into_the_words_about_a_refusal(self, client: redis.Redis, haso: Haso, questions: Questions) -> None:
        haso.body = GOOD
        codes.refresh(questions, client, ACCOUNT)
        haso.body = {"Success": False, "Errors": ["odd words", "H307 Bu iade"], "Data": None}
        with pytest.raises(QueryError) as caught:
            questions.ask(Sought("callback", Kind.PAYMENT_PENDING, payment_ref="TC-1"), ACCOUNT)

        assert (caught.value.trouble, caught.value.code) == (Trouble.API_REFUSED, "H307")
        assert codes.told(client, ACCOUNT, caught.value) == "api_refused H307 (already refunded)"
        assert codes.told(client, ACCOUNT, QueryError(Trouble.API_REFUSED, "H1")) == "api_refused H1"
        assert codes.told(client, ACCOUNT, QueryError(Trouble.NO_ANSWER)) == "no_answer"


class TestExplain:
    def test_tells_the_provider_s_words_and_how_old_they_are(
        self, client: redis.Redis, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        with played() as api:
            env = environment(
                ULAK_CONFIG=str(sandbox.write(tmp_path, api.address)),
                ULAK_DATA=str(tmp_path),
                REDIS_URL=redis_server.url,
            )
            account = config.load(env).accounts["haso", "shop-asked"]
            before = ulak("explain", "H308", "--provider", "haso", env=env)
            codes.refresh(Questions(client), client, account)
        found = ulak("explain", "h308", "--provider", "haso", "--account", "shop-asked", env=env)
        machine = ulak("explain", "H308", "--provider", "haso", "--json", env=env)
        unknown = ulak("explain", "H999", "--provider", "haso", env=env)

        assert (before.returncode, before.stdout) == (1, "")
        assert "there is no list of the codes of haso/shop-asked: no worker has asked yet" in before.stderr
        assert found.returncode == 0
        assert found.stdout.startswith("H308 (haso)\n  there is no such refund\n  list of haso/shop-asked: fresh, of ")
        assert machine.returncode == 0
        told = orjson.loads(machine.stdout)
        assert told.pop("fetched_at").startswith(f"{datetime.now(UTC):%Y-}")
        assert told == {
            "provider": "haso",
            "account": "shop-asked",
            "code": "H308",
            "text": "there is no such refund",
            "state": "fresh",
            "trouble": None,
        }
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "H999 is not in the list of haso/shop-asked: fresh" in unknown.stderr

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["H308", "--provider", "paratika"], "lists its codes: haso"),
            (["--provider", "haso"], "lists its codes: haso"),
            (["H308", "--account", "shop-tr"], "lists its codes: haso"),
            (["H308", "--provider", "haso"], "accounts of haso with [accounts.api]: none"),
        ],
    )
    def test_of_nobody_s_code_is_wrong_usage(self, tmp_path: Path, words: list[str], sentence: str) -> None:
        env = environment(ULAK_CONFIG=str(sandbox.write(tmp_path)), ULAK_DATA=str(tmp_path))
        done = ulak("explain", *words, env=env)

        assert done.returncode == 2
        assert sentence in " ".join(done.stderr.split())
