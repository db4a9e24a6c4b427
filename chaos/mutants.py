"""
Is the proof any good? ``python -m chaos.mutants``: what keeps a promise is taken out of a copy; something must fail.

For each line of MUTANTS the named tests and the short run are tried; it is caught where one of them fails. With words
behind it, only the lines that hold one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from chaos.parts import ROOT

_LEFT_OUT = (".git", ".venv", ".ulak", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis")


@dataclass(frozen=True)
class Mutant:
    """What is taken out: *old* becomes *new* in one file; and the tests that look closest."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def spoil(self, root: Path) -> None:
        path = root / self.file
        text = path.read_text("utf-8")
        if text.count(self.old) != 1:
            raise SystemExit(f"{self.name}: {self.file} has changed, so this line must as well")
        path.write_text(text.replace(self.old, self.new), "utf-8")


MUTANTS = (
    Mutant(
        "the fail-closed check: where neither Redis nor the spool keeps it, there is no success",
        "receiver/pipeline.py",
        "raise Unavailable(told.reason, told.detail or away.detail) from None",
        "return [Receipt(new=True, released=True)], told",
        ("tests/test_pipeline.py",),
    ),
    Mutant(
        "the proof: what no secret made is refused",
        "receiver/signing.py",
        "    raise Unverified(Reason.BAD_SIGNATURE)\n",
        "    return secret, claim\n",
        ("tests/test_signing.py", "tests/test_contract.py"),
    ),
    Mutant(
        "the check for the full flag",
        "receiver/accept.lua",
        "if redis.call('EXISTS', KEYS[3]) == 1 then return -1 end",
        "",
        ("tests/integration/test_accept.py",),
    ),
    Mutant(
        "the marker in the Lua script",
        "receiver/accept.lua",
        "    mark(event.marker, held and 'held' or 'released')\n  elseif",
        "  elseif",
        ("tests/integration/test_accept.py",),
    ),
    Mutant(
        "the fsync of the spool",
        "receiver/rows.py",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = OFF",
        ("tests/test_rows.py",),
    ),
    Mutant(
        "the retry of jobs",
        "receiver/sink.py",
        "JOB_RETRY_PAUSES = (0, 10, 60, 300, 900)",
        "JOB_RETRY_PAUSES: tuple[int, ...] = ()",
        ("tests/integration/test_rq_contract.py",),
    ),
    Mutant(
        "the order of the drain: Redis has it before the row goes",
        "receiver/draining.py",
        '        reach("drain.before_accept")\n',
        '        reach("drain.before_accept")\n        self._file.remove([row for row, _ in group])\n',
        ("tests/test_draining.py",),
    ),
    Mutant(
        "the keeper's care for jobs whose worker is gone",
        "workers/lost.lua",
        "if ARGV[3] ~= 'back' then return lost and 1 or 2 end",
        "if ARGV[3] == 'back' then return 0 else return lost and 1 or 2 end",
        ("tests/integration/test_keeper.py",),
    ),
)


def _run(argv: list[str], root: Path) -> tuple[bool, str]:
    """Say whether it ended well, and what it said."""
    env = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(argv, cwd=root, env=env, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def _failures(said: str) -> str:
    """Return the lines that tell what failed: pytest's, or those of the table."""
    told = [line for line in said.splitlines() if line.startswith(("FAILED", "ERROR"))]
    named = ("lost", "twice", "out of nowhere", "strange answers", "left:")
    told += [line for line in said.splitlines() if line.startswith("  ") and line.strip().startswith(named)]
    return "\n".join(f"      {line.strip()[:150]}" for line in told[:6]) or "\n".join(said.splitlines()[-5:])


def catch(mutant: Mutant, log: Path) -> bool:
    """Try everything on a spoiled copy; say whether something failed."""
    caught = False
    with tempfile.TemporaryDirectory(prefix="ulak-mutant-") as name:
        root = Path(name) / "ulak"
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        mutant.spoil(root)
        for words in (
            ("pytest", "-q", "-p", "no:cacheprovider", *mutant.tests),
            ("chaos.run", "--short", "--seed", "1"),
        ):
            begun = time.monotonic()
            good, said = _run([sys.executable, "-m", *words], root)
            caught = caught or not good
            told = " ".join((*words[:1], *(mutant.tests if words[0] == "pytest" else ("--short",))))
            print(f"  {'passes' if good else 'FAILS'}  {told} ({time.monotonic() - begun:.0f} s)", flush=True)
            if not good:
                print(_failures(said), flush=True)
                with log.open("a", encoding="utf-8") as file:
                    file.write(f"\n== {mutant.name}\n{said}\n")
    return caught


def main(words: list[str]) -> int:
    log = Path(tempfile.gettempdir()) / "ulak-mutants.log"
    log.unlink(missing_ok=True)
    escaped = []
    for mutant in MUTANTS:
        if words and not any(word in mutant.name for word in words):
            continue
        print(f"without {mutant.name}", flush=True)
        if not catch(mutant, log):
            escaped.append(mutant.name)
    print(f"not caught: {', '.join(escaped) or 'none'}; all that was said is in {log}")
    return 1 if escaped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
