"""Points at which a test lets a process die: off unless named, and at the place and time that are named."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from receiver.failpoints import POINTS, reach

RECEIVER = Path(__file__).parent.parent / "receiver"
REACHING = """
from receiver.failpoints import reach
for number in range(3):
    reach("spool.before_commit")
    reach("spool.after_commit")
    print(number, flush=True)
"""


def reached(point: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", REACHING],
        env={"ULAK_FAILPOINT": point},
        capture_output=True,
        text=True,
        check=False,
        cwd=RECEIVER.parent,
    )
    return done.returncode, done.stdout.split() or done.stderr.splitlines()[-1:]


def test_without_the_variable_nothing_happens() -> None:
    for point in POINTS:
        reach(point)

    assert reached("") == (0, ["0", "1", "2"])


def test_a_process_dies_where_it_is_named_and_at_the_time_that_is_named() -> None:
    assert reached("spool.after_commit") == (-signal.SIGKILL, [])
    assert reached("spool.after_commit:3") == (-signal.SIGKILL, ["0", "1"])
    assert reached("spool.after_commit:4") == (0, ["0", "1", "2"])


def test_a_point_that_does_not_exist_stops_the_start() -> None:
    for point in ("spool.after_comit", "spool.after_commit:x"):
        code, said = reached(point)
        assert code == 1
        assert said[0].startswith("ValueError: ULAK_FAILPOINT must be one of accept.before, ")


def test_every_point_is_reached_somewhere_and_every_place_is_a_point() -> None:
    found = [
        point for path in RECEIVER.rglob("*.py") for point in re.findall(r'\breach\("([a-z._]+)"\)', path.read_text())
    ]

    assert sorted(found) == sorted(POINTS)
