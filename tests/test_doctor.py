"""What the doctor says to facts that are put before it, and what it sees on this machine."""

import sqlite3
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from receiver import config
from receiver.asking import TROUBLES
from receiver.errors import REASONS
from receiver.providers import BY_NAME
from receiver.rows import Row, SpoolFile
from tests.config_files import ENV, PARATIKA, PAYGURU, PAYNET, PHS
from workers.doctor import flow, local, machine, setup, store, work
from workers.doctor.checking import Check, Finding, Report, Severity, examine
from workers.doctor.checks import EVERY, TABLES
from workers.doctor.facts import (
    Backlog,
    Contact,
    Flow,
    Group,
    Heard,
    Machine,
    Package,
    Spending,
    Spool,
    Store,
    Work,
    Worker,
)

RQ = Package("rq", "3.0.0", ">=3,<4")
STORE = Store(
    version="7.0.15",
    role="master",
    cluster=False,
    aof=True,
    policy="noeviction",
    maxmemory=1000,
    used=100,
    machine=4000,
    settings={"appendfsync": "always", "min-replicas-to-write": "0"},
)
REPLICATED = replace(
    STORE, replicas=1, wanted_replicas=1, settings={"appendfsync": "always", "min-replicas-to-write": "1"}
)
IDLE = Worker("idle", ("orders",), RQ)
WORK = Work((IDLE,), {"orders": Backlog(waiting=3, waits=1.0)})
OFTEN = Heard(silent=60.0, longest=300.0, calls=100)
FLOW = Flow(seen=90_000.0, heard={"paynet/shop": OFTEN}, spendings=(Spending(("payguru/shop",), 500, 700, 1000),))
SPOOL = Spool(waiting=7, age=5.0, room=900, most=1000)
MACHINE = Machine(packages=(RQ,), fsync=0.002, spool=SPOOL)
HOUR = 3600.0


def report(checks: Sequence[Check[Any]], part: object) -> Report:
    return examine([(checks, part)])


def only(checks: Sequence[Check[Any]], part: object) -> Finding:
    (finding,) = report(checks, part).findings
    return finding


def in_queue(**changed: Any) -> Work:
    return replace(WORK, queues={"orders": replace(WORK.queues["orders"], **changed)})


def in_spool(**changed: Any) -> Machine:
    return replace(MACHINE, spool=replace(SPOOL, **changed))


def heard(**changed: Any) -> Flow:
    return replace(FLOW, heard={"paynet/shop": replace(OFTEN, **changed)})


