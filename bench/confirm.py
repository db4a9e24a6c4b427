"""
Measure how many held facts one worker process confirms a second: ``python -m bench.confirm``.

The provider's API is played on this machine and answers in about a millisecond, so what is left is Ulak's and RQ's own
work. A real API takes a hundred times as long: then more workers help, up to what the provider allows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NoReturn

from bench import servers
from receiver import config, simulate
from receiver.event import Event, Trust
from receiver.placing import Placing, Sealed
from receiver.providers import BY_NAME
from receiver.routing import CONFIRM
from receiver.sink import EVENTS, HELD, RedisSink
from workers import sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

AIM = 60.0  # confirmations a second with one worker process
WARM_UP = 50
MAX_SECONDS = 120.0
PROVIDERS = ("paratika", "paynet", "zotlo")


@contextmanager
def _running(command: Sequence[str], env: Mapping[str, str], log: Path) -> Iterator[None]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, env=dict(env), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(servers.STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _hold(settings: config.Settings, provider_name: str, count: int) -> None:
    """Put *count* different successes on hold, as the receiver would."""
    provider, account = BY_NAME[provider_name], settings.accounts[(provider_name, "shop-asked")]
    sink = RedisSink.of(settings)
    placing = Placing(settings.routes, settings.reconcile_after[0])
    source = random.Random(1)
    scenario = provider.scenarios["success"]
    channel = provider.channels[scenario.channel]
    for _ in range(count):
        now = datetime.now(UTC)
        request = provider.sign(simulate.fresh(scenario, {}, source), account, now)
        (note,) = provider.verify(request, account, "")
        says = provider.normalize(channel.schema.load(note.fields), note, channel.name, account)
        trust = Trust(note.level, note.covers)
        event = Event(provider_name, account.slug, channel.name, account.test, now, trust, says)
        placing.accept(sink, [Sealed(event)], provider, account)


def _wait(store: servers.Store, count: int) -> None:
    until = time.monotonic() + MAX_SECONDS
    while int(store.client.xlen(EVENTS)) < count:
        if time.monotonic() > until:
            raise servers.BenchError(f"only {store.client.xlen(EVENTS)} of {count} facts were confirmed in time")
        time.sleep(0.005)


def measure(provider: str, count: int, settings: config.Settings, env: Mapping[str, str], store: servers.Store) -> Any:
    """Confirm *count* facts of *provider* with one worker; return how many a second, and what Redis did for each."""
    store.empty()
    _hold(settings, provider, WARM_UP + count)
    if int(store.client.xlen(HELD)) != WARM_UP + count:
        raise servers.BenchError("not every success was held")
    worker = [sys.executable, "-m", "workers.worker", CONFIRM.queue]
    with _running(worker, env, settings.data / "worker.log"):
        _wait(store, WARM_UP)
        begun, before = time.monotonic(), store.counters()
        done = int(store.client.xlen(EVENTS))
        _wait(store, WARM_UP + count)
        seconds, after = time.monotonic() - begun, store.counters()
    confirmed = WARM_UP + count - done
    spent = sum(after.values()) - after["reads"] - sum(before.values()) + before["reads"]
    return {
        "provider": provider,
        "confirmed": confirmed,
        "per_second": round(confirmed / seconds, 1),
        "redis_reads": round((after["reads"] - before["reads"]) / confirmed, 1),
        "redis_commands": round(spent / confirmed, 1),
    }


def run(rounds: int, count: int) -> list[Any]:
    found = []
    with tempfile.TemporaryDirectory(prefix="ulak-bench-") as name:
        folder = Path(name)
        port = servers.free_port()
        written = sandbox.write(folder, f"http://127.0.0.1:{port}")
        with servers.redis(folder) as store:
            env = os.environ | {"ULAK_CONFIG": str(written), "ULAK_DATA": str(folder), "REDIS_URL": store.url}
            settings = config.load(env)
            with _running([sys.executable, "-m", "workers.sandbox_api", str(port)], env, folder / "api.log"):
                for turn in range(rounds):
                    for provider in PROVIDERS:
                        found.append(measure(provider, count, settings, env, store))
                        rate = found[-1]["per_second"]
                        print(f"round {turn + 1}/{rounds}  {provider:<9} {rate:>7}/s", file=sys.stderr)
    return found


def report(samples: Sequence[Any]) -> str:
    rows = ["provider    confirmed/s  Redis reads each  Redis commands each"]
    for provider in PROVIDERS:
        own = [sample for sample in samples if sample["provider"] == provider]
        rate, reads, commands = (
            median(sample[name] for sample in own) for name in ("per_second", "redis_reads", "redis_commands")
        )
        verdict = "" if rate >= AIM else f"  below the aim of {AIM:.0f}"
        rows.append(f"{provider:<10}  {rate:>11.1f}  {reads:>16.1f}  {commands:>19.1f}{verdict}")
    return "\n".join(rows)


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(143)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.confirm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 21), metavar="N", help="default 3")
    parser.add_argument("--count", type=int, default=400, choices=range(50, 5001), metavar="N", help="default 400")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the single samples here")
    given = parser.parse_args()
    # As an exception, SIGTERM passes the `finally` blocks that stop our processes.
    signal.signal(signal.SIGTERM, _end)
    try:
        samples = run(given.rounds, given.count)
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
