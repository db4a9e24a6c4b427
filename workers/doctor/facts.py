"""
What the doctor knows when it begins to judge: gathered first, so that each check is a question to plain values.

Nothing here holds a secret or anything that was sent: names of the configuration, of queues and workers, and numbers.
"""

import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Contact:
    """Whether Redis answers; ``error`` is the class of the error where it does not."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class Store:
    """What Redis says of itself; what it does not tell is empty. Sizes are bytes, ``clock`` seconds before ours."""

    version: str
    role: str
    cluster: bool
    aof: bool
    policy: str
    maxmemory: int
    used: int
    machine: int
    settings: Mapping[str, str] | None  # None: CONFIG is forbidden
    failing: tuple[str, ...] = ()  # what of INFO says that a write to disk failed
    full: str | None = None  # the value of the full flag
    clock: float = 0.0
    replicas: int = 0
    wanted_replicas: int = 0  # wait_replicas


@dataclass(frozen=True, slots=True)
class Package:
    """A library as it is installed somewhere, and the versions that were tested, such as ``>=3,<4``."""

    name: str
    version: str
    tested: str

    @property
    def fits(self) -> bool:
        found = _numbers(self.version)
        return all(_COMPARED[sign](found, _numbers(limit)) for sign, limit in _LIMIT.findall(self.tested))


_LIMIT = re.compile(r"(>=|<=|==|!=|<|>)\s*([0-9][^,;\s]*)")
_COMPARED = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}


def _numbers(version: str) -> tuple[int, ...]:
    """Return 3.0.1 as (3, 0, 1), without what stands behind the numbers of a version, and without zeros at its end."""
    found = re.match(r"[0-9]+(?:\.[0-9]+)*", version)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that RQ knows, and the RQ that it runs."""

    name: str
    queues: tuple[str, ...]
    rq: Package


@dataclass(frozen=True, slots=True)
class Backlog:
    """A queue of the configuration. ``waits`` is for how many seconds its next job has waited."""

    waiting: int = 0
    waits: float = 0.0
    stuck: int = 0
    failed: int = 0
    scheduled: int = 0
    scheduler: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """What RQ is at."""

    workers: tuple[Worker, ...]
    queues: Mapping[str, Backlog]
    keeper: bool = True
    suspended: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A consumer group; ``behind`` is the age in seconds of the oldest entry that it has not acknowledged."""

    stream: str
    name: str
    behind: float


@dataclass(frozen=True, slots=True)
class Heard:
    """
    When an account's provider called, as far as it can be told.

    ``silent`` is for how many seconds it has not, ``longest`` the longest pause before that, among ``calls`` calls.
    """

    silent: float
    longest: float
    calls: int
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Spending:
    """One merchant's questions of a day: needed by what came in 24 hours, spent so far, and the limit."""

    accounts: tuple[str, ...]
    needed: int
    spent: int
    per_day: int


@dataclass(frozen=True, slots=True)
class Flow:
    """What the newest entries of the streams tell: those of ``seen`` seconds, ``whole`` where these are all."""

    seen: float = 0.0
    whole: bool = True
    groups: tuple[Group, ...] = ()
    heard: Mapping[str, Heard] = field(default_factory=dict)  # by provider/account
    held_long: Mapping[str, int] = field(default_factory=dict)
    held_forgotten: Mapping[str, int] = field(default_factory=dict)
    quarantined: Mapping[str, int] = field(default_factory=dict)  # by provider/account and reason
    spendings: tuple[Spending, ...] = ()


@dataclass(frozen=True, slots=True)
class Spool:
    """What lies in this machine's spool. ``age`` is the oldest row's, ``room`` and ``most`` are bytes."""

    trouble: str = ""  # why it cannot be looked at
    waiting: int = 0
    old: int = 0
    parked: int = 0
    age: float = 0.0
    room: int = 0
    most: int = 0


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine shows of files, folders and libraries."""

    packages: tuple[Package, ...] = ()
    open_secrets: tuple[str, ...] = ()  # references that anybody here may read
    shared_secrets: tuple[str, ...] = ()  # references that a group may read
    config_writable: bool = False
    data: str = ""  # why ULAK_DATA cannot be written to; empty where it can
    metrics: str = ""  # the same for the folder of the metrics
    fsync: float = 0.0  # seconds, the middle of some tries
    spool: Spool = Spool()
