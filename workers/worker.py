"""
One RQ worker, set up the safe way: ``python -m workers.worker QUEUE``.

One queue a process, for on two RQ pops without its intermediate list and a kill at that moment loses the job. JSON on
both sides, for with pickle whoever writes to Redis runs code here. Short intervals, so that a killed worker's job is
back within minutes. The scheduler, for without it a retry with a pause never comes.
"""

import contextlib
import logging
import multiprocessing.util
import os
import signal
import sys
import threading
import time
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker, Worker
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker

from receiver import connection
from receiver.routing import OURS

WORKER_TTL = 30  # seconds; an idle worker looks after lost jobs at least this often
MAINTENANCE_INTERVAL = 15
MONITORING_INTERVAL = 5
_TIMEOUT = 5  # RQ's worker lengthens the one for answers to fit its waiting
_FAILOVER = 15  # seconds that a new connection waits for a new master; RQ's scheduler would end with the first error


class Asker(SimpleWorker):
    """
    Works without a fork, and sends heartbeats all the same.

    RQ's own sends none while it works, so that a job of one that was killed would be missed only after its time-out.
    """

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return BaseWorker.get_heartbeat_ttl(self, job, working_time)

    def work(self, *args: Any, **kwargs: Any) -> bool:
        threading.Thread(target=self._beat, daemon=True).start()
        return super().work(*args, **kwargs)

    def _beat(self) -> None:
        while True:
            time.sleep(self.job_monitoring_interval)
            for execution in [*self.executions.values()]:
                with contextlib.suppress(redis.exceptions.RedisError):  # the next one may come through
                    self.maintain_heartbeats(execution.job, execution)


def connect(url: str) -> redis.Redis:
    """Return a client that never repeats a command: a lost answer to BLMOVE, asked again, would take a second job."""
    times = {"patience": _FAILOVER, "socket_connect_timeout": _TIMEOUT, "socket_timeout": _TIMEOUT}
    return connection.client(url, **times, retry=Retry(NoBackoff(), 0))


def build(queue: str, client: redis.Redis) -> BaseWorker:
    """
    Return a worker that forks for each job, as consumers' code needs it.

    Our own questions to the providers' APIs run without a fork: it would cost more than the question, and connections.
    """
    kind = Asker if queue in OURS else Worker
    return kind(
        [Queue(queue, connection=client, serializer=JSONSerializer)],
        connection=client,
        serializer=JSONSerializer,
        worker_ttl=WORKER_TTL,
        maintenance_interval=MAINTENANCE_INTERVAL,
        job_monitoring_interval=MONITORING_INTERVAL,
        log_job_description=False,
    )


def run(queue: str, url: str, *, burst: bool = False) -> None:
    """Work on one queue until asked to stop (SIGTERM or SIGINT: after the current job), or until it is empty."""
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()
    log_ours()
    client = connect(url)
    multiprocessing.util.register_after_fork(client, _in_scheduler)
    build(queue, client).work(with_scheduler=True, burst=burst, logging_level="INFO")


def log_ours() -> None:
    """Show the lines of our own jobs: RQ sets up its own loggers only, and below a warning nothing would be seen."""
    ours = logging.getLogger("ulak")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s", "%H:%M:%S"))
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)
    ours.propagate = False


def _in_scheduler(client: redis.Redis) -> None:
    """
    Let go of the worker's connections, and go when it goes. Runs in RQ's scheduler, not in a work horse.

    With a copy of the connection that the worker waits on, Redis would hand the next job to a worker that was killed.
    """
    client.connection_pool.reset()
    threading.Thread(target=leave_with, args=(os.getppid(),), daemon=True).start()


def leave_with(parent: int) -> None:
    """Stop when the process that started us is gone, so that nothing is left behind where it was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def main(argv: list[str]) -> None:
    queue, *options = argv
    run(queue, os.environ["REDIS_URL"], burst="--burst" in options)


if __name__ == "__main__":
    main(sys.argv[1:])
