"""Child processes: started in sessions of their own, restarted when they die, stopped by their own process id."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

_LONGEST_PAUSE = 10.0
_TICK = 0.1


@dataclass(slots=True)
class Child:
    """One process and how to start it again."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    log: Path | None = None
    restart: bool = True
    last: bool = False  # stopped only when all others have ended
    process: subprocess.Popen[bytes] | None = None
    pause: float = 0.5
    not_before: float = 0.0
    ended: int | None = None  # the exit code of a child that is not restarted


@dataclass(slots=True)
class Supervisor:
    """Starts children in order and stops them in the opposite one."""

    children: list[Child] = field(default_factory=list)
    asked: int = 0  # how many signals have asked us to stop

    @property
    def stopping(self) -> bool:
        return self.asked > 0

    def start(self, child: Child) -> Child:
        self.children.append(child)
        self._spawn(child)
        return child

    def _spawn(self, child: Child) -> None:
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(child.log.open("ab")) if child.log else None
            # A session of its own: Ctrl-C reaches only us, and we pass it on once. RQ takes a second one as "at once".
            child.process = subprocess.Popen(
                child.argv,
                env=dict(child.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT if out else None,
                start_new_session=True,
            )

    def tick(self) -> None:
        """Start again what has died, with growing pauses."""
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                child.ended = child.process.returncode
                child.process = None
                child.not_before = time.monotonic() + child.pause
                child.pause = min(child.pause * 2, _LONGEST_PAUSE)
            if child.process is None and child.restart and time.monotonic() >= child.not_before:
                self._spawn(child)

    def running(self) -> bool:
        return any(child.process is not None and child.process.poll() is None for child in self.children)

    def stop(self, patience: float) -> None:
        """Ask the children to end, those marked ``last`` after the others; kill what still runs after *patience* s."""
        for last in (False, True):
            group = [child for child in self.children if child.last is last]
            for child in group:
                child.restart = False
            self._end([child.process for child in group if child.process is not None], patience)

    def _end(self, processes: list[subprocess.Popen[bytes]], patience: float) -> None:
        until, asked = time.monotonic() + patience, self.asked
        for process in processes:
            process.terminate()
        while any(process.poll() is None for process in processes) and time.monotonic() < until:
            if self.asked > max(asked, 1):  # asked once more while we wait: pass it on
                asked = self.asked
                for process in processes:
                    process.terminate()
            time.sleep(_TICK)
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.wait()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Turn SIGTERM, SIGINT and SIGHUP into ``stopping`` while the block runs."""

        def ask(_number: int, _frame: FrameType | None) -> None:
            self.asked += 1

        caught = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        before = {number: signal.signal(number, ask) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def watch(self, patience: float) -> None:
        """Keep the children alive until a signal asks to stop, or until all that are not restarted have ended."""
        with self.signals():
            while not self.stopping and (self.running() or any(child.restart for child in self.children)):
                self.tick()
                time.sleep(_TICK)
            self.stop(patience)
