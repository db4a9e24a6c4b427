"""What is done to Redis, to the way there, to the disk and inside our own code, for a while. One line an action."""

from __future__ import annotations

import contextlib
import resource
import signal
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

import redis

from chaos import processes
from chaos.actions import Action, Done
from chaos.kills import kill_all_web
from chaos.parts import ROOT, ChaosError, until
from chaos.system import script
from receiver.failpoints import POINTS
from receiver.sink import FULL
from workers import local_redis

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from chaos.system import System

_FAILPOINT = "ULAK_FAILPOINT"
_DRAIN_POINTS = tuple(point for point in POINTS if point.startswith("drain."))


def _redis(system: System) -> int:
    part = system.parts["redis"]
    assert part.process
    return part.process.pid


def _kill_redis(system: System, dice: Random) -> Done:
    """Kill it, and leave it down for a while."""
    part, away = system.parts["redis"], dice.choice((0.0, 0.5, 2.0, 4.0)) * system.pace
    with system.lock:
        part.held = True
        killed = processes.kill([_redis(system)])
        if part.process:
            part.process.wait(10)
    time.sleep(away)
    with system.lock:
        part.held = False
        part.start()
    local_redis.wait(local_redis.url(system.redis_socket))
    return Done(killed, f"down for {away:.1f} s")


def _stop_redis(system: System, dice: Random) -> Done:
    away, pid = dice.choice((0.3, 0.8, 1.5, 4.0)), _redis(system)
    processes.kill([pid], signal.SIGSTOP)
    time.sleep(away)
    processes.kill([pid], signal.SIGCONT)
    return Done(0, f"stood still for {away} s")


def _full_flag(system: System, dice: Random) -> Done:
    for_ = system.lasting(dice, 0.5, 3.0)
    with contextlib.suppress(redis.exceptions.RedisError):
        system.client.set(FULL, "1")
    time.sleep(for_)
    _surely(partial(system.client.delete, FULL))
    return Done(0, f"for {for_:.1f} s")


def _out_of_memory(share: float, system: System, dice: Random) -> Done:
    """Leave Redis so little memory that it refuses to write (or so little that the keeper must act)."""
    for_ = system.lasting(dice, 1.0, 4.0)
    with contextlib.suppress(redis.exceptions.RedisError):
        used: dict[str, int] = system.client.info("memory")
        system.client.config_set("maxmemory", int(used["used_memory"] * share))
    time.sleep(for_)
    _surely(partial(system.client.config_set, "maxmemory", 0))
    return Done(0, f"for {for_:.1f} s")


def _surely(call: Callable[[], object]) -> None:
    """Undo what was done to Redis, also where it is just being killed."""
    for _ in range(100):
        with contextlib.suppress(redis.exceptions.RedisError):
            call()
            return
        time.sleep(0.1)


def _between(fault: str, system: System, dice: Random) -> Done:
    """Disturb what goes between Ulak and Redis: on the receiver's side, on the workers', or on both."""
    sides, share, for_ = (
        dice.choice((("web",), ("work",), ("web", "work"))),
        dice.choice((1, 5, 20)),
        system.lasting(dice, 1, 4),
    )
    for side in sides:
        system.fault(side, f"{fault} {share}")
    time.sleep(for_)
    for side in sides:
        system.fault(side, "none")
    return Done(0, f"{' and '.join(sides)}, {share} % for {for_:.1f} s")


def _full_disk(system: System, dice: Random) -> Done:
    """Forbid gunicorn to make any file larger than so much, while Redis is away."""
    room, for_ = dice.choice((0, 4096, 65536)), system.lasting(dice, 1, 3)
    whole = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    processes.kill([_redis(system)], signal.SIGSTOP)
    _limit_files(system, (room, resource.RLIM_INFINITY))
    time.sleep(for_)
    processes.kill([_redis(system)], signal.SIGCONT)
    _limit_files(system, whole)
    return Done(0, f"{room} bytes a file for {for_:.1f} s")


