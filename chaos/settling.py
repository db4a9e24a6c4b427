"""After the last fault: heal everything, and wait until nothing is on its way any more."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import redis
from rq import Queue
from rq.serializers import JSONSerializer

from receiver.sink import FACT, HELD

if TYPE_CHECKING:
    from collections.abc import Callable

    from chaos.system import System

_STEP = 0.5
_SAY_EVERY = 10.0
_TABLES = ("waiting", "parked")


def _queues(system: System) -> list[Queue]:
    names = system.settings.queues
    return [Queue(name, connection=system.client, serializer=JSONSerializer) for name in names]


def backlog(system: System) -> int:
    """Return how many jobs wait in the queues; nothing where Redis does not tell."""
    with contextlib.suppress(redis.exceptions.RedisError):
        return sum(int(system.client.llen(queue.key)) for queue in _queues(system))
    return 0


def waiting(system: System) -> dict[str, int]:
    """Return what is still on its way, by where it is."""
    client = system.client
    found: dict[str, int] = {}
    for queue in _queues(system):
        found |= {
            f"{queue.name} queued": int(client.llen(queue.key)),
            f"{queue.name} popped": int(client.llen(queue.intermediate_queue_key)),
            f"{queue.name} started": int(client.zcard(queue.started_job_registry.key)),
            f"{queue.name} scheduled": int(client.zcard(queue.scheduled_job_registry.key)),
            f"{queue.name} failed": int(client.zcard(queue.failed_job_registry.key)),
        }
    found["held"] = _held(client)
    found |= _spooled(system)
    if system.readiness() != "ready":
        found["receiver not ready"] = 1
    return {name: count for name, count in found.items() if count}


def _held(client: redis.Redis) -> int:
    found: Any = client.xrange(HELD)
    names = [FACT + raw[b"event"].split(b'"id":"', 1)[1][:64].decode() for _, raw in found]
    states: Any = client.mget(names) if names else []
    return sum(state == b"held" for state in states)


def _spooled(system: System) -> dict[str, int]:
    """Count what is in the spool, waiting or parked."""
    if not system.spool.exists():
        return {}
    with contextlib.closing(sqlite3.connect(f"file:{system.spool}?mode=ro", uri=True, timeout=5)) as database:
        count = "SELECT count(*) FROM {}"
        return {f"spool {table}": database.execute(count.format(table)).fetchone()[0] for table in _TABLES}


def hasten(system: System) -> None:
    """Bring forward whatever is to be tried again later: minutes pass in seconds here."""
    now = int(time.time())
    for queue in _queues(system):
        registry = queue.scheduled_job_registry.key
        later: Any = system.client.zrangebyscore(registry, now + 1, "+inf")
        if later:
            system.client.zadd(registry, dict.fromkeys(later, now), xx=True)


def settle(system: System, patience: float, say: Callable[[str], object]) -> tuple[float, dict[str, int]]:
    """
    Wait until nothing is on its way; return how long that took, and what is left where it does not go on.

    It is given up where nothing has changed for *patience* seconds.
    """
    begun = changed = time.monotonic()
    system.heal()
    left: dict[str, int] = {"unknown": 1}
    calm, say_again = 0, 0.0
    while time.monotonic() - changed < patience and calm < 2:
        time.sleep(_STEP)
        with contextlib.suppress(redis.exceptions.RedisError, sqlite3.Error):
            hasten(system)
            before, left = left, waiting(system)
            if left != before:
                changed = time.monotonic()
            calm = 0 if left else calm + 1
            if calm == 1 or time.monotonic() > say_again:
                say(f"{time.monotonic() - begun:7.1f}  still to be done: {left or 'nothing'}")
                say_again = time.monotonic() + _SAY_EVERY
    return time.monotonic() - begun, left
