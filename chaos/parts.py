"""The processes of the system, each started again when it is gone."""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chaos import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


class ChaosError(Exception):
    """The run cannot go on; the text says why."""


def until(check: Callable[[], object], what: str, within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not check():
        if time.monotonic() > end:
            raise ChaosError(f"not within {within:.0f} s: {what}")
        time.sleep(0.02)


@dataclass
class Part:
    """One process that is started again when it is gone, unless somebody holds it down."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path
    pause: float = 0.3
    orders: bool = False  # it takes orders on its standard input
    held: bool = False
    process: subprocess.Popen[bytes] | None = None
    not_before: float = 0.0

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.argv,
                env=dict(self.env),
                cwd=ROOT,
                stdin=subprocess.PIPE if self.orders else subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def tick(self) -> None:
        if self.held or self.is_running:
            self.not_before = 0.0
        elif not self.not_before:
            self.not_before = time.monotonic() + self.pause
        elif time.monotonic() >= self.not_before:
            self.not_before = 0.0
            self.start()

    def order(self, line: str) -> None:
        if self.process and self.process.stdin:
            with contextlib.suppress(OSError):
                self.process.stdin.write(line.encode() + b"\n")
                self.process.stdin.flush()


@dataclass
class Web(Part):
    """gunicorn: after USR2 its master is another process than the one we started, and its pid file names it."""

    pids: Path = field(default_factory=Path)

    def masters(self) -> list[int]:
        """Return the living masters, the newest last."""
        found = []
        for path in (self.pids, self.pids.with_name(f"{self.pids.name}.2")):
            with contextlib.suppress(OSError, ValueError):
                found.append(int(path.read_text()))
        if self.is_running and self.process and self.process.pid not in found:
            found.insert(0, self.process.pid)
        ours = processes.gunicorns()
        return [pid for pid in found if pid in ours]

    def tick(self) -> None:
        if not self.masters():
            super().tick()
