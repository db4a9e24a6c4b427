"""
What the keeper does in each round: jobs, watches, locks, the full flag. The streams are ``workers.tidying``.

Each chore looks without writing, is sure before it acts, and acts by scripts that need the lease.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import redis
from rq.job import Job
from rq.registry import FailedJobRegistry

from receiver.config import Settings
from receiver.sink import FULL, WATCH
from workers.lease import Lease
from workers.lost import Jobs, Place, State, Suspects, cleaning_lock

FULL_AT = 0.85  # of maxmemory; at 1 not even a job could be taken out
ROOM_AT = 0.80  # the flag goes again, so that it does not come and go with every callback
OURS = "keeper"  # the flag's value; one with another value was set by a person, and is that person's
_FLAG_LIVES = 4  # leases; without a keeper nobody would take the flag away
_JOB_PAGES = 100  # pages of a thousand keys that are looked through for jobs in one round
_WATCH_PAGES = 10
_LOCK_LIVES = 899_000  # milliseconds; RQ's own
_LOCK_HELD = 60_000  # nobody cleans up for so long: whoever took the lock is gone


class Done(StrEnum):
    """What a round came to; each word is in docs/operations.md, The keeper."""

    PUT_BACK = "put_back"
    GIVEN_UP = "given_up"
    CLEARED = "cleared"
    ASKED_AGAIN = "asked_again"
    DROPPED = "dropped"
    UNLOCKED = "unlocked"
    FULL = "full"
    NOT_FULL = "not_full"
    TRIMMED = "trimmed"
    DEAD_LETTERS = "dead_letters"


Tally = Counter[Done]
_BROUGHT_BACK = {State.LOST: Done.PUT_BACK, State.GIVEN_UP: Done.GIVEN_UP, State.LEFT_OVER: Done.CLEARED}


@dataclass(frozen=True, slots=True)
class Shift:
    """What every chore works with."""

    settings: Settings
    client: redis.Redis
    lease: Lease
    clock: Callable[[], float]


class Chore(Protocol):
    """One kind of work, done in each round."""

    def do(self) -> Tally:
        """Do what there is to do, within bounds; raise LostError where the lease is lost."""

    def forget(self) -> None:
        """Forget what was seen: another keeper may have acted since."""


class LostJobs:
    """
    Puts lost jobs back.

    What workers have taken is looked at in every round, and once more when it is out of RQ's lists, for a crash inside
    a retry leaves a job nowhere. All other jobs are scanned bit by bit.
    """

    def __init__(self, shift: Shift) -> None:
        self._lease = shift.lease
        self._jobs = Jobs(shift.client, shift.settings.queues)
        self._suspects = Suspects[Place](shift.settings.keeper.grace, shift.clock)
        self._taken: set[Place] = set()

    def do(self) -> Tally:
        taken = self._jobs.moving()
        places = taken | self._taken | {*self._suspects} | self._jobs.scan(_JOB_PAGES)
        self._taken = taken
        lost = [place for place in sorted(places) if self._jobs.state(place) in {State.LOST, State.LEFT_OVER}]
        states = (self._jobs.bring_back(place, self._lease) for place in self._suspects.look(lost))
        return Counter(_BROUGHT_BACK[state] for state in states if state in _BROUGHT_BACK)

    def forget(self) -> None:
        self._suspects.forget()


class LostWatches:
    """Drops a watch whose job is gone for good, so that the next callback about this payment begins a new one."""

    # KEYS 2 the watch, 3 its job   ARGV 2 the job's id
    _DROP = """
    if redis.call('HGET', KEYS[2], 'job') ~= ARGV[2] or redis.call('EXISTS', KEYS[3]) == 1 then return 0 end
    return redis.call('DEL', KEYS[2])
    """

    def __init__(self, shift: Shift) -> None:
        self._client = shift.client
        self._lease = shift.lease
        self._suspects = Suspects[str](shift.settings.keeper.grace, shift.clock)
        self._cursor = 0

    def do(self) -> Tally:
        watches = {*self._suspects}
        for _ in range(_WATCH_PAGES):
            found: Any = self._client.scan(self._cursor, match=f"{WATCH}*", count=1000)
            self._cursor, keys = found
            watches |= {key.decode() for key in keys}
            if self._cursor == 0:
                break
        jobs = self._without_job(sorted(watches))
        dropped = 0
        for watch in self._suspects.look(jobs):
            key = Job.redis_job_namespace_prefix + jobs[watch]
            dropped += self._lease.write(self._DROP, [watch, key], [jobs[watch]])
        return Counter({Done.DROPPED: dropped})

    def _without_job(self, watches: Sequence[str]) -> dict[str, str]:
        """Return the watches whose job is not there, each with the job's id."""
        with self._client.pipeline(transaction=False) as pipe:
            for watch in watches:
                pipe.hget(watch, "job")
            named = {watch: job.decode() for watch, job in zip(watches, pipe.execute(), strict=True) if job}
            for job in named.values():
                pipe.exists(Job.redis_job_namespace_prefix + job)
            there = pipe.execute()
        return {watch: job for (watch, job), known in zip(named.items(), there, strict=True) if not known}

    def forget(self) -> None:
        self._suspects.forget()