# Facts with one thing wrong, the word for it, and what must be said.
WRONG: list[tuple[str, Sequence[Check[Any]], object, str]] = [
    ("config_faulty", setup.CONFIG, ("accounts: there is none",), "accounts: there is none"),
    ("redis_away", store.CONTACT, Contact("TimeoutError"), "does not answer (TimeoutError)"),
    ("redis_old", store.CHECKS, replace(STORE, version="6.0.16"), "version 6.0.16"),
    ("redis_old", store.CHECKS, replace(STORE, version=""), "version unknown"),
    ("redis_cluster", store.CHECKS, replace(STORE, cluster=True), "cluster"),
    ("redis_replica", store.CHECKS, replace(STORE, role="slave"), "replica"),
    ("aof_off", store.CHECKS, replace(STORE, aof=False), "no append-only file"),
    ("aof_off", store.CHECKS, replace(STORE, aof=False, settings={"appendfsync": "no"}), "no append-only file"),
    ("fsync_no", store.CHECKS, replace(STORE, settings={"appendfsync": "no"}), "appendfsync is no"),
    ("fsync_everysec", store.CHECKS, replace(STORE, settings={"appendfsync": "everysec"}), "once a second"),
    ("evicting", store.CHECKS, replace(STORE, policy="allkeys-lru"), "maxmemory-policy is allkeys-lru"),
    ("no_maxmemory", store.CHECKS, replace(STORE, maxmemory=0), "no maxmemory is set"),
    ("memory_close", store.CHECKS, replace(STORE, used=700), "70 %"),
    ("full_flag", store.CHECKS, replace(STORE, full=""), "set by a person"),
    ("full_flag", store.CHECKS, replace(STORE, full="keeper"), "set by keeper"),
    ("disk_errors", store.CHECKS, replace(STORE, failing=("aof_last_write_status",)), "aof_last_write_status"),
    ("settings_hidden", store.CHECKS, replace(STORE, settings=None), "does not tell its settings"),
    (
        "replicas_few",
        store.CHECKS,
        replace(REPLICATED, replicas=0),
        "0 replicas follow, and wait_replicas is 1",
    ),
    (
        "min_replicas",
        store.CHECKS,
        replace(REPLICATED, settings=STORE.settings),
        "min-replicas-to-write is 0, and wait_replicas is 1",
    ),
    ("clocks_apart", store.CHECKS, replace(STORE, clock=7.2), "7 s ahead of ours"),
    ("clocks_apart", store.CHECKS, replace(STORE, clock=-61.0), "61 s behind ours"),
    (
        "worker_two_queues",
        work.CHECKS,
        replace(WORK, workers=(IDLE, Worker("busy", ("orders", "ledger"), RQ))),
        "busy works on orders, ledger",
    ),
    ("queue_without_worker", work.CHECKS, replace(WORK, workers=()), "nobody works on orders; 3 jobs wait there"),
    ("workers_suspended", work.CHECKS, replace(WORK, suspended=True), "suspended"),
    ("no_scheduler", work.CHECKS, in_queue(scheduled=1, scheduler=False), "orders: 1 job waits for a time"),
    ("no_keeper", work.CHECKS, replace(WORK, keeper=False), "no keeper runs"),
    (
        "worker_version",
        work.CHECKS,
        replace(WORK, workers=(replace(IDLE, rq=replace(RQ, version="2.12.0")),)),
        "idle runs RQ 2.12.0; tested is >=3,<4",
    ),
    ("jobs_stuck", work.CHECKS, in_queue(stuck=2), "orders: 2 jobs taken and not begun"),
    ("queue_behind", work.CHECKS, in_queue(waits=1800.0), "orders: 3 jobs wait, the next one for 30 min"),
    ("jobs_failed", work.CHECKS, in_queue(failed=1), "orders: 1 job failed for good"),
    ("held_forgotten", flow.CHECKS, replace(FLOW, held_forgotten={"zotlo/shop": 1}), "zotlo/shop: 1 held"),
    ("held_long", flow.CHECKS, replace(FLOW, held_long={"zotlo/shop": 2}), "2 wait longer than confirm_for"),
    (
        "quarantined",
        flow.CHECKS,
        replace(FLOW, quarantined={"paynet/shop unreadable_field": 2}),
        "paynet/shop unreadable_field: 2 callbacks that were not tried again",
    ),
    (
        "group_behind",
        flow.CHECKS,
        replace(FLOW, groups=(Group("ulak:events", "ledger", 2 * HOUR), Group("ulak:events", "swift", 5.0))),
        "ledger on ulak:events is 2 h behind",
    ),
    ("account_silent", flow.CHECKS, heard(silent=7 * HOUR, longest=2 * HOUR), "paynet/shop has not called for 7 h"),
    ("account_silent", flow.CHECKS, heard(silent=7 * HOUR, refused=4), "; 4 callbacks were refused meanwhile"),
    ("account_unheard", flow.CHECKS, heard(calls=0), "paynet/shop has not called in the last 25 h"),
    ("account_unheard", flow.CHECKS, replace(heard(calls=0), seen=0.0), "paynet/shop has not called yet"),
    (
        "budget_short",
        flow.CHECKS,
        replace(FLOW, spendings=(Spending(("payguru/a", "payguru/b"), 1200, 300, 1000),)),
        "payguru/a, payguru/b: 1200 payments a day need asking, 300 of 1000 questions are spent",
    ),
    ("budget_short", flow.CHECKS, replace(FLOW, spendings=(Spending(("payguru/a",), 1, 800, 1000),)), "800 of 1000"),
    ("secret_open", machine.CHECKS, replace(MACHINE, open_secrets=("file:key",)), "file:key"),
    ("secret_shared", machine.CHECKS, replace(MACHINE, shared_secrets=("file:key",)), "file:key"),
    ("config_writable", machine.CHECKS, replace(MACHINE, config_writable=True), "others may write"),
    ("data_unwritable", machine.CHECKS, replace(MACHINE, data="Permission denied"), "(Permission denied)"),
    ("metrics_unwritable", machine.CHECKS, replace(MACHINE, metrics="Read-only file system"), "(Read-only file"),
    ("fsync_slow", machine.CHECKS, replace(MACHINE, fsync=0.35), "350 ms"),
    ("spool_unreadable", machine.CHECKS, in_spool(trouble="spool_busy"), "(spool_busy)"),
    ("spool_old", machine.CHECKS, in_spool(old=2), "2 callbacks in the spool are older than dedupe_days"),
    ("spool_parked", machine.CHECKS, in_spool(parked=1), "1 callbacks are parked"),
    ("spool_waiting", machine.CHECKS, in_spool(age=600.0), "7 callbacks wait in the spool, the oldest for 10 min"),
    ("spool_small", machine.CHECKS, in_spool(room=99 * 2**20, most=2**30), "room for 99 MiB of its 1024"),
    (
        "untested_version",
        machine.CHECKS,
        replace(MACHINE, packages=(RQ, Package("redis", "7.9", ">=8.1,<9"))),
        "redis 7.9; tested is >=8.1,<9",
    ),
]
# Facts at the edge, which no check may mind.
FINE: list[tuple[Sequence[Check[Any]], object]] = [
    (setup.CONFIG, ()),
    (store.CONTACT, Contact()),
    (store.CHECKS, STORE),
    (store.CHECKS, replace(STORE, version="6.2", used=699, clock=-4.9)),
    (store.CHECKS, replace(STORE, version="10.0.0")),
    (work.CHECKS, WORK),
    (work.CHECKS, in_queue(scheduled=5, scheduler=True, waits=599.0)),
    (work.CHECKS, in_queue(scheduled=0, scheduler=False)),
    (flow.CHECKS, FLOW),
    (flow.CHECKS, Flow()),
    (flow.CHECKS, heard(silent=59 * 60.0, longest=1.0)),  # nobody minds an hour
    (flow.CHECKS, heard(silent=6 * HOUR, longest=2 * HOUR)),
    (flow.CHECKS, heard(silent=90 * HOUR, calls=19)),  # too few to say what is usual
    (flow.CHECKS, replace(heard(calls=0), whole=False, seen=23 * HOUR)),
    (flow.CHECKS, replace(FLOW, held_long={"zotlo/shop": 0})),
    (machine.CHECKS, MACHINE),
    (machine.CHECKS, in_spool(age=59.0, room=100)),
    (machine.CHECKS, in_spool(waiting=0, age=600.0)),
    (store.CHECKS, REPLICATED),
    (store.CHECKS, replace(STORE, replicas=2)),
    (store.CHECKS, replace(REPLICATED, settings={"appendfsync": "always"})),
]


