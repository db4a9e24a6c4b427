"""Jobs of workers that were killed, at every moment: stock ones and ours, and what RQ's own source leaves behind."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from rq import Queue
from rq.executions import Execution
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer

from receiver.ports import Target
from receiver.sink import RedisSink
from workers import chores
from workers.chores import Done
from workers.lost import LOSSES, Place, lost_jobs

from .facts import ORDERS, entry
from .harness import (
    BIN,
    ROOT,
    RedisServer,
    alive,
    background,
    descendants,
    ended,
    environment,
    got,
    run_stock_worker,
    stock_worker,
    ulak,
    until,
)
from .keeping import Kept, kept, settings_of, write_config

pytestmark = pytest.mark.integration

LINGER = Target("linger", "orders", "consumer.linger_once")
SLOW = Target("slow", "orders", "consumer.take_a_moment")
FAIL = Target("fail", "orders", "consumer.fail")
QUESTION = Target("linger", "ulak-confirm", "consumer.linger_once")


@pytest.fixture
def house(redis_server: RedisServer, tmp_path: Path) -> Iterator[Kept]:
    with kept(settings_of(redis_server, tmp_path)) as found:
        yield found


@pytest.fixture
def queue(client: redis.Redis) -> Queue:
    return Queue("orders", connection=client, serializer=JSONSerializer)


def accept(sink: RedisSink, route: Target = ORDERS, order: str = "A-1") -> str:
    one = entry(order, routes=(route,))
    assert sink.accept([one])[0].new
    return f"{one.event.id}-{route.route}"


def fetch(client: redis.Redis, job: str) -> Job:
    return Job.fetch(job, connection=client, serializer=JSONSerializer)


def losses(client: redis.Redis, job: str) -> int:
    found: Any = client.hget(f"rq:job:{job}", "ulak_lost")
    return int(found or 0)


def ours(queue: str = "orders", *, monitoring: int = 5) -> list[str]:
    script = f"import os; from workers import worker; worker.MONITORING_INTERVAL = {monitoring}; "
    return [sys.executable, "-c", f"{script}worker.run({queue!r}, os.environ['REDIS_URL'])"]


def worker_key(client: redis.Redis) -> str:
    (name,) = list(client.smembers("rq:workers"))
    return name.decode() if isinstance(name, bytes) else name


def miss_a_heartbeat(client: redis.Redis) -> None:
    """Take from the worker's key what a while without heartbeats takes."""
    client.pexpire(worker_key(client), 50_000)


def is_gone(client: redis.Redis) -> bool:
    """Say whether Redis has noticed that nobody listens for the worker any more."""
    channel = worker_key(client).replace("rq:worker:", "rq:pubsub:")
    ((_, count),) = client.pubsub_numsub(channel)
    return bool(count == 0)


@pytest.fixture(params=["stock", "ours"])
def argv(request: pytest.FixtureRequest, redis_server: RedisServer) -> Sequence[str]:
    return stock_worker(redis_server, "orders") if request.param == "stock" else ours()


