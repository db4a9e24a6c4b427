"""
Measure how Ulak goes on while Redis stands still, and how it comes back: ``python -m bench.spool``.

Redis is stopped with SIGSTOP, so that it hangs, which is worse than being gone. What the disk allows is measured beside
it: how often a second the spool's folder takes what one row writes, each time followed by an fsync.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NoReturn

from bench import callbacks, servers
from bench.run import CONNECTIONS, REQUESTS, Tools, prepare
from receiver.sink import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WORKERS = 2
ROW_BYTES = 16 * 1024  # what the commit of one row writes: three or four pages of SQLite, with their heads
SAMPLE = 300
FASTEST = 5000  # callbacks a second; so many are prepared
PROBES = 1  # what asks whether the receiver is up is a callback too
BACK_SECONDS = 8
MAX_SECONDS = 30.0
PATIENCE = 120.0
# The aims; missing one is a finding and no fault.
AIM_SHARE, AIM_DISK, AIM_P99, AIM_FIRST, AIM_DRAIN, AIM_BACK = 0.5, 0.8, 250.0, 1000.0, 2000.0, 0.9


def disk_allows(folder: Path) -> float:
    """Return how often a second the disk takes a row's bytes and an fsync."""
    path, row = folder / "fsync", b"x" * ROW_BYTES
    with path.open("wb", buffering=0) as file:
        begun = time.perf_counter()
        for _ in range(SAMPLE):
            file.write(row)
            os.fdatasync(file.fileno())
        seconds = time.perf_counter() - begun
    path.unlink()
    return SAMPLE / seconds


class Loads:
    """Loads of requests, none of which was sent before."""

    def __init__(self, tools: Tools, port: int) -> None:
        self._tools = tools
        self._port = port
        self._sent = REQUESTS * 10
        self.accepted = 0

    def press(self, seconds: float) -> Any:
        count = int(seconds * FASTEST)
        path = self._tools.directory / f"requests-{self._sent}"
        callbacks.write(path, self._sent, count)
        self._sent += count
        found: Any = self._tools.press(self._port, CONNECTIONS[WORKERS], seconds, path)
        path.unlink()
        self.accepted += int(found["ok"])
        return found


def rows(file: Path) -> int:
    with closing(sqlite3.connect(file, timeout=5)) as connection:
        return int(connection.execute("SELECT count(*) FROM waiting").fetchone()[0])


def drained(file: Path) -> float:
    """Wait until nothing is in the spool; return how many rows a second went, from the first to the last of them."""
    before, begun = rows(file), time.monotonic()
    left = before
    while left and time.monotonic() < begun + PATIENCE:
        time.sleep(0.02)
        left = rows(file)
        if left == before:
            begun = time.monotonic()  # nobody has noticed yet that Redis is back
    if left:
        raise servers.BenchError(f"{left} rows are still in the spool")
    return before / (time.monotonic() - begun)


def measure(seconds: float, tools: Tools, store: servers.Store) -> dict[str, Any]:
    """Load a receiver before, while and after its Redis stands still; the latter twice, empty-handed and under load."""
    store.empty()
    redis: Any = store.client.info("server")
    folder = tools.directory / f"spool-{time.monotonic_ns()}"
    with servers.app("ulak", WORKERS, store.url, folder) as port:
        file, loads = folder / "data" / "spool.db", Loads(tools, port)
        loads.press(1)
        normal, disk = loads.press(seconds), disk_allows(folder)
        with _standing_still(redis["process_id"]):
            first, away = loads.press(1), loads.press(seconds)
            disk = (disk + disk_allows(folder)) / 2
        rate = drained(file)
        with _standing_still(redis["process_id"]):
            loads.press(seconds)
        back = [loads.press(1) for _ in range(BACK_SECONDS)]
        drained(file)
        written = int(store.client.xlen(EVENTS)) - PROBES
    return {
        "normal": normal,
        "disk_commits_s": round(disk),
        "first_second_away": first,
        "away": away,
        "drained_rows_s": round(rate),
        "back": back,
        "accepted": loads.accepted,
        "written": written,
    }


@contextmanager
def _standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def report(samples: Sequence[Any]) -> str:
    """Return each aim with what was reached, as medians over the rounds."""
    normal = median(one["normal"]["rps"] for one in samples)
    away = median(one["away"]["rps"] for one in samples)
    disk = median(one["disk_commits_s"] for one in samples)
    p99 = median(one["away"]["p99_ms"] for one in samples)
    first = max(one["first_second_away"]["p99_ms"] for one in samples)
    rate = median(one["drained_rows_s"] for one in samples)
    back = [median(one["back"][second]["rps"] for one in samples) for second in range(BACK_SECONDS)]
    share = median(one["back"][5]["rps"] / one["normal"]["rps"] for one in samples)
    needed = min(AIM_SHARE * normal, AIM_DISK * disk)
    faults = sum(load["other"] + load["errors"] for one in samples for load in _loads(one))
    lost = sum(abs(one["accepted"] - one["written"]) for one in samples)
    rows = (
        ("callbacks/s, Redis answering", f"{normal:,.0f}", ""),
        ("commits/s that the disk allows", f"{disk:,.0f}", ""),
        ("callbacks/s, Redis standing still", f"{away:,.0f}", _verdict(away, needed, f"at least {needed:,.0f}")),
        ("p99 ms, after the first second", f"{p99:,.0f}", _verdict(AIM_P99, p99, f"less than {AIM_P99:.0f}")),
        ("p99 ms, in the first second", f"{first:,.0f}", _verdict(AIM_FIRST, first, f"less than {AIM_FIRST:.0f}")),
        ("rows/s drained", f"{rate:,.0f}", _verdict(rate, AIM_DRAIN, f"at least {AIM_DRAIN:,.0f}")),
        ("share of before, 5 s after", f"{share:.2f}", _verdict(share, AIM_BACK, f"at least {AIM_BACK}")),
        ("callbacks/s in each second after", " ".join(f"{one:,.0f}" for one in back), ""),
        ("not answered with success", f"{faults}", _verdict(0, faults, "none")),
        ("lost or doubled", f"{lost}", _verdict(0, lost, "none")),
    )
    return "\n".join(f"{name:<34} {value:>10}  {verdict}".rstrip() for name, value, verdict in rows)


def _loads(sample: Any) -> list[Any]:
    return [sample["normal"], sample["first_second_away"], sample["away"], *sample["back"]]


def _verdict(reached: float, aim: float, words: str) -> str:
    return f"{words}: {'reached' if reached >= aim else 'NOT reached'}"


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(143)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.spool", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="N", help="default 3")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each load (default 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the single samples here")
    given = parser.parse_args()
    if not 1 <= given.seconds <= MAX_SECONDS:
        parser.error(f"from 1 to {MAX_SECONDS:.0f} seconds")
    # As an exception, SIGTERM passes the `finally` blocks that stop our processes, and let Redis go on.
    signal.signal(signal.SIGTERM, _end)
    samples = []
    with tempfile.TemporaryDirectory(prefix="ulak-bench-") as name:
        try:
            tools = prepare(Path(name))
            with servers.redis(tools.directory) as store:
                for turn in range(given.rounds):
                    samples.append(measure(given.seconds, tools, store))
                    print(f"round {turn + 1}/{given.rounds}", file=sys.stderr)
        except servers.BenchError as exc:
            print(f"bench: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    print(report(samples))
    if given.json is not None:
        given.json.write_text(json.dumps(samples, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