@pytest.mark.parametrize(("word", "checks", "facts", "said"), WRONG)
def test_what_is_wrong_is_found_by_its_check_alone(
    word: str, checks: Sequence[Check[Any]], facts: object, said: str
) -> None:
    finding = only(checks, facts)

    assert finding.check.word == word
    assert said in finding.says[0]


@pytest.mark.parametrize(("checks", "facts"), FINE)
def test_what_is_as_it_should_be_is_not_told(checks: Sequence[Check[Any]], facts: object) -> None:
    assert [finding.to_wire() for finding in report(checks, facts).findings] == []


def test_every_check_is_tried_with_something_wrong() -> None:
    of_settings = {check.word for check in setup.CHECKS}  # below

    assert {word for word, *_ in WRONG} | of_settings == {check.word for check in EVERY}


def test_a_word_means_one_thing() -> None:
    words = [check.word for check in EVERY]

    assert len(set(words)) == len(words)
    assert set(words) & {*REASONS, *TROUBLES} == set()
    told = [(check.what, check.why, check.remedy) for check in EVERY]
    assert [text for texts in told for text in texts if not text.endswith(".")] == []


class TestTheConfiguration:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "ulak.toml"

    def settings(self, path: Path, text: str, **environ: str) -> config.Settings:
        path.write_text(text, "utf-8")
        return config.load({**ENV, "ULAK_CONFIG": str(path), **environ})

    def found(self, path: Path, text: str, **environ: str) -> dict[str, tuple[str, ...]]:
        findings = report(setup.CHECKS, self.settings(path, text, **environ)).findings
        return {finding.check.word: finding.says for finding in findings}

    def test_of_an_account_that_signs_is_fine(self, path: Path) -> None:
        assert self.found(path, PARATIKA + PAYNET) == {}

    def test_without_the_optional_token_is_told(self, path: Path) -> None:
        assert self.found(path, PHS) == {"no_token": ("payguru-phs/shop has no token",)}
        assert self.found(path, PHS.replace("[{", "[{", 1) + 'token = "env:TOKEN"\n') == {}

    @pytest.mark.parametrize("weak", ["a" * 40, "ab" * 10, "abcabcabcabcabcabcabc", "01" * 25])
    def test_with_a_token_of_a_few_characters_is_told_without_it(self, path: Path, weak: str) -> None:
        told = self.found(path, PAYNET, TOKEN=weak)

        assert told == {"weak_token": ("paynet/shop token (env:TOKEN) repeats a few characters only",)}

    @pytest.mark.parametrize("token", ["3f8a0c5d9e1b7264f0a3", "48205917364820591736482", "kQ7-x_2m.Zt~9pLw4Rb8"])
    def test_with_a_random_token_is_fine(self, path: Path, token: str) -> None:
        assert self.found(path, PAYNET, TOKEN=token) == {}

    def test_with_a_short_result_secret_is_told(self, path: Path) -> None:
        text = PARATIKA + 'result_url = "https://shop.example/r"\nresult_secret = "env:SHORT"\n'

        assert self.found(path, text) == {
            "weak_token": ("paratika/shop result_secret (env:SHORT) has 11 characters only",)
        }

    def test_looks_at_every_secret_that_the_merchant_made(self, path: Path) -> None:
        text = 'metrics_token = "env:M"\n' + PAYGURU + PAYNET.replace("TOKEN", "OWN") + 'expected_token = "env:E"\n'
        told = self.found(path, text, TOKEN2="x" * 20, BROWSER="y" * 20, M="z" * 20, E="w" * 20)

        assert [line.split(" repeats")[0] for line in told["weak_token"]] == [
            "payguru/shop token (env:TOKEN2)",
            "paynet/shop browser_token (env:BROWSER)",
            "paynet/shop expected_token (env:E)",
            "metrics_token (env:M)",
        ]

    def test_live_on_the_redis_that_happens_to_be_there_is_told(self, path: Path) -> None:
        live = 'data_key = "env:DATA"\n' + PAYNET.replace("test = true\n", "")

        assert self.found(path, live) == {"default_redis": ("REDIS_URL is not set, and paynet/shop is live",)}
        assert self.found(path, live, REDIS_URL="redis://10.0.0.7/0") == {}
        assert self.found(path, PAYNET) == {}

    def test_by_sentinels_that_waits_for_no_replica_is_told(self, path: Path) -> None:
        url = "redis+sentinel://a,b,c/ulak/0"
        told = self.found(path, PARATIKA, REDIS_URL=url)

        assert told == {"replicas_unwaited": ("REDIS_URL names sentinels, and wait_replicas is 0",)}
        assert self.found(path, "wait_replicas = 1\n" + PARATIKA, REDIS_URL=url) == {}

    @pytest.mark.parametrize(
        ("days", "told"),
        [(2, {"markers_short": ("payguru sends a callback again for 3 d; dedupe_days is 2",)}), (3, {}), (0, {})],
    )
    def test_that_forgets_before_the_provider_does_is_told(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, days: int, told: dict[str, Any]
    ) -> None:
        monkeypatch.setattr(BY_NAME["payguru"], "retries_for", 3 * 24 * 3600, raising=False)

        assert self.found(path, f"dedupe_days = {days}\n{PAYGURU}") == told

    def test_zotlo_comes_again_for_two_hours_and_forty_minutes(self) -> None:
        assert BY_NAME["zotlo"].retries_for == 9600


