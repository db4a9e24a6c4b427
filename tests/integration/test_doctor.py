"""The doctor before a real Redis that is set up wrong, real RQ workers that are started wrong, and a live stream."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from rq import Queue
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from receiver import config
from receiver.event import own_id
from receiver.ports import Target
from receiver.sink import EVENTS, HELD, QUARANTINE, REFUSED, RedisSink
from tests.config_files import ENV, PARATIKA, PAYGURU, PAYNET
from workers import budget, quarantine
from workers.doctor import gathering, hearing
from workers.doctor.checks import EVERY
from workers.doctor.facts import Flow, Store, Work

from .conftest import write_config
from .facts import entry, event, unreadable
from .harness import BIN, JSON, RedisServer, background, environment, ulak, until

pytestmark = pytest.mark.integration

HOUR = 3600.0
LIVE = 'data_key = "env:DATA"\n'


def settings_of(folder: Path, server: RedisServer, text: str = PARATIKA) -> config.Settings:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return config.load({**ENV, "ULAK_CONFIG": str(path), "REDIS_URL": server.url})


@pytest.fixture
def settings(tmp_path: Path, redis_server: RedisServer) -> config.Settings:
    return settings_of(tmp_path, redis_server)


def doctor(env: dict[str, str], code: int) -> dict[str, Any]:
    """Run the command; return what it found by its word, and the rest of its answer."""
    done = ulak("doctor", "--json", env=env)
    assert done.stderr == ""
    answer = orjson.loads(done.stdout)
    assert (done.returncode, answer["ok"]) == (code, code == 0)
    return {**answer, "found": {one["word"]: one["says"] for one in answer["findings"]}}


class TestTheCommand:
    def test_finds_a_redis_that_would_lose_what_was_answered(self, own_redis: RedisServer, tmp_path: Path) -> None:
        with own_redis.client() as client:
            client.config_set("appendonly", "no")
            client.config_set("maxmemory-policy", "allkeys-lru")
            client.config_set("maxmemory", int(gathering.store_of(client).used * 1.2))
            client.set("ulak:full", "1")
        told = doctor(own_redis.ulak(write_config(tmp_path)), 1)

        assert {"aof_off", "evicting", "memory_close", "full_flag"} <= told["found"].keys()
        assert told["found"]["full_flag"] == ["callbacks are not let in; the flag was set by a person"]
        assert "no_maxmemory" not in told["found"]
        assert (told["checked"], told["unchecked"]) == (len(EVERY), [])

    @pytest.mark.parametrize(("setting", "word"), [("everysec", "fsync_everysec"), ("no", "fsync_no")])
    def test_finds_an_append_only_file_that_is_late(
        self, own_redis: RedisServer, tmp_path: Path, setting: str, word: str
    ) -> None:
        with own_redis.client() as client:
            client.config_set("appendfsync", setting)
            found = gathering.store_of(client)

        assert [one for one in doctor(own_redis.ulak(write_config(tmp_path)), 1)["found"] if "fsync" in one] == [word]
        assert (found.settings or {})["appendfsync"] == setting

    def test_says_why_and_what_mends_it_and_no_secret(self, receiver: Any) -> None:
        done = ulak("doctor", env=receiver.env)

        assert done.returncode == 1  # nobody works on the queues
        lines = done.stdout.splitlines()
        at = next(place for place, line in enumerate(lines) if line.startswith("fault    queue_without_worker  "))
        assert lines[at].endswith("nobody works on events; 0 jobs wait there")
        assert "  Start `ulak worker`, or a stock `rq worker` for this queue." in lines
        assert lines[-1].startswith(f"{len(EVERY)} checks: 1 fault(s), ")
        for path in receiver.config.parent.glob("*_*"):
            if path.is_file() and path.suffix == "":
                assert path.read_text() not in done.stdout, path.name

    def test_says_at_once_that_redis_is_away_and_looks_at_the_rest(self, tmp_path: Path) -> None:
        env = environment(ULAK_CONFIG=str(write_config(tmp_path)), REDIS_URL=f"unix://{tmp_path}/none.sock")
        begun = time.monotonic()
        told = doctor(env, 1)

        assert time.monotonic() - begun < 5
        assert told["found"]["redis_away"] == ["Redis does not answer (ConnectionError)"]
        assert {"aof_off", "no_keeper", "quarantined"} <= set(told["unchecked"])
        assert not {"data_unwritable", "no_token"} & set(told["unchecked"])
        assert told["checked"] + len(told["unchecked"]) == len(EVERY)

    def test_tells_the_faults_of_a_configuration_that_cannot_be_used(self, tmp_path: Path) -> None:
        path = write_config(tmp_path)
        path.write_text(path.read_text().replace('merchant_id = "123"\n', ""))
        told = doctor(environment(ULAK_CONFIG=str(path)), 1)

        assert list(told["found"]) == ["config_faulty"]
        assert "merchant_id" in told["found"]["config_faulty"][0]
        assert told["checked"] == 1

    def test_ends_with_0_where_there_are_only_warnings(self, own_redis: RedisServer, tmp_path: Path) -> None:
        config_file = write_config(tmp_path)
        env = own_redis.ulak(config_file)
        with background([str(BIN / "ulak"), "worker"], env, tmp_path / "worker.log"), own_redis.client() as client:
            wanted = len(config.load(env).queues)
            until(lambda: client.scard("rq:workers") == wanted, "a worker for each queue", within=60)
            until(lambda: client.exists("ulak:keeper"), "a keeper", within=60)
            told = doctor(env, 0)

        assert told["faults"] == 0
        assert "no_maxmemory" in told["found"]
        assert "no_keeper" not in told["found"]

    def test_says_what_it_may_not_look_at(self, own_redis: RedisServer, tmp_path: Path) -> None:
        with own_redis.client() as client:
            client.execute_command("ACL", "SETUSER", "shy", "on", ">pass", "~*", "&*", "+@all", "-config", "-@stream")
            client.xadd(REFUSED, {"a": "b"})
        env = own_redis.ulak(write_config(tmp_path)) | {"REDIS_URL": own_redis.url.replace("://", "://shy:pass@", 1)}
        told = doctor(env, 1)

        assert "settings_hidden" in told["found"]
        assert "held_long" in told["unchecked"]
        assert "queue_without_worker" in told["found"]


class TestRedis:
    def test_set_up_as_ours_has_nothing_wrong_but_its_limit(self, client: redis.Redis) -> None:
        found = gathering.store_of(client)

        assert replace(found, used=0, machine=0, clock=0.0) == Store(
            version=found.version,
            role="master",
            cluster=False,
            aof=True,
            policy="noeviction",
            maxmemory=0,
            used=0,
            machine=0,
            settings={"appendfsync": "always", "min-replicas-to-write": "0"},
        )
        assert found.used > 0
        assert found.machine > 0
        assert abs(found.clock) < 1

    @pytest.mark.parametrize(
        ("value", "by"), [("1", ""), ("keeper", "keeper"), ("4111 1111 1111 1111", ""), ("<b>", "")]
    )
    def test_full_flag_is_told_by_a_word_only(self, client: redis.Redis, value: str, by: str) -> None:
        client.set("ulak:full", value)

        assert gathering.store_of(client).full == by

    def test_that_follows_another_is_told(self, own_redis: RedisServer) -> None:
        with own_redis.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
            assert gathering.store_of(client).role == "slave"


class TestWork:
    @contextmanager
    def stock(self, server: RedisServer, folder: Path, *words: str) -> Iterator[None]:
        argv = [str(BIN / "rq"), "worker", "-u", server.url, "-S", JSON, *words]
        with (
            background(argv, environment(), folder / "worker.log"),
            server.client() as client,
        ):
            until(lambda: client.scard("rq:workers"), "the worker is known", within=30)
            yield

    def test_of_a_worker_on_two_queues_is_seen(
        self, client: redis.Redis, redis_server: RedisServer, settings: config.Settings, tmp_path: Path
    ) -> None:
        with self.stock(redis_server, tmp_path, "-n", "both", "events", "ledger"):
            (worker,) = gathering.work_of(client, settings).workers

        assert (worker.name, worker.queues) == ("both", ("events", "ledger"))
        assert worker.rq.fits
        assert worker.rq.version

    def test_of_workers_that_are_gone_is_not(self, client: redis.Redis, settings: config.Settings) -> None:
        client.sadd("rq:workers", "rq:worker:killed", "rq:worker:ended")
        client.hset("rq:worker:ended", mapping={"queues": "events", "version": "3.0.0", "death": "2026-11-22"})

        assert gathering.work_of(client, settings).workers == ()
        assert client.scard("rq:workers") == 2  # to tidy up is RQ's

    def test_is_as_full_as_rq_says(
        self, client: redis.Redis, settings: config.Settings, sink: RedisSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gathering, "LOOK_AGAIN", 0.01)
        route = Target("events", "events", "consumer.record")
        for number in range(4):
            assert sink.accept([entry(f"A-{number}", routes=(route,))])[0].new
        queue = Queue("events", connection=client, serializer=JSONSerializer)
        failed, late = queue.job_ids[1:3]
        job = Job.fetch(failed, connection=client, serializer=JSONSerializer)
        client.lrem(queue.key, 1, failed)
        FailedJobRegistry(queue=queue).add(job, ttl=100)
        client.zadd("rq:failed:events", {"of-last-year": 1})
        client.hset(f"rq:job:{late}", "enqueued_at", "2026-11-20T10:00:00.000000Z")
        client.lmove(queue.key, f"{queue.key}:intermediate", "LEFT", "LEFT")  # what a killed worker leaves
        client.zadd("rq:scheduled:events", {"later": time.time() + 60})
        found = gathering.work_of(client, settings).queues["events"]

        assert (found.waiting, found.stuck, found.failed, found.scheduled, found.scheduler) == (2, 1, 1, 1, False)
        assert found.waits > 600
        client.set("rq:scheduler-lock:events", "somebody")
        assert gathering.work_of(client, settings).queues["events"].scheduler

    def test_in_motion_is_not_stuck(
        self, client: redis.Redis, settings: config.Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.rpush("rq:queue:events:intermediate", "one-job")

        def meanwhile(seconds: float) -> None:
            assert seconds == gathering.LOOK_AGAIN
            client.delete("rq:queue:events:intermediate")
            client.rpush("rq:queue:events:intermediate", "another-job")

        monkeypatch.setattr("workers.doctor.gathering.time.sleep", meanwhile)

        assert gathering.work_of(client, settings).queues["events"].stuck == 0

    def test_knows_the_keeper_and_a_suspension(self, client: redis.Redis, settings: config.Settings) -> None:
        assert (gathering.work_of(client, settings).keeper, gathering.work_of(client, settings).suspended) == (
            False,
            False,
        )
        client.set("ulak:keeper", "somebody")
        client.set("rq:suspended", "1")
        found: Work = gathering.work_of(client, settings)

        assert (found.keeper, found.suspended) == (True, True)


def ago(seconds: float, number: int = 0) -> str:
    """Return the id of a stream entry of some seconds ago."""
    return f"{int((time.time() - seconds) * 1000)}-{number}"


def write(client: redis.Redis, stream: str, age: float, **changed: Any) -> str:
    """Write an event to a stream as it would stand there after *age* seconds; return its id."""
    wire = event(f"A-{age}").to_wire()
    provider, _, account = changed.pop("whose", "paynet/shop").partition("/")
    received = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() - age))
    wire["data"] |= {"provider": provider, "account": account, "received_at": received, **changed}
    client.xadd(stream, {"event": orjson.dumps(wire), "routes": "[]", "request": b""}, id=ago(age))
    return str(wire["id"])


class TestFlow:
    @pytest.fixture
    def live(self, tmp_path: Path, redis_server: RedisServer) -> config.Settings:
        return settings_of(tmp_path, redis_server, LIVE + PAYNET.replace("test = true\n", ""))

    @pytest.fixture
    def look(self, client: redis.Redis, live: config.Settings) -> Callable[[], Flow]:
        return lambda: hearing.flow_of(client, live)

    def test_of_nothing_is_nothing(self, look: Callable[[], Flow]) -> None:
        found = look()

        assert (found.seen, found.whole, found.groups, found.held_long) == (0.0, True, (), {})
        assert found.heard["paynet/shop"].calls == 0

    def test_knows_when_an_account_called_last_and_its_longest_pause(
        self, client: redis.Redis, look: Callable[[], Flow]
    ) -> None:
        for stream, hours in ((EVENTS, (20, 19, 12, 9)), (HELD, (8.5,)), (QUARANTINE, ())):
            for one in hours:
                write(client, stream, one * HOUR)
        client.xadd(QUARANTINE, {"provider": "paynet", "account": "shop", "reason": "x"}, id=ago(8 * HOUR))
        # What a worker learned is no call, what others sent is not this account's, and a refusal may be anybody's.
        write(client, EVENTS, 2 * HOUR, origin="reconciliation")
        write(client, EVENTS, HOUR, whose="paynet/other")
        client.xadd(REFUSED, {"provider": "paynet", "account": "shop", "reason": "bad_token"}, id=ago(0.5 * HOUR))
        found = look()
        heard = found.heard["paynet/shop"]

        assert (heard.calls, heard.refused) == (6, 1)
        assert heard.silent == pytest.approx(8 * HOUR, abs=5)
        assert heard.longest == pytest.approx(7 * HOUR, abs=5)
        assert found.seen == pytest.approx(20 * HOUR, abs=5)
        assert found.whole

    def test_reads_the_newest_entries_only(
        self, client: redis.Redis, look: Callable[[], Flow], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(hearing, "LOOK", 3)
        for hours in (30, 20, 3, 2, 1):
            write(client, EVENTS, hours * HOUR)
        found = look()

        assert found.heard["paynet/shop"].calls == 3
        assert found.seen == pytest.approx(3 * HOUR, abs=5)
        assert not found.whole

    def test_tells_only_of_live_accounts_whether_they_call(
        self, tmp_path: Path, redis_server: RedisServer, client: redis.Redis
    ) -> None:
        assert hearing.flow_of(client, settings_of(tmp_path, redis_server)).heard == {}

    def test_finds_how_far_behind_a_group_is(self, client: redis.Redis, look: Callable[[], Flow]) -> None:
        for hours in (5, 4, 3):
            write(client, EVENTS, hours * HOUR)
        for name in ("unread", "pending", "through"):
            client.xgroup_create(EVENTS, name, id="0")
        client.xreadgroup("pending", "me", {EVENTS: ">"}, count=10)
        client.xreadgroup("through", "me", {EVENTS: ">"}, count=10)
        written: Any = client.xrange(EVENTS)
        client.xack(EVENTS, "pending", written[0][0])
        client.xack(EVENTS, "through", *(one for one, _ in written))
        behind = {group.name: group.behind / HOUR for group in look().groups}

        assert behind == {
            "unread": pytest.approx(5, abs=0.01),
            "pending": pytest.approx(4, abs=0.01),
            "through": 0.0,
        }

    def test_counts_held_facts_that_wait_too_long_or_that_nobody_asks_about(
        self, client: redis.Redis, look: Callable[[], Flow]
    ) -> None:
        ages = (40 * 24, 26, 20, 10, 9, 8)
        old, waits, new, lost, said, out = (write(client, HELD, age * HOUR) for age in ages)
        for one in (waits, new, lost, said, old):
            client.set(f"ulak:fact:{one}", "held")
        client.set(f"ulak:fact:{out}", "released")
        for one in (waits, new):
            client.hset(f"rq:job:{one}-CONFIRM", "status", "scheduled")
        client.set(f"ulak:fact:{own_id(said, 'differs')}", "released")
        found = look()

        # Of the oldest one what was said instead of it may be forgotten already, so nobody can tell.
        assert (found.held_long, found.held_forgotten) == ({"paynet/shop": 1}, {"paynet/shop": 1})

    def test_takes_a_real_hold_for_asked(self, sink: RedisSink, look: Callable[[], Flow]) -> None:
        assert sink.accept([entry(hold=True)])[0].new

        assert (look().held_long, look().held_forgotten) == ({}, {})

    def test_counts_what_was_not_tried_again(
        self, client: redis.Redis, sink: RedisSink, look: Callable[[], Flow]
    ) -> None:
        for body in (b"one", b"two", b"three"):
            sink.quarantine(unreadable(body))
        kept: Any = client.xrange(QUARANTINE)
        client.hset(quarantine.RESOLVED, kept[0][0], "accepted")

        assert look().quarantined == {"paratika/shop-tr unreadable_field": 2}

    def test_compares_what_needs_asking_with_the_budget(
        self, tmp_path: Path, redis_server: RedisServer, client: redis.Redis
    ) -> None:
        api = '[accounts.api]\nbase_url = "https://api.example"\nmerchant_id = "1"\nservice_id = "2"\n'
        second = PAYGURU.replace('"shop"', '"other"').replace("TOKEN", "BROWSER").replace("BROWSER2", "EXPECTED")
        settings = settings_of(tmp_path, redis_server, PAYGURU + api + second + api + PARATIKA)
        write(client, HELD, 25 * HOUR, whose="payguru/shop")  # of yesterday
        for minutes in (6, 5, 4, 3, 2, 1):
            write(client, HELD, minutes * 60, whose="payguru/shop" if minutes % 2 else "payguru/other")
        rule = budget.a_day(budget.merchant(settings.accounts["payguru", "shop"]), 1000)
        for _ in range(7):
            assert budget.Budget(client).take([rule]) is None
        (spending,) = hearing.flow_of(client, settings).spendings

        assert (spending.accounts, spending.per_day) == (("payguru/shop", "payguru/other"), 1000)
        assert (spending.needed, spending.spent) == (6, 7)
