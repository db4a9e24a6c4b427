"""The jobs that the tests' routes name. A worker imports this by its bare name, as it would a shop's module."""

import os
import time
from pathlib import Path
from typing import Any

import orjson
from rq import get_current_job

GOT = "test:got"


def _note(event: dict[str, Any]) -> int:
    """Write down what came in, and return how many runs of this job there were."""
    job = get_current_job()
    assert job is not None
    attempt = int(job.connection.incr(f"test:attempts:{job.id}"))
    note = {"event": event, "job": job.id, "attempt": attempt, "horse": os.getpid(), "worker": os.getppid()}
    job.connection.rpush(GOT, orjson.dumps(note))
    return attempt


def record(event: dict[str, Any]) -> None:
    _note(event)


def fail(event: dict[str, Any]) -> None:
    raise RuntimeError(f"attempt {_note(event)}")


def linger_once(event: dict[str, Any]) -> None:
    """Hang in the first run, so that somebody can kill it; be done in the second."""
    if _note(event) == 1:
        time.sleep(60)


def take_a_moment(event: dict[str, Any]) -> None:
    """Be busy long enough that somebody can kill the worker above."""
    _note(event)
    time.sleep(2)


def put_down(event: dict[str, Any]) -> None:
    """Write the event's subject into a file, which no failover of Redis takes back."""
    with Path(os.environ["PUT_DOWN"]).open("a", encoding="utf-8") as notes:
        notes.write(f"{event['subject']}\n")
