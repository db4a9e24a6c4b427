"""Redis away: callbacks are kept on this machine, answered as usual, and reach Redis once, in their order."""

import contextlib
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import orjson
import pytest
import redis

from receiver import config
from receiver.config import Settings
from receiver.draining import TRIES, Drained, Drainer
from receiver.placing import Placing
from receiver.ports import Entry
from receiver.providers import BY_NAME
from receiver.rows import SpoolFile
from receiver.sink import EVENTS, FACT, HELD, QUARANTINE, RedisSink
from receiver.spool import Spool

from . import test_expected
from .conftest import write_config
from .facts import entry, event, unreadable
from .harness import (
    Receiver,
    RedisServer,
    Response,
    call,
    descendants,
    is_told,
    receiving,
    ulak,
    until,
)

pytestmark = pytest.mark.integration

DAY = 24 * 3600 * 1_000_000  # in a row's microseconds


def mobile(receiver: Receiver, number: object, **more: str) -> str:
    query = {"txId": f"77{number}", "status": "3", "order": f"M-{number}", "amount": "12.00", **more}
    return f"/callbacks/payguru/shop-tr/transaction/{receiver.secret('payguru_token')}?{urlencode(query)}"


def orders(client: redis.Redis, stream: str = EVENTS) -> list[str]:
    """Return the order of each event in a stream."""
    found: Any = client.xrange(stream)
    return [orjson.loads(fields[b"event"])["subject"] for _, fields in found]


def rows(folder: Path) -> list[str]:
    """Return the order of each event that waits in the spool."""
    found = SpoolFile(folder, 1 << 30).next(0, 100_000)
    return [orjson.loads(row.head)["event"]["subject"] for row in found if b'"event"' in row.head]


def gauges(receiver: Receiver) -> dict[str, float]:
    lines = receiver.get("/metrics").body.decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line.startswith("ulak_spool"))
    return {name: float(value) for name, value in pairs}


def drained(receiver: Receiver) -> None:
    until(lambda: not rows(receiver.config.parent), "the spool is empty", within=30)


def drainers(folder: Path) -> list[int]:
    """Return who holds the lock of those who drain, as the kernel says."""
    lock = folder / "drain.lock"
    wanted = str(lock.stat().st_ino) if lock.exists() else ""
    locks = (line.split() for line in Path("/proc/locks").read_text().splitlines())
    return [int(words[4]) for words in locks if words[1] == "FLOCK" and words[5].rsplit(":", 1)[1] == wanted]


@pytest.fixture
def settings(own_redis: RedisServer, tmp_path: Path) -> Settings:
    return config.load(own_redis.ulak(write_config(tmp_path)))


def fill(settings: Settings, entries: Sequence[Entry], folder: Path | None = None) -> None:
    Spool(SpoolFile(folder or settings.data, settings.spool_max)).accept(entries)


class Traffic:
    """Two senders that go on for as long as the block lasts; ``answers`` has when each was sent, its number, and it."""

    def __init__(self, receiver: Receiver) -> None:
        self.answers: list[tuple[float, int, Response]] = []
        self._receiver = receiver
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(first,)) for first in (100_000, 200_000)]

    def __enter__(self) -> Self:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()

    def _send(self, number: int) -> None:
        while not self._stop.is_set():
            number += 1
            begun = time.monotonic()
            self.answers.append((begun, number, self._receiver.get(mobile(self._receiver, number))))

    def since(self, moment: float) -> list[Response]:
        return [answer for begun, _, answer in self.answers if begun > moment]


