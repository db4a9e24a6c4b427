"""
The spool's file: SQLite, with several processes and threads at once, and a commit that survives a power cut.

``waiting`` has what is to be drained, in the order of its key, ``parked`` what Redis refuses for its own sake. Every
transaction is a turn on a lock of our own (``receiver.turn``): SQLite's waiting has no deadline worth the name.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receiver.errors import Reason, Unavailable
from receiver.failpoints import reach
from receiver.turn import NoTurn, Turn, private

PATIENCE = 0.5  # seconds that a callback waits for its turn
RESERVE = 16 * 1024 * 1024  # bytes of the disk that stay free, so that what is drained can still be deleted
_BUSY = 0.1  # seconds; only a person with a tool of his own is ever in our way
_LARGEST = 64 * 1024  # bytes of a callback
_VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS waiting (at INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, released INTEGER NOT NULL,
  head BLOB NOT NULL, sealed BLOB NOT NULL, tries INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS parked (at INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, released INTEGER NOT NULL,
  head BLOB NOT NULL, sealed BLOB NOT NULL, reason TEXT NOT NULL);
"""
# Microseconds since 1970, and one more where the clock stands still or goes back: the order in which rows came.
_KEEP = """
INSERT INTO waiting (at, id, released, head, sealed)
SELECT max(?1, coalesce((SELECT max(at) + 1 FROM waiting), 0), coalesce((SELECT max(at) + 1 FROM parked), 0)),
  ?2, ?3, ?4, ?5
WHERE NOT EXISTS (SELECT 1 FROM parked WHERE id = ?2)
ON CONFLICT (id) DO NOTHING
"""
_KNOWN = "SELECT released FROM waiting WHERE id = ?1 UNION ALL SELECT released FROM parked WHERE id = ?1"
_PARK = "INSERT INTO parked (at, id, released, head, sealed, reason) VALUES (?, ?, ?, ?, ?, ?)"
_UNPARK = "INSERT INTO waiting (at, id, released, head, sealed) VALUES (?, ?, ?, ?, ?)"
_STATE = """
SELECT count(*), min(at), (SELECT count(*) FROM waiting WHERE at < ?1), (SELECT count(*) FROM parked),
  (SELECT page_count FROM pragma_page_count), (SELECT freelist_count FROM pragma_freelist_count),
  (SELECT page_size FROM pragma_page_size)
FROM waiting
"""
_REASONS = {"SQLITE_FULL": Reason.SPOOL_FULL, "SQLITE_BUSY": Reason.SPOOL_BUSY}
_inherited: list[sqlite3.Connection] = []


@dataclass(frozen=True, slots=True)
class Row:
    """One event or one unreadable callback. ``head`` is JSON, ``released`` what a browser may be told."""

    id: str
    released: bool
    head: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    at: int = 0  # microseconds since 1970
    tries: int = 0


@dataclass(frozen=True, slots=True)
class State:
    """What is in the file. ``old`` are rows that only a person may drain; ``oldest`` is in seconds since 1970."""

    waiting: int = 0
    old: int = 0
    parked: int = 0
    oldest: float | None = None
    bytes: int = 0
    room: int = 0


def now() -> int:
    return time.time_ns() // 1000


