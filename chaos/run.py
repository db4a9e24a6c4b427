"""
Run the proof: ``python -m chaos.run``. The same seed does the same things in the same order.

Time and the choice of a process are the machine's, so a replay meets the same faults and not the same microsecond.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from chaos import report
from chaos.parts import ChaosError
from chaos.trial import Plan, Trial, say

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHORT_PAUSE, _SHORT_RATE = 0.4, 15.0


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.run", description=__doc__)
    parser.add_argument("--trials", type=int, default=1, help="how many systems, one after the other (default 1)")
    parser.add_argument("--failovers", type=int, default=0, help="and how many with replicas and sentinels (default 0)")
    parser.add_argument("--seconds", type=float, default=240.0, help="how long each is disturbed (default 240)")
    parser.add_argument("--seed", type=int, help="of the first trial; the next ones count on (default: made up)")
    parser.add_argument("--rate", type=float, default=40.0, help="new callbacks a second (default 40)")
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between two kills, on average (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured here")
    parser.add_argument("--short", action="store_true", help="every action once, in about a minute")
    parser.add_argument("--keep", action="store_true", help="keep logs and data also where nothing is wrong")
    return parser.parse_args(words)


def _plan(given: argparse.Namespace, seed: int, *, failover: bool = False) -> Plan:
    rate, pause = (_SHORT_RATE, _SHORT_PAUSE) if given.short else (given.rate, given.pause)
    if failover:  # three servers more want their part of the machine, and a failover takes seconds
        rate, pause = rate / 2, pause * 4
    return Plan(str(seed), given.seconds, rate, pause, given.keep, failover, given.short)


def _end(_number: int, _frame: object) -> NoReturn:
    sys.exit(143)


def main(words: Sequence[str] | None = None) -> int:
    given = _arguments(words)
    signal.signal(signal.SIGTERM, _end)  # as an exception it passes the blocks that end our processes
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    plans = [_plan(given, seed + number) for number in range(given.trials)]
    plans += [_plan(given, seed + number, failover=True) for number in range(given.failovers)]
    results: list[report.Result] = []
    try:
        for plan in plans:
            say(f"{'failovers, ' if plan.failover else ''}seed {plan.seed}")
            results.append(Trial(plan).run())
            print(report.text(results[-1:]), flush=True)
            if given.json:  # after each, for a long run may be cut short
                given.json.parent.mkdir(parents=True, exist_ok=True)
                given.json.write_text(json.dumps(report.document(results), indent=1) + "\n", encoding="utf-8")
    except ChaosError as exc:
        say(f"chaos: {exc}")
        return 1
    for found in (results[: given.trials], results[given.trials :]):
        if len(found) > 1:
            print("\nall together\n" + report.text(found))
    return 0 if all(result.is_good for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
