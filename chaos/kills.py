"""
Kills at any moment, and gunicorn's own ways to change its processes under load. One line an action.

They also come while something lasting goes on (``chaos.lasting``).
"""

from __future__ import annotations

import contextlib
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

from chaos import processes
from chaos.actions import NOBODY, Action, Done
from chaos.parts import ChaosError, until

if TYPE_CHECKING:
    from random import Random

    from chaos.system import System

_PATIENCE = 1.5  # how long is waited for somebody to kill


def _choose(role: str, system: System, dice: Random) -> int | None:
    """Choose a process of this role; a work-horse lives for milliseconds, so it is waited for."""
    end = time.monotonic() + _PATIENCE
    draw = dice.random()  # once, so that the seed decides whatever time it takes
    while True:
        there = system.roles().get(role, [])
        if there:
            return there[int(draw * len(there))].pid
        if time.monotonic() > end:
            return None


def _kill(role: str, system: System, dice: Random) -> Done:
    pid = _choose(role, system, dice)
    return NOBODY if pid is None else Done(processes.kill([pid]), str(pid))


def _kill_with_horse(system: System, dice: Random) -> Done:
    """Kill a worker and whatever it has started, as the kernel does when memory runs out."""
    horse = _choose("work-horse", system, dice)
    if horse is None:
        return NOBODY
    parent = next((one.parent for one in system.roles()["work-horse"] if one.pid == horse), None)
    return Done(processes.kill([pid for pid in (parent, horse) if pid]), f"{parent} and {horse}")


def kill_all_web(system: System, _dice: Random) -> Done:
    with system.lock:
        there = [one.pid for role in ("gunicorn master", "gunicorn worker") for one in system.roles().get(role, [])]
        return Done(processes.kill(there), f"{len(there)} processes")


def _masters(system: System) -> list[int]:
    """Return gunicorn's masters; one that was just killed is waited for."""
    with contextlib.suppress(ChaosError):
        until(system.web.masters, "gunicorn has a master", 8)
    return system.web.masters()


def _hang_up(system: System, _dice: Random) -> Done:
    return Done(0, f"to {processes.kill(_masters(system)[-1:], signal.SIGHUP)} master")


def _upgrade(system: System, _dice: Random) -> Done:
    """Let a new gunicorn take over the socket, as an upgrade without an interruption does."""
    masters = _masters(system)
    if len(masters) != 1:
        return NOBODY
    processes.kill(masters, signal.SIGUSR2)
    with contextlib.suppress(ChaosError):
        until(lambda: len(system.web.masters()) == 2, "a second master", 8)
        time.sleep(1.0)
    newer = system.web.masters()[-1:]
    if newer == masters:
        return Done(0, "no second master came")
    processes.kill(masters, signal.SIGTERM)
    return Done(0, f"{masters[0]} gave over to {newer[0]}")


# A short run takes them in this order: who is missed for longest comes first.
KILLS = (
    Action("kill an RQ worker", 6, partial(_kill, "RQ worker")),
    Action("kill a worker with its horse", 3, _kill_with_horse),
    Action("kill ulak worker", 1, partial(_kill, "ulak worker")),
    Action("kill a keeper", 1, partial(_kill, "keeper")),
    Action("kill RQ's scheduler", 1, partial(_kill, "RQ scheduler")),
    Action("kill a work-horse", 6, partial(_kill, "work-horse")),
    Action("kill a gunicorn worker", 10, partial(_kill, "gunicorn worker")),
    Action("kill gunicorn's master", 2, partial(_kill, "gunicorn master")),
    Action("HUP gunicorn", 1, _hang_up),
    Action("USR2 gunicorn", 1, _upgrade),
    Action("kill all of gunicorn", 1, kill_all_web),
)
