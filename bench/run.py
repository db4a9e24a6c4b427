"""
Measure Ulak beside a bare Flask view and beside the usual pipeline: ``python -m bench.run``.

The apps run one at a time, in rounds, so that a slow moment of the machine meets all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bench import callbacks, report, servers
from bench.report import Sample

APPS = ("bare", "naive", "ulak")
# Eight senders a worker keep every worker busy and leave the queue before gunicorn short.
CONNECTIONS = {2: 16, 4: 32}
WARM_UP_SECONDS = 0.7
REQUESTS = 60_000
WARM_UP_REQUESTS = 10_000
MAX_SECONDS = 60.0
MAX_ROUNDS = 20


@dataclass(frozen=True)
class Tools:
    """What every measurement uses: the compiled load generator and the files of prepared requests."""

    directory: Path
    load: Path
    requests: Path
    warm_up: Path

    def press(self, port: int, connections: int, seconds: float, requests: Path) -> dict[str, object]:
        command = [str(self.load), "127.0.0.1", str(port), str(connections), str(seconds), str(requests)]
        # The generator stops by itself; the time-out is for the case that it does not.
        result = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=False)
        if result.returncode != 0:
            raise servers.BenchError(result.stderr.strip() or f"the load generator ended with {result.returncode}")
        found: dict[str, object] = json.loads(result.stdout)
        return found


def prepare(directory: Path) -> Tools:
    """Compile the load generator and write the requests."""
    load = directory / "load"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        raise servers.BenchError("No C compiler: install one that answers to cc, or name it in CC.")
    command = [*compiler, "-O2", "-o", str(load), str(Path(__file__).with_name("load.c"))]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise servers.BenchError(f"load.c does not compile (it needs Linux):\n{built.stderr}")
    tools = Tools(directory, load, directory / "requests", directory / "warm-up")
    callbacks.write(tools.requests, 0, REQUESTS)
    callbacks.write(tools.warm_up, REQUESTS, WARM_UP_REQUESTS)
    return tools


def measure(app: str, workers: int, turn: int, seconds: float, tools: Tools, store: servers.Store) -> Sample:
    """Start *app* on an empty Redis, warm it up, load it, and stop it."""
    store.empty()
    connections = CONNECTIONS[workers]
    with servers.app(app, workers, store.url, tools.directory / f"{app}-{workers}-{turn}") as port:
        tools.press(port, connections, WARM_UP_SECONDS, tools.warm_up)
        queued, before = store.queued(), store.counters()
        load = tools.press(port, connections, seconds, tools.requests)
        after = store.counters()
        queued = store.queued() - queued
    spent = {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}
    reads = spent.pop("reads") - 1  # Our second look is in it.
    return Sample(app, workers, turn, load, spent, reads, queued)


def run(apps: list[str], seconds: float, rounds: int, tools: Tools, store: servers.Store) -> list[Sample]:
    samples = []
    for turn in range(rounds):
        # Nobody is always the first after a pause or always behind the heaviest.
        order = apps[turn % len(apps) :] + apps[: turn % len(apps)]
        for workers in CONNECTIONS:
            for app in order:
                sample = measure(app, workers, turn, seconds, tools, store)
                samples.append(sample)
                rate, faults = sample.load["rps"], sample.faults
                print(f"round {turn + 1}/{rounds}  {workers} workers  {app:<6} {rate:>9,.0f}/s", file=sys.stderr)
                if faults:
                    print(f"  {faults} were not accepted: {sample.load}", file=sys.stderr)
    return samples


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each measurement (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each app is measured (default 5)")
    parser.add_argument("--apps", default=",".join(APPS), help="which of bare, naive and ulak (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write settings, figures and samples here")
    given = parser.parse_args()
    given.apps = given.apps.split(",")
    if not 0 < given.seconds <= MAX_SECONDS or not 0 < given.rounds <= MAX_ROUNDS:
        parser.error(f"at most {MAX_SECONDS:.0f} seconds and {MAX_ROUNDS} rounds, and more than none")
    if not given.apps or set(given.apps) - set(APPS) or len(set(given.apps)) < len(given.apps):
        parser.error(f"--apps takes names out of {', '.join(APPS)}, each once")
    return given


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(143)


def main() -> int:
    given = _arguments()
    # As an exception, SIGTERM passes the `finally` blocks that stop our processes.
    signal.signal(signal.SIGTERM, _end)
    with tempfile.TemporaryDirectory(prefix="ulak-bench-") as name:
        try:
            tools = prepare(Path(name))
            with servers.redis(tools.directory) as store:
                samples = run(given.apps, given.seconds, given.rounds, tools, store)
                version = store.version()
        except servers.BenchError as exc:
            print(f"bench: {exc}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
    print(report.text(report.summary(samples)))
    if given.json is not None:
        settings = {
            "seconds": given.seconds,
            "rounds": given.rounds,
            "connections": CONNECTIONS,
            "warm_up_seconds": WARM_UP_SECONDS,
            "gunicorn": servers.GUNICORN,
            "redis": servers.REDIS_SETTINGS,
            "ulak_config": servers.ULAK_CONFIG,
        }
        found = report.document(samples, settings, servers.ROOT, version)
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
