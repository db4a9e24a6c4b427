"""What the accept script wrote, held against RQ itself: its API, its stock worker, its registries and its retries."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from rq import Queue
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker import Worker
from rq.worker.base import BaseWorker

from receiver.ports import Target
from receiver.sink import RedisSink
from workers import worker

from .facts import LEDGER, ORDERS, SHOPPER, entry
from .harness import (
    ROOT,
    RedisServer,
    alive,
    background,
    descendants,
    ended,
    environment,
    got,
    rq,
    run_stock_worker,
    stock_worker,
    until,
    worker_pid,
)

pytestmark = pytest.mark.integration

FAIL = Target("fail", "orders", "consumer.fail")
LINGER = Target("linger", "orders", "consumer.linger_once")


@pytest.fixture
def queue(client: redis.Redis) -> Queue:
    return Queue("orders", connection=client, serializer=JSONSerializer)


def fetch(client: redis.Redis, job: str) -> Job:
    return Job.fetch(job, connection=client, serializer=JSONSerializer)


def accept(sink: RedisSink, route: Target, order: str = "A-1") -> str:
    one = entry(order, routes=(route,))
    assert sink.accept([one])[0].new
    return f"{one.event.id}-{route.route}"


def ulak_worker(server: RedisServer, *more: str) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-m", "workers.worker", "orders", *more], environment(REDIS_URL=server.url)


class TestJobFetch:
    def test_reads_what_the_script_wrote(self, sink: RedisSink, client: redis.Redis) -> None:
        before = datetime.now(UTC)
        one = entry()
        job = fetch(client, accept(sink, ORDERS))

        assert job.func_name == "consumer.record"
        assert job.args == [orjson.loads(one.event.to_json())]
        assert job.kwargs == {}
        assert job.instance is None
        assert job.origin == "orders"
        assert job.timeout == 180
        assert job.result_ttl == 60
        assert job.failure_ttl == 30 * 24 * 3600
        assert job.ttl is None
        assert job.retries_left == 5
        assert job.retry_intervals == [0, 10, 60, 300, 900]
        assert job.get_status() is JobStatus.QUEUED
        assert job.enqueued_at is not None
        assert before.replace(microsecond=0) <= job.enqueued_at <= datetime.now(UTC)
        assert job.created_at == job.enqueued_at
        assert job.started_at is None
        assert job.worker_name is None
        assert job.meta == {}
        assert job.dependency_ids == []

    def test_finds_no_argument_in_the_description(self, sink: RedisSink, client: redis.Redis) -> None:
        job = fetch(client, accept(sink, ORDERS))

        assert job.description == "consumer.record"
        assert SHOPPER in str(job.args)

    def test_can_save_and_requeue_it(self, sink: RedisSink, client: redis.Redis, queue: Queue) -> None:
        job = fetch(client, accept(sink, ORDERS))
        before = job.args
        job.meta["seen"] = "by a person"
        job.save()

        again = fetch(client, job.id)
        assert again.args == before
        assert again.meta == {"seen": "by a person"}
        again.cancel()
        assert queue.job_ids == []

    def test_finds_it_after_a_heartbeat_that_came_before_its_start(self, sink: RedisSink, client: redis.Redis) -> None:
        """RQ deletes a job that has no field for it: the write that says `started` may be lost, and its worker live."""
        before = fetch(client, accept(sink, ORDERS))
        asker = worker.build("orders", client)
        asker.register_birth()  # type: ignore[no-untyped-call]
        asker.maintain_heartbeats(before, asker.prepare_execution(before))

        after = fetch(client, before.id)
        assert after.args == before.args
        assert after.last_heartbeat is not None


class TestQueue:
    def test_lists_the_jobs_in_order(self, sink: RedisSink, client: redis.Redis, queue: Queue) -> None:
        expected = [accept(sink, ORDERS, f"A-{number}") for number in range(3)]

        assert queue.job_ids == expected
        assert queue.count == 3
        assert [job.id for job in queue.jobs] == expected
        assert Queue.all(connection=client, serializer=JSONSerializer) == [queue]

    def test_is_shown_by_rq_info(self, sink: RedisSink, redis_server: RedisServer) -> None:
        accept(sink, ORDERS, "A-1")
        accept(sink, ORDERS, "A-2")
        accept(sink, LEDGER, "A-3")
        shown = rq("info", "-u", redis_server.url, "--raw", env=environment())

        assert shown.returncode == 0, shown.stderr
        assert "queue orders 2" in shown.stdout
        assert "queue books 1" in shown.stdout


class TestStockWorker:
    def test_runs_the_job_with_the_event_and_notes_that_it_finished(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue
    ) -> None:
        job = accept(sink, ORDERS)
        log = run_stock_worker(redis_server, "orders")

        (ran,) = got(client)
        assert ran["event"] == orjson.loads(entry().event.to_json())
        assert ran["job"] == job
        assert FinishedJobRegistry(queue=queue).get_job_ids() == [job]
        assert fetch(client, job).get_status() is JobStatus.FINISHED
        assert 0 < client.ttl(f"rq:job:{job}") <= 60
        assert queue.count == 0
        assert SHOPPER not in log
        assert "consumer.record" in log

    def test_retries_a_failing_job_at_once_and_then_schedules_it(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue
    ) -> None:
        begun = time.time()
        job = accept(sink, FAIL)
        run_stock_worker(redis_server, "orders")
        scheduled = ScheduledJobRegistry(queue=queue)  # type: ignore[no-untyped-call]

        assert [one["attempt"] for one in got(client)] == [1, 2]
        assert scheduled.get_job_ids() == [job]
        assert 9 <= scheduled.get_scheduled_time(job).timestamp() - begun <= 30
        assert fetch(client, job).retries_left == 3
        assert fetch(client, job).get_status() is JobStatus.SCHEDULED
        assert FailedJobRegistry(queue=queue).get_job_ids() == []

    def test_keeps_a_job_that_has_no_retry_left_for_30_days(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue
    ) -> None:
        job = accept(sink, FAIL)
        client.hset(f"rq:job:{job}", "retries_left", 0)
        run_stock_worker(redis_server, "orders")

        failed = FailedJobRegistry(queue=queue)
        assert [one["attempt"] for one in got(client)] == [1]
        assert failed.get_job_ids() == [job]
        assert 29 * 24 * 3600 < client.ttl(f"rq:job:{job}") <= 30 * 24 * 3600
        failed.requeue(job)
        assert queue.job_ids == [job]

    def test_runs_a_job_again_whose_work_horse_was_killed(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue, tmp_path: Path
    ) -> None:
        job = accept(sink, LINGER)
        argv = stock_worker(redis_server, "orders", "--burst")
        with background(argv, environment(), tmp_path / "worker.log") as process:
            (first,) = until(lambda: got(client), "the job runs")
            os.kill(first["horse"], signal.SIGKILL)
            process.wait(30)

        assert [one["attempt"] for one in got(client)] == [1, 2]
        assert got(client)[1]["event"] == first["event"]
        assert fetch(client, job).get_status() is JobStatus.FINISHED
        assert fetch(client, job).retries_left == 4
        assert FinishedJobRegistry(queue=queue).get_job_ids() == [job]


class TestOurWorker:
    def test_runs_a_job_again_whose_worker_and_work_horse_were_killed(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue, tmp_path: Path
    ) -> None:
        job = accept(sink, LINGER)
        argv, env = ulak_worker(redis_server)
        with background(argv, env, tmp_path / "killed.log", cwd=ROOT) as process:
            (first,) = until(lambda: got(client), "the job runs")
            assert first["worker"] == process.pid
            with ended(descendants(process.pid)):
                process.kill()
                process.wait(10)
            until(lambda: not alive(first["horse"]), "the work horse is gone")

        started = StartedJobRegistry(queue=queue)
        assert started.get_job_ids(cleanup=False) == [job]
        assert fetch(client, job).get_status() is JobStatus.STARTED
        # A minute of monitoring and what is left of an interval: then the registry says that nobody is at it.
        ((_, overdue),) = _scores(client, started.key)
        assert overdue - time.time() <= worker.MONITORING_INTERVAL + 61
        started.cleanup(timestamp=overdue + 1)
        assert queue.job_ids == [job]

        argv, env = ulak_worker(redis_server, "--burst")
        with background(argv, env, tmp_path / "next.log", cwd=ROOT) as process:
            assert process.wait(30) == 0

        assert [one["attempt"] for one in got(client)] == [1, 2]
        assert fetch(client, job).get_status() is JobStatus.FINISHED
        assert fetch(client, job).retries_left == 4

    def test_takes_up_a_job_that_was_lost_between_the_list_and_its_start(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue
    ) -> None:
        job = accept(sink, ORDERS)
        # What a worker leaves that is killed right after BLMOVE.
        client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
        with _built(redis_server) as built:
            queue.intermediate_queue.cleanup(built, queue)
            assert queue.job_ids == []
            client.set(queue.intermediate_queue.get_first_seen_key(job), time.time() - 61)
            queue.intermediate_queue.cleanup(built, queue)

        assert queue.job_ids == [job]
        run_stock_worker(redis_server, "orders")
        assert [one["attempt"] for one in got(client)] == [1]

    def test_goes_after_lost_jobs_every_few_seconds_and_logs_no_arguments(self, redis_server: RedisServer) -> None:
        with _built(redis_server) as built:
            assert built.queue_names() == ["orders"]
            assert built.serializer is JSONSerializer
            assert built.maintenance_interval == 15
            assert built.worker_ttl == 30
            assert built.job_monitoring_interval == 5
            assert not built.log_job_description

    def test_enqueues_what_was_scheduled(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue, tmp_path: Path
    ) -> None:
        job = accept(sink, FAIL)
        run_stock_worker(redis_server, "orders")
        scheduled = ScheduledJobRegistry(queue=queue)  # type: ignore[no-untyped-call]
        client.zadd(scheduled.key, {job: int(time.time()) - 1})

        argv, env = ulak_worker(redis_server)
        with background(argv, env, tmp_path / "worker.log", cwd=ROOT):
            until(lambda: len(got(client)) == 3, "the third attempt")

        assert [one["attempt"] for one in got(client)] == [1, 2, 3]

    def test_goes_with_the_process_that_started_it(
        self, redis_server: RedisServer, client: redis.Redis, tmp_path: Path
    ) -> None:
        argv, env = ulak_worker(redis_server)
        script = f"import subprocess, sys; subprocess.Popen({argv!r}); sys.stdin.read(); import time; time.sleep(60)"
        with background([sys.executable, "-c", script], env, tmp_path / "parent.log", cwd=ROOT) as parent:
            key = Worker.redis_workers_keys
            until(lambda: client.scard(key) == 1, "the worker is registered")
            pid = worker_pid(client)
            assert alive(pid)
            with ended([pid, *descendants(pid)]):
                parent.kill()
                parent.wait(10)
                until(lambda: not alive(pid), "the worker has gone with its parent", within=25)

        assert client.smembers(key) == set()

    def test_takes_no_job_with_it_when_it_is_killed_while_it_waits(
        self, sink: RedisSink, client: redis.Redis, redis_server: RedisServer, queue: Queue, tmp_path: Path
    ) -> None:
        argv, env = ulak_worker(redis_server)
        with background(argv, env, tmp_path / "worker.log", cwd=ROOT) as process:
            until(lambda: any(one["cmd"] == "blmove" for one in client.client_list()), "the worker waits")
            with ended(descendants(process.pid)):
                process.kill()
                process.wait(10)
                until(lambda: not any(one["cmd"] == "blmove" for one in client.client_list()), "Redis knows", within=5)
                job = accept(sink, ORDERS)

                assert queue.job_ids == [job]

    def test_leaves_no_scheduler_behind_when_it_is_killed(
        self, client: redis.Redis, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        argv, env = ulak_worker(redis_server)
        with background(argv, env, tmp_path / "worker.log", cwd=ROOT) as process:
            (scheduler,) = until(lambda: descendants(process.pid), "a scheduler")
            with ended([scheduler]):
                process.kill()
                process.wait(10)
                until(lambda: not alive(scheduler), "the scheduler has gone with its worker", within=6)


def _scores(client: redis.Redis, key: str) -> list[tuple[bytes, float]]:
    found: Any = client.zrange(key, 0, -1, withscores=True)
    return [(one, float(score)) for one, score in found]


@contextlib.contextmanager
def _built(server: RedisServer) -> Iterator[BaseWorker]:
    """Give a worker of ours that is built and not started; its client is closed afterwards."""
    own = worker.connect(server.url)
    try:
        yield worker.build("orders", own)
    finally:
        own.close()
