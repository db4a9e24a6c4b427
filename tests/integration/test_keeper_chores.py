"""What the keeper does besides lost jobs: the lease, locks, watches, questions, the full flag, the streams."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from receiver import confirming
from receiver.errors import Unavailable
from receiver.event import from_wire
from receiver.ports import Ask
from receiver.sink import EVENTS, FACT, FULL, HELD, QUARANTINE, WATCH, RedisSink
from workers.lease import LEASE, Held, Lease, LostError
from workers.lost import Suspects
from workers.quarantine import RESOLVED

from .facts import entry, event, unreadable
from .harness import RedisServer, run_stock_worker, until
from .keeping import Kept, kept, settings_of

pytestmark = pytest.mark.integration

DAY_AGO = int(time.time() - 25 * 3600) * 1000


@pytest.fixture
def house(redis_server: RedisServer, tmp_path: Path) -> Iterator[Kept]:
    with kept(settings_of(redis_server, tmp_path)) as found:
        yield found


def ids(client: redis.Redis, stream: str) -> list[str]:
    found: Any = client.xrange(stream)
    return [name.decode() for name, _ in found]


class TestLease:
    def test_is_one_keepers_and_renewed(self, client: redis.Redis) -> None:
        first, second = Lease(client, 30), Lease(client, 30)
        assert first.hold() is Held.NEWLY
        client.pexpire(LEASE, 1000)

        assert first.hold() is Held.STILL
        assert 29_000 < client.pttl(LEASE) <= 30_000
        assert second.hold() is Held.BY_ANOTHER
        second.drop()
        assert first.hold() is Held.STILL

    def test_goes_to_another_when_it_is_let_go_or_over(self, client: redis.Redis) -> None:
        first, second = Lease(client, 30), Lease(client, 30)
        first.hold()
        first.drop()
        assert second.hold() is Held.NEWLY
        client.pexpire(LEASE, 1)
        until(lambda: not client.exists(LEASE), "the lease is over")

        assert first.hold() is Held.NEWLY
        assert second.hold() is Held.BY_ANOTHER

    def test_without_it_nothing_is_written(self, client: redis.Redis) -> None:
        first, second = Lease(client, 30), Lease(client, 30)
        script = "return redis.call('SET', KEYS[2], ARGV[2])"
        first.hold()
        first.write(script, ["mine"], ["1"])
        client.delete(LEASE)
        with pytest.raises(LostError):
            first.write(script, ["nobodys"], ["1"])
        second.hold()
        with pytest.raises(LostError):
            first.write(script, ["anothers"], ["1"])

        assert client.keys("*") == [LEASE.encode(), b"mine"] or client.keys("*") == [b"mine", LEASE.encode()]

    def test_that_is_lost_ends_the_round(self, house: Kept, caplog: pytest.LogCaptureFixture) -> None:
        house.rounds(1)
        house.client.set(LEASE, "another")
        house.client.set("rq:clean_registries:orders", 1, ex=600)
        house.rounds(3)

        assert house.client.exists("rq:clean_registries:orders")
        assert house.client.get(LEASE) == b"another"
        assert [line for line in caplog.messages if "lost_lease" in line] == ["keeper lost_lease"]
        assert not house.client.exists("rq:scheduler-lock:orders")

    def test_that_was_over_for_a_while_makes_the_keeper_begin_anew(self, house: Kept, sink: RedisSink) -> None:
        sink.accept([entry()])
        house.client.lmove("rq:queue:orders", "rq:queue:orders:intermediate", "LEFT", "RIGHT")
        house.rounds(2)
        house.client.delete(LEASE)
        house.rounds(2)
        assert house.client.llen("rq:queue:orders") == 0
        house.rounds(1)

        assert house.client.llen("rq:queue:orders") == 1


class TestSuspects:
    def test_are_certain_after_three_looks_and_the_grace(self) -> None:
        now = [0.0]
        suspects = Suspects[str](10.0, lambda: now[0])
        found = []
        for moment in (0.0, 5.0, 9.9, 10.0):
            now[0] = moment
            found.append(suspects.look(["a"]))

        assert found == [[], [], [], ["a"]]

    def test_are_not_certain_by_time_alone(self) -> None:
        now = [0.0]
        suspects = Suspects[str](10.0, lambda: now[0])
        found = []
        for moment in (0.0, 60.0, 61.0):
            now[0] = moment
            found.append(suspects.look(["a"]))

        assert found == [[], [], ["a"]]

    def test_begin_anew_when_they_were_found_in_between(self) -> None:
        suspects = Suspects[str](0.0)
        found = [suspects.look(lost) for lost in (["a"], ["a"], [], ["a"], ["a"], ["a", "b"])]

        assert found == [[], [], [], [], [], ["a"]]
        assert list(suspects) == ["a", "b"]


class TestLocks:
    def test_of_a_worker_that_was_killed_while_it_cleaned_are_taken_away(self, house: Kept) -> None:
        house.client.set("rq:clean_registries:orders", 1, ex=899 - 61)
        house.client.set("rq:clean_registries:books", 1, ex=899)
        house.rounds(1)

        assert not house.client.exists("rq:clean_registries:orders")
        assert house.client.exists("rq:clean_registries:books")


class TestWatches:
    def _begin(self, sink: RedisSink) -> str:
        sink.accept([replace(entry(), ask=Ask("w1", 3600, 7200, b'{"a":1}'))])
        return f"{WATCH}w1"

    def test_without_a_job_are_dropped(self, house: Kept, sink: RedisSink) -> None:
        watch = self._begin(sink)
        job: Any = house.client.hget(watch, "job")
        house.rounds(4)
        assert house.client.exists(watch)
        house.client.delete(f"rq:job:{job.decode()}")
        house.client.delete("rq:scheduled:ulak-ask")
        house.rounds(2)
        assert house.client.exists(watch)
        house.rounds(1)

        assert not house.client.exists(watch)

    def test_whose_job_is_nowhere_get_it_back(self, house: Kept, sink: RedisSink) -> None:
        name = "ab" * 32
        sink.accept([replace(entry(), ask=Ask(name, 3600, 7200, b'{"a":1}'))])
        job: Any = house.client.hget(WATCH + name, "job")
        house.client.delete("rq:scheduled:ulak-ask")
        house.rounds(3)

        assert house.client.lrange("rq:queue:ulak-ask", 0, -1) == [job]
        assert house.client.exists(WATCH + name)


class TestQuestions:
    @pytest.fixture
    def held(self, sink: RedisSink, client: redis.Redis) -> str:
        """A held fact whose question is gone."""
        sink.accept([entry(hold=True)])
        client.delete(f"rq:job:{event('A-1').id}-CONFIRM", "rq:queue:ulak-confirm")
        return event("A-1").id

    def test_about_a_held_fact_are_asked_again(self, house: Kept, held: str) -> None:
        house.rounds(2)
        assert house.client.keys("rq:job:*") == []
        house.rounds(1)

        job = f"{held}-CONFIRM"
        assert house.client.lrange("rq:queue:ulak-confirm", 0, -1) == [job.encode()]
        (data,) = orjson.loads(house.client.hget(f"rq:job:{job}", "data") or b"")[2]
        assert data == orjson.loads(event("A-1").to_json())
        assert len(ids(house.client, HELD)) == 1
        house.rounds(3)
        assert house.client.llen("rq:queue:ulak-confirm") == 1

    @pytest.mark.parametrize("say", [confirming.differing, confirming.never_confirmed])
    def test_end_when_something_else_was_told(self, house: Kept, held: str, say: Callable[..., Any]) -> None:
        told = say(from_wire(orjson.loads(event("A-1").to_json())))
        house.client.set(FACT + told.id, "released")
        house.rounds(5)

        assert told.id != held
        assert house.client.keys("rq:job:*") == []

    def test_are_not_asked_about_what_was_given_out(self, house: Kept, held: str) -> None:
        house.client.set(FACT + held, "released")
        house.rounds(5)

        assert house.client.keys("rq:job:*") == []

    def test_wait_while_callbacks_are_not_let_in(self, house: Kept, held: str) -> None:
        house.client.set(FULL, "1")
        house.rounds(5)
        assert house.client.keys("rq:job:*") == []
        house.client.delete(FULL)
        house.rounds(1)

        assert house.client.keys("rq:job:*") == [f"rq:job:{held}-CONFIRM".encode()]

    def test_are_found_behind_many_that_are_settled(self, house: Kept, sink: RedisSink) -> None:
        for number in range(120):
            sink.accept([entry(f"B-{number}", hold=True)])
            house.client.set(FACT + event(f"B-{number}").id, "released")
        house.client.delete(*house.client.keys("rq:*"))
        sink.accept([entry("C-1", hold=True)])
        house.client.delete(*house.client.keys("rq:*"))
        house.rounds(5)

        assert house.client.lrange("rq:queue:ulak-confirm", 0, -1) == [f"{event('C-1').id}-CONFIRM".encode()]


class TestFullFlag:
    def _fill(self, client: redis.Redis, part: float) -> None:
        client.config_set("maxmemory", 0)
        client.setrange("ballast", 50_000_000, "x")  # beside which buffers of connections are nothing
        used: Any = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used / part))

    def test_is_set_when_redis_is_nearly_full_and_goes_when_there_is_room(
        self, own_redis: RedisServer, sinks: Callable[..., RedisSink], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO", "ulak")
        sink = sinks(own_redis)
        with kept(settings_of(own_redis, tmp_path)) as house:
            house.rounds(1)
            self._fill(house.client, 0.84)
            house.rounds(1)
            assert not house.client.exists(FULL)
            self._fill(house.client, 0.87)
            house.rounds(2)
            assert house.client.get(FULL) == b"keeper"
            assert 0 < house.client.ttl(FULL) <= 120
            with pytest.raises(Unavailable):
                sink.accept([entry()])
            self._fill(house.client, 0.82)
            house.rounds(1)
            assert house.client.exists(FULL)
            self._fill(house.client, 0.7)
            house.rounds(2)

            assert not house.client.exists(FULL)
            assert sink.accept([entry()])[0].new
        words = [line.removeprefix("keeper ") for line in caplog.messages if "full" in line]
        assert words == ["full=1", "not_full=1"]

    def test_that_a_person_set_is_that_persons(self, own_redis: RedisServer, tmp_path: Path) -> None:
        with kept(settings_of(own_redis, tmp_path)) as house:
            house.client.set(FULL, "1")
            self._fill(house.client, 0.9)
            house.rounds(1)
            assert (house.client.get(FULL), house.client.ttl(FULL)) == (b"1", -1)
            self._fill(house.client, 0.5)
            house.rounds(1)

            assert house.client.get(FULL) == b"1"

    def test_is_not_set_where_redis_has_no_limit(self, house: Kept) -> None:
        house.rounds(2)

        assert not house.client.exists(FULL)


class TestTrimming:
    def test_takes_released_events_that_are_older_than_events_keep(self, house: Kept, sink: RedisSink) -> None:
        for number in range(300):
            house.client.xadd(EVENTS, {"event": "x" * 50}, id=f"{DAY_AGO}-{number}")
        sink.accept([entry()])
        (*_, young) = ids(house.client, EVENTS)
        house.rounds(1)

        assert ids(house.client, EVENTS) == [young]

    def test_in_one_round_takes_no_more_than_redis_does_in_a_moment(self, house: Kept) -> None:
        with house.client.pipeline(transaction=False) as pipe:
            for number in range(21_000):
                pipe.xadd(EVENTS, {"event": ""}, id=f"{DAY_AGO}-{number}")
            pipe.execute()
        house.rounds(1)
        assert 9_000 <= 21_000 - int(house.client.xlen(EVENTS)) <= 10_000
        house.rounds(2)

        assert house.client.xlen(EVENTS) == 0

    def test_leaves_what_a_consumer_group_has_not_acknowledged(self, house: Kept) -> None:
        names = [f"{DAY_AGO}-{number}" for number in range(1, 6)]
        for name in names:
            house.client.xadd(EVENTS, {"event": "{}"}, id=name)
        house.client.xgroup_create(EVENTS, "orders", id="0")
        house.rounds(1)
        assert ids(house.client, EVENTS) == names
        house.client.xreadgroup("orders", "one", {EVENTS: ">"}, count=4)
        house.client.xack(EVENTS, "orders", *names[:2])
        house.rounds(1)
        assert ids(house.client, EVENTS) == names[2:]
        house.client.xack(EVENTS, "orders", *names[2:4])
        house.rounds(1)

        assert ids(house.client, EVENTS) == names[4:]

    def test_leaves_what_is_held_and_all_that_came_after_it(self, house: Kept) -> None:
        for number, marker in enumerate(("released", None, "held", "released")):
            house.client.xadd(
                HELD, {"event": event(str(number)).to_json(), "request": b""}, id=f"{DAY_AGO}-{number + 1}"
            )
            if marker:
                house.client.set(FACT + event(str(number)).id, marker)
        house.rounds(1)
        assert ids(house.client, HELD) == [f"{DAY_AGO}-3", f"{DAY_AGO}-4"]
        house.client.set(FACT + event("2").id, "released")
        house.rounds(1)

        assert ids(house.client, HELD) == []

    def test_leaves_what_is_young_though_it_is_released(
        self, house: Kept, sink: RedisSink, redis_server: RedisServer
    ) -> None:
        sink.accept([entry(hold=True)])
        sink.release([entry()])
        run_stock_worker(redis_server, "orders")
        house.rounds(2)

        assert len(ids(house.client, HELD)) == len(ids(house.client, EVENTS)) == 1

    def test_takes_of_the_quarantine_only_what_was_resolved(self, house: Kept, sink: RedisSink) -> None:
        for number in range(1, 4):
            house.client.xadd(QUARANTINE, {"digest": str(number)}, id=f"{DAY_AGO}-{number}")
        sink.quarantine(unreadable(b"young"))
        young = ids(house.client, QUARANTINE)[-1]
        house.client.hset(RESOLVED, mapping={f"{DAY_AGO}-1": "accepted", f"{DAY_AGO}-3": "accepted", young: "accepted"})
        house.rounds(1)
        assert ids(house.client, QUARANTINE) == [f"{DAY_AGO}-2", f"{DAY_AGO}-3", young]
        house.client.hset(RESOLVED, f"{DAY_AGO}-2", "accepted")
        house.rounds(1)

        assert ids(house.client, QUARANTINE) == [young]
        assert house.client.hkeys(RESOLVED) == [young.encode()]


def test_a_key_of_a_foreign_type_keeps_no_other_chore_from_being_done(
    house: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    house.client.set(EVENTS, "no stream")
    house.client.rpush(FULL, "no text")
    house.client.set("rq:clean_registries:orders", 1, ex=600)
    house.rounds(1)

    assert not house.client.exists("rq:clean_registries:orders")
    assert [line.rpartition(" ")[0] for line in caplog.messages if "failed" in line] == [
        "keeper failed in Fullness: ResponseError at",
        "keeper failed in Trimming: ResponseError at",
    ]


def test_nothing_is_logged_where_nothing_was_done(house: Kept, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "ulak")
    house.rounds(5)

    assert caplog.messages == ["keeper acts"]
