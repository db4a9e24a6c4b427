"""The proof in short: the whole system, each kind of fault once; and odd requests at every address."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.kills import KILLS
from chaos.lasting import LASTING

from .harness import ROOT, environment

pytestmark = pytest.mark.integration


def run(module: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        env=environment(PYTHONPATH=str(ROOT)),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )


class TestChaos:
    def test_loses_nothing_and_makes_nothing_twice_whatever_is_killed(self, tmp_path: Path) -> None:
        done = run("chaos.run", "--short", "--seed", "1", "--json", str(tmp_path / "chaos.json"))

        told = done.stdout + done.stderr
        assert done.returncode == 0, told
        (trial,) = json.loads((tmp_path / "chaos.json").read_text())
        assert {line[1] for line in trial["actions"]} == {action.name for action in (*KILLS, *LASTING)}, told
        assert trial["faults"] == {"lost": [], "twice": [], "out of nowhere": [], "strange answers": [], "broken": []}
        assert trial["kills"] >= 10
        assert trial["counts"]["facts"] >= 200
        assert trial["counts"]["held before"] >= 10
        assert trial["counts"]["logged spooled"] >= 10


class TestFuzz:
    def test_odd_requests_make_no_500_and_no_forgery_is_taken(self) -> None:
        done = run("chaos.fuzz", "--count", "6000", "--seed", "1")

        assert done.returncode == 0, done.stdout + done.stderr
        assert "faults: 0" in done.stdout
