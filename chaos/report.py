"""What a run prints and writes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.senders import Ledger
    from chaos.verdict import Verdict

_SHOWN = 5  # of each kind of fault


@dataclass(frozen=True)
class Line:
    """One action that was done."""

    at: float
    name: str
    kills: int
    told: str


@dataclass(frozen=True)
class Result:
    """One trial."""

    seed: str
    failover: bool
    verdict: Verdict
    ledger: Ledger
    log: Sequence[Line]
    settled_after: float
    left: dict[str, int]
    folder: str

    @property
    def kills(self) -> int:
        return sum(line.kills for line in self.log)

    @property
    def is_good(self) -> bool:
        return self.verdict.is_good and not self.left


def text(results: Sequence[Result]) -> str:
    """Return a table of all these trials together, and what is wrong with each."""
    counts: Counter[str] = Counter()
    for one in results:
        counts.update(one.verdict.counts)
    rows = [
        ("failovers, seeds" if results[0].failover else "seeds", ", ".join(one.seed for one in results)),
        ("callbacks answered", f"{sum(one.ledger.answered for one in results):,}"),
        ("kills", f"{sum(one.kills for one in results):,}"),
        *((name, f"{count:,}") for name, count in counts.items()),
        ("slowest 1 % of the answers", f"{max(one.ledger.percentile(0.99) for one in results):.2f} s"),
        ("slowest answer", f"{max(max(one.ledger.seconds, default=0.0) for one in results):.2f} s"),
        ("all settled after", f"{max(one.settled_after for one in results):.0f} s"),
        *((name, str(sum(len(one.verdict.faults[name]) for one in results))) for name in results[0].verdict.faults),
    ]
    lines = [f"{name:<28}{value:>12}" for name, value in rows]
    done = Counter(line.name for one in results for line in one.log)
    lines += ["", *(f"{name:<32}{count:>8}" for name, count in sorted(done.items()))]
    answers: Counter[str] = sum((one.ledger.answers for one in results), Counter())
    lines += ["", "answers: " + ", ".join(f"{word} {count:,}" for word, count in answers.most_common())]
    for one in results:
        if not one.is_good:
            lines += ["", f"seed {one.seed} failed; logs and data are in {one.folder}"]
            lines += [f"  left: {name} {count}" for name, count in one.left.items()]
            lines += [f"  {name}: {told}" for name, found in one.verdict.faults.items() for told in found[:_SHOWN]]
    return "\n".join(lines)


def document(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return everything for a program to read."""
    return [
        {
            "seed": one.seed,
            "failover": one.failover,
            "good": one.is_good,
            "callbacks": one.ledger.answered,
            "answers": dict(one.ledger.answers),
            "kills": one.kills,
            "counts": one.verdict.counts,
            "faults": one.verdict.faults,
            "left": one.left,
            "settled_after": round(one.settled_after, 1),
            "p50": round(one.ledger.percentile(0.5), 4),
            "p99": round(one.ledger.percentile(0.99), 4),
            "slowest": round(max(one.ledger.seconds, default=0.0), 3),
            "slow": one.ledger.slow,
            "actions": [[round(line.at, 2), line.name, line.kills, line.told] for line in one.log],
        }
        for one in results
    ]
