"""Watches over open payments: which question counts, how often it is asked, when it ends, and that nothing is left."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from rq import Queue, SimpleWorker
from rq.serializers import JSONSerializer

from receiver import simulate
from receiver.asking import Call, QueryError, Trouble
from receiver.errors import ConfigError, Unavailable
from receiver.event import Event, Kind
from receiver.message import Level
from receiver.money import Money
from receiver.providers import BY_NAME
from receiver.routing import ASK
from receiver.sink import CLAIMS, HELD, QUARANTINE, WATCH, Announced, RedisSink
from receiver.watching import Watch
from tests.facts import event_of
from workers import budget, desk, reconcile

from .harness import RedisServer
from .playing import Played, played
from .rig import CONFIRMING, HASO, SCHEDULED, SLUG, Rig, load, record, rigged

pytestmark = pytest.mark.integration

HOUR = 3600


@pytest.fixture(scope="module")
def api() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def rig(
    api: Played,
    redis_server: RedisServer,
    client: redis.Redis,
    sink: RedisSink,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Rig:
    api.statuses.clear()
    return rigged(load(tmp_path, redis_server, api), client, sink, monkeypatch)


@pytest.fixture
def spent(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that unproven callbacks may ask this hour was asked."""
    monkeypatch.setattr(budget, "ACCOUNT_AN_HOUR", 0)


def paid(minor: int, currency: str = "TRY", payment: str = "1", **more: Any) -> Event:
    """Return a payment of ORDER-1 that is proven whole."""
    return event_of(
        **{"provider": "payguru", **more},
        account=SLUG,
        level=Level.CONFIRMED,
        covers=("order_ref", "status", "amount"),
        payment_ref=payment,
        fact_key=(payment,),
        amount=Money(minor, currency),
    )


def claimed(number: int, *, proven: bool = False) -> Event:
    """Return a pending payment, which a browser carried unless it is *proven*."""
    return event_of(
        Kind.PAYMENT_PENDING,
        provider="haso",
        account=SLUG,
        level=Level.ROUTE if proven else Level.CLAIMED,
        order_ref=f"ORDER-{number}",
        payment_ref=f"TC-{number}",
        fact_key=(f"TC-{number}", str(proven)),
        amount=None,
    )


def put(rig: Rig, event: Event, channel: str = "callback") -> None:
    rig.put(replace(event, channel=channel))