class TestOfAKilledWorker:
    def test_a_job_in_the_middle_comes_back_and_keeps_its_retries(
        self, house: Kept, sink: RedisSink, queue: Queue, argv: Sequence[str], redis_server: RedisServer, tmp_path: Path
    ) -> None:
        client = house.client
        job = accept(sink, LINGER)
        env = environment(REDIS_URL=redis_server.url)
        with background(argv, env, tmp_path / "worker.log", cwd=ROOT) as process:
            until(lambda: got(client), "the job runs")
            house.rounds(6)
            assert queue.job_ids == []
            with ended(descendants(process.pid)):
                process.kill()
                process.wait(10)
            until(lambda: is_gone(client), "the worker and its work horse are gone")
        accept(sink, ORDERS, "A-2")
        miss_a_heartbeat(client)
        house.rounds(2)
        assert job not in queue.job_ids
        house.rounds(1)

        assert queue.job_ids[0] == job
        assert StartedJobRegistry(queue=queue).get_job_ids(cleanup=False) == []
        assert (fetch(client, job).retries_left, losses(client, job)) == (5, 1)
        run_stock_worker(redis_server, "orders")
        assert [one["attempt"] for one in got(client) if one["job"] == job] == [1, 2]
        assert fetch(client, job).get_status() is JobStatus.FINISHED

    def test_a_job_whose_work_horse_goes_on_is_left_to_it(
        self, house: Kept, sink: RedisSink, queue: Queue, argv: Sequence[str], redis_server: RedisServer, tmp_path: Path
    ) -> None:
        client = house.client
        job = accept(sink, SLOW)
        env = environment(REDIS_URL=redis_server.url)
        with background(argv, env, tmp_path / "worker.log", cwd=ROOT) as process:
            (first,) = until(lambda: got(client), "the job runs")
            others = [pid for pid in descendants(process.pid) if pid != first["horse"]]
            process.kill()
            process.wait(10)
            with ended([first["horse"]]):
                with ended(others):
                    pass  # a scheduler of the stock worker would go on
                miss_a_heartbeat(client)
                house.rounds(6)
                assert alive(first["horse"])
                assert queue.job_ids == []
                until(lambda: fetch(client, job).get_status() is JobStatus.FINISHED, "the horse is done")
        house.rounds(3)

        assert queue.job_ids == []
        assert [one["attempt"] for one in got(client)] == [1]

    def test_a_job_comes_back_once_where_only_the_work_horse_was_killed(
        self, house: Kept, sink: RedisSink, argv: Sequence[str], redis_server: RedisServer, tmp_path: Path
    ) -> None:
        client = house.client
        job = accept(sink, LINGER)
        env = environment(REDIS_URL=redis_server.url)
        with background(argv, env, tmp_path / "worker.log", cwd=ROOT):
            (first,) = until(lambda: got(client), "the job runs")
            os.kill(first["horse"], signal.SIGKILL)
            until(lambda: fetch(client, job).get_status() is JobStatus.FINISHED, "it was run again")
            house.rounds(3)

        assert [one["attempt"] for one in got(client)] == [1, 2]
        assert (fetch(client, job).retries_left, losses(client, job)) == (4, 0)

    def test_a_question_comes_back_though_its_worker_does_not_fork(
        self, house: Kept, sink: RedisSink, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        client = house.client
        job = accept(sink, QUESTION)
        argv, env = ours("ulak-confirm", monitoring=1), environment(REDIS_URL=redis_server.url)
        with background(argv, env, tmp_path / "worker.log", cwd=ROOT) as process:
            (first,) = until(lambda: got(client), "the job runs")
            assert first["horse"] == process.pid
            key = worker_key(client)
            client.expire(key, 40)
            until(lambda: client.ttl(key) > 40, "a heartbeat while it works")
            assert client.ttl(key) <= 61
            house.rounds(6)
            with ended(descendants(process.pid)):
                process.kill()
                process.wait(10)
        until(lambda: is_gone(client), "the worker is gone")
        miss_a_heartbeat(client)
        house.rounds(3)

        assert client.lrange("rq:queue:ulak-confirm", 0, -1) == [job.encode()]

    def test_nothing_is_lost_where_only_its_subscription_ended(
        self, house: Kept, sink: RedisSink, queue: Queue, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        client = house.client
        accept(sink, LINGER)
        argv, env = stock_worker(redis_server, "orders"), environment()
        with background(argv, env, tmp_path / "worker.log") as process:
            until(lambda: got(client), "the job runs")
            client.client_kill_filter(_type="pubsub")
            house.rounds(6)

            assert queue.job_ids == []
            with ended(descendants(process.pid)):
                process.kill()


class TestThatNoWorkerHas:
    """What RQ leaves where a worker is killed between two of its steps."""

    def test_a_job_between_the_list_and_its_start_comes_back(
        self, house: Kept, sink: RedisSink, queue: Queue, redis_server: RedisServer
    ) -> None:
        job = accept(sink)
        house.client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
        house.client.set(queue.intermediate_queue.get_first_seen_key(job), time.time())
        house.rounds(2)
        assert queue.job_ids == []
        house.rounds(1)

        assert queue.job_ids == [job]
        assert house.client.keys(f"{queue.intermediate_queue_key}*") == []
        run_stock_worker(redis_server, "orders")
        assert [one["attempt"] for one in got(house.client)] == [1]

    def test_a_job_that_begins_in_the_meantime_is_left_alone(
        self, house: Kept, sink: RedisSink, queue: Queue, redis_server: RedisServer
    ) -> None:
        job = accept(sink)
        house.client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
        house.rounds(2)
        house.client.lmove(queue.intermediate_queue_key, queue.key, "LEFT", "RIGHT")
        run_stock_worker(redis_server, "orders")
        house.rounds(4)

        assert [one["attempt"] for one in got(house.client)] == [1]
        assert losses(house.client, job) == 0

    @pytest.mark.parametrize("cleaned", [False, True])
    def test_a_job_inside_a_retry_comes_back(
        self, house: Kept, sink: RedisSink, queue: Queue, monkeypatch: pytest.MonkeyPatch, *, cleaned: bool
    ) -> None:
        monkeypatch.setattr(chores, "_JOB_PAGES", 0)  # at once, and not when the scan has come so far
        client = house.client
        job = _started(client, queue, accept(sink, FAIL), retries_left=4)
        house.rounds(1)
        # RQ says first that it is scheduled, and schedules it in the pipeline that is sent afterwards.
        with client.pipeline() as pipe:
            job.retry(queue, pipe)
        assert job.get_status() is JobStatus.SCHEDULED
        client.delete(f"rq:execution:{_execution(client)}")
        if cleaned:
            StartedJobRegistry(queue=queue).cleanup(timestamp=time.time() + 3600)
            assert client.zcard("rq:wip:orders") == 0
        house.rounds(4)

        assert queue.job_ids == [job.id]
        assert fetch(client, job.id).retries_left == 4
        assert client.zcard("rq:wip:orders") == 0

    def test_a_job_that_is_scheduled_for_a_retry_waits_there(self, house: Kept, sink: RedisSink, queue: Queue) -> None:
        client = house.client
        job = _started(client, queue, accept(sink, FAIL), retries_left=4)
        house.rounds(1)
        with client.pipeline() as pipe:
            job.retry(queue, pipe)
            pipe.zrem("rq:wip:orders", _execution(client))
            pipe.delete(f"rq:execution:{_execution(client)}")
            pipe.zadd("rq:scheduled:orders", {job.id: time.time() + 3600})  # however slow the machine is
            pipe.execute()
        house.rounds(6)

        assert client.zrange("rq:scheduled:orders", 0, -1) == [job.id.encode()]
        assert queue.job_ids == []

    @pytest.mark.parametrize("status", ["queued", "started", "scheduled"])
    @pytest.mark.parametrize("behind", [False, True])
    def test_a_job_that_is_in_no_list_at_all_comes_back(
        self, house: Kept, sink: RedisSink, queue: Queue, status: str, *, behind: bool
    ) -> None:
        job = accept(sink)
        house.client.delete(queue.key)
        house.client.hset(f"rq:job:{job}", mapping={"status": status, "enqueued_at": "2026-11-22T10:00:00.000000Z"})
        more = [accept(sink, order="A-2")] if behind else []
        house.rounds(4)

        assert queue.job_ids == [job, *more]

    def test_a_job_that_ended_is_taken_out_of_the_intermediate_list_and_not_run_again(
        self, house: Kept, sink: RedisSink, queue: Queue, redis_server: RedisServer
    ) -> None:
        job = accept(sink)
        run_stock_worker(redis_server, "orders")
        house.client.rpush(queue.intermediate_queue_key, job)
        house.rounds(3)

        assert house.client.llen(queue.intermediate_queue_key) == 0
        assert queue.job_ids == []
        assert FinishedJobRegistry(queue=queue).get_job_ids() == [job]

    def test_a_job_waits_while_rq_itself_cleans_up(self, house: Kept, sink: RedisSink, queue: Queue) -> None:
        job = accept(sink)
        house.client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
        assert queue.acquire_maintenance_lock()
        house.rounds(5)
        assert queue.job_ids == []
        queue.release_maintenance_lock()  # type: ignore[no-untyped-call]
        house.rounds(1)

        assert queue.job_ids == [job]

    def test_a_job_that_is_lost_too_often_becomes_a_dead_letter(
        self, house: Kept, sink: RedisSink, queue: Queue, caplog: pytest.LogCaptureFixture
    ) -> None:
        client = house.client
        job = accept(sink)
        for lost in range(LOSSES):
            client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
            house.rounds(3)
            assert (queue.job_ids, losses(client, job)) == ([job], lost + 1)
        client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
        house.rounds(4)

        failed = FailedJobRegistry(queue=queue)
        assert (queue.job_ids, failed.get_job_ids()) == ([], [job])
        assert fetch(client, job).get_status() is JobStatus.FAILED
        assert fetch(client, job)._exc_info == "Lost 10 times: whoever ran this job was gone before its end."
        assert 29 * 24 * 3600 < client.ttl(f"rq:job:{job}") <= 30 * 24 * 3600
        assert f"{Done.GIVEN_UP}=1" in caplog.text
        assert caplog.text.count(f"{Done.DEAD_LETTERS}=1") == 1
        failed.requeue(job)
        assert queue.job_ids == [job]

    def test_jobs_that_wait_run_or_are_not_ours_are_left_where_they_are(
        self, house: Kept, sink: RedisSink, queue: Queue
    ) -> None:
        client = house.client
        waiting = [accept(sink, order=f"A-{number}") for number in range(3)]
        scheduled = accept(sink, order="B-1")
        client.lrem(queue.key, 1, scheduled)
        client.hset(f"rq:job:{scheduled}", "status", "scheduled")
        client.zadd("rq:scheduled:orders", {scheduled: time.time() + 3600})
        running = _started(client, queue, accept(sink, order="C-1"), retries_left=5)
        foreign = queue.enqueue("consumer.record", job_id="theirs")
        client.lrem(queue.key, 1, foreign.id)
        house.rounds(6)

        assert queue.job_ids == waiting
        assert client.zrange("rq:scheduled:orders", 0, -1) == [scheduled.encode()]
        assert StartedJobRegistry(queue=queue).get_job_ids(cleanup=False) == [running.id]
        assert sum(losses(client, job) for job in (*waiting, scheduled, running.id)) == 0

    def test_a_person_is_told_of_them(self, client: redis.Redis, sink: RedisSink, queue: Queue) -> None:
        job, _ = accept(sink), accept(sink, order="A-2")
        client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")

        assert lost_jobs(client, apart=0.0) == [Place("orders", job)]
        client.lmove(queue.intermediate_queue_key, queue.key, "LEFT", "RIGHT")
        assert lost_jobs(client, apart=0.0) == []


class TestScheduler:
    def test_retries_come_though_no_worker_has_a_scheduler(
        self, house: Kept, sink: RedisSink, redis_server: RedisServer
    ) -> None:
        job = accept(sink, FAIL)
        run_stock_worker(redis_server, "orders")
        assert house.client.zrange("rq:scheduled:orders", 0, -1) == [job.encode()]
        house.client.zadd("rq:scheduled:orders", {job: int(time.time()) - 1})
        house.rounds(1)
        run_stock_worker(redis_server, "orders")

        assert [one["attempt"] for one in got(house.client)] == [1, 2, 3]

    def test_takes_over_from_a_dead_one_when_its_lock_ends(
        self, house: Kept, sink: RedisSink, queue: Queue, redis_server: RedisServer
    ) -> None:
        client = house.client
        job = accept(sink, FAIL)
        run_stock_worker(redis_server, "orders")
        client.zadd("rq:scheduled:orders", {job: int(time.time()) - 1})
        lock = RQScheduler.get_locking_key("orders")
        client.set(lock, "one that was killed", ex=61)
        house.rounds(2)
        assert queue.job_ids == []
        client.pexpire(lock, 1)
        until(lambda: not client.exists(lock), "the lock ends")
        house.rounds(1)

        assert queue.job_ids == [job]

    def test_lets_others_do_it_at_once_when_it_leaves(self, house: Kept) -> None:
        house.rounds(1)
        lock = RQScheduler.get_locking_key("orders")
        assert house.client.exists(lock)
        house.keeper.leave()

        assert not house.client.exists(lock, "ulak:keeper")


@contextlib.contextmanager
def _keeper(server: RedisServer, config: Path, name: str) -> Iterator[Any]:
    argv = [sys.executable, "-m", "workers.keeper"]
    with background(argv, server.ulak(config), config.parent / f"{name}.log", cwd=ROOT) as process:
        yield process


def _holder(client: redis.Redis) -> int:
    token: Any = client.get("ulak:keeper")
    return int(token.split(b":")[1]) if token else 0


class TestKeepers:
    def test_of_two_one_acts_and_the_other_takes_over(
        self, client: redis.Redis, redis_server: RedisServer, sink: RedisSink, queue: Queue, tmp_path: Path
    ) -> None:
        config = write_config(tmp_path)
        with _keeper(redis_server, config, "first") as first:
            until(lambda: _holder(client) == first.pid, "the first one acts")
            with _keeper(redis_server, config, "second") as second:
                job = accept(sink)
                client.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
                until(lambda: queue.job_ids == [job], "the job is back", 30)
                assert _holder(client) == first.pid
                assert losses(client, job) == 1
                until(lambda: "put_back=1" in (tmp_path / "first.log").read_text(), "a line about it")
                first.kill()
                until(lambda: _holder(client) == second.pid, "the second one acts", 30)
                client.set("rq:clean_registries:orders", 1, ex=600)
                until(lambda: not client.exists("rq:clean_registries:orders"), "a round of the second one", 30)

        assert losses(client, job) == 1
        assert client.get("ulak:keeper") is None
        assert (tmp_path / "first.log").read_text().count("put_back=1") == 1
        assert (tmp_path / "second.log").read_text().count("unlocked=1") == 1

    def test_one_comes_with_ulak_worker_and_is_started_again(
        self, client: redis.Redis, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        env = redis_server.ulak(write_config(tmp_path))
        argv = [str(BIN / "ulak"), "worker", "--queue", "orders"]
        with background(argv, env, tmp_path / "worker.log") as process:
            first = until(lambda: _holder(client), "a keeper", 30)
            assert first in descendants(process.pid)
            os.kill(first, signal.SIGKILL)
            client.delete("ulak:keeper")  # it would end after some seconds
            until(lambda: _holder(client) not in {0, first}, "another keeper", 30)

        assert client.get("ulak:keeper") is None

    def test_runs_by_itself_until_it_is_asked_to_stop(
        self, client: redis.Redis, redis_server: RedisServer, tmp_path: Path
    ) -> None:
        env = redis_server.ulak(write_config(tmp_path))
        with background([str(BIN / "ulak"), "keeper"], env, tmp_path / "keeper.log") as process:
            until(lambda: _holder(client) == process.pid, "it acts")
            process.terminate()

            assert process.wait(10) == 0
        assert client.get("ulak:keeper") is None
        assert (tmp_path / "keeper.log").read_text().splitlines()[0].endswith("ulak.keeper INFO keeper acts")

    def test_tells_faults_of_the_configuration(self, tmp_path: Path) -> None:
        path = write_config(tmp_path)
        path.write_text(path.read_text().replace('lease = "3 s"', 'lease = "1 s"'))
        done = ulak("keeper", env=environment(ULAK_CONFIG=str(path)))

        assert done.returncode == 1
        assert "keeper.lease: must be at least 3 s" in done.stderr

    def test_goes_on_when_redis_is_back(self, own_redis: RedisServer, tmp_path: Path) -> None:
        with own_redis.client() as client, _keeper(own_redis, write_config(tmp_path), "keeper") as process:
            until(lambda: _holder(client) == process.pid, "it acts")
            own_redis.kill()
            own_redis.start()
            client.delete("ulak:keeper")
            until(lambda: _holder(client) == process.pid, "it acts again", 30)


def _started(client: redis.Redis, queue: Queue, job_id: str, retries_left: int) -> Job:
    """Leave what RQ's worker has written while a job runs, with a worker that is still there."""
    client.lrem(queue.key, 1, job_id)
    client.hset(f"rq:job:{job_id}", "retries_left", retries_left)
    job = fetch(client, job_id)
    client.hset("rq:worker:w1", "state", "busy")
    client.expire("rq:worker:w1", 90)
    with client.pipeline() as pipe:
        Execution.create(job, 90, pipe, worker_name="w1")
        job.prepare_for_execution("w1", pipe)
        pipe.execute()
    return job


def _execution(client: redis.Redis) -> str:
    found: Any = client.zrange("rq:wip:orders", 0, -1)
    (name,) = found
    return str(name, "ascii")
