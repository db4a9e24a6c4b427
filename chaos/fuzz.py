"""
Odd requests at every address: ``python -m chaos.fuzz --count 1000000``.

They go straight into the WSGI application, which is the real one on a Redis of its own. Most begin as authentic
callbacks and are spoiled (chaos/noise.py).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.noise import Noise, Request
from receiver import config
from receiver.app import create_app
from tests.mutations import signed_values
from tests.samples import SIGNED
from workers import local_redis, sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PAGE = 4096
_MOST_GROWTH = 8.0  # MB of memory, from the first quarter to the end


@dataclass
class Tally:
    """What came of the requests of one process."""

    answers: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    early: float = 0.0  # MB of memory after a quarter of the requests
    late: float = 0.0


def wrong(request: Request, status: int, body: bytes, tokens: set[str]) -> str:
    """Return what must not be about this answer, or nothing; *tokens* are the right ones for an announcement."""
    if status >= 500 and (status != 503 or b"internal_error" in body):
        return f"status {status}"
    sent, original = request.sent, request.original
    if status < 400 and sent.path == "/expected" and request.authorization not in tokens:
        return "an announcement was taken without its token"
    if status >= 400 or not sent.path.startswith("/callbacks/"):
        return ""
    if original is None or sent.path.strip("/") != original.path.strip("/"):
        return "taken at a wrong address"
    provider = request.provider
    forged = provider in SIGNED and signed_values(provider, original) != signed_values(provider, sent)
    return "forged, and taken" if forged else ""


def work(seed: str, numbers: range, environ: dict[str, str]) -> Tally:
    """Send so many requests into an application of this process."""
    with Path(os.devnull).open("ab") as nowhere:
        os.dup2(nowhere.fileno(), 1)  # a log line for each of a million
    settings = config.load(environ)
    application: Any = create_app(settings).wsgi_app
    noise, tally = Noise(settings, seed), Tally()
    tokens = {f"Bearer {one.value.decode()}" for known in settings.accounts.values() for one in known.expected_tokens}
    for done, number in enumerate(numbers):
        if done == len(numbers) // 4:
            tally.early = _memory()
        request = noise.request(number)
        status, body = _answer(application, request.environ)
        tally.answers[str(status)] += 1
        found = wrong(request, status, body, tokens)
        if found:
            tally.faults.append(f"number {number}: {found}: {request}")
    tally.late = _memory()
    return tally


def _answer(application: Callable[..., Any], environ: dict[str, Any]) -> tuple[int, bytes]:
    told: list[str] = []
    try:
        body = b"".join(application(environ, lambda status, _headers, _exc=None: told.append(status)))
        return int(told[0].partition(" ")[0]), body
    except Exception as exc:  # noqa: BLE001 - what comes out here is what the server would make a 500 of
        return 500, repr(exc).encode()


def _memory() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def run(seed: str, count: int, processes: int) -> list[Tally]:
    """Share *count* requests out among processes, all on one Redis that keeps nothing on the disk."""
    binary = local_redis.find_server()
    if binary is None:
        raise SystemExit(local_redis.MISSING)
    with tempfile.TemporaryDirectory(prefix="ulak-fuzz-") as name:
        folder = Path(name)
        socket = local_redis.socket_path(folder)
        written = sandbox.write(folder, "http://127.0.0.1:9")  # nobody asks it: there are no workers
        server = local_redis.server(binary, folder / "redis", socket, None, {})
        with subprocess.Popen([*server.argv, "--appendonly", "no"], stdout=subprocess.DEVNULL) as redis:
            try:
                local_redis.wait(local_redis.url(socket))
                environ = {
                    "ULAK_CONFIG": str(written),
                    "ULAK_DATA": str(folder / "data"),
                    "REDIS_URL": local_redis.url(socket),
                }
                shares = [(seed, range(first, count, processes), environ) for first in range(processes)]
                with multiprocessing.get_context("spawn").Pool(processes) as pool:
                    return pool.starmap(work, shares)
            finally:
                redis.terminate()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="requests (default 1,000,000)")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="default: one a processor")
    parser.add_argument("--seed", default="", help="(default: made up)")
    given = parser.parse_args(words)
    seed = given.seed or str(secrets.randbelow(10**6))
    print(f"seed {seed}", flush=True)
    begun = time.monotonic()
    tallies = run(seed, given.count, given.processes)
    seconds = time.monotonic() - begun
    answers: Counter[str] = sum((one.answers for one in tallies), Counter())
    faults = [fault for one in tallies for fault in one.faults]
    growth = max(one.late - one.early for one in tallies)
    print(f"{answers.total():,} requests in {seconds:.0f} s ({answers.total() / seconds:,.0f} a second)")
    print("answers: " + ", ".join(f"{status} {number:,}" for status, number in answers.most_common()))
    memory = ", ".join(f"{one.early:.1f} to {one.late:.1f} MB" for one in tallies)
    print(f"memory from the first quarter to the end: {memory}")
    print(f"faults: {len(faults)}")
    print("\n".join(faults[:10]))
    return 1 if faults or growth > _MOST_GROWTH else 0


if __name__ == "__main__":
    sys.exit(main())
