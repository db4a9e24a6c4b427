"""
One RQ worker, set up the safe way: ``python -m workers.worker QUEUE``.

One queue a process, for on two RQ pops without its intermediate list and a kill at that moment loses the job. JSON on
both sides, for with pickle whoever writes to Redis runs code here. Short intervals, so that a killed worker's job is
back within minutes. The scheduler, for without it a retry with a pause never comes.
"""

import logging
import multiprocessing.util
import os
import signal
import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq import Queue, SimpleWorker, Worker
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker

from receiver.routing import CONFIRM

WORKER_TTL = 30  # seconds; an idle worker looks after lost jobs at least this often
MAINTENANCE_INTERVAL = 15
MONITORING_INTERVAL = 5
_CONNECT_TIMEOUT = 5


def connect(url: str) -> redis.Redis:
    """Return a client that never repeats a command: a lost answer to BLMOVE, asked again, would take a second job."""
    return redis.Redis.from_url(url, socket_connect_timeout=_CONNECT_TIMEOUT, retry=Retry(NoBackoff(), 0))


def build(queue: str, client: redis.Redis) -> BaseWorker:
    """
    Return a worker that forks for each job, as consumers' code needs it.

    Our own questions to the providers' APIs run without a fork: it would cost more than the question, and connections.
    """
    kind = SimpleWorker if queue == CONFIRM.queue else Worker
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
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    _log_ours()
    client = connect(url)
    multiprocessing.util.register_after_fork(client, _in_scheduler)
    build(queue, client).work(with_scheduler=True, burst=burst, logging_level="INFO")


def _log_ours() -> None:
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
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    """Stop when the process that started us is gone, so that nothing is left behind where it was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def main(argv: list[str]) -> None:
    queue, *options = argv
    run(queue, os.environ["REDIS_URL"], burst="--burst" in options)


if __name__ == "__main__":
    main(sys.argv[1:])
