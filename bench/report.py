"""From samples to a table for people and a JSON document for comparing runs."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

# What Ulak is to reach, as a share of what the other app reaches beside it. Missing one is a finding, not a fault.
AIMS = {"naive": 1.3, "bare": 0.35}

PACKAGES = (
    "flask",
    "werkzeug",
    "gunicorn",
    "marshmallow",
    "redis",
    "hiredis",
    "rq",
    "orjson",
    "structlog",
    "prometheus-client",
)

# Where the ratios of the rounds lie further apart than this, something else ran on the machine meanwhile.
SETTLED = 1.25

# Rarer commands are start-up or upkeep, not the way of a callback.
SHOWN_SHARE = 0.01


@dataclass(frozen=True)
class Sample:
    """One app under load once: what the load generator saw, and what Redis was asked meanwhile."""

    app: str
    workers: int
    round: int
    load: dict[str, Any]
    commands: dict[str, int]
    reads: int
    queued: int

    @property
    def accepted(self) -> int:
        return int(self.load["ok"])

    @property
    def faults(self) -> int:
        return int(self.load["other"]) + int(self.load["errors"])

    @property
    def missing(self) -> int:
        """Count accepted callbacks with no job in a queue, such as those in Ulak's spool; the bare view queues none."""
        return 0 if self.app == "bare" else self.accepted - self.queued


def _of(samples: Sequence[Sample], app: str, workers: int) -> list[Sample]:
    return [sample for sample in samples if sample.app == app and sample.workers == workers]


def _figures(samples: Sequence[Sample]) -> dict[str, Any]:
    rates = [float(sample.load["rps"]) for sample in samples]
    accepted = sum(sample.accepted for sample in samples) or 1
    names = sorted({name for sample in samples for name in sample.commands})
    calls = {name: sum(sample.commands.get(name, 0) for sample in samples) / accepted for name in names}
    return {
        "rps": median(rates),
        "rps_range": [min(rates), max(rates)],
        "p50_ms": median(float(sample.load["p50_ms"]) for sample in samples),
        "p99_ms": median(float(sample.load["p99_ms"]) for sample in samples),
        "accepted": sum(sample.accepted for sample in samples),
        "faults": sum(sample.faults for sample in samples),
        "without_job": sum(sample.missing for sample in samples),
        "round_trips_per_callback": sum(sample.reads for sample in samples) / accepted,
        "commands_per_callback": {name: round(share, 4) for name, share in calls.items() if share >= SHOWN_SHARE},
    }


def _ratio(samples: Sequence[Sample], other: str, workers: int) -> dict[str, Any] | None:
    """Compare Ulak with *other* round by round: neighbours in time share the machine's mood, medians do not."""
    pairs = zip(_of(samples, "ulak", workers), _of(samples, other, workers), strict=True)
    ratios = [float(ours.load["rps"]) / float(theirs.load["rps"]) for ours, theirs in pairs if theirs.load["rps"]]
    if not ratios:
        return None
    value, low, high = median(ratios), min(ratios), max(ratios)
    settled = high <= low * SETTLED
    return {
        "median": value,
        "range": [low, high],
        "settled": settled,
        "aim": AIMS[other],
        "reached": value >= AIMS[other],
    }


def summary(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return one entry for each number of workers: every app's medians, and Ulak's ratios."""
    apps = list(dict.fromkeys(sample.app for sample in samples))
    entries = []
    for workers in dict.fromkeys(sample.workers for sample in samples):
        figures = {app: _figures(_of(samples, app, workers)) for app in sorted(apps)}
        ratios = {other: _ratio(samples, other, workers) for other in AIMS if {"ulak", other} <= set(apps)}
        entries.append({"workers": workers, "apps": figures, "ratios": ratios})
    return entries


def _table(entry: dict[str, Any]) -> list[str]:
    title = f"{entry['workers']} workers"
    lines = [f"{title:<13} {'requests/s':>10}  {'lowest-highest':>15} {'p50 ms':>8} {'p99 ms':>8}  answers"]
    for app, row in entry["apps"].items():
        low, high = row["rps_range"]
        rates = f"{row['rps']:>10,.0f}  {f'{low:,.0f}-{high:,.0f}':>15}"
        answers = f"{row['accepted']:,} accepted, {row['faults']:,} not"
        lines.append(f"{app:<13} {rates} {row['p50_ms']:>8.2f} {row['p99_ms']:>8.2f}  {answers}")
    for other, ratio in entry["ratios"].items():
        if ratio is not None:
            low, high = ratio["range"]
            verdict = "reached" if ratio["reached"] else "NOT reached"
            if not ratio["settled"]:
                verdict += "; but the rounds lie far apart: measure again on a quiet machine"
            figures = f"{ratio['median']:>10.2f}  {f'{low:.2f}-{high:.2f}':>15}"
            lines.append(f"{f'ulak / {other}':<13} {figures}   aim: at least {ratio['aim']}, {verdict}")
    return lines


def _redis_lines(entry: dict[str, Any]) -> list[str]:
    lines = []
    for app, row in entry["apps"].items():
        if not row["commands_per_callback"]:
            continue
        trips, calls = row["round_trips_per_callback"], row["commands_per_callback"]
        listed = ", ".join(f"{name} {share:.2f}" for name, share in sorted(calls.items(), key=lambda item: -item[1]))
        lines.append(f"{app:<9} {trips:.2f} round trips, {sum(calls.values()):.2f} commands: {listed}")
        if row["without_job"]:
            lines.append(f"{'':<9} {row['without_job']:,} accepted callbacks have no job in a queue: not the same work")
    return lines


def text(entries: Sequence[dict[str, Any]]) -> str:
    """Return the tables as they are printed."""
    lines: list[str] = []
    for entry in entries:
        lines += ["", *_table(entry)]
    lines += ["", "Redis, for one accepted callback (commands inside scripts and transactions counted too)"]
    lines += _redis_lines(entries[0])
    return "\n".join(lines)


def _git(root: Path, *arguments: str) -> str | None:
    # Optional locks off: looking at the tree must not rewrite its index.
    command = ["git", "-C", str(root), "--no-optional-locks", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def document(samples: Sequence[Sample], settings: dict[str, Any], root: Path, redis_version: str) -> dict[str, Any]:
    """Return everything that a later reader needs to judge or repeat the run."""
    changes = _git(root, "status", "--porcelain")
    return {
        "commit": _git(root, "rev-parse", "--verify", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": {"cpu": _cpu_model(), "cores": os.cpu_count(), "system": platform.platform()},
        "packages": {name: _installed(name) for name in PACKAGES},
        "redis": redis_version,
        "settings": settings,
        "summary": summary(samples),
        "samples": [asdict(sample) for sample in samples],
    }
