"""
A turn among processes and threads: ``flock`` on a file, waited for no longer than a deadline.

A blocking ``flock`` knows no deadline, and asking again and again would let the luckiest win. So where the lock stays
taken for more than a moment, a thread of our own waits in the kernel's queue for whoever asked; if that one has given
up meanwhile, it gives the lock back. The kernel takes the lock from a process that dies.
"""

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue

_MOMENT = 0.0002  # seconds
_TRIES = 20


def private(path: Path) -> int:
    """
    Open a file that is nobody else's, made if need be.

    Where root makes it, by hand and before the receiver, it is given to the owner of the folder.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(file, owner.st_uid, owner.st_gid)
    return file


class NoTurn(Exception):
    """The deadline passed while others had their turn."""


class _Wish:
    """One wait for the lock. Whoever decides first, the lock that comes or the one who gives up, has decided."""

    def __init__(self) -> None:
        self._came = threading.Event()
        self._decided = threading.Lock()

    def comes(self) -> bool:
        """Hand the lock over; say whether anybody still wants it."""
        wanted = self._decided.acquire(blocking=False)
        self._came.set()
        return wanted

    def wait(self, seconds: float) -> bool:
        return self._came.wait(seconds) or not self._decided.acquire(blocking=False)


class _Lock:
    """The lock as one process sees it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._among_threads = threading.Lock()  # a file that is opened once is locked once, whichever thread asks
        self._file = -1
        self._wishes: SimpleQueue[_Wish] | None = None

    def take(self, patience: float) -> bool:
        until = time.monotonic() + patience
        if not self._among_threads.acquire(timeout=patience):
            return False
        wish = None
        try:
            if self._soon(until):
                return True
            if patience > 0:
                wish = self._wished()
                # If we give up, the waiting thread gives both locks back when the file's comes.
                return wish.wait(max(0.0, until - time.monotonic()))
        except BaseException:
            if wish is None:
                self._among_threads.release()
            elif wish.wait(0):
                self.give_back()
            raise
        self._among_threads.release()
        return False

    def give_back(self) -> None:
        with suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._among_threads.release()

    def _soon(self, until: float) -> bool:
        """Try for a moment: a turn takes a fsync, and to wake a thread, and be woken by it, takes as long."""
        for _ in range(_TRIES):
            if self._at_once():
                return True
            if time.monotonic() >= until:
                return False
            time.sleep(_MOMENT)
        return self._at_once()

    def _at_once(self) -> bool:
        if self._file < 0:
            self._file = private(self._path)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wished(self) -> _Wish:
        wish = _Wish()
        if self._wishes is None:
            self._wishes = SimpleQueue()
            threading.Thread(target=self._serve, args=(self._wishes,), name="ulak-turn", daemon=True).start()
        self._wishes.put(wish)
        return wish

    def _serve(self, wishes: "SimpleQueue[_Wish]") -> None:
        while True:
            wish = wishes.get()
            with suppress(OSError):  # out of lock records: SQLite's own locks still keep its file whole
                fcntl.flock(self._file, fcntl.LOCK_EX)
            if not wish.comes():
                self.give_back()


class Turn:
    """``with turn.taken():`` for one at a time; raises NoTurn after *patience* seconds. 0 means: at once or not."""

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._locks: dict[int, _Lock] = {}  # by process: a lock that a child inherits is its parent's

    @contextmanager
    def taken(self) -> Iterator[None]:
        pid = os.getpid()
        lock = self._locks.get(pid) or self._locks.setdefault(pid, _Lock(self._path))
        if not lock.take(self._patience):
            raise NoTurn
        try:
            yield
        finally:
            lock.give_back()
