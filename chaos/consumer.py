"""
The shop: a job that has an effect, once, in a database of its own.

It does what docs/events.md asks of a consumer: the event's id is written in the same transaction as the effect, so that
a job that runs again changes nothing. Every run is noted beside it.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rq import get_current_job

if TYPE_CHECKING:
    from pathlib import Path

DATABASE = "CHAOS_SHOP"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (id TEXT, route TEXT, PRIMARY KEY (id, route)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (id TEXT, route TEXT);
CREATE TABLE IF NOT EXISTS runs (id TEXT, route TEXT, at REAL);
"""
# Most jobs are quick, and some take their time, so that somebody can kill them in the middle.
_LONG_SHARE, _LONG = 0.02, 0.4


def _open(path: str) -> sqlite3.Connection:
    # Killed processes are what is tested here, not the shop's disk, so the shop need not wait for it.
    found = sqlite3.connect(path, timeout=60, isolation_level=None)
    found.execute("PRAGMA synchronous = OFF")
    return found


def create(path: Path) -> None:
    with contextlib.closing(_open(str(path))) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(_SCHEMA)


def on_event(event: dict[str, Any]) -> None:
    """Have an effect; note the run, also where the effect was there already."""
    job = get_current_job()
    assert job is not None
    key = (event["id"], job.id.rpartition("-")[2])
    pause = random.uniform(0, _LONG) if random.random() < _LONG_SHARE else 0.0
    time.sleep(pause)
    with contextlib.closing(_open(os.environ[DATABASE])) as database:
        database.execute("INSERT INTO runs VALUES (?, ?, ?)", (*key, time.time()))
        database.execute("BEGIN IMMEDIATE")
        if database.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", key).rowcount:
            database.execute("INSERT INTO effects VALUES (?, ?)", key)
        database.execute("COMMIT")
    time.sleep(pause)


@dataclass(frozen=True)
class Shop:
    """What the consumers' database holds."""

    effects: Counter[tuple[str, str]]
    runs: Counter[tuple[str, str]]
    again_while_calm: int

    @classmethod
    def read(cls, path: Path, calm_until: float) -> Shop:
        """Read it all; *calm_until* is when the first fault came, before which no job may run twice."""
        with contextlib.closing(_open(str(path))) as database:
            effects = Counter(database.execute("SELECT id, route FROM effects"))
            runs = Counter(database.execute("SELECT id, route FROM runs"))
            calm = Counter(database.execute("SELECT id, route FROM runs WHERE at < ?", (calm_until,)))
        return cls(effects, runs, sum(count - 1 for count in calm.values()))

    @property
    def again(self) -> int:
        return sum(count - 1 for count in self.runs.values())
