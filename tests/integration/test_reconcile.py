"""Open payments, asked about: real receiver, real worker, and the providers' APIs played over HTTP."""

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from receiver import config, simulate
from receiver.account import Account
from receiver.expecting import Expectation
from receiver.money import Money
from receiver.placing import Placing
from receiver.providers import BY_NAME
from receiver.sink import EVENTS, QUARANTINE, WATCH, Announced, RedisSink
from workers import sandbox

from .harness import BIN, Receiver, RedisServer, background, environment, free_port, receiving, until

pytestmark = pytest.mark.integration

SCHEDULED = "rq:scheduled:ulak-ask"
PAYMENTS = 2000
DROPPED = 0.05


@dataclass
class Watching:
    """A receiver whose accounts announce and ask, its Redis, and what a worker does about it."""

    receiver: Receiver
    client: redis.Redis
    settings: config.Settings
    worker: Callable[[], Any]
    api: Callable[[], Any]

    def account(self, provider: str, slug: str = "shop-asked") -> Account:
        return self.settings.accounts[(provider, slug)]

    def announce(
        self,
        provider: str,
        order: str,
        amount: str,
        now: datetime | None = None,
        deadline: timedelta = timedelta(hours=1),
    ) -> Announced:
        now = now or datetime.now(UTC)
        known = Expectation(provider, "shop-asked", order, Money.parse(amount, "TRY"), now + deadline, now)
        sink = RedisSink.of(self.settings)
        placing = Placing(self.settings.routes, self.settings.reconcile_after[0])
        return sink.expect(known, placing.announced(known, BY_NAME[provider], self.account(provider)))

    def send(self, provider: str, scenario: str, changes: Mapping[str, str], slug: str = "shop-asked") -> int:
        account, known = self.account(provider, slug), BY_NAME[provider]
        made = simulate.fresh(known.scenarios[scenario], changes, random.Random(0))
        where = simulate.path(account, known.channels[made.channel])
        return simulate.send(self.receiver.base, where, known.sign(made, account, datetime.now(UTC))).status

    def events(self) -> list[dict[str, Any]]:
        found: Any = self.client.xrange(EVENTS)
        return [orjson.loads(raw[b"event"]) for _, raw in found]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events()]

    def open(self) -> int:
        return sum(1 for _ in self.client.scan_iter(WATCH + "*", count=1000))


@pytest.fixture
def spans() -> str:
    return '["1 s", "2 s", "4 s"]'


@pytest.fixture
def watching(own_redis: RedisServer, tmp_path: Path, spans: str) -> Iterator[Watching]:
    port = free_port()
    written = sandbox.write(tmp_path, f"http://127.0.0.1:{port}")
    lines = [line for line in written.read_text().splitlines() if not line.startswith("reconcile_after")]
    written.write_text("\n".join([f"reconcile_after = {spans}", *lines]))
    env = environment(ULAK_CONFIG=str(written), ULAK_DATA=str(tmp_path), REDIS_URL=own_redis.url)

    @contextmanager
    def api() -> Iterator[None]:
        with background([sys.executable, "-m", "workers.sandbox_api", str(port)], env, tmp_path / "api.log"):
            yield

    @contextmanager
    def worker() -> Iterator[None]:
        with background(
            [str(BIN / "ulak"), "worker", "--queue", "ulak-confirm", "--queue", "ulak-ask"],
            env,
            tmp_path / "worker.log",
        ):
            yield

    with ExitStack() as stack:
        client = stack.enter_context(own_redis.client())
        receiver = stack.enter_context(receiving(written, env))
        yield Watching(receiver, client, config.load(env), worker, api)