class TestRedisThatHangs:
    def test_costs_each_worker_one_wait_and_loses_or_doubles_nothing(
        self, own_receiver: Receiver, own_redis: RedisServer
    ) -> None:
        folder = own_receiver.config.parent
        with Traffic(own_receiver) as traffic:
            until(lambda: len(traffic.answers) > 20, "traffic")
            own_redis.pause()
            paused = time.monotonic()
            try:
                until(lambda: len(traffic.since(paused)) > 100, "answers while Redis hangs", within=60)
                kept = rows(folder)[:90]
            finally:
                own_redis.resume()
            until(lambda: traffic.answers[-1][2].seconds < 0.2 and not rows(folder)[90:], "it is over", within=60)

        while_away = traffic.since(paused)[:100]
        assert {(one.status, one.body) for one in while_away} == {(200, b"OK")}
        assert max(one.seconds for one in while_away) < 1.5
        # One time-out a worker, and one more for a loaded machine.
        assert sum(one.seconds > 0.45 for one in while_away) <= 3
        drained(own_receiver)
        with own_redis.client() as client:
            written = orders(client)
        assert sorted(written) == sorted(f"M-{number}" for _, number, _ in traffic.answers)
        # What had reached Redis before the time-out is there already; the rest comes in the order of the spool.
        places = [written.index(one) for one in kept]
        assert sum(later < sooner for sooner, later in pairwise(places)) <= 2

    def test_and_takes_what_was_sent_when_it_goes_on_has_it_once(
        self, own_receiver: Receiver, own_redis: RedisServer
    ) -> None:
        own_redis.pause()
        try:
            spooled = own_receiver.get(mobile(own_receiver, 1))
            again = own_receiver.get(mobile(own_receiver, 1))
            is_told(own_receiver, 200, status="degraded", reason="redis_unreachable")
        finally:
            own_redis.resume()
        drained(own_receiver)

        assert [(one.status, one.body) for one in (spooled, again)] == [(200, b"OK")] * 2
        assert own_receiver.line(spooled)["outcome"] == "spooled"
        with own_redis.client() as client:
            assert orders(client) == ["M-1"]
            assert client.llen("rq:queue:events") == 1
            is_told(own_receiver, 200, status="ready")
            answer = own_receiver.get(mobile(own_receiver, 1))
            assert own_receiver.line(answer)["outcome"] == "duplicate"


class TestRedisThatIsGone:
    def test_is_told_and_what_came_meanwhile_is_there_once_when_it_is_back(
        self, own_receiver: Receiver, own_redis: RedisServer
    ) -> None:
        own_receiver.get(mobile(own_receiver, 0))
        own_redis.kill()
        answers = [own_receiver.get(mobile(own_receiver, number)) for number in (0, 1, 2, 2, 3)]
        doubted = own_receiver.get(mobile(own_receiver, 4) + "&status=4")

        assert {(one.status, one.body) for one in (*answers, doubted)} == {(200, b"OK")}
        assert max(one.seconds for one in answers) < 1.5
        line = own_receiver.line(answers[1])
        assert (line["level"], line["outcome"], line["reason"]) == ("warning", "spooled", "redis_unreachable")
        assert own_receiver.line(doubted)["outcome"] == "quarantined"
        is_told(own_receiver, 200, status="degraded", reason="redis_unreachable")
        found = gauges(own_receiver)
        assert found['ulak_spool_rows{state="waiting"}'] == 5
        assert found['ulak_spool_rows{state="parked"}'] == found['ulak_spool_rows{state="old"}'] == 0
        assert 0 < found["ulak_spool_oldest_seconds"] < 60
        assert found["ulak_spool_bytes"] > 0
        assert 0 < found["ulak_spool_room_bytes"] < 1 << 30
        assert (own_receiver.config.parent / "spool.db").stat().st_mode & 0o777 == 0o600

        own_redis.start()
        drained(own_receiver)
        with own_redis.client() as client:
            assert orders(client) == ["M-0", "M-1", "M-2", "M-3"]
            assert client.xlen(QUARANTINE) == 1
            is_told(own_receiver, 200, status="ready")
            own_receiver.get(mobile(own_receiver, 5))
            assert orders(client)[-1] == "M-5"
        assert gauges(own_receiver)['ulak_spool_rows{state="waiting"}'] == 0
        counted = own_receiver.get("/metrics").body.decode()
        events = 'ulak_events_total{account="shop-tr",kind="payment.succeeded",provider="payguru"} 5.0'
        assert events in counted
        assert 'outcome="spooled",provider="payguru",reason="redis_unreachable"} 5.0' in counted

    def test_makes_an_announcement_come_again(self, own_redis: RedisServer, tmp_path: Path) -> None:
        path = test_expected.write(tmp_path)
        with receiving(path, own_redis.ulak(path, PYTHONPATH=str(Path(__file__).parent))) as receiver:
            own_redis.kill()
            sent = {"provider": "paratika", "account": "shop", "order_ref": "A-1", "amount": "1", "currency": "TRY"}
            answers = [call(receiver.port, "/expected", orjson.dumps(sent), test_expected.BEARER) for _ in range(5)]

        assert {(one.status, one.headers["Retry-After"]) for one in answers} == {(503, "30")}
        assert {one.json()["error"] for one in answers} == {"redis_unreachable"}


