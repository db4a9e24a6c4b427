"""Asking Redis and RQ what they are at. It only looks: nothing is written, and what RQ tidies up is left to RQ."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import redis
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job
from rq.queue import Queue
from rq.registry import FailedJobRegistry, ScheduledJobRegistry
from rq.scheduler import SCHEDULER_LOCKING_KEY_TEMPLATE
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import utcparse
from rq.worker.base import BaseWorker
from rq.worker_registration import REDIS_WORKER_KEYS

from receiver import config
from receiver.config import Settings
from receiver.errors import ConfigError
from receiver.sink import FULL
from workers import streams
from workers.doctor import flow, hearing, local, machine, setup, store, work
from workers.doctor.checking import Report, examine
from workers.doctor.checks import TABLES
from workers.doctor.facts import Backlog, Contact, Flow, Package, Store, Work, Worker
from workers.lease import LEASE

LOOK_AGAIN = 2.0  # seconds; no living worker leaves a job in the intermediate list for as long
_WROTE = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
_WORD = re.compile(r"[a-z][a-z_]{1,31}")

Part = TypeVar("Part")


def diagnose(environ: Mapping[str, str]) -> Report:
    """Look at the running system, and say what is wrong with it."""
    try:
        settings = config.load(environ)
    except ConfigError as exc:
        return examine(((setup.CONFIG, exc.faults), *((checks, None) for checks in TABLES if checks != setup.CONFIG)))
    contact = Contact()
    of_store: Store | None = None
    of_work: Work | None = None
    of_flow: Flow | None = None
    try:
        with streams.opened(settings.redis_url) as client:
            client.ping()
            of_store = _had(lambda: store_of(client, settings.wait_replicas))
            of_work = _had(lambda: work_of(client, settings))
            of_flow = _had(lambda: hearing.flow_of(client, settings))
    except streams.NoAnswerError as exc:
        contact = Contact(str(exc))  # what was learned before that counts
    return examine(
        (
            (store.CONTACT, contact),
            (store.CHECKS, of_store),
            (work.CHECKS, of_work),
            (flow.CHECKS, of_flow),
            (setup.CONFIG, ()),
            (setup.CHECKS, settings),
            (machine.CHECKS, local.look(settings, environ)),
        )
    )


def _had(gather: Callable[[], Part]) -> Part | None:
    """Return a part of the facts, or None where Redis says no to this user: then the rest is looked at all the same."""
    try:
        return gather()
    except redis.exceptions.ResponseError:
        return None


def store_of(client: redis.Redis, wanted_replicas: int = 0) -> Store:
    begun = time.time()
    seconds, microseconds = client.time()
    clock = seconds + microseconds / 1_000_000 - (begun + time.time()) / 2
    info: Any = client.info()
    full: Any = client.get(FULL) if client.type(FULL) == b"string" else None
    settings: Any = {}
    try:
        for name in ("appendfsync", "min-replicas-to-write"):  # one at a time, for Redis 6.2 takes no list
            settings.update(client.config_get(name))
    except redis.exceptions.ResponseError:
        settings = None
    word = full.decode("ascii", "replace") if full is not None else ""
    return Store(
        version=str(info.get("redis_version", "")),
        role=str(info.get("role", "master")),
        cluster=bool(info.get("cluster_enabled")),
        aof=bool(info.get("aof_enabled")),
        policy=str(info.get("maxmemory_policy", "")),
        maxmemory=int(info.get("maxmemory", 0)),
        # As the keeper counts, and Redis itself where it decides that it is full.
        used=int(info.get("used_memory", 0)) - int(info.get("mem_not_counted_for_evict", 0)),
        machine=int(info.get("total_system_memory", 0)),
        settings=settings,
        failing=tuple(name for name in _WROTE if info.get(name, "ok") != "ok"),
        full=None if full is None else (word if _WORD.fullmatch(word) else ""),
        clock=clock,
        replicas=int(info.get("connected_slaves", 0)),
        wanted_replicas=wanted_replicas,
    )


def work_of(client: redis.Redis, settings: Settings) -> Work:
    queues = settings.queues
    first = _taken(client, queues)
    if any(first.values()):
        time.sleep(LOOK_AGAIN)
    again = _taken(client, queues) if any(first.values()) else first
    return Work(
        workers=_workers(client),
        queues={name: _backlog(client, name, len(first[name] & again[name])) for name in queues},
        keeper=bool(client.exists(LEASE)),
        suspended=bool(client.exists(WORKERS_SUSPENDED)),
    )


def _taken(client: redis.Redis, queues: tuple[str, ...]) -> dict[str, set[bytes]]:
    """Return the jobs in each intermediate list."""
    found: Any = [client.lrange(IntermediateQueue.get_intermediate_queue_key(_key(name)), 0, -1) for name in queues]
    return {name: set(jobs) for name, jobs in zip(queues, found, strict=True)}


def _key(queue: str) -> str:
    return f"{Queue.redis_queue_namespace_prefix}{queue}"


def _workers(client: redis.Redis) -> tuple[Worker, ...]:
    """Read what living workers say of themselves; RQ's own way of listing them would take the dead off its list."""
    tested = next((one.tested for one in local.packages() if one.name == "rq"), "")
    names: Any = client.smembers(REDIS_WORKER_KEYS)
    keys = sorted(names)
    with client.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hmget(key, "queues", "version", "death")
        told: Any = pipe.execute()
    found = []
    for key, (queues, version, death) in zip(keys, told, strict=True):
        if queues and not death:
            name = key.decode("utf-8", "replace").removeprefix(BaseWorker.redis_worker_namespace_prefix)
            rq = Package("rq", (version or b"").decode(), tested)
            found.append(Worker(name, tuple(queues.decode().split(",")), rq))
    return tuple(found)


def _backlog(client: redis.Redis, name: str, stuck: int) -> Backlog:
    now = time.time()
    with client.pipeline(transaction=False) as pipe:
        pipe.llen(_key(name))
        pipe.lindex(_key(name), 0)
        pipe.zcount(FailedJobRegistry.key_template.format(name), now, "+inf")
        pipe.zcard(ScheduledJobRegistry.key_template.format(name))
        pipe.exists(SCHEDULER_LOCKING_KEY_TEMPLATE % name)
        waiting, following, failed, scheduled, scheduler = pipe.execute()
    since: Any = None
    if following:
        since = client.hget(f"{Job.redis_job_namespace_prefix}{following.decode()}", "enqueued_at")
    return Backlog(
        waiting=waiting,
        waits=max(0.0, now - utcparse(since.decode()).timestamp()) if since else 0.0,
        stuck=stuck,
        failed=failed,
        scheduled=scheduled,
        scheduler=bool(scheduler),
    )
