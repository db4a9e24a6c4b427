"""Replicas and sentinels without a failover: who is written to, what is waited for, and what happens in doubt."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from receiver.connection import NoMasterError, connect
from receiver.connection import client as client_of
from receiver.errors import Reason, Unavailable
from receiver.expecting import Expectation
from receiver.money import Money
from receiver.ports import Receipt
from receiver.sink import EVENTS, FACT, FULL, QUARANTINE, Announced, RedisSink

from .conftest import write_config
from .facts import entry, unreadable
from .harness import environment, ulak
from .sentinels import NAME, Cluster, Node, cluster

pytestmark = pytest.mark.integration

PROBE = "ulak:probe"
NEW = Receipt(new=True, released=True)
KNOWN = Receipt(new=False, released=True)
NOW = datetime.now(UTC)
ORDER = Expectation("paratika", "shop-tr", "A-1", Money(1176, "TRY"), NOW + timedelta(hours=1), NOW)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master with two replicas, and three sentinels."""
    with cluster(tmp_path_factory.mktemp("s"), replicas=2) as found:
        yield found


@pytest.fixture
def server(watched: Cluster) -> Iterator[redis.Redis]:
    """A client of the master, which is empty, and so are its replicas."""
    with watched.nodes[0].client() as client:
        client.flushall()
        assert client.execute_command("WAIT", 2, 5000) == 2
        yield client


@pytest.fixture
def sink_of(watched: Cluster, server: redis.Redis) -> Iterator[Callable[..., RedisSink]]:
    """Make sinks that find the master by the sentinels, and wait for so many replicas; all are closed at the end."""
    del server
    opened: list[redis.Redis] = []

    def make(wait_replicas: int = 0, url: str = "") -> RedisSink:
        opened.append(connect(url or watched.url))
        return RedisSink(opened[-1], 30, wait_replicas)

    yield make
    for one in opened:
        one.close()


@contextlib.contextmanager
def standing(*nodes: Node) -> Iterator[None]:
    """Let nodes stand still while the block runs."""
    for node in nodes:
        node.pause()
    try:
        yield
    finally:
        for node in nodes:
            node.signal(signal.SIGCONT)


def refusal(act: Callable[[], object]) -> tuple[Reason, str]:
    with pytest.raises(Unavailable) as caught:
        act()
    return caught.value.reason, caught.value.detail


class TestWaitReplicas:
    def test_answers_when_the_replicas_have_it(
        self, watched: Cluster, server: redis.Redis, sink_of: Callable[..., RedisSink]
    ) -> None:
        one = entry()

        assert list(sink_of(2).accept([one])) == [NEW]
        for replica in watched.nodes[1:]:
            with replica.client() as client:
                assert client.get(FACT + one.event.id) == b"released"
        assert not server.exists(PROBE)

    def test_falls_short_where_a_replica_is_missing_and_so_does_the_duplicate(
        self, watched: Cluster, sink_of: Callable[..., RedisSink], server: redis.Redis
    ) -> None:
        sink = sink_of(2)
        short = (Reason.REPLICAS_MISSING, "1 of 2")
        with standing(watched.nodes[2]):
            begun = time.monotonic()
            assert refusal(lambda: sink.accept([entry()])) == short
            assert time.monotonic() - begun < 1.0
            assert refusal(lambda: sink.accept([entry()])) == short
            assert (
                refusal(lambda: sink_of(2).accept([entry()])) == short
            )  # on a connection that has written nothing yet
            assert refusal(lambda: sink.quarantine(unreadable(b"body"))) == short
            assert refusal(lambda: sink.expect(ORDER, None)) == short
            assert refusal(sink.ready) == short
            assert list(sink_of(1).accept([entry()])) == [KNOWN]

        assert list(sink.accept([entry()])) == [KNOWN]
        sink.quarantine(unreadable(b"body"))
        assert sink.expect(ORDER, None) is Announced.SAME
        sink.ready()
        assert server.xlen(EVENTS) == server.xlen(QUARANTINE) == 1

    @pytest.mark.parametrize(
        "again",
        [
            lambda sink: sink.accept([entry()]),
            lambda sink: sink.release([entry("never held")]),
            lambda sink: sink.quarantine(unreadable(b"body")),
            lambda sink: sink.expect(ORDER, None),
        ],
        ids=["duplicate", "release", "quarantine", "announcement"],
    )
    def test_writes_a_small_key_where_a_call_changes_nothing(
        self, sink_of: Callable[..., RedisSink], server: redis.Redis, again: Callable[[RedisSink], object]
    ) -> None:
        sink = sink_of(1)
        sink.accept([entry()])
        sink.quarantine(unreadable(b"body"))
        sink.expect(ORDER, None)
        assert not server.exists(PROBE)

        again(sink_of(0))
        assert not server.exists(PROBE)
        again(sink)
        assert 0 < server.pttl(PROBE) <= 1000

    def test_costs_no_round_trip_more(self, sink_of: Callable[..., RedisSink]) -> None:
        sink = sink_of(1)
        sink.accept([entry("A-1")])
        connection = sink._wire._connection
        sent: list[bytes] = []
        passed_on = connection.send_packed_command

        def send(pieces: list[bytes]) -> None:
            sent.extend(pieces)
            passed_on(pieces)

        connection.send_packed_command = send
        sink.accept([entry("A-2")])

        (at_once,) = sent
        assert at_once.count(b"EVALSHA") == at_once.count(b"WAIT") == 1

    def test_is_sent_again_with_a_script_that_redis_has_forgotten(
        self, sink_of: Callable[..., RedisSink], server: redis.Redis
    ) -> None:
        sink = sink_of(1)
        sink.accept([entry("A-1")])
        server.script_flush()

        assert list(sink.accept([entry("A-1"), entry("A-2")])) == [KNOWN, NEW]

    def test_says_that_redis_is_full_before_all_else(
        self, sink_of: Callable[..., RedisSink], server: redis.Redis
    ) -> None:
        server.set(FULL, "1")

        assert refusal(lambda: sink_of(2).accept([entry()])) == (Reason.REDIS_FULL, "")

    def test_is_as_short_where_redis_itself_misses_its_replicas(
        self, sink_of: Callable[..., RedisSink], server: redis.Redis
    ) -> None:
        server.config_set("min-replicas-to-write", 3)
        try:
            assert refusal(lambda: sink_of(1).accept([entry()])) == (Reason.REPLICAS_MISSING, "NOREPLICAS")
            assert not server.exists(EVENTS)
        finally:
            server.config_set("min-replicas-to-write", 0)