def replica(client: redis.Redis) -> None:
    client.slaveof("127.0.0.1", 1)


def master(client: redis.Redis) -> None:
    client.slaveof()


AWAY: Mapping[str, tuple[Callable[[redis.Redis], Any], Callable[[redis.Redis], Any], str]] = {
    "read-only": (replica, master, "redis_refused"),
    "out of memory": (
        lambda client: client.config_set("maxmemory", "1"),
        lambda client: client.config_set("maxmemory", "0"),
        "redis_refused",
    ),
    "nearly full": (
        lambda client: client.set("ulak:full", "1"),
        lambda client: client.delete("ulak:full"),
        "redis_full",
    ),
    "too few replicas": (
        lambda client: client.config_set("min-replicas-to-write", "1"),
        lambda client: client.config_set("min-replicas-to-write", "0"),
        "replicas_missing",
    ),
}


class TestRedisThatSaysNo:
    def test_means_the_spool_until_it_says_yes_again(self, own_receiver: Receiver, own_redis: RedisServer) -> None:
        """It answers all the time, and even takes what is read: only writing as a callback does tells the truth."""
        sent = []
        with own_redis.client() as client:
            for number, (name, (spoil, mend, reason)) in enumerate(AWAY.items()):
                is_told(own_receiver, 200, status="ready")
                spoil(client)
                for more in range(4):
                    answer = own_receiver.get(mobile(own_receiver, f"{number}-{more}"))
                    assert (answer.status, answer.body) == (200, b"OK"), name
                    line = own_receiver.line(answer)
                    assert (line["outcome"], line["reason"]) == ("spooled", reason), name
                    sent.append(f"M-{number}-{more}")
                is_told(own_receiver, 200, status="degraded", reason=reason)
                assert len(rows(own_receiver.config.parent)) == 4, name
                mend(client)
                drained(own_receiver)
            assert orders(client) == sent


class TestVerdicts:
    def test_and_questions_are_those_of_the_time_when_it_is_drained(
        self, own_redis: RedisServer, tmp_path: Path
    ) -> None:
        path = test_expected.write(tmp_path)
        env = own_redis.ulak(path)
        settings = config.load(env)

        def send(receiver: Receiver, provider: str, slug: str, changes: Mapping[str, str]) -> None:
            target, sent = test_expected.callback(settings, provider, slug, "success", changes)
            if sent.method == "GET":
                assert receiver.get(f"{target}?{sent.query.decode()}").status == 200
            else:
                assert receiver.post(target, sent.body).status == 200

        with receiving(path, env) as receiver, own_redis.client() as client:
            announced = {"provider": "payguru", "account": "shop", "amount": "12.00", "currency": "TRY"}
            for order in ("A-1", "A-2"):
                body = orjson.dumps({**announced, "order_ref": order})
                assert call(receiver.port, "/expected", body, test_expected.BEARER).status == 200
            client.set("ulak:full", "1")
            is_told(receiver, 200, status="degraded", reason="redis_full")
            for order, ref in (("A-1", "P-1"), ("A-1", "P-2"), ("A-2", "P-3"), ("A-3", "P-4")):
                send(receiver, "payguru", "shop", test_expected.mobile(order, ref))
            send(receiver, "paratika", "asked", test_expected.card("A-9"))
            client.delete("ulak:full")
            drained(receiver)

            found: Any = client.xrange(EVENTS)
            events = [(orjson.loads(one[b"event"]), orjson.loads(one[b"routes"])) for _, one in found]
            assert [(one["data"]["payment_ref"], one["data"]["expected"], routes) for one, routes in events] == [
                ("P-1", "amount_unproven", ["paid"]),
                ("P-2", "already_paid", ["review"]),
                ("P-3", "amount_unproven", ["paid"]),
                ("P-4", "unknown_order", ["review"]),
            ]
            assert orders(client, HELD) == ["A-9"]
            assert client.llen("rq:queue:ulak-confirm") == 1


