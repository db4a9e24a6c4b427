"""
Jobs that nobody will run: RQ says they wait or run, and they are in no list, no registry and under no living worker.

A job in motion looks lost for a moment, so one look proves nothing (``Suspects``). Looking writes nothing.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

import redis
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.defaults import RQ_KEY_PREFIX
from rq.executions import ExecutionRegistry
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.worker import Worker

from workers.lease import LEASE, Lease

_SCRIPT = (Path(__file__).parent / "lost.lua").read_text("utf-8")
LOSSES = 10  # a job that is lost more often than this kills its worker, and is left to a person
GIVEN_UP = f"Lost {LOSSES} times: whoever ran this job was gone before its end."
# RQ gives a worker's key a minute more than its heartbeats are apart; 5 s less are no late heartbeat yet.
_KEY_LEFT = 55_000
_SLACK = timedelta(seconds=10)  # between the clocks of those who enqueue
_PAGE = 1000
_JOBS = 5000  # that one scan looks at; a round with many more would cost Redis and us too much
_LPOS_WORK = 1_000_000  # entries of lists that Redis may look at in one round, for jobs met in the scan
_OURS = re.compile(r"[0-9a-f]{64}-[A-Za-z0-9_-]+")  # what RQ keeps beside a job has a colon in its name
_WAITING = (b"queued", b"started", b"scheduled")

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A job and the queue that it belongs to."""

    queue: str
    job: str


class State(IntEnum):
    """What ``lost.lua`` says about a job."""

    FINE = 0
    LOST = 1
    LEFT_OVER = 2
    GIVEN_UP = 3
    CLEANING = 4