def settle(connection: sqlite3.Connection) -> None:
    """Say how to write: what these are without being said was decided by whoever compiled SQLite."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # in WAL: one fsync a commit, before it returns


class SpoolFile:
    """``spool.db`` in a folder, at most *limit* bytes. It is made and opened at the first use, after any fork."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.path = folder / "spool.db"
        self._limit = limit
        self._turn = Turn(folder / "spool.lock", PATIENCE)
        self._own = threading.local()

    def keep(self, rows: Sequence[Row]) -> list[tuple[bool, bool]]:
        """Keep rows, each id once; return for each whether it is new, and ``released`` as it was kept first."""
        with self._transaction(growing=True) as connection:
            found = []
            for row in rows:
                values = (now(), row.id, row.released, row.head, row.sealed)
                new = connection.execute(_KEEP, values).rowcount == 1
                released = row.released if new else connection.execute(_KNOWN, (row.id,)).fetchone()[0]
                found.append((new, bool(released)))
            reach("spool.before_commit")
        reach("spool.after_commit")
        return found

    def ready(self) -> None:
        """Raise Unavailable unless a row could be kept; writes and commits, though nothing that stays."""
        with self._transaction(growing=True) as connection:
            connection.execute(_KEEP, (now(), "probe", 0, b"", bytes(_LARGEST)))
            connection.execute("DELETE FROM waiting WHERE id = 'probe'")

    def next(self, after: int, count: int) -> list[Row]:
        """Return rows behind *after*, in their order; none where there is no file."""
        sql = "SELECT id, released, head, sealed, at, tries FROM waiting WHERE at > ? ORDER BY at LIMIT ?"
        return [Row(one, bool(released), *rest) for one, released, *rest in self._read(sql, (after, count))]

    def parked(self, count: int) -> list[tuple[str, str]]:
        """Return id and reason of rows that are parked, oldest first."""
        return self._read("SELECT id, reason FROM parked ORDER BY at LIMIT ?", (count,))

    def remove(self, rows: Sequence[Row]) -> None:
        """Forget rows that the store has."""
        with self._transaction() as connection:
            connection.executemany("DELETE FROM waiting WHERE at = ?", [(row.at,) for row in rows])
            reach("drain.before_commit")
        reach("drain.after_commit")

    def refused(self, row: Row, reason: str, tries: int) -> bool:
        """Note that the store refused *row* for its own sake; at the last of *tries* park it, and say so."""
        with self._transaction() as connection:
            if row.tries + 1 < tries:
                connection.execute("UPDATE waiting SET tries = tries + 1 WHERE at = ?", (row.at,))
                return False
            # Taken out first, for a full file has no room for both.
            connection.execute("DELETE FROM waiting WHERE at = ?", (row.at,))
            connection.execute(_PARK, (row.at, row.id, row.released, row.head, row.sealed, reason))
            return True

    def unpark(self) -> int:
        """Put back what is parked, to be tried anew; return how many rows that are."""
        with self._transaction() as connection:
            found = connection.execute("SELECT at FROM parked ORDER BY at").fetchall()
            for at in found:
                sql = "SELECT at, id, released, head, sealed FROM parked WHERE at = ?"
                row = connection.execute(sql, at).fetchone()
                connection.execute("DELETE FROM parked WHERE at = ?", at)
                connection.execute(_UNPARK, row)
        return len(found)

    def state(self, since: int = 0) -> State:
        """Count what is there; rows before *since* are old."""
        there = next(one for one in (self.folder, *self.folder.absolute().parents) if one.exists())
        free = max(0, _free(there) - RESERVE)
        counted = self._read(_STATE, (since,))
        if not counted:
            return State(room=min(self._limit, free))
        waiting, oldest, old, parked, pages, unused, size = counted[0]
        used = (pages - unused) * size
        room = max(0, min(self._limit - used, free + unused * size))
        return State(waiting - old, old, parked, oldest / 1e6 if oldest else None, used, room)

    def _read(self, sql: str, values: Sequence[int]) -> list[Any]:
        """Read without a turn: in WAL nobody waits for a reader. Nothing where there is no file."""
        if not self.path.exists():
            return []
        with _trouble():
            if not self._is_open():
                with self._turn.taken():
                    self._open()
            connection: sqlite3.Connection = self._own.connection
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def _transaction(self, *, growing: bool = False) -> Iterator[sqlite3.Connection]:
        """Give a connection in a transaction of its own, committed and on the disk when the block has ended."""
        with _trouble():
            if not self._is_open():
                self.folder.mkdir(parents=True, exist_ok=True)
            with self._turn.taken():
                if not self._is_open():
                    self._open()
                if growing and _free(self.folder) < RESERVE:
                    raise Unavailable(Reason.SPOOL_FULL, "the disk is nearly full")
                connection: sqlite3.Connection = self._own.connection
                try:
                    connection.execute("BEGIN IMMEDIATE")
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                    raise

    def _is_open(self) -> bool:
        """Say whether this thread has a connection of this process, to the file that is there now."""
        own = self._own
        return getattr(own, "pid", 0) == os.getpid() and own.file == _identity(self.path)

    def _open(self) -> None:
        own = self._own
        if getattr(own, "pid", os.getpid()) != os.getpid():
            _inherited.append(own.connection)  # to close it would let go of the parent's locks
        if not self.path.exists():  # SQLite gives its other two files the owner and the mode of this one
            os.close(private(self.path))
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            raise sqlite3.NotSupportedError
        settle(connection)
        if not version:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT")
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {self._limit // size}")
        own.connection, own.pid, own.file = connection, os.getpid(), _identity(self.path)


def _identity(path: Path) -> tuple[int, int] | None:
    """Tell one file from another under the same name: who removes the spool must not leave us writing into nowhere."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _free(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


@contextmanager
def _trouble() -> Iterator[None]:
    """Turn what can go wrong with a file into a reason word."""
    try:
        yield
    except NoTurn:
        raise Unavailable(Reason.SPOOL_BUSY) from None
    except sqlite3.Error as exc:
        word = getattr(exc, "sqlite_errorname", type(exc).__name__)
        raise Unavailable(_REASONS.get(word, Reason.SPOOL_REFUSED), word) from None
    except OSError as exc:
        raise Unavailable(Reason.SPOOL_REFUSED, type(exc).__name__) from None