class TestDraining:
    def test_goes_on_by_another_worker_where_the_first_is_killed(
        self, own_redis: RedisServer, settings: Settings, tmp_path: Path
    ) -> None:
        """Rows of the last run wait, and nobody calls: the receiver drains by itself, one worker at a time."""
        fill(settings, [entry(f"A-{number}") for number in range(3000)])
        env = own_redis.ulak(tmp_path / "ulak.toml")
        seen: set[int] = set()
        with receiving(tmp_path / "ulak.toml", env) as receiver, own_redis.client() as client:
            for _ in range(3):
                before = client.xlen(EVENTS)
                (pid,) = until(lambda: set(drainers(tmp_path)) - seen, "somebody drains")
                assert pid in descendants(receiver.process.pid)
                until(lambda: client.xlen(EVENTS) > before, "it gets on")  # noqa: B023
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                seen.add(pid)
            drained(receiver)

            assert len(seen) == 3
            assert orders(client) == [f"A-{number}" for number in range(3000)]
            assert client.llen("rq:queue:orders") == 3000

    def test_is_done_where_gunicorn_loads_the_application_before_it_forks(
        self, own_redis: RedisServer, settings: Settings, tmp_path: Path
    ) -> None:
        fill(settings, [entry("A-1")])
        with receiving(tmp_path / "ulak.toml", own_redis.ulak(tmp_path / "ulak.toml"), "--preload") as receiver:
            drained(receiver)
            own_redis.pause()
            try:
                assert receiver.get(mobile(receiver, 1)).status == 200
            finally:
                own_redis.resume()
            drained(receiver)
        with own_redis.client() as client:
            assert orders(client) == ["A-1", "M-1"]

    @pytest.mark.parametrize("point", ["before_accept", "after_accept", "before_commit", "after_commit"])
    def test_by_hand_loses_and_doubles_nothing_wherever_it_is_killed(
        self, own_redis: RedisServer, settings: Settings, tmp_path: Path, point: str
    ) -> None:
        fill(settings, [entry(f"A-{number}") for number in range(170)])
        Spool(SpoolFile(tmp_path, 1 << 30)).quarantine(unreadable(b"a"))
        env = own_redis.ulak(tmp_path / "ulak.toml")
        killed = ulak("drain", env=env | {"ULAK_FAILPOINT": f"drain.{point}:2"})
        assert killed.returncode == -signal.SIGKILL
        assert rows(tmp_path)

        done = ulak("drain", "--json", env=env)
        assert done.returncode == 0, done.stderr
        told = orjson.loads(done.stdout)
        assert told["left"] == {"waiting": 0, "old": 0, "parked": 0}
        assert told["known"] == (50 if point in {"after_accept", "before_commit"} else 0)
        with own_redis.client() as client:
            assert orders(client) == [f"A-{number}" for number in range(170)]
            assert client.xlen(QUARANTINE) == 1

    def test_parks_what_redis_refuses_for_its_own_sake_until_that_is_mended(
        self, own_redis: RedisServer, settings: Settings, tmp_path: Path
    ) -> None:
        fill(settings, [entry("A-1"), entry("A-2"), entry("A-3")])
        env = own_redis.ulak(tmp_path / "ulak.toml")
        drainer = Drainer(SpoolFile(tmp_path, 1 << 30), RedisSink.of(settings), Placing((), 120), BY_NAME, 30)
        with own_redis.client() as client:
            client.hset(FACT + event("A-2").id, "foreign", "1")
            for _ in range(TRIES - 1):
                drainer.begin()
                drainer.run(Drained())
                assert rows(tmp_path) == ["A-2"]
            shown = ulak("drain", env=env)
            assert shown.returncode == 1
            assert shown.stdout.splitlines()[:2] == [
                "0 drained (0 new, 0 known already)",
                "left: 0 waiting, 0 old, 1 parked",
            ]
            assert shown.stdout.splitlines()[2].startswith(f"parked  {event('A-2').id}  ")
            assert orders(client) == ["A-1", "A-3"]

            client.delete(FACT + event("A-2").id)
            assert ulak("drain", "--parked", env=env).returncode == 0
            assert orders(client) == ["A-1", "A-3", "A-2"]

    def test_leaves_old_rows_to_a_person(self, own_redis: RedisServer, settings: Settings, tmp_path: Path) -> None:
        fill(settings, [entry("A-1"), entry("A-2")])
        with closing(sqlite3.connect(tmp_path / "spool.db")) as connection:
            connection.execute("UPDATE waiting SET at = at - ? WHERE id = ?", (31 * DAY, event("A-1").id))
            connection.commit()
        env = own_redis.ulak(tmp_path / "ulak.toml")
        first, second = ulak("drain", "--json", env=env), ulak("drain", "--old", "--json", env=env)

        assert first.returncode == 1
        assert orjson.loads(first.stdout) == {
            "new": 1,
            "known": 0,
            "left": {"waiting": 0, "old": 1, "parked": 0},
            "trouble": None,
        }
        assert (second.returncode, orjson.loads(second.stdout)["new"]) == (0, 1)
        with own_redis.client() as client:
            assert orders(client) == ["A-2", "A-1"]

    def test_takes_the_file_of_a_host_that_died(
        self, own_redis: RedisServer, settings: Settings, tmp_path: Path
    ) -> None:
        (tmp_path / "theirs").mkdir()
        (tmp_path / "brought").mkdir()
        fill(settings, [entry("A-1"), entry("A-2")], tmp_path / "theirs")
        for name in ("spool.db", "spool.db-wal", "spool.db-shm"):  # as it lay there, without a clean end
            shutil.copy(tmp_path / "theirs" / name, tmp_path / "brought" / name)
        env = own_redis.ulak(tmp_path / "ulak.toml")
        done = ulak("drain", "--folder", str(tmp_path / "brought"), env=env)

        assert (done.returncode, done.stdout.splitlines()[0]) == (0, "2 drained (2 new, 0 known already)")
        assert ulak("drain", "--folder", str(tmp_path / "metrics"), env=env).returncode == 2
        assert ulak("drain", env=env).stdout.splitlines()[0] == "0 drained (0 new, 0 known already)"
        with own_redis.client() as client:
            assert orders(client) == ["A-1", "A-2"]

    def test_by_hand_says_why_it_cannot(self, own_redis: RedisServer, settings: Settings, tmp_path: Path) -> None:
        fill(settings, [entry("A-1")])
        own_redis.kill()
        done = ulak("drain", "--json", env=own_redis.ulak(tmp_path / "ulak.toml"))

        assert done.returncode == 1
        assert orjson.loads(done.stdout)["trouble"] == "redis_unreachable"
        assert done.stderr.startswith("ulak: redis_unreachable: ")
        assert rows(tmp_path) == ["A-1"]