class Suspects(Generic[T]):
    """
    What was seen lost: at three looks or more, over at least *grace* seconds, and found at none in between.

    Time alone is not enough. Where Redis stood still, its answer to a worker has come as late as that to our look.
    """

    _LOOKS = 3

    def __init__(self, grace: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace = grace
        self._clock = clock
        self._seen: dict[T, tuple[float, int]] = {}

    def __iter__(self) -> Iterator[T]:
        return iter(tuple(self._seen))

    def look(self, lost: Iterable[T]) -> list[T]:
        """Take what is lost at this look, and return what is so for certain."""
        now = self._clock()
        seen = {}
        for one in lost:
            since, looks = self._seen.get(one, (now, 0))
            seen[one] = (since, looks + 1)
        self._seen = seen
        return [one for one, (since, looks) in seen.items() if looks >= self._LOOKS and now - since >= self._grace]

    def forget(self) -> None:
        self._seen = {}


class Jobs:
    """The jobs of ours in RQ's own keys. For one thread."""

    def __init__(self, client: redis.Redis, queues: Sequence[str]) -> None:
        self._client = client
        self._queues = queues
        self._look = client.register_script(_SCRIPT)
        self._cursor = 0

    def moving(self) -> set[Place]:
        """Return what a worker has taken, by RQ's intermediate list and its registry of started jobs."""
        found = set()
        for queue in self._queues:
            list_key = Queue.redis_queue_namespace_prefix + queue
            with self._client.pipeline(transaction=False) as pipe:
                pipe.lrange(IntermediateQueue.get_intermediate_queue_key(list_key), 0, _PAGE)
                pipe.zrange(StartedJobRegistry.key_template.format(queue), 0, _PAGE)
                taken, started = pipe.execute()
            ids = (entry.decode().partition(":")[0] for entry in (*taken, *started))
            found |= {Place(queue, job) for job in ids if _OURS.fullmatch(job)}
        return found

    def scan(self, pages: int) -> set[Place]:
        """Return what may be lost among the next *pages* of all keys, round and round; ``state`` tells."""
        found: list[Any] = []
        prefix = Job.redis_job_namespace_prefix
        for _ in range(pages):
            self._cursor, keys = self._client.scan(self._cursor, match=f"{prefix}*", count=_PAGE)
            found += keys
            if self.is_through or len(found) >= _JOBS:
                break
        ids = dict.fromkeys(key.decode().removeprefix(prefix) for key in found)
        return self._doubtful([job for job in ids if _OURS.fullmatch(job)])

    @property
    def is_through(self) -> bool:
        """Say whether the scan has been at every job and begins anew."""
        return self._cursor == 0

    def _doubtful(self, ids: Sequence[str]) -> set[Place]:
        """Leave out what is certainly in its place, without asking Redis to look through a list for each job."""
        with self._client.pipeline(transaction=False) as pipe:
            for job in ids:
                pipe.hmget(Job.redis_job_namespace_prefix + job, "status", "origin", "enqueued_at")
            known = pipe.execute()
        heads = {queue: self._head(queue) for queue in self._queues}
        doubtful: set[Place] = set()
        scheduled = []
        for job, (status, origin, enqueued) in zip(ids, known, strict=True):
            place = Place((origin or b"").decode(), job)
            if status not in _WAITING or place.queue not in heads:
                continue
            if status == b"scheduled":
                scheduled.append(place)
            elif status == b"started" or heads[place.queue].is_past(enqueued):
                doubtful.add(place)
        with self._client.pipeline(transaction=False) as pipe:
            for place in scheduled:
                pipe.zscore(ScheduledJobRegistry.key_template.format(place.queue), place.job)
            scores = pipe.execute()
        return doubtful | {place for place, score in zip(scheduled, scores, strict=True) if score is None}

    def _head(self, queue: str) -> "_Head":
        key = Queue.redis_queue_namespace_prefix + queue
        first: Any = self._client.lindex(key, 0)
        if first is None:
            return _Head(None, _LPOS_WORK)
        enqueued: Any = self._client.hget(Job.redis_job_namespace_prefix + first.decode(), "enqueued_at")
        length: Any = self._client.llen(key)
        return _Head(_moment(enqueued), max(1, _LPOS_WORK // max(1, length)))

    def state(self, place: Place) -> State:
        """Look where a job is."""
        keys, args = _arguments(place, "")
        return State(self._look(keys=[LEASE, *keys], args=["", *args]))

    def bring_back(self, place: Place, lease: Lease) -> State:
        """Put a lost job into its queue; see ``lost.lua``. Raise LostError without the lease."""
        return State(lease.write(_SCRIPT, *_arguments(place, "back")))


@dataclass(slots=True)
class _Head:
    """When the first job of a list was enqueued, None for an empty list; and how many more jobs may be looked for."""

    enqueued: datetime | None
    looks: int

    def is_past(self, enqueued: bytes | None) -> bool:
        """Say whether a job that waits should have had its turn: then it is not in the list, or at its front."""
        at = _moment(enqueued)
        if self.enqueued and at and at > self.enqueued - _SLACK:
            return False
        self.looks -= 1
        return self.looks >= 0


def _moment(text: bytes | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text.decode()) if text else None
    except ValueError:
        return None


def _arguments(place: Place, act: str) -> tuple[list[str], list[Any]]:
    queue, job = place.queue, place.job
    key = Queue.redis_queue_namespace_prefix + queue
    registries = (StartedJobRegistry, ScheduledJobRegistry, FailedJobRegistry)
    keys = [
        Job.redis_job_namespace_prefix + job,
        key,
        IntermediateQueue.get_intermediate_queue_key(key),
        *(registry.key_template.format(queue) for registry in registries),
        cleaning_lock(queue),
        ExecutionRegistry.key_template.format(job),
    ]
    prefixes = (f"{RQ_KEY_PREFIX}:execution:", Worker.redis_worker_namespace_prefix, PUBSUB_CHANNEL_TEMPLATE % "")
    return keys, [job, act, *prefixes, _KEY_LEFT, LOSSES, GIVEN_UP]


def cleaning_lock(queue: str) -> str:
    """Name the key with which RQ's workers keep each other from cleaning up one queue at once."""
    return f"{RQ_KEY_PREFIX}:clean_registries:{queue}"


def known_queues(client: redis.Redis) -> list[str]:
    """Return every queue that RQ has heard of."""
    found: Any = client.smembers(Queue.redis_queues_keys)
    return sorted(key.decode().removeprefix(Queue.redis_queue_namespace_prefix) for key in found)


def lost_jobs(client: redis.Redis, queues: Sequence[str] | None = None, apart: float = 2.0) -> list[Place]:
    """
    Return the jobs of ours that nobody will run, by two looks some seconds apart at every job there is. For a person.

    What a worker has taken counts where the worker is gone, or has not begun it between the looks.
    """
    jobs = Jobs(client, known_queues(client) if queues is None else queues)
    places = jobs.moving()
    places |= jobs.scan(1)
    while not jobs.is_through:
        places |= jobs.scan(1)
    lost = [place for place in sorted(places) if jobs.state(place) is State.LOST]
    if lost:
        time.sleep(apart)
    return [place for place in lost if jobs.state(place) is State.LOST]