class TestAnAnnouncedOrder:
    def test_whose_callback_never_came_is_found(self, watching: Watching) -> None:
        watching.announce("paratika", "ORDER-1", "11.76")
        with watching.api(), watching.worker():
            until(lambda: len(watching.events()) == 1, "the payment is found", 30)
            until(lambda: not watching.open(), "nothing is asked any more")

        (event,) = watching.events()
        assert event["type"] == "payment.succeeded"
        assert event["data"]["origin"] == "reconciliation"
        assert event["data"]["trust"]["level"] == "confirmed"
        assert event["data"]["expected"] == "match"

    def test_is_told_once_where_the_callback_comes_late(self, watching: Watching) -> None:
        watching.announce("paratika", "ORDER-1", "11.76")
        with watching.api(), watching.worker():
            until(lambda: len(watching.events()) == 1, "the payment is found", 30)
            assert watching.send("paratika", "success", {"merchantPaymentId": "ORDER-1"}) == 200

            assert watching.kinds() == ["payment.succeeded"]

    def test_is_not_asked_about_once_its_callback_came(self, watching: Watching) -> None:
        watching.announce("paratika", "ORDER-1", "11.76")
        assert watching.client.zcard(SCHEDULED) == 1
        with watching.api(), watching.worker():
            watching.send("paratika", "success", {"merchantPaymentId": "ORDER-1"})
            until(lambda: watching.kinds() == ["payment.succeeded"], "it is confirmed", 30)

            assert watching.open() == 0
            assert watching.client.zcard(SCHEDULED) == 0

    def test_that_nobody_paid_is_given_up_without_a_word(self, watching: Watching) -> None:
        watching.announce("paratika", "ORDER-nothing-1", "11.76")
        with watching.api(), watching.worker():
            until(lambda: watching.client.zcard(SCHEDULED) == 1, "it is scheduled")
            # The deadline is an hour away, so one question is left after the three of the schedule.
            until(lambda: _due(watching.client) > 1800, "the schedule is over", 40)

        assert watching.events() == []

    def test_waits_for_an_api_that_is_away(self, watching: Watching) -> None:
        watching.announce("paratika", "ORDER-1", "11.76")
        with watching.worker():
            until(lambda: b"no_answer" in (watching.receiver.config.parent / "worker.log").read_bytes(), "asked", 30)
            with watching.api():
                until(lambda: watching.kinds() == ["payment.succeeded"], "the payment is found", 30)


class TestAnOrderAnnouncedAnew:
    def test_is_asked_about_by_its_new_deadline_and_not_twice(self, watching: Watching) -> None:
        watching.announce("paratika", "ORDER-1", "11.76")
        (first,) = _scheduled(watching.client)
        assert watching.announce("paratika", "ORDER-1", "12.00") == Announced.CHANGED

        (second,) = _scheduled(watching.client)
        assert first != second
        assert not watching.client.exists(f"rq:job:{first}")

    def test_begins_again_where_the_last_watch_has_ended(self, watching: Watching) -> None:
        now = datetime.now(UTC)
        watching.announce("paratika", "ORDER-1", "11.76", now=now)
        for key in watching.client.scan_iter(WATCH + "*"):
            watching.client.delete(key)

        assert watching.announce("paratika", "ORDER-1", "11.76", now=now) == Announced.SAME
        assert watching.open() == 1

    def test_leaves_a_job_that_is_running_nothing_to_do(self, watching: Watching) -> None:
        watching.announce("paratika", "ORDER-1", "11.76")
        (first,) = _scheduled(watching.client)
        watching.client.zrem(SCHEDULED, first)  # as the scheduler does, a moment before
        watching.client.rpush("rq:queue:ulak-ask", first)
        assert watching.announce("paratika", "ORDER-1", "11.76", deadline=timedelta(hours=2)) == Announced.CHANGED
        with watching.api(), watching.worker():
            until(lambda: not watching.open(), "the new job finds it", 30)

        assert watching.kinds() == ["payment.succeeded"]
        assert watching.client.zcard(SCHEDULED) == 0


class TestAPendingPayment:
    def test_of_haso_gets_its_outcome_and_its_instalments_at_once(self, watching: Watching) -> None:
        with watching.api(), watching.worker():
            assert watching.send("haso", "callback", {}) == 200
            until(lambda: "payment.succeeded" in watching.kinds(), "the plan is found", 30)

        assert Counter(watching.kinds()) == {
            "payment.pending": 1,
            "payment.succeeded": 1,
            "installment.pending": 2,
        }
        assert watching.open() == 0

    def test_refund_of_paynet_is_confirmed(self, watching: Watching) -> None:
        with watching.api(), watching.worker():
            assert watching.send("paynet", "refund", {"xact_id": "REFUND-refunded-1"}) == 200
            until(lambda: "payment.refunded" in watching.kinds(), "the refund is found", 30)

    def test_of_payguru_whose_notice_contradicts_itself_is_asked_about(self, watching: Watching) -> None:
        account = watching.account("payguru")
        where = simulate.path(account, BY_NAME["payguru"].channels["transaction"])
        query = "txId=12345678912345&status=1&status=3&order=ORDER-2001&amount=12.00&service=1234"
        with watching.api(), watching.worker():
            assert watching.receiver.get(f"{where}?{query}").body == b"OK"
            until(lambda: watching.kinds() == ["payment.succeeded"], "the API says what is true", 30)

        assert watching.events()[0]["data"]["origin"] == "reconciliation"
        assert watching.client.xlen(QUARANTINE) == 1

    def test_is_asked_about_once_however_often_it_is_told(self, watching: Watching) -> None:
        for _ in range(3):
            watching.send("haso", "callback", {"transactionCode": "TC-1", "merchantOid": "ORDER-1"})

        assert watching.client.zcard(SCHEDULED) == 1