class TestAClaim:
    def test_gives_way_to_the_callback_of_the_same_payment(self, rig: Rig) -> None:
        rig.send("haso", "ok", HASO)
        (first,) = rig.scheduled()
        assert rig.watch(first)["verified"] is False

        rig.send("haso", "callback", HASO)
        (second,) = rig.scheduled()
        assert rig.watch(second)["verified"] is True
        assert rig.watch(second)["channel"] == "callback"
        assert not rig.client.exists(f"rq:job:{first}")
        assert len(rig.watches()) == 1

    @pytest.mark.parametrize(("first", "verified"), [("callback", True), ("fail", False)])
    def test_does_not_take_the_place_of_what_came_before(self, rig: Rig, first: str, *, verified: bool) -> None:
        rig.send("haso", first, HASO)
        before = rig.scheduled()
        rig.send("haso", "ok", HASO)

        assert rig.scheduled() == before
        assert rig.watch(before[0])["verified"] is verified

    def test_and_its_flood_cost_the_callback_no_answer(self, rig: Rig, spent: None) -> None:
        rig.send("haso", "ok", HASO)
        rig.send("haso", "callback", HASO)
        rig.ask()

        assert "payment.succeeded" in rig.kinds()

    def test_without_an_answer_is_asked_at_the_times_of_the_schedule_and_then_left(self, rig: Rig, spent: None) -> None:
        rig.send("haso", "ok", HASO)
        (job,) = rig.scheduled()
        pauses = [rig.ask_one(job)]
        for age in (4, 11, 61):
            older(rig, job, age)
            pauses.append(rig.ask_one(job))
        older(rig, job, 601)

        # The sandbox's times are 3 s, 10 s, 1 min and 10 min after the claim.
        assert [round(pause or 0) for pause in pauses] == [3, 6, 49, 539]
        assert rig.ask_one(job) is None
        assert left(rig) == {}

    def test_asks_nothing_where_so_many_wait(
        self, rig: Rig, redis_server: RedisServer, sinks: Callable[..., RedisSink], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("receiver.sink.CLAIMS_WAITING", 3)
        rig.sink = sinks(redis_server)
        for number in range(9):
            put(rig, claimed(number), "ok")
        assert len(rig.scheduled()) == 3
        assert len(rig.events()) == 9

        put(rig, claimed(20, proven=True))
        assert len(rig.scheduled()) == 4

    def test_makes_room_where_one_of_them_has_ended_or_is_proven(
        self, rig: Rig, redis_server: RedisServer, sinks: Callable[..., RedisSink], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("receiver.sink.CLAIMS_WAITING", 2)
        rig.sink = sinks(redis_server)
        put(rig, claimed(1), "ok")
        put(rig, claimed(2), "ok")
        put(rig, claimed(1, proven=True))
        put(rig, claimed(3), "ok")
        assert rig.client.zcard(CLAIMS) == 2
        for number in range(9):  # orders that the shop announces are not counted
            rig.announce("paratika", f"ORDER-{number}", "11.76")
        for key in rig.watches():  # as if all of them had been given up long ago
            rig.client.zadd(CLAIMS, {key.decode().removeprefix(WATCH): 1.0}, xx=True)
        put(rig, claimed(4), "ok")

        assert rig.client.zcard(CLAIMS) == 1

    def test_asks_nothing_where_so_many_are_due_already(
        self, rig: Rig, redis_server: RedisServer, sinks: Callable[..., RedisSink], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("receiver.sink.CLAIMS_WAITING", 3)
        rig.sink = sinks(redis_server)
        for number in range(9):
            put(rig, claimed(number), "ok")
            for job in rig.scheduled():  # as RQ's scheduler does, every second
                rig.client.zrem(SCHEDULED, job)
                rig.client.rpush(f"rq:queue:{ASK.queue}", job)

        assert rig.client.llen(f"rq:queue:{ASK.queue}") == 3


def older(rig: Rig, job: str, seconds: float) -> None:
    """Let a question's watch have begun so long ago."""
    asked = rig.watch(job) | {"since": (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()}
    rig.client.hset(f"rq:job:{job}", "data", orjson.dumps([ASK.job, None, [asked], {}]))


def left(rig: Rig) -> Mapping[str, int]:
    """Count what is left of watches and their questions, by the kind of key."""
    found: dict[str, int] = {}
    for pattern in (f"{WATCH}*", "rq:job:*-ASK-*", "rq:results:*-ASK-*", SCHEDULED, f"rq:queue:{ASK.queue}"):
        count = sum(1 for _ in rig.client.scan_iter(pattern, count=1000))
        found |= {pattern: count} if count else {}
    return found


class TestAHeldFact:
    def test_does_not_wait_behind_questions_about_what_is_open(self, rig: Rig) -> None:
        rig.send("paratika", "success", {"merchantPaymentId": "ORDER-1"})
        rig.send("haso", "ok", HASO)

        assert rig.client.llen(CONFIRMING) == 1
        assert rig.client.xlen(HELD) == 1
        assert [rig.watch(job)["provider"] for job in rig.scheduled()] == ["haso"]
        assert set(rig.settings.queues) >= {"ulak-confirm", "ulak-ask"}


class TestANoticeThatContradictsItself:
    """Payguru's notice carries the end user's own query behind its own."""

    @staticmethod
    def post(rig: Rig, channel: str, query: str) -> None:
        where = simulate.path(rig.account("payguru"), BY_NAME["payguru"].channels[channel])
        answer = rig.web.get(f"{where}?{query}")
        assert (answer.status_code, answer.data) == (200, b"OK")
        assert rig.client.xlen(QUARANTINE) == 1

    @pytest.mark.parametrize(
        "query",
        ["txId=&status=3&status=4", "txId=%20&status=3&txId=77", "status=3&status=4"],
        ids=["empty", "blank", "none"],
    )
    def test_about_no_payment_is_kept_and_asks_nothing(self, rig: Rig, query: str) -> None:
        self.post(rig, "transaction", query)

        assert left(rig) == {}

    @pytest.mark.parametrize("ref", ["%ED%A0%80", "%00", "9" * 5000, "..%2F..", "{}"])
    def test_about_what_is_no_payment_s_id_is_kept_and_costs_no_question(self, rig: Rig, ref: str, api: Played) -> None:
        self.post(rig, "transaction", f"txId={ref}&status=3&status=4")
        rig.ask()

        assert (rig.events(), dict(api.statuses)) == ([], {})

    def test_about_a_payment_asks_for_it(self, rig: Rig, api: Played) -> None:
        self.post(rig, "transaction", "txId=12345678912345&status=3&status=4")
        rig.ask()

        assert rig.kinds() == ["payment.succeeded"]
        assert left(rig) == {}
        assert dict(api.statuses) == {200: 1}

    def test_about_a_subscription_asks_nothing(self, rig: Rig) -> None:
        self.post(rig, "subscription", "txId=12345678912345&subsId=12345678&status=active&status=cancelled")

        assert left(rig) == {}


class TestAQuestionThatIsLost:
    def test_is_asked_anew_after_the_next_callback_of_the_payment(self, rig: Rig) -> None:
        pending = {"merchantPaymentId": "ORDER-1", "pgTranId": "P-ORDER-1"}
        rig.send("paratika", "general-error", pending | {"random": "a"})
        (first,) = rig.scheduled()
        rig.client.delete(f"rq:job:{first}")
        rig.send("paratika", "general-error", pending | {"random": "b"})

        (second,) = rig.scheduled()
        assert second != first
        rig.ask()
        assert rig.kinds() == ["payment.pending", "payment.pending", "payment.succeeded"]
        assert left(rig) == {}

    def test_is_asked_anew_after_the_same_announcement(self, rig: Rig) -> None:
        at = datetime.now(UTC)
        rig.announce("paratika", "ORDER-1", "11.76", at)
        (first,) = rig.scheduled()
        rig.client.delete(f"rq:job:{first}", SCHEDULED)

        assert rig.announce("paratika", "ORDER-1", "11.76", at) is Announced.SAME
        assert len(rig.scheduled()) == 1
        rig.ask()
        assert rig.kinds() == ["payment.succeeded"]

    def test_is_not_asked_twice_where_it_only_runs(self, rig: Rig) -> None:
        at = datetime.now(UTC)
        rig.announce("paratika", "ORDER-1", "11.76", at)
        rig.client.delete(SCHEDULED)  # the scheduler has taken the job out

        assert rig.announce("paratika", "ORDER-1", "11.76", at) is Announced.SAME
        assert rig.scheduled() == []


class TestAnAccountThatLosesItsApi:
    def test_for_a_while_is_asked_for_when_it_is_back(self, rig: Rig) -> None:
        rig.announce("paratika", "ORDER-1", "11.76")
        api = rig.account("paratika").api
        rig.change("paratika", api={})
        assert rig.ask() == [1.0]
        assert len(rig.watches()) == 1

        rig.change("paratika", api=api)
        assert rig.ask() == [None]
        assert rig.kinds() == ["payment.succeeded"]

    def test_like_one_whose_configuration_cannot_be_read_is_asked_for_later(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken() -> None:
            raise ConfigError(["ulak.toml: cannot be read"])

        rig.announce("paratika", "ORDER-1", "11.76")
        with monkeypatch.context() as patched:
            patched.setattr(desk, "at_work", broken)
            assert rig.ask() == [HOUR]

        assert rig.ask() == [None]
        assert rig.kinds() == ["payment.succeeded"]


class TestNoAnswer:
    def test_lets_the_pauses_grow_to_an_hour(self, rig: Rig) -> None:
        def away(_: Call) -> object:
            raise QueryError(Trouble.NO_ANSWER)

        rig.send("haso", "callback", HASO)
        rig.answer(away)
        (job,) = rig.scheduled()
        pauses = []
        for age in (0, 2, 40, 1000, 3000, 4000, 13 * 24 * HOUR):
            older(rig, job, age)
            pauses.append(rig.ask_one(job))

        assert pauses == [1, 3, 41, 1001, 3001, HOUR, HOUR]


class TestAnOrderAnnouncedAnew:
    def test_is_not_forgotten_by_the_last_answer_about_the_old_one(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        a_day = timedelta(days=1)
        rig.announce("paratika", "ORDER-nothing-1", "11.76", datetime.now(UTC) - a_day, a_day)
        (first,) = rig.scheduled()
        rig.client.zrem(SCHEDULED, first)
        ask, announced = rig.questions.ask, []

        def slow(*words: Any, **more: Any) -> Any:
            found = ask(*words, **more)
            announced.append(rig.announce("paratika", "ORDER-nothing-1", "11.76"))
            return found

        with monkeypatch.context() as patched:
            patched.setattr(rig.questions, "ask", slow)
            assert rig.ask_one(first) is None  # the last of its times is over

        assert announced == [Announced.CHANGED]
        (second,) = rig.scheduled()
        assert len(rig.watches()) == 1
        assert rig.ask_one(second) == 3


class TestAnAnnouncedOrder:
    @pytest.mark.parametrize("provider", ["haso", "payguru-phs", "zotlo"])
    def test_begins_no_watch_where_the_api_finds_no_orders(self, rig: Rig, provider: str) -> None:
        assert rig.announce(provider, "ORDER-1", "5.00") is Announced.NEW
        assert left(rig) == {}

    @pytest.mark.parametrize("lacking", [paid(1199), paid(1200, "USD")], ids=["too little", "another currency"])
    def test_is_asked_for_until_the_whole_of_its_money_is_there(self, rig: Rig, lacking: Event) -> None:
        rig.announce("payguru", "ORDER-1", "12.00")
        rig.put(lacking)
        assert len(rig.scheduled()) == 1

        rig.put(paid(1200, payment="2"))
        assert [one["expected"] for one in rig.says()][1] == "match"
        assert left(rig) == {}

    @pytest.mark.parametrize(
        ("lacking", "verdict"),
        [(record("PG-1", amount="5.00"), "underpaid"), (record("PG-1", currency="USD"), "wrong_currency")],
        ids=["too little", "another currency"],
    )
    def test_is_asked_for_again_where_the_api_knows_less(self, rig: Rig, lacking: Any, verdict: str) -> None:
        rig.announce("paratika", "ORDER-1", "11.76")
        rig.know(lacking)
        for _ in range(2):
            assert rig.ask() == [3]
        assert [one["expected"] for one in rig.says()] == [verdict]

        rig.know(lacking, record("PG-2"))
        assert rig.ask() == [None]
        assert [(one["payment_ref"], one["expected"]) for one in rig.says()] == [("PG-1", verdict), ("PG-2", "match")]
        assert left(rig) == {}


class TestAKeyOfAForeignType:
    @pytest.mark.parametrize("key", [SCHEDULED, CLAIMS])
    def test_stops_a_claim_and_an_announcement_before_anything_is_written(self, rig: Rig, key: str) -> None:
        rig.client.set(key, "x")
        for begin in (lambda: put(rig, claimed(1), "ok"), lambda: rig.announce("paratika", "ORDER-1", "11.76")):
            with pytest.raises(Unavailable):
                begin()

        assert rig.client.keys() == [key.encode()]


class TestTheEnd:
    def test_leaves_nothing_of_a_question_that_was_asked_before(self, rig: Rig) -> None:
        rig.announce("paratika", "ORDER-nothing-1", "11.76")
        (job,) = rig.scheduled()
        rig.client.zrem(SCHEDULED, job)
        rig.client.rpush(f"rq:queue:{ASK.queue}", job)
        rig.job = job
        queue = Queue(ASK.queue, connection=rig.client, serializer=JSONSerializer)
        SimpleWorker([queue], connection=rig.client, serializer=JSONSerializer).work(burst=True)
        assert rig.scheduled() == [job]
        assert rig.client.exists(f"rq:results:{job}", f"rq:job:{job}") == 2

        rig.put(paid(1176, provider="paratika", order_ref="ORDER-nothing-1"))
        assert left(rig) == {}


GOOD: dict[str, Any] = orjson.loads(
    Watch("haso", SLUG, "ok", Kind.PAYMENT_PENDING, datetime(2026, 11, 23, tzinfo=UTC), payment_ref="T").to_json()
)


class TestAnArgumentThatIsNoWatch:
    @pytest.mark.parametrize(
        "wire",
        [
            *(None, [], "x", 5, {}),
            *(GOOD | {"payment_ref": None}, GOOD | {"provider": {}}, GOOD | {"provider": "nobody"}),
            *(GOOD | {"extra": 1}, GOOD | {"kind": "x"}, GOOD | {"since": 5}, GOOD | {"since": None}),
            *(GOOD | {"until": "x"}, GOOD | {"order_ref": ["a"]}, GOOD | {"since": "2026-11-23T00:00:00"}),
        ],
        ids=str,
    )
    def test_ends_quietly(self, rig: Rig, wire: Any) -> None:
        assert reconcile.ask(wire) is None
        assert rig.events() == []
