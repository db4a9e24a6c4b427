"""One Redis and one receiver for the session; a Redis of its own for a test that stops, fills or kills it."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from receiver.connection import connect
from receiver.sink import RedisSink
from workers import sandbox

from .harness import Receiver, RedisServer, receiving

# A shell that starts the suite in the background leaves Ctrl-C ignored, and children would inherit that. A handler of
# our own is not inherited: they begin with the default.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("r"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def redis_server(_session_redis: RedisServer) -> RedisServer:
    """The session's Redis, empty."""
    with _session_redis.client() as client:
        client.flushall()
    return _session_redis


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis_server.client() as found:
        yield found


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for one test, which may do with it what it likes."""
    server = RedisServer(tmp_path_factory.mktemp("o"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def sinks() -> Iterator[Callable[..., RedisSink]]:
    """Make sinks with the receiver's own client; all are closed at the end."""
    opened: list[redis.Redis] = []

    def make(server: RedisServer, dedupe_days: int = 30) -> RedisSink:
        opened.append(connect(server.url))
        return RedisSink(opened[-1], dedupe_days)

    yield make
    for one in opened:
        one.close()


@pytest.fixture
def sink(redis_server: RedisServer, sinks: Callable[..., RedisSink]) -> RedisSink:
    made: RedisSink = sinks(redis_server)
    return made


def write_config(folder: Path) -> Path:
    """Write the sandbox's configuration with the tests' consumer behind its route."""
    path = sandbox.write(folder)
    text = path.read_text()
    assert '"workers.jobs.on_event"' in text
    (folder / "metrics_token").write_text("metrics-token-of-the-tests")
    path.write_text(
        'metrics_token = "file:metrics_token"\n' + text.replace('"workers.jobs.on_event"', '"consumer.record"')
    )
    return path


@pytest.fixture(scope="session")
def _session_receiver(_session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    config = write_config(tmp_path_factory.mktemp("web"))
    with receiving(config, _session_redis.ulak(config)) as found:
        yield found


@pytest.fixture
def receiver(redis_server: RedisServer, _session_receiver: Receiver) -> Receiver:
    """The session's receiver, on an empty Redis."""
    del redis_server
    return _session_receiver


@pytest.fixture
def own_receiver(own_redis: RedisServer, tmp_path: Path) -> Iterator[Receiver]:
    """A receiver on ``own_redis``."""
    config = write_config(tmp_path)
    with receiving(config, own_redis.ulak(config)) as found:
        yield found
