"""The scripts of the store against a real Redis: one test for each return value and each rule."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest
import redis

from receiver.breaker import Breaker
from receiver.errors import Reason, Unavailable
from receiver.ports import Entry, Receipt, Target
from receiver.routing import CONFIRM
from receiver.sink import EVENTS, FACT, FULL, HELD, JOB_FAILURE_TTL, QUARANTINE, REFUSED, REFUSED_KEPT, RedisSink

from .facts import LEDGER, ORDERS, SEALED, entry, unreadable
from .harness import RedisServer

pytestmark = pytest.mark.integration

NEW = Receipt(new=True, released=True)
KNOWN = Receipt(new=False, released=True)
WAITS = Receipt(new=True, released=False)
STILL_WAITS = Receipt(new=False, released=False)
MONTH = 30 * 24 * 3600


def marker(one: Entry) -> str:
    return FACT + one.event.id


def job_id(one: Entry, route: Target = ORDERS) -> str:
    return f"{one.event.id}-{route.route}"


def queued(client: redis.Redis, queue: str = "orders") -> list[str]:
    found: Any = client.lrange(f"rq:queue:{queue}", 0, -1)
    return [one.decode() for one in found]


def stream(client: redis.Redis, key: str) -> list[dict[bytes, bytes]]:
    found: Any = client.xrange(key)
    return [fields for _, fields in found]


def everything(client: redis.Redis) -> dict[bytes, bytes | None]:
    """Return all that Redis holds, byte by byte."""
    return {key: client.dump(key) for key in client.scan_iter()}


def at_once(count: int, act: Callable[[int], Any]) -> list[Any]:
    """Let *count* threads begin *act* at the same moment."""
    start = threading.Barrier(count)
    found: list[Any] = []

    def run(number: int) -> None:
        start.wait()
        found.append(act(number))

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return found


class TestLostQuestion:
    def test_is_asked_again_by_a_redelivery(self, sink: RedisSink, client: redis.Redis) -> None:
        one = replace(entry(), hold=True)
        sink.accept([one])
        client.delete("rq:queue:ulak-confirm", f"rq:job:{one.event.id}-CONFIRM")

        assert list(sink.accept([one])) == [STILL_WAITS]
        assert list(sink.accept([one])) == [STILL_WAITS]
        assert queued(client, "ulak-confirm") == [f"{one.event.id}-CONFIRM"]


class TestNewFact:
    def test_is_remembered_as_released_for_dedupe_days(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry()

        assert list(sink.accept([one])) == [NEW]
        assert client.get(marker(one)) == b"released"
        assert MONTH - 60 < int(client.ttl(marker(one))) <= MONTH

    def test_is_remembered_for_ever_where_dedupe_days_is_0(
        self, redis_server: RedisServer, client: redis.Redis, sinks: Callable[..., RedisSink]
    ) -> None:
        one = entry()
        sinks(redis_server, dedupe_days=0).accept([one])

        assert client.get(marker(one)) == b"released"
        assert client.ttl(marker(one)) == -1

    def test_is_in_the_stream_with_its_routes_and_the_sealed_bytes(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry(routes=(ORDERS, LEDGER))
        sink.accept([one])

        assert stream(client, EVENTS) == [
            {b"event": one.event.to_json(), b"routes": b'["orders","ledger"]', b"request": SEALED}
        ]
        assert not client.exists(HELD)

    def test_is_a_job_in_rq_s_own_format(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry()
        sink.accept([one])
        job: Any = client.hgetall(f"rq:job:{job_id(one)}")

        assert queued(client) == [job_id(one)]
        assert client.smembers("rq:queues") == {b"rq:queue:orders"}
        assert orjson.loads(job.pop(b"data")) == ["consumer.record", None, [orjson.loads(one.event.to_json())], {}]
        assert job.pop(b"created_at") == job.pop(b"enqueued_at")
        assert job == {
            b"origin": b"orders",
            b"status": b"queued",
            b"description": b"consumer.record",
            b"timeout": b"180",
            b"result_ttl": b"60",
            b"failure_ttl": str(JOB_FAILURE_TTL).encode(),
            b"retries_left": b"5",
            b"retry_intervals": b"[0,10,60,300,900]",
            b"last_heartbeat": b"",
        }
        assert client.ttl(f"rq:job:{job_id(one)}") == -1

    def test_is_one_job_for_each_route(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry(routes=(ORDERS, LEDGER))
        sink.accept([one])

        assert queued(client, "orders") == [job_id(one, ORDERS)]
        assert queued(client, "books") == [job_id(one, LEDGER)]
        assert client.smembers("rq:queues") == {b"rq:queue:orders", b"rq:queue:books"}
        assert len(stream(client, EVENTS)) == 1

    def test_that_no_route_takes_is_kept_all_the_same(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry(routes=())

        assert list(sink.accept([one])) == [NEW]
        assert list(sink.accept([one])) == [KNOWN]
        assert len(stream(client, EVENTS)) == 1
        assert set(client.scan_iter()) == {EVENTS.encode(), marker(one).encode()}


class TestKnownFact:
    def test_changes_nothing(self, sink: RedisSink, client: redis.Redis) -> None:
        sink.accept([entry()])
        before = everything(client)

        assert list(sink.accept([entry()])) == [KNOWN]
        assert everything(client) == before

    def test_is_known_after_its_job_is_gone(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry()
        sink.accept([one])
        client.delete(f"rq:job:{job_id(one)}", "rq:queue:orders")

        assert list(sink.accept([one])) == [KNOWN]
        assert queued(client) == []

    def test_whose_marker_has_expired_is_known_by_its_job_and_marked_anew(
        self, sink: RedisSink, client: redis.Redis
    ) -> None:
        one = entry()
        sink.accept([one])
        client.delete(marker(one))

        assert list(sink.accept([one])) == [KNOWN]
        assert client.get(marker(one)) == b"released"
        assert MONTH - 60 < int(client.ttl(marker(one))) <= MONTH
        assert queued(client) == [job_id(one)]
        assert len(stream(client, EVENTS)) == 1

    def test_whose_marker_has_expired_is_known_by_the_job_of_any_route(
        self, sink: RedisSink, client: redis.Redis
    ) -> None:
        one = entry(routes=(ORDERS, LEDGER))
        sink.accept([one])
        client.delete(marker(one), f"rq:job:{job_id(one, ORDERS)}", "rq:queue:orders")

        assert list(sink.accept([one])) == [KNOWN]
        assert queued(client, "orders") == []
        assert queued(client, "books") == [job_id(one, LEDGER)]

    def test_is_one_entry_and_one_job_when_8_threads_race(
        self, redis_server: RedisServer, client: redis.Redis, sinks: Callable[..., RedisSink]
    ) -> None:
        own = [sinks(redis_server) for _ in range(8)]
        answers = at_once(8, lambda number: own[number].accept([entry()])[0])

        assert sorted(answers, key=lambda one: one.new) == [*[KNOWN] * 7, NEW]
        assert len(stream(client, EVENTS)) == 1
        assert queued(client) == [job_id(entry())]


class TestHeldFact:
    def test_waits_in_a_stream_of_its_own_and_never_expires(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry(hold=True)

        assert list(sink.accept([one])) == [WAITS]
        assert client.get(marker(one)) == b"held"
        assert client.ttl(marker(one)) == -1
        assert stream(client, HELD) == [{b"event": one.event.to_json(), b"routes": b'["orders"]', b"request": SEALED}]
        question = {"rq:queues", f"rq:queue:{CONFIRM.queue}", f"rq:job:{one.event.id}-{CONFIRM.route}"}
        assert {key.decode() for key in client.scan_iter()} == {HELD, marker(one), *question}

    @pytest.mark.parametrize("hold", [True, False])
    def test_is_held_once_however_it_comes_again(self, sink: RedisSink, client: redis.Redis, *, hold: bool) -> None:
        sink.accept([entry(hold=True)])
        before = everything(client)

        assert list(sink.accept([entry(hold=hold)])) == [STILL_WAITS]
        assert everything(client) == before

    def test_is_released_with_all_its_jobs_and_a_marker_that_expires(
        self, sink: RedisSink, client: redis.Redis
    ) -> None:
        one = entry(routes=(ORDERS, LEDGER), hold=True)
        sink.accept([one])

        assert list(sink.release([one])) == [NEW]
        assert client.get(marker(one)) == b"released"
        assert MONTH - 60 < int(client.ttl(marker(one))) <= MONTH
        assert stream(client, EVENTS)[0][b"event"] == one.event.to_json()
        assert queued(client, "orders") == [job_id(one, ORDERS)]
        assert queued(client, "books") == [job_id(one, LEDGER)]

    def test_is_released_once(self, sink: RedisSink, client: redis.Redis) -> None:
        one = entry(hold=True)
        sink.accept([one])
        sink.release([one])
        before = everything(client)

        assert list(sink.release([one])) == [KNOWN]
        assert list(sink.accept([one])) == [KNOWN]
        assert everything(client) == before

    def test_is_released_once_when_two_releases_race(
        self, redis_server: RedisServer, client: redis.Redis, sinks: Callable[..., RedisSink]
    ) -> None:
        own = [sinks(redis_server) for _ in range(2)]
        entries = [entry(f"race-{number}", hold=True) for number in range(20)]
        own[0].accept(entries)

        for one in entries:
            answers = at_once(2, lambda number, one=one: own[number].release([one])[0])  # type: ignore[misc]
            assert sorted(answers, key=lambda found: found.new) == [KNOWN, NEW]

        assert queued(client) == [job_id(one) for one in entries]
        assert len(stream(client, EVENTS)) == len(entries)

    def test_that_nobody_holds_is_not_released(self, sink: RedisSink, client: redis.Redis) -> None:
        assert list(sink.release([entry()])) == [STILL_WAITS]
        assert everything(client) == {}

    def test_that_was_released_stays_released_when_it_comes_to_be_held(
        self, sink: RedisSink, client: redis.Redis
    ) -> None:
        sink.accept([entry()])

        assert list(sink.accept([entry(hold=True)])) == [KNOWN]
        assert not client.exists(HELD)


class TestSeveralFactsInOneCall:
    def test_are_deduplicated_each_alone(self, sink: RedisSink, client: redis.Redis) -> None:
        known, first, second, held = entry("known"), entry("first"), entry("second"), entry("held", hold=True)
        sink.accept([known])

        assert list(sink.accept([known, first, held, second])) == [KNOWN, NEW, WAITS, NEW]
        assert queued(client) == [job_id(known), job_id(first), job_id(second)]
        assert len(stream(client, EVENTS)) == 3
        assert len(stream(client, HELD)) == 1

    def test_are_one_where_the_same_fact_comes_twice(self, sink: RedisSink, client: redis.Redis) -> None:
        assert list(sink.accept([entry(), entry("B-2"), entry()])) == [NEW, NEW, KNOWN]
        assert queued(client) == [job_id(entry()), job_id(entry("B-2"))]
        assert len(stream(client, EVENTS)) == 2

    def test_are_held_once_where_the_same_fact_comes_twice(self, sink: RedisSink, client: redis.Redis) -> None:
        held = entry(hold=True)

        assert list(sink.accept([held, held])) == [WAITS, STILL_WAITS]
        assert len(stream(client, HELD)) == 1

    def test_are_all_refused_where_one_cannot_be_written(self, sink: RedisSink, client: redis.Redis) -> None:
        client.set("rq:queue:books", "not a list")
        before = everything(client)

        with pytest.raises(Unavailable, match="redis_refused"):
            sink.accept([entry("first"), entry("second", routes=(LEDGER,))])
        assert everything(client) == before

    def test_may_be_many(self, sink: RedisSink, client: redis.Redis) -> None:
        entries = [entry(f"many-{number}", routes=(ORDERS, LEDGER)) for number in range(500)]

        assert list(sink.accept(entries)) == [NEW] * 500
        assert len(queued(client, "books")) == 500

    def test_may_be_none(self, sink: RedisSink, client: redis.Redis) -> None:
        assert list(sink.accept([])) == []
        assert everything(client) == {}


class TestNothingIsWritten:
    @pytest.mark.parametrize("hold", [True, False])
    def test_while_the_full_flag_is_set(self, sink: RedisSink, client: redis.Redis, *, hold: bool) -> None:
        client.set(FULL, "1")
        before = everything(client)

        with pytest.raises(Unavailable) as caught:
            sink.accept([entry(hold=hold)])
        assert caught.value.reason is Reason.REDIS_FULL
        with pytest.raises(Unavailable) as caught:
            sink.quarantine(unreadable(b"body"))
        assert caught.value.reason is Reason.REDIS_FULL
        with pytest.raises(Unavailable) as caught:
            sink.ready()
        assert caught.value.reason is Reason.REDIS_FULL
        assert everything(client).keys() - {b"ulak:probe"} == before.keys()

        client.delete(FULL)
        assert sink.accept([entry()])[0].new

    @pytest.mark.parametrize(
        ("key", "hold"),
        [
            (EVENTS, False),
            ("rq:queues", False),
            ("rq:queue:orders", False),
            (marker(entry()), False),
            (f"rq:job:{job_id(entry())}", False),
            (HELD, True),
            (marker(entry()), True),
        ],
    )
    def test_where_a_key_has_a_foreign_type(
        self, sink: RedisSink, client: redis.Redis, key: str, *, hold: bool
    ) -> None:
        client.geoadd(key, (29.0, 41.0, "a sorted set"))
        before = everything(client)

        with pytest.raises(Unavailable) as caught:
            sink.accept([entry(hold=hold)])
        assert caught.value.reason is Reason.REDIS_REFUSED
        assert everything(client) == before

        client.delete(key)
        assert sink.accept([entry(hold=hold)])[0].new

    @pytest.mark.parametrize("key", [EVENTS, "rq:queues", "rq:queue:orders", f"rq:job:{job_id(entry())}"])
    def test_where_a_key_has_a_foreign_type_at_the_release(
        self, sink: RedisSink, client: redis.Redis, key: str
    ) -> None:
        sink.accept([entry(hold=True)])
        client.delete(key)
        client.geoadd(key, (29.0, 41.0, "a sorted set"))
        before = everything(client)

        with pytest.raises(Unavailable, match="redis_refused"):
            sink.release([entry()])
        assert everything(client) == before

        client.delete(key)
        assert list(sink.release([entry()])) == [NEW]

    def test_where_the_quarantine_has_a_foreign_type(self, sink: RedisSink, client: redis.Redis) -> None:
        client.set(QUARANTINE, "not a stream")
        before = everything(client)

        with pytest.raises(Unavailable, match="redis_refused"):
            sink.quarantine(unreadable(b"body"))
        assert everything(client) == before

    def test_on_a_replica(self, own_redis: RedisServer, sinks: Callable[..., RedisSink]) -> None:
        sink = sinks(own_redis)
        with own_redis.client() as client:
            sink.accept([entry("before"), entry("held", hold=True)])
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            before = everything(client)

            for store, order in ((sink.accept, "A"), (sink.release, "held")):
                with pytest.raises(Unavailable) as caught:
                    store([entry(order), entry("B", routes=(ORDERS, LEDGER))])
                assert caught.value.reason is Reason.REDIS_REFUSED
            with pytest.raises(Unavailable, match="redis_refused"):
                sink.quarantine(unreadable(b"body"))
            with pytest.raises(Unavailable, match="redis_refused"):
                sink.ready()
            assert everything(client) == before

            client.execute_command("REPLICAOF", "NO", "ONE")
            assert list(sink.accept([entry("A"), entry("before")])) == [NEW, KNOWN]

    def test_and_the_detail_is_the_error_word_of_redis(
        self, own_redis: RedisServer, sinks: Callable[..., RedisSink]
    ) -> None:
        sink = sinks(own_redis)
        with own_redis.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            with pytest.raises(Unavailable) as caught:
                sink.accept([entry()])
            assert caught.value.detail == "READONLY"

            client.execute_command("REPLICAOF", "NO", "ONE")
            client.config_set("maxmemory", 1)
            with pytest.raises(Unavailable) as caught:
                sink.accept([entry()])
            assert caught.value.detail == "OOM"

    def test_or_all_of_it_when_the_memory_is_used_up(
        self, own_redis: RedisServer, sinks: Callable[..., RedisSink]
    ) -> None:
        sink = sinks(own_redis)
        done: list[Entry] = []
        refused: list[Entry] = []
        reasons: set[Reason] = set()
        with own_redis.client() as client:
            sink.accept([entry("first", routes=(ORDERS, LEDGER))])
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", used + 60_000)
            for number in range(400):
                call = [entry(f"{number}-{part}", routes=(ORDERS, LEDGER)) for part in "ab"]
                try:
                    sink.accept(call)
                except Unavailable as exc:
                    reasons.add(exc.reason)
                    refused += call
                else:
                    done += call
            client.config_set("maxmemory", 0)

            assert done
            assert reasons == {Reason.REDIS_REFUSED}
            assert len(stream(client, EVENTS)) == 1 + len(done)
            for one in done:
                assert client.get(marker(one)) == b"released"
            assert queued(client, "orders")[1:] == [job_id(one, ORDERS) for one in done]
            assert queued(client, "books")[1:] == [job_id(one, LEDGER) for one in done]
            assert client.exists(*(f"rq:job:{job_id(one)}" for one in done)) == len(done)
            assert not client.exists(*(key for one in refused for key in (marker(one), f"rq:job:{job_id(one)}")))
            assert list(sink.accept(refused)) == [NEW] * len(refused)


class TestScript:
    def test_is_sent_again_where_redis_has_forgotten_it(self, sink: RedisSink, client: redis.Redis) -> None:
        sink.accept([entry("A")])
        client.script_flush()

        assert list(sink.accept([entry("A"), entry("B")])) == [KNOWN, NEW]
        client.script_flush()
        sink.quarantine(unreadable(b"body"))
        assert len(stream(client, QUARANTINE)) == 1

    def test_says_that_redis_is_unreachable_where_nobody_listens(
        self, own_redis: RedisServer, sinks: Callable[..., RedisSink]
    ) -> None:
        sink = sinks(own_redis)
        own_redis.kill()

        begun = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            sink.accept([entry()])
        assert caught.value.reason is Reason.REDIS_UNREACHABLE
        assert time.monotonic() - begun < 1.0

    @pytest.mark.parametrize("connected", [True, False])
    def test_gives_up_on_a_redis_that_hangs_and_what_was_sent_counts_once(
        self, own_redis: RedisServer, sinks: Callable[..., RedisSink], *, connected: bool
    ) -> None:
        sink = sinks(own_redis)
        if connected:
            sink.ready()
        own_redis.pause()

        begun = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            sink.accept([entry()])
        assert caught.value.reason is Reason.REDIS_UNREACHABLE
        assert time.monotonic() - begun < 1.5

        own_redis.resume()
        sink.accept([entry()])
        with own_redis.client() as client:
            assert len(stream(client, EVENTS)) == 1
            assert queued(client) == [job_id(entry())]


class TestQuarantine:
    def test_keeps_a_body_once(self, sink: RedisSink, client: redis.Redis) -> None:
        sink.quarantine(unreadable(b"body", request_id="r1"))
        sink.quarantine(unreadable(b"body", request_id="r2"))

        assert stream(client, QUARANTINE) == [
            {
                b"provider": b"paratika",
                b"account": b"shop-tr",
                b"channel": b"return",
                b"reason": b"unreadable_field",
                b"digest": b"body".hex().encode(),
                b"received_at": b"2026-11-22T00:00:00+00:00",
                b"request_id": b"r1",
                b"encoding": b"utf-8",
                b"token_id": b"",
                b"order": b"",
                b"request": SEALED,
            }
        ]

    def test_tells_bodies_and_accounts_apart(self, sink: RedisSink, client: redis.Redis) -> None:
        for one in (unreadable(b"a"), unreadable(b"b"), unreadable(b"a", "shop-de"), unreadable(b"b")):
            sink.quarantine(one)

        assert len(stream(client, QUARANTINE)) == 3

    def test_sets_no_fact_marker_and_makes_no_job(self, sink: RedisSink, client: redis.Redis) -> None:
        sink.quarantine(unreadable(b"body"))

        assert not list(client.scan_iter(FACT + "*"))
        assert not list(client.scan_iter("rq:*"))

    @pytest.mark.parametrize(("days", "expected"), [(30, range(MONTH - 60, MONTH + 1)), (0, [-1])])
    def test_remembers_a_body_as_long_as_a_fact(
        self,
        redis_server: RedisServer,
        client: redis.Redis,
        sinks: Callable[..., RedisSink],
        days: int,
        expected: range | list[int],
    ) -> None:
        sinks(redis_server, days).quarantine(unreadable(b"body"))
        (mark,) = client.scan_iter("ulak:quarantine:seen:*")

        assert client.ttl(mark) in expected


class TestRefusals:
    WORDS = ("paratika", "shop-tr", "return", "bad_signature", "r1")

    def test_are_noted_with_the_reason(self, sink: RedisSink, client: redis.Redis) -> None:
        sink.refuse(*self.WORDS)
        (kept,) = stream(client, REFUSED)

        assert kept.pop(b"received_at")
        assert kept == {
            b"provider": b"paratika",
            b"account": b"shop-tr",
            b"channel": b"return",
            b"reason": b"bad_signature",
            b"request_id": b"r1",
        }

    def test_are_thinned_where_they_flood_in(self, sink: RedisSink, client: redis.Redis) -> None:
        begun = time.monotonic()
        for _ in range(200):
            sink.refuse(*self.WORDS)

        assert 1 <= client.xlen(REFUSED) <= 2 + (time.monotonic() - begun) * 20

    def test_are_capped(self, sink: RedisSink, client: redis.Redis) -> None:
        with client.pipeline(transaction=False) as pipe:
            for _ in range(REFUSED_KEPT + 2000):
                pipe.xadd(REFUSED, {"reason": "bad_signature"})
            pipe.execute()
        sink.refuse(*self.WORDS)

        assert REFUSED_KEPT <= client.xlen(REFUSED) <= REFUSED_KEPT + 200

    def test_tell_that_redis_is_away_so_that_nobody_else_tries_it(
        self, own_redis: RedisServer, sinks: Callable[..., RedisSink]
    ) -> None:
        sink = sinks(own_redis)
        own_redis.kill()
        breaker = Breaker(sink)
        breaker.refuse(*self.WORDS)

        assert breaker.away is not None
        assert breaker.away.reason is Reason.REDIS_UNREACHABLE

    def test_are_lost_without_an_error_on_a_foreign_key_and_keep_nobody_off(
        self, sink: RedisSink, client: redis.Redis
    ) -> None:
        client.set(REFUSED, "not a stream")
        breaker = Breaker(sink)
        breaker.refuse(*self.WORDS)

        assert breaker.away is None
        assert client.get(REFUSED) == b"not a stream"