class TestThisMachine:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder into which others may go, as far as it is ours to say."""
        tmp_path.chmod(0o755)
        return tmp_path

    def look(self, folder: Path, *, secret: int = 0o600, file: int = 0o644) -> Machine:
        path = folder / "ulak.toml"
        path.write_text(PARATIKA.replace("env:SANDBOX", "file:secret"), "utf-8")
        path.chmod(file)
        (folder / "secret").write_text("own-secret-of-the-merchant")
        (folder / "secret").chmod(secret)
        environ = {"ULAK_CONFIG": str(path)}
        return local.look(config.load(environ), environ)

    def test_that_keeps_its_secrets_has_nothing_wrong(self, folder: Path) -> None:
        seen = self.look(folder)

        assert (seen.open_secrets, seen.shared_secrets, seen.config_writable) == ((), (), False)
        assert (seen.data, seen.metrics) == ("", "")
        assert report(machine.CHECKS, replace(seen, fsync=0.0, spool=SPOOL)).findings == ()

    @pytest.mark.parametrize(("mode", "opened", "shared"), [(0o644, 1, 0), (0o640, 0, 1), (0o604, 1, 0), (0o400, 0, 0)])
    def test_tells_who_else_may_read_a_secret(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, mode: int, opened: int, shared: int
    ) -> None:
        open_to_all(monkeypatch, folder)
        seen = self.look(folder, secret=mode)

        assert (seen.open_secrets, seen.shared_secrets) == (("file:secret",) * opened, ("file:secret",) * shared)

    def test_knows_that_a_closed_folder_keeps_others_out(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        open_to_all(monkeypatch, folder)
        folder.chmod(0o700)

        assert self.look(folder, secret=0o644).open_secrets == ()

    def test_tells_that_others_may_write_to_the_configuration(self, folder: Path) -> None:
        assert self.look(folder, file=0o666).config_writable
        assert not self.look(folder, file=0o664).config_writable

    def test_measures_the_disk_and_leaves_nothing_there(self, folder: Path) -> None:
        (folder / ".ulak").mkdir()
        seen = self.look(folder)

        assert 0 < seen.fsync < 5
        assert seen.spool.room > 0
        assert list((folder / ".ulak").iterdir()) == []

    def test_makes_no_folder_that_is_not_there_yet(self, folder: Path) -> None:
        self.look(folder)

        assert not (folder / ".ulak").exists()

    def test_tells_where_no_file_can_be(self, folder: Path) -> None:
        (folder / ".ulak").write_text("a file where a folder should be")
        seen = self.look(folder)

        assert seen.data == "Not a directory"
        assert only(machine.CHECKS, replace(seen, metrics="", spool=Spool())).check.word == "data_unwritable"

    def test_counts_what_lies_in_its_spool(self, folder: Path) -> None:
        file = SpoolFile(folder / ".ulak", 1 << 30)
        file.keep([Row(str(number), released=True, head=b"{}", sealed=b"") for number in range(4)])
        rows = file.next(0, 4)
        assert not file.refused(rows[0], "redis_refused", 2)
        assert file.refused(replace(rows[0], tries=1), "redis_refused", 2)
        with sqlite3.connect(file.path) as connection:
            connection.execute("UPDATE waiting SET at = ? WHERE at = ?", (1, rows[1].at))
        connection.close()
        seen = self.look(folder).spool

        assert (seen.trouble, seen.waiting, seen.old, seen.parked) == ("", 2, 1, 1)
        assert 0 < seen.room < seen.most == 1 << 30

    def test_tells_of_a_spool_that_is_none(self, folder: Path) -> None:
        (folder / ".ulak").mkdir()
        (folder / ".ulak" / "spool.db").write_text("no database, and longer than the sixteen bytes of its mark")

        assert self.look(folder).spool.trouble.startswith("spool_refused")

    def test_knows_the_tested_versions_of_what_is_installed(self) -> None:
        found = {one.name: one for one in local.packages()}

        assert set(found) == {"rq", "redis", "gunicorn"}
        assert (found["rq"].tested, found["gunicorn"].tested) == ("<4,>=3", "<28,>=27")
        assert [one for one in found.values() if not one.fits] == []


def open_to_all(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let the folders above the test's own count as open: those of a test run are closed to others."""
    real = Path.stat

    def stat_of(path: Path, **kwargs: Any) -> Any:
        found = real(path, **kwargs)
        if path != folder and path in folder.parents:
            return SimpleNamespace(st_mode=stat.S_IFDIR | 0o755)
        return found

    monkeypatch.setattr(Path, "stat", stat_of)