class Locks:
    """Takes away the locks of workers that were killed while they cleaned up, or nobody would do so for 15 minutes."""

    _UNLOCK = """
    local left = redis.call('PTTL', KEYS[2])
    if left < 0 or left > tonumber(ARGV[2]) then return 0 end
    return redis.call('DEL', KEYS[2])
    """

    def __init__(self, shift: Shift) -> None:
        self._client = shift.client
        self._lease = shift.lease
        self._locks = [cleaning_lock(queue) for queue in shift.settings.queues]

    def do(self) -> Tally:
        there = [lock for lock in self._locks if self._client.exists(lock)]
        gone = [self._lease.write(self._UNLOCK, [lock], [_LOCK_LIVES - _LOCK_HELD]) for lock in there]
        return Counter({Done.UNLOCKED: sum(gone)})

    def forget(self) -> None:
        """Nothing is remembered."""


class Fullness:
    """Sets the flag that sends callbacks to the spool while Redis is nearly full, and takes its own away again."""

    _SET = """
    local flag = redis.call('GET', KEYS[2])
    if flag and flag ~= ARGV[2] then return 0 end
    redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
    return flag and 0 or 1
    """
    _CLEAR = """
    if redis.call('GET', KEYS[2]) == ARGV[2] then return redis.call('DEL', KEYS[2]) end
    return 0
    """

    def __init__(self, shift: Shift) -> None:
        self._client = shift.client
        self._lease = shift.lease
        self._lives = int(shift.settings.keeper.lease * 1000) * _FLAG_LIVES

    def do(self) -> Tally:
        flag: Any = self._client.get(FULL)
        part = self._part()
        if part >= (ROOM_AT if flag == OURS.encode() else FULL_AT):
            return Counter({Done.FULL: self._lease.write(self._SET, [FULL], [OURS, self._lives])})
        if flag == OURS.encode():
            return Counter({Done.NOT_FULL: self._lease.write(self._CLEAR, [FULL], [OURS])})
        return Counter()

    def _part(self) -> float:
        """Return how much of maxmemory is used, as Redis itself counts; 0 where there is no limit."""
        known: Any = self._client.info("memory")
        used = known["used_memory"] - known.get("mem_not_counted_for_evict", 0)
        return used / known["maxmemory"] if known["maxmemory"] else 0.0

    def forget(self) -> None:
        """Nothing is remembered."""


class DeadLetters:
    """Tells that there are more jobs in RQ's failed registries; each keeps its reason there, for a person."""

    def __init__(self, shift: Shift) -> None:
        self._client = shift.client
        self._registries = [FailedJobRegistry.key_template.format(queue) for queue in shift.settings.queues]
        self._known = 0

    def do(self) -> Tally:
        before, self._known = self._known, sum(self._client.zcard(key) for key in self._registries)
        return Counter({Done.DEAD_LETTERS: self._known if self._known > before else 0})

    def forget(self) -> None:
        """Told again by whoever acts next."""
        self._known = 0