class TestASpoolThatFails:
    @pytest.fixture
    def small(self, own_redis: RedisServer, tmp_path: Path) -> Iterator[Receiver]:
        path = write_config(tmp_path)
        path.write_text('spool_max = "1 MiB"\n' + path.read_text())
        with receiving(path, own_redis.ulak(path)) as found:
            yield found

    def test_because_it_is_full_means_503_until_it_is_drained(self, small: Receiver, own_redis: RedisServer) -> None:
        own_redis.kill()
        taken = 0
        while (answer := small.get(mobile(small, taken, item="x" * 4000))).status == 200:
            taken += 1
            assert taken < 1000
        assert taken > 50
        assert (answer.status, answer.headers["Retry-After"], answer.json()["error"]) == (503, "30", "spool_full")
        assert small.line(answer)["level"] == "error"
        is_told(small, 503, status="unavailable", reason="spool_full")
        assert gauges(small)["ulak_spool_room_bytes"] < 100_000

        own_redis.start()
        drained(small)
        with own_redis.client() as client:
            assert orders(client) == [f"M-{number}" for number in range(taken)]
        assert gauges(small)["ulak_spool_room_bytes"] > 900_000
        assert small.get(mobile(small, taken)).status == 200

    def test_because_the_disk_refuses_means_503_and_its_error(
        self, own_receiver: Receiver, own_redis: RedisServer
    ) -> None:
        (own_receiver.config.parent / "spool.db").mkdir()
        own_redis.kill()
        answers = [own_receiver.get(mobile(own_receiver, number)) for number in range(3)]

        assert {(one.status, one.headers["Retry-After"]) for one in answers} == {(503, "30")}
        assert {one.json()["error"] for one in answers} == {"spool_refused"}
        assert own_receiver.line(answers[0])["detail"] == "SQLITE_CANTOPEN"
        is_told(own_receiver, 503, status="unavailable", reason="spool_refused")
        assert own_receiver.get("/metrics").status == 200