def _limit_files(system: System, limits: tuple[int, int]) -> None:
    """Set it for the masters first, since their next workers inherit it."""
    roles = system.roles()
    for one in (*roles.get("gunicorn master", ()), *roles.get("gunicorn worker", ())):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(one.pid, resource.RLIMIT_FSIZE, limits)


def _refuse_writes(system: System, dice: Random) -> Done:
    """Let Redis say no to every write, as a master does that has lost its replicas."""
    for_ = system.lasting(dice, 0.5, 3.0)
    _surely(partial(system.client.config_set, "min-replicas-to-write", 1))
    time.sleep(for_)
    _surely(partial(system.client.config_set, "min-replicas-to-write", 0))
    return Done(0, f"for {for_:.1f} s")


def _die_at_point(system: System, dice: Random) -> Done:
    """Let each worker of gunicorn kill itself at one place of our code, at the n-th time that it gets there."""
    point, number, for_ = dice.choice(tuple(POINTS)), dice.choice((2, 8, 25)), system.lasting(dice, 2, 4)
    before = _suicides(system)
    kills = kill_all_web(system, dice).kills
    with system.lock:
        system.web.env = {**system.web.env, _FAILPOINT: f"{point}:{number}"}
    _wait_for_web(system)
    if not point.startswith(("spool.", "drain.")):
        time.sleep(for_)
    for _ in range(3 if point.startswith(("spool.", "drain.")) else 0):
        processes.kill([_redis(system)], signal.SIGSTOP)
        time.sleep(for_ / 3)
        processes.kill([_redis(system)], signal.SIGCONT)
        time.sleep(0.5)
    with system.lock:
        system.web.env = {name: value for name, value in system.web.env.items() if name != _FAILPOINT}
        kills += kill_all_web(system, dice).kills
    _wait_for_web(system)
    return Done(kills + _suicides(system) - before, f"{point}:{number} for {for_:.1f} s")


def _kill_drain(system: System, dice: Random) -> Done:
    """Let `ulak drain` die at a place of its own, and again at any moment, while the receiver drains as well."""
    point, number, moment = dice.choice(_DRAIN_POINTS), dice.choice((1, 2)), dice.uniform(0.5, 1.5)
    processes.kill([_redis(system)], signal.SIGSTOP)
    time.sleep(system.lasting(dice, 1, 3))
    processes.kill([_redis(system)], signal.SIGCONT)
    kills = 0
    for more, patience in (({_FAILPOINT: f"{point}:{number}"}, 20.0), ({}, moment)):
        with subprocess.Popen(
            script("ulak", "drain"), env={**system.web.env, **more}, cwd=ROOT, stdout=subprocess.DEVNULL
        ) as process:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)
            process.kill()
        kills += process.returncode == -signal.SIGKILL
    return Done(kills, f"{point}:{number}, and after {moment:.1f} s")


def _wait_for_web(system: System) -> None:
    with contextlib.suppress(ChaosError):
        until(lambda: system.roles().get("gunicorn worker"), "gunicorn is back", 10)


def _suicides(system: System) -> int:
    """Count what gunicorn has told of workers that were killed; our own kills are told there too."""
    return system.web.log.read_bytes().count(b"was sent SIGKILL")


LASTING = (
    Action("kill Redis", 3, _kill_redis),
    Action("stop Redis", 3, _stop_redis),
    Action("set the full flag", 1, _full_flag),
    Action("Redis out of memory", 1, partial(_out_of_memory, 0.9)),
    Action("Redis nearly full", 1, partial(_out_of_memory, 1.1)),
    Action("Redis refuses writes", 1, _refuse_writes),
    Action("swallow answers", 2, partial(_between, "swallow")),
    Action("cut requests", 2, partial(_between, "cut")),
    Action("tear answers", 2, partial(_between, "tear")),
    Action("delay answers", 2, partial(_between, "delay")),
    Action("disk full while Redis is away", 2, _full_disk),
    Action("die at a fail point", 3, _die_at_point),
    Action("kill ulak drain", 1, _kill_drain),
)
