"""Which processes run below us, and what each one is; read from /proc, so that only our own are ever touched."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

_PR_SET_CHILD_SUBREAPER = 36
# By the module or script that Python runs, or else by the program. Who is a master and who a work-horse is seen below.
_ROLES = {
    "chaos.proxy": "proxy",
    "chaos.senders": "senders",
    "workers.sandbox_api": "played API",
    "redis-server": "Redis",
    "valkey-server": "Redis",
    "gunicorn": "gunicorn worker",
    "workers.worker": "RQ worker",
    "rq worker": "RQ worker",
    "workers.keeper": "keeper",
    "ulak keeper": "keeper",
    "ulak worker": "ulak worker",
    "ulak drain": "drain",
}


@dataclass(frozen=True)
class Process:
    """One living process."""

    pid: int
    parent: int
    group: int
    state: str
    command: tuple[str, ...]


def adopt() -> None:
    """Become the parent of whatever our children leave behind, so that nothing outlives us unseen."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _read(folder: Path) -> Process | None:
    try:
        # The name in brackets may hold anything, blanks and brackets too.
        words = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        command = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return None
    return Process(int(folder.name), int(words[1]), int(words[2]), words[0], tuple(command[:-1]))


def below(top: int) -> list[Process]:
    """Return every process below *top*, zombies too, parents before their children."""
    children: dict[int, list[Process]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (found := _read(folder)):
            children[found.parent].append(found)
    ordered, left = [], [top]
    while left:
        born = sorted(children.get(left.pop(0), ()), key=lambda one: one.pid)
        ordered += born
        left += [one.pid for one in born]
    return ordered


def reap(owned: Collection[int]) -> None:
    """Let adopted zombies go; those in *owned* have somebody who waits for them."""
    for one in below(os.getpid()):
        if one.state == "Z" and one.parent == os.getpid() and one.pid not in owned:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(one.pid, os.WNOHANG)


def gunicorns() -> set[int]:
    """Return the process ids of masters and workers alike."""
    return {one.pid for one in below(os.getpid()) if one.state != "Z" and "gunicorn" in _names(one.command)}


def roles(masters: Collection[int]) -> dict[str, list[Process]]:
    """Return the living processes below us by what they are; *masters* are the process ids of gunicorn's masters."""
    alive = [one for one in below(os.getpid()) if one.state != "Z"]
    known = {one.pid: one for one in alive}
    found: dict[str, list[Process]] = defaultdict(list)
    for one in alive:
        found[_role(one, known.get(one.parent), masters)].append(one)
    return found


def _role(one: Process, parent: Process | None, masters: Collection[int]) -> str:
    if one.pid in masters:
        return "gunicorn master"
    names = list(_names(one.command))
    role = next((_ROLES[name] for name in names if name in _ROLES), "other")
    if role == "RQ worker" and parent and parent.command == one.command:
        # A work-horse begins a process group of its own; the scheduler stays in its worker's.
        return "work-horse" if one.group == one.pid else "RQ scheduler"
    return role


def _names(command: tuple[str, ...]) -> Iterator[str]:
    """Yield what runs: the program, or the module or script that Python runs, without and with its subcommand."""
    program = Path(command[0].partition(" ")[0]).name if command else ""
    words = command[1:]
    if not program.startswith("python"):
        yield program
    elif words[:1] == ("-m",):
        yield words[1]
    elif words:
        script = Path(words[0]).name
        yield script
        yield " ".join([script, *words[1:2]])


def kill(pids: Sequence[int], number: int = signal.SIGKILL) -> int:
    """Send a signal to each; return how many were there."""
    sent = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            sent += 1
    return sent
