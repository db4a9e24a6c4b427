"""A keeper in the test's own process, whose rounds the test calls, on a clock that the test moves."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import redis

from receiver import config
from receiver.config import Keeping, Settings
from receiver.routing import Route
from receiver.sink import RedisSink
from workers import sandbox, worker
from workers.keeper import Keeper

from .facts import LEDGER, ORDERS
from .harness import RedisServer

TIMES = 'keeper = { every = "1 s", grace = "1 s", lease = "3 s" }\n'
NOBODY = "http://127.0.0.1:1"
_ROUTES = (
    '\n[[routes]]\nname = "orders"\njob = "consumer.record"\n[[routes]]\nname = "books"\njob = "consumer.record"\n'
)
LONG = 20.0  # seconds, longer than the grace


def write_config(folder: Path) -> Path:
    """Write a configuration with the queues of facts.py and times of a second."""
    path = sandbox.write(folder, NOBODY)
    path.write_text(TIMES + path.read_text() + _ROUTES)
    return path


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Kept:
    """One keeper with a client of its own."""

    settings: Settings
    client: redis.Redis
    keeper: Keeper = field(init=False)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.keeper = Keeper(self.settings, self.client, RedisSink.of(self.settings), self.clock)

    def rounds(self, count: int = 3, *, apart: float = LONG) -> None:
        """Let so many rounds pass; with three, what is lost is lost for certain."""
        for _ in range(count):
            self.clock.now += apart
            self.keeper.tick()

    def acts(self) -> bool:
        holder: Any = self.client.get("ulak:keeper")
        return holder is not None and holder.decode() == self.keeper._lease.token


def settings_of(server: RedisServer, folder: Path, **changes: Any) -> Settings:
    """Return the sandbox's settings, with the routes of facts.py and the times as they are in production."""
    found = config.load(server.ulak(sandbox.write(folder, NOBODY)))
    return replace(found, routes=(Route(ORDERS), Route(LEDGER)), keeper=Keeping(), **changes)


@contextmanager
def kept(settings: Settings) -> Iterator[Kept]:
    client = worker.connect(settings.redis_url)
    try:
        yield Kept(settings, client)
    finally:
        client.close()
