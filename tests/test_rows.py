"""The spool's file: what is kept is on the disk, once, in order, and only for our own user."""

import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver import rows
from receiver.errors import Reason, Unavailable
from receiver.rows import Row, SpoolFile, State, settle

MIB = 1024 * 1024


@pytest.fixture
def file(tmp_path: Path) -> SpoolFile:
    return SpoolFile(tmp_path / "data", 4 * MIB)


def row(name: object, size: int = 10, *, released: bool = True) -> Row:
    return Row(f"row-{name}", released, b"{}", b"x" * size)


def names(file: SpoolFile, after: int = 0) -> list[str]:
    return [one.id.removeprefix("row-") for one in file.next(after, 1000)]


@contextmanager
def refused(reason: Reason) -> Iterator[None]:
    with pytest.raises(Unavailable) as caught:
        yield
    assert caught.value.reason is reason


class TestKeeping:
    def test_is_in_order_and_once_an_id(self, file: SpoolFile) -> None:
        assert file.keep([row(1, released=False), row(2)]) == [(True, False), (True, True)]
        assert file.keep([row(3), row(1, released=True)]) == [(True, True), (False, False)]
        assert names(file) == ["1", "2", "3"]
        first, second, third = file.next(0, 10)
        assert 0 < first.at < second.at < third.at
        assert names(file, second.at) == ["3"]
        assert file.next(0, 10) == SpoolFile(file.folder, MIB).next(0, 10)

    def test_is_in_order_though_the_clock_goes_back(self, file: SpoolFile, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter([5_000_000, 5_000_000, 4_000_000, 6_000_000])
        monkeypatch.setattr(rows, "now", lambda: next(clock))
        for number in range(4):
            file.keep([row(number)])

        assert [one.at for one in file.next(0, 10)] == [5_000_000, 5_000_001, 5_000_002, 6_000_000]
        assert names(file) == ["0", "1", "2", "3"]

    def test_by_many_threads_loses_and_doubles_nothing(self, file: SpoolFile) -> None:
        def work(who: int) -> None:
            for number in range(30):
                file.keep([row(f"{who}-{number}"), row(f"all-{number}")])

        threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

        assert sorted(names(file)) == sorted({f"{who}-{n}" for who in (0, 1, 2, 3, "all") for n in range(30)})

    def test_goes_on_in_a_new_file_where_somebody_took_the_old_one_away(self, file: SpoolFile) -> None:
        file.keep([row(1)])
        file.path.rename(file.folder / "moved.db")
        file.keep([row(2)])

        assert names(file) == ["2"]
        assert SpoolFile(file.folder, MIB).next(0, 10)[0].id == "row-2"

    def test_makes_files_that_are_nobody_elses(self, file: SpoolFile) -> None:
        before = os.umask(0)
        try:
            file.keep([row(1)])
        finally:
            os.umask(before)

        modes = {path.name: path.stat().st_mode & 0o777 for path in file.folder.iterdir()}
        assert modes == dict.fromkeys(("spool.db", "spool.db-wal", "spool.db-shm", "spool.lock"), 0o600)


# Counts the fsyncs of one process, as the C library gets them.
COUNTING = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
static int count;
int fsync(int file) { count++; return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(file); }
int fdatasync(int file) { count++; return ((int (*)(int)) dlsym(RTLD_NEXT, "fdatasync"))(file); }
int fsyncs(void) { return count; }
"""
KEEPING = """
import ctypes, sys
from pathlib import Path
from receiver.rows import Row, SpoolFile
fsyncs = ctypes.CDLL(None).fsyncs
file = SpoolFile(Path(sys.argv[1]), 1 << 20)
file.keep([Row("0", True, b"{}", b"")])
before = fsyncs()
for number in range(1, 21):
    file.keep([Row(str(number), True, b"{}", b"")])
    assert fsyncs() - before >= number, "it returned before an fsync"
print(fsyncs() - before)
"""


class TestPowerCut:
    def test_cannot_take_what_was_kept_for_a_connection_is_told_to_sync_each_commit(self, tmp_path: Path) -> None:
        """Whoever compiled SQLite may have chosen otherwise, so it is said and not left to the default."""
        connection = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        settle(connection)

        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()

    def test_cannot_take_it_for_the_live_connection_does_so(self, file: SpoolFile) -> None:
        file.keep([row(1)])

        assert file._own.connection.execute("PRAGMA synchronous").fetchone() == (2,)

    def test_cannot_take_it_for_the_disk_is_synced_before_it_returns(self, tmp_path: Path) -> None:
        source, library = tmp_path / "count.c", tmp_path / "count.so"
        source.write_text(COUNTING)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        env = os.environ | {"LD_PRELOAD": str(library)}
        done = subprocess.run(
            [sys.executable, "-c", KEEPING, tmp_path / "data"], env=env, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stderr
        assert 20 <= int(done.stdout) < 40


class TestRoom:
    def test_ends_at_the_limit_and_comes_back_with_what_is_drained(self, file: SpoolFile) -> None:
        kept = 0
        with refused(Reason.SPOOL_FULL):
            for kept in range(100):
                file.keep([row(kept, 100_000)])
        assert 30 <= kept <= 42
        assert file.path.stat().st_size <= 4 * MIB
        assert len(names(file)) == kept
        with refused(Reason.SPOOL_FULL):
            file.ready()

        file.remove(file.next(0, 10))
        file.ready()
        assert file.keep([row("more", 100_000)]) == [(True, True)]

    def test_is_none_where_the_disk_is_nearly_full(self, file: SpoolFile, monkeypatch: pytest.MonkeyPatch) -> None:
        file.keep([row(1)])
        monkeypatch.setattr(rows, "RESERVE", 1 << 62)
        with refused(Reason.SPOOL_FULL):
            file.keep([row(2)])

        file.remove(file.next(0, 1))  # what is drained can still be deleted
        assert file.state().room == 0

    def test_is_counted_with_rows_and_their_age(self, file: SpoolFile, monkeypatch: pytest.MonkeyPatch) -> None:
        assert file.state() == State(room=4 * MIB)
        assert not file.folder.exists()
        clock = iter([1_000_000, 2_000_000, 3_000_000, 4_000_000])
        monkeypatch.setattr(rows, "now", lambda: next(clock))
        for number in range(4):
            file.keep([row(number, 50_000)])
        file.refused(file.next(0, 1)[0], "WRONGTYPE", 1)
        state = file.state(since=3_000_000)

        assert (state.waiting, state.old, state.parked, state.oldest) == (2, 1, 1, 2.0)
        assert 200_000 < state.bytes < 300_000
        assert state.room == 4 * MIB - state.bytes


class TestParking:
    def test_comes_after_so_many_refusals_and_keeps_the_row(self, file: SpoolFile) -> None:
        file.keep([row(1), row(2)])
        for tries in range(2):
            first = file.next(0, 1)[0]
            assert first.tries == tries
            assert not file.refused(first, "WRONGTYPE", 3)
        assert file.refused(file.next(0, 1)[0], "WRONGTYPE", 3)

        assert names(file) == ["2"]
        assert file.parked(10) == [("row-1", "WRONGTYPE")]
        assert file.keep([row(1)]) == [(False, True)]

    def test_is_possible_where_there_is_no_room_for_more(self, file: SpoolFile) -> None:
        with refused(Reason.SPOOL_FULL):
            for number in range(100):
                file.keep([row(number, 100_000)])
        for one in file.next(0, 2):
            assert file.refused(one, "WRONGTYPE", 1)

        assert [name for name, _ in file.parked(10)] == ["row-0", "row-1"]
        assert file.unpark() == 2
        assert names(file)[:3] == ["0", "1", "2"]

    def test_ends_where_a_person_wants_it_tried_again(self, file: SpoolFile) -> None:
        file.keep([row(1, released=False), row(2)])
        first = file.next(0, 1)[0]
        file.refused(first, "WRONGTYPE", 1)

        assert file.unpark() == 1
        assert file.next(0, 1) == [first]
        assert names(file) == ["1", "2"]
        assert file.parked(10) == []


class TestTrouble:
    def test_with_a_folder_that_cannot_be_made_is_a_reason(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("a file")
        file = SpoolFile(tmp_path / "data", MIB)
        with refused(Reason.SPOOL_REFUSED):
            file.keep([row(1)])
        with refused(Reason.SPOOL_REFUSED):
            file.ready()

    def test_with_a_file_that_is_no_database_is_a_reason(self, file: SpoolFile) -> None:
        file.folder.mkdir()
        file.path.write_bytes(b"no database" * 1000)
        for _ in range(2):
            with refused(Reason.SPOOL_REFUSED):
                file.keep([row(1)])

    def test_with_a_file_of_a_later_version_is_a_reason(self, file: SpoolFile) -> None:
        file.keep([row(1)])
        file._own.connection.execute("PRAGMA user_version = 2")
        with refused(Reason.SPOOL_REFUSED):
            SpoolFile(file.folder, MIB).keep([row(2)])

    def test_with_somebody_in_the_file_ends_soon(self, file: SpoolFile) -> None:
        file.keep([row(1)])
        other = sqlite3.connect(file.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with refused(Reason.SPOOL_BUSY):
            file.keep([row(2)])
        other.execute("ROLLBACK")
        other.close()

        assert file.keep([row(2)]) == [(True, True)]

    def test_with_a_disk_that_takes_no_more_keeps_what_was_there(self, file: SpoolFile) -> None:
        file.keep([row(1)])
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
        kept = 1
        try:
            with refused(Reason.SPOOL_REFUSED):
                for kept in range(1, 100):
                    file.keep([row(kept + 1, 20_000)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        assert len(names(file)) == kept
        file.keep([row("after")])
        assert names(SpoolFile(file.folder, MIB))[-1] == "after"