def _scheduled(client: redis.Redis) -> list[str]:
    found: Any = client.zrange(SCHEDULED, 0, -1)
    return [job.decode() for job in found]


def _due(client: redis.Redis) -> float:
    """Return how many seconds away the first scheduled question is; 0 where there is none."""
    found: Any = client.zrange(SCHEDULED, 0, 0, withscores=True)
    return float(found[0][1] - datetime.now(UTC).timestamp()) if found else 0.0


# What the played API says by the word in the reference, and what a consumer must have in the end. What a declined
# payment's callback says is `payment.failed`; a partial refund has no callback at the moment of the sale.
STATES: Mapping[str, tuple[int, frozenset[str]]] = {
    "plain": (80, frozenset({"payment.succeeded"})),
    "declined": (12, frozenset({"payment.failed"})),
    "partial": (5, frozenset({"payment.succeeded", "payment.partially_refunded"})),
    "nothing": (3, frozenset()),  # announced, and never paid
}
SCENARIOS = {"plain": "success", "declined": "declined", "partial": "success"}
# Provider, the fields that carry the order (what is put before it), and how many in a hundred payments are its.
SHOPS: Sequence[tuple[str, Mapping[str, str], int]] = (
    ("paratika", {"merchantPaymentId": "", "pgTranId": "P-"}, 70),
    ("paynet", {"referance_no": "", "order_id": "BANK-1"}, 30),
)


@dataclass(frozen=True)
class Payment:
    provider: str
    scenario: str | None
    order: str
    changes: Mapping[str, str]
    wanted: frozenset[str]


def _payments(source: random.Random) -> Iterator[Payment]:
    for number in range(PAYMENTS):
        provider, fields, _ = source.choices(SHOPS, [shop[2] for shop in SHOPS])[0]
        word = source.choices(list(STATES), [share for share, _ in STATES.values()])[0]
        order = f"ORDER-{word}-{number:05}x"
        changes = {name: before + order for name, before in fields.items()}
        yield Payment(provider, SCENARIOS.get(word), order, changes, STATES[word][1])


class TestTwoThousandPayments:
    @pytest.fixture
    def spans(self) -> str:
        return '["12 s", "16 s", "20 s"]'

    def test_of_which_one_in_twenty_callbacks_is_lost_end_in_their_true_states(self, watching: Watching) -> None:
        source = random.Random(20261123)
        payments = list(_payments(source))
        lost = set(source.sample(range(PAYMENTS), int(PAYMENTS * DROPPED)))
        for payment in payments:
            assert watching.announce(payment.provider, payment.order, "11.76") == Announced.NEW

        def pay(number: int) -> None:
            payment = payments[number]
            if payment.scenario and number not in lost:
                assert watching.send(payment.provider, payment.scenario, payment.changes) in {200, 303}

        with watching.api(), watching.worker():
            with ThreadPoolExecutor(8) as senders:
                list(senders.map(pay, range(PAYMENTS)))
            until(lambda: _given(watching) >= {payment.order for payment in payments if payment.wanted}, "all", 300)
            until(lambda: _due(watching.client) > 1800, "every question of the schedule is asked", 120)
        events = watching.events()
        got: dict[str, Counter[str]] = {payment.order: Counter() for payment in payments}
        for event in events:
            got[event["data"]["order_ref"]][event["type"]] += 1

        assert {order: frozenset(kinds) for order, kinds in got.items()} == {one.order: one.wanted for one in payments}
        assert {count for kinds in got.values() for count in kinds.values()} == {1}
        found = {event["data"]["order_ref"] for event in events if event["data"]["origin"] == "reconciliation"}
        assert found >= {payments[number].order for number in lost if payments[number].wanted}


def _given(watching: Watching) -> set[str]:
    return {event["data"]["order_ref"] for event in watching.events()}
