"""
The keeper: looks after what a crash left behind, so that no job and no question is lost. ``python -m workers.keeper``.

Any number may run, in ``ulak worker`` and by themselves; the one with the lease acts. It also moves jobs whose time has
come into their queues, with RQ's own scheduler, so that retries come where workers run without one.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import redis
from rq.scheduler import RQScheduler
from rq.serializers import JSONSerializer

from receiver import config
from receiver.config import Settings
from receiver.pipeline import place
from receiver.sink import RedisSink
from workers import worker
from workers.chores import Chore, DeadLetters, Done, Fullness, Locks, LostJobs, LostWatches, Shift, Tally
from workers.lease import Held, Lease, LostError
from workers.tidying import LostQuestions, Trimming

TICK = 1.0  # seconds between two looks at the lease and at the scheduled jobs, as RQ's scheduler has it
_FOR_A_PERSON = frozenset({Done.GIVEN_UP, Done.FULL, Done.DEAD_LETTERS})

_log = logging.getLogger("ulak.keeper")


class Scheduling:
    """RQ's scheduler for every queue, without a process of its own. RQ's locks let one scheduler of a queue work."""

    def __init__(self, client: redis.Redis, queues: Sequence[str]) -> None:
        self._client = client
        self._queues = list(queues)
        self._scheduler: Any = None

    def do(self) -> None:
        """Enqueue what is due, on the queues that no other scheduler works for."""
        if self._scheduler is None:
            made: Any = RQScheduler(
                self._queues, self._client, serializer=JSONSerializer, logging_level=logging.WARNING
            )
            made._connection = self._client  # noqa: SLF001 - it would open a pool of its own
            made.register_birth()
            self._scheduler = made
        if self._scheduler.acquired_locks != set(self._queues):
            self._scheduler.acquire_locks()
        self._scheduler.heartbeat()
        self._scheduler.enqueue_scheduled_jobs()

    def leave(self) -> None:
        """Let others do it at once."""
        if self._scheduler is not None:
            made, self._scheduler = self._scheduler, None
            made.stop()  # it takes away only what is its own


class Keeper:
    """One keeper. ``tick`` never raises: a keeper that ends with an error would be no keeper."""

    def __init__(
        self, settings: Settings, client: redis.Redis, sink: RedisSink, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._every = settings.keeper.every
        self._lease = Lease(client, settings.keeper.lease)
        self._scheduling = Scheduling(client, settings.queues)
        shift = Shift(settings, client, self._lease, clock)
        kinds: Sequence[Callable[[Shift], Chore]] = (LostJobs, LostWatches, Locks, Fullness, Trimming, DeadLetters)
        self._chores = [*(kind(shift) for kind in kinds), LostQuestions(shift, sink)]
        self._clock = clock
        self._next_round = 0.0
        self._acts = False
        self._away = False

    def tick(self) -> None:
        """Hold the lease; with it, enqueue what is due, and do a round when it is time."""
        try:
            self._tick()
        except LostError:
            self._step_down("lost_lease")
        except redis.exceptions.RedisError as exc:
            if not self._away:
                _log.warning("keeper no_answer: %s", type(exc).__name__)
            self._away = True
            self._client.connection_pool.disconnect()  # after a failover, the next connection finds the new master
        except Exception as exc:  # noqa: BLE001 - see above; the log names the place, never a value
            _log.error("keeper failed: %s", place(exc))

    def _tick(self) -> None:
        held = self._lease.hold()
        self._away = False
        if held is Held.BY_ANOTHER:
            if self._acts:
                self._step_down("lost_lease")
            return
        if held is Held.NEWLY:
            # Nobody had it: what was seen before may be long ago, and another may have acted since.
            _log.info("keeper acts")
            for chore in self._chores:
                chore.forget()
        self._acts = True
        self._scheduling.do()
        if self._clock() >= self._next_round:
            self._next_round = self._clock() + self._every
            self._round()

    def _round(self) -> None:
        tally = Tally()
        try:
            for chore in self._chores:
                if self._lease.hold() is Held.BY_ANOTHER:
                    raise LostError
                tally.update(self._try(chore))
        finally:
            done = {word: tally[word] for word in Done if tally[word]}
            if done:
                level = logging.WARNING if _FOR_A_PERSON & done.keys() else logging.INFO
                _log.log(level, "keeper %s", " ".join(f"{word}={count}" for word, count in done.items()))

    def _try(self, chore: Chore) -> Tally:
        """Do a chore; one that our code or a key of a foreign type breaks must not keep the others from being done."""
        try:
            return chore.do()
        except (LostError, redis.exceptions.ConnectionError, redis.exceptions.TimeoutError):
            raise
        except Exception as exc:  # noqa: BLE001 - see above
            _log.error("keeper failed in %s: %s", type(chore).__name__, place(exc))
            return Tally()

    def _step_down(self, word: str) -> None:
        _log.warning("keeper %s", word)
        self._acts = False
        self.leave()

    def leave(self) -> None:
        """Let another keeper act at once, as far as Redis can be reached."""
        for leave in (self._scheduling.leave, self._lease.drop):
            with contextlib.suppress(redis.exceptions.RedisError):
                leave()


def run(settings: Settings, stopping: threading.Event) -> None:
    """Keep until asked to stop."""
    client = worker.connect(settings.redis_url)
    keeper = Keeper(settings, client, RedisSink.of(settings))
    while not stopping.is_set():
        keeper.tick()
        stopping.wait(TICK)
    keeper.leave()


def main() -> None:
    """Keep until SIGTERM or SIGINT, or until the process that started us is gone."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    worker.log_ours()
    threading.Thread(target=worker.leave_with, args=(os.getppid(),), daemon=True).start()
    run(config.load(), stopping)


if __name__ == "__main__":
    main()
