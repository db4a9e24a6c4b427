"""One at a time, among threads and processes, and nobody waits for longer than he said."""

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from receiver.turn import NoTurn, Turn

# A child that is forked from a test with threads would be a gamble.
SPAWN = multiprocessing.get_context("spawn")


def hold(path: Path, said: Connection) -> None:
    """Take the lock in another process, say so, and keep it until told."""
    with Turn(path, 5).taken():
        said.send("taken")
        said.recv()
    said.send("given back")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


def test_a_turn_follows_the_other_among_threads(path: Path) -> None:
    turn, inside, most = Turn(path, 5), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(50):
            with turn.taken():
                inside += 1
                most = max(most, inside)
                time.sleep(0)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert most == 1


def test_who_waits_in_vain_is_told_at_the_deadline_and_has_his_turn_later(path: Path) -> None:
    ours, theirs = SPAWN.Pipe()
    other = SPAWN.Process(target=hold, args=(path, theirs))
    other.start()
    assert ours.recv() == "taken"
    turn = Turn(path, 0.2)
    for _ in range(2):
        begun = time.monotonic()
        with pytest.raises(NoTurn), turn.taken():
            pass
        assert 0.2 <= time.monotonic() - begun < 2
    with pytest.raises(NoTurn), Turn(path, 0).taken():
        pass
    ours.send("go on")
    assert ours.recv() == "given back"
    other.join(10)

    # The two that gave up have left nothing locked, neither among threads nor among processes.
    with Turn(path, 5).taken():
        pass
    for _ in range(3):
        with Turn(path, 5).taken(), pytest.raises(NoTurn), turn.taken():
            pass
        time.sleep(0.01)
    with Turn(path, 5).taken():
        pass


def test_the_lock_of_a_process_that_is_killed_is_free(path: Path) -> None:
    ours, theirs = SPAWN.Pipe()
    other = SPAWN.Process(target=hold, args=(path, theirs))
    other.start()
    assert ours.recv() == "taken"
    assert other.pid
    threading.Timer(0.1, os.kill, (other.pid, signal.SIGKILL)).start()

    with Turn(path, 10).taken():
        pass
    other.join(10)


def test_an_error_inside_gives_the_lock_back(path: Path) -> None:
    turn = Turn(path, 0.5)
    with pytest.raises(KeyError), turn.taken():
        raise KeyError
    with turn.taken():
        pass


def test_the_file_is_nobody_elses_but_the_folders_owners(path: Path) -> None:
    """Who drains by hand as root must not lock the receiver out."""
    if os.geteuid() == 0:
        os.chown(path.parent, 1234, 5678)
    owner = path.parent.stat()
    with Turn(path, 0).taken():
        pass

    made = path.stat()
    assert (made.st_mode & 0o777, made.st_uid, made.st_gid) == (0o600, owner.st_uid, owner.st_gid)
