"""What a check is, and what comes of all of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

Part = TypeVar("Part")


class Severity(StrEnum):
    """A fault loses, doubles, forges or stops something, now or at the next crash; a warning may come to that."""

    FAULT = "fault"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Check(Generic[Part]):
    """One question to a part of the facts. ``look`` yields a sentence for each thing that is wrong."""

    word: str
    severity: Severity
    what: str
    look: Callable[[Part], Iterable[str]]
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    check: Check[Any]
    says: tuple[str, ...]

    def to_wire(self) -> dict[str, Any]:
        check = self.check
        return {
            "severity": check.severity,
            "word": check.word,
            "says": self.says,
            "why": check.why,
            "remedy": check.remedy,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """What all checks found, the faults first; ``unchecked`` are those whose facts could not be had."""

    findings: tuple[Finding, ...]
    checked: int = 0
    unchecked: tuple[str, ...] = ()

    def count(self, severity: Severity) -> int:
        return sum(one.check.severity is severity for one in self.findings)

    @property
    def faulty(self) -> bool:
        return self.count(Severity.FAULT) > 0

    def to_wire(self) -> dict[str, Any]:
        return {
            "ok": not self.faulty,
            "faults": self.count(Severity.FAULT),
            "warnings": self.count(Severity.WARNING),
            "findings": [one.to_wire() for one in self.findings],
            "checked": self.checked,
            "unchecked": self.unchecked,
        }

    def lines(self) -> Iterator[str]:
        """Yield what a person reads: each word once, with all it is about, why it matters and what mends it."""
        for one in self.findings:
            check = one.check
            first, *others = one.says
            yield f"{check.severity:<7}  {check.word}  {first}"
            yield from (f"{'':9}{'':{len(check.word)}}  {other}" for other in others)
            yield from (f"  {check.why}", f"  {check.remedy}", "")
        faults, warnings = self.count(Severity.FAULT), self.count(Severity.WARNING)
        yield f"{self.checked} checks: {faults} fault(s), {warnings} warning(s)"
        if self.unchecked:
            yield f"{len(self.unchecked)} checks could not be made: {', '.join(self.unchecked)}"


def examine(parts: Iterable[tuple[Sequence[Check[Any]], object | None]]) -> Report:
    """Put each part of the facts before its checks; None is a part that could not be had."""
    findings: list[Finding] = []
    unchecked: list[str] = []
    checked = 0
    for checks, part in parts:
        if part is None:
            unchecked += (check.word for check in checks)
            continue
        checked += len(checks)
        said = ((check, tuple(check.look(part))) for check in checks)
        findings += (Finding(check, says) for check, says in said if says)
    findings.sort(key=lambda one: one.check.severity is not Severity.FAULT)
    return Report(tuple(findings), checked, tuple(unchecked))