@pytest.mark.parametrize("version", ["3.0.0", "3", "3.9.1", "3.1.0rc1"])
def test_a_version_within_the_tested_ones_fits(version: str) -> None:
    assert replace(RQ, version=version).fits


@pytest.mark.parametrize("version", ["4.0.0", "4", "2.12.0", "10.0", "", "unknown"])
def test_a_version_outside_the_tested_ones_does_not_fit(version: str) -> None:
    assert not replace(RQ, version=version).fits


class TestTheReport:
    def test_tells_each_word_once_with_all_that_it_is_about(self) -> None:
        two = replace(WORK, workers=(), queues={"orders": Backlog(), "ledger": Backlog(waiting=1)})
        lines = list(report(work.CHECKS, two).lines())

        check = next(check for check in EVERY if check.word == "queue_without_worker")
        assert lines == [
            "fault    queue_without_worker  nobody works on orders; 0 jobs wait there",
            "                               nobody works on ledger; 1 job waits there",
            f"  {check.why}",
            f"  {check.remedy}",
            "",
            f"{len(work.CHECKS)} checks: 1 fault(s), 0 warning(s)",
        ]

    def test_tells_faults_first_and_counts_them(self) -> None:
        told = report(store.CHECKS, replace(STORE, maxmemory=0, aof=False, cluster=True))

        assert [one.check.word for one in told.findings] == ["redis_cluster", "aof_off", "no_maxmemory"]
        assert (told.count(Severity.FAULT), told.count(Severity.WARNING), told.faulty) == (2, 1, True)

    def test_of_warnings_only_is_not_faulty(self) -> None:
        told = report(store.CHECKS, replace(STORE, maxmemory=0))

        assert (told.faulty, told.to_wire()["ok"], told.to_wire()["warnings"]) == (False, True, 1)

    def test_says_what_could_not_be_looked_at(self) -> None:
        told = examine([(store.CONTACT, Contact("ConnectionError")), (work.CHECKS, None)])

        assert told.checked == 1
        assert told.unchecked == tuple(check.word for check in work.CHECKS)
        assert list(told.lines())[-1].startswith(f"{len(work.CHECKS)} checks could not be made: worker_two_queues, ")

    def test_is_one_value_for_a_program(self) -> None:
        wire = report(store.CHECKS, replace(STORE, aof=False)).to_wire()

        assert (wire["ok"], wire["faults"], wire["warnings"], wire["checked"]) == (False, 1, 0, len(store.CHECKS))
        (finding,) = wire["findings"]
        assert finding["severity"] == "fault"
        assert (finding["word"], finding["says"]) == ("aof_off", ("Redis keeps no append-only file",))

    def test_every_table_is_looked_at(self) -> None:
        assert sum(len(table) for table in TABLES) == len(EVERY)