class TestSentinels:
    def test_are_believed_by_majority(self, watched: Cluster, sink_of: Callable[..., RedisSink]) -> None:
        first, _, third = watched.sentinels
        with standing(first):
            sink = sink_of()
            assert list(sink.accept([entry()])) == [NEW]
            begun = time.monotonic()
            assert list(sink_of().accept([entry()])) == [KNOWN]
            with standing(third):
                assert refusal(lambda: sink_of().accept([entry()])) == (Reason.REDIS_UNREACHABLE, "NoMasterError")
            assert time.monotonic() - begun < 2.0

        assert list(sink_of().accept([entry()])) == [KNOWN]

    def test_are_asked_again_by_a_connection_that_was_not_confirmed_for_a_second(
        self, watched: Cluster, sink_of: Callable[..., RedisSink]
    ) -> None:
        sink = sink_of()
        sink.accept([entry()])
        with standing(*watched.sentinels[1:]):
            assert list(sink.accept([entry()])) == [KNOWN]
            sink._wire._connection._confirmed -= 1.1
            assert refusal(lambda: sink.accept([entry()])) == (Reason.REDIS_UNREACHABLE, "NoMasterError")

        assert list(sink.accept([entry()])) == [KNOWN]

    def test_that_know_no_such_master_name_none(self, watched: Cluster) -> None:
        with client_of(watched.url.replace(NAME, "another")) as client, pytest.raises(NoMasterError):
            client.ping()

    def test_have_a_password_and_redis_has_another(
        self, watched: Cluster, sink_of: Callable[..., RedisSink], server: redis.Redis, tmp_path: Path
    ) -> None:
        watch = (f"sentinel monitor alone 127.0.0.1 {watched.nodes[0].port} 1", "sentinel auth-user alone ulak")
        guarded = Node(tmp_path, (*watch, "sentinel auth-pass alone p@ss", 'requirepass "x y"'), sentinel=True)
        guarded.password = "x y"
        server.acl_setuser("ulak", enabled=True, passwords=["+p@ss"], categories=["+@all"], keys=["*"], channels=["*"])
        where = f"redis+sentinel://ulak:{{}}@127.0.0.1:{guarded.port}/alone?sentinel_password={{}}"
        try:
            guarded.start()
            assert list(sink_of(url=where.format("p%40ss", "x%20y")).accept([entry()])) == [NEW]
            no = refusal(lambda: sink_of(url=where.format("wrong", "x%20y")).accept([entry()]))
            assert no == (Reason.REDIS_REFUSED, "WRONGPASS")
            no = refusal(lambda: sink_of(url=where.format("p%40ss", "wrong")).accept([entry()]))
            assert no == (Reason.REDIS_UNREACHABLE, "NoMasterError")
        finally:
            guarded.stop()
            server.acl_deluser("ulak")

    def test_serve_every_command(self, watched: Cluster, sink_of: Callable[..., RedisSink], tmp_path: Path) -> None:
        sink_of().accept([entry()])
        config = write_config(tmp_path)
        env = environment(ULAK_CONFIG=str(config), ULAK_DATA=str(tmp_path), REDIS_URL=watched.url)

        shown = ulak("events", "tail", env=env)
        assert (shown.returncode, "payment.succeeded" in shown.stdout) == (0, True), shown.stderr
        done = ulak("worker", "--queue", "orders", "--burst", env=env)
        assert done.returncode == 0, done.stderr
        assert "A-1" in ulak("events", "show", entry().event.id[:12], env=env).stdout
