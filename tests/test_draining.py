"""From the spool to the store: in order, many a call, each once, and nothing is given up."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from receiver import rows
from receiver.account import Account, Secret
from receiver.draining import BATCH, TRIES, Drained, Drainer
from receiver.errors import Reason, Unavailable
from receiver.event import Event, Verdict
from receiver.expecting import Expectation
from receiver.message import CallbackRequest
from receiver.money import Money
from receiver.placing import Placing, Sealed
from receiver.ports import Entry, Receipt, Target, Unreadable
from receiver.providers import BY_NAME
from receiver.routing import Route
from receiver.rows import SpoolFile
from receiver.spool import Spool
from receiver.turn import NoTurn
from tests.accounts import ACCOUNTS
from tests.facts import NOW, event_of
from tests.memory import MemorySink

DAY = 24 * 3600
ROUTES = (
    Route(Target("paid", "paid", "a.b"), verdicts=frozenset({"match", "amount_unproven"})),
    Route(Target("review", "review", "a.b"), verdicts=frozenset({"already_paid", "unknown_order", "underpaid"})),
    Route(Target("rest", "rest", "a.b"), verdicts=frozenset({"none"})),
)
PLACING = Placing(ROUTES, first_ask=120)
SILENT = ACCOUNTS["paratika"]
ANNOUNCING = replace(SILENT, expected_tokens=(Secret("env:EXPECTED", b"expected-token-0123456789"),))
KNOWN = Expectation("paratika", "shop", "ORDER-1", Money(1176, "TRY"), NOW + timedelta(days=1), NOW)


@dataclass
class Store(MemorySink):
    """Refuses some ids for their own sake, and any call that holds one; remembers how many it was given a call."""

    foreign: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    calls: list[int] = field(default_factory=list)
    limit: int = 1000  # more in one call is not answered in time

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        self.calls.append(len(entries))
        ids = {entry.event.id for entry in entries}
        if len(entries) > self.limit:
            super().accept(entries)
            raise Unavailable(Reason.REDIS_UNREACHABLE, "TimeoutError")
        if ids & self.foreign:
            raise Unavailable(Reason.REDIS_REFUSED, "WRONGTYPE")
        if ids & self.broken:
            raise ZeroDivisionError
        return super().accept(entries)

    def probe(self) -> None:
        if self.away:
            raise self.away


@dataclass
class Bench:
    """A spool, a store, and what drains the one into the other."""

    file: SpoolFile
    store: Store = field(default_factory=Store)
    new: list[Event] = field(default_factory=list)
    days: int = 30

    def __post_init__(self) -> None:
        self.drainer = Drainer(self.file, self.store, PLACING, BY_NAME, self.days, self.new.append)

    def keep(self, *events: Event, account: Account = SILENT) -> None:
        for event in events:
            PLACING.accept(Spool(self.file), [Sealed(event, b"sealed")], BY_NAME[event.provider], account)

    def drain(self, *, old: bool = False) -> tuple[int, int, int, int]:
        self.drainer.begin(old=old)
        done = Drained()
        self.drainer.run(done)
        return done.new, done.known, done.refused, len(done.parked)

    @property
    def left(self) -> int:
        return len(self.file.next(0, 10_000))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(SpoolFile(tmp_path, 8 << 20))


def fact(number: int, **says: object) -> Event:
    return event_of(fact_key=(f"fact-{number}",), order_ref=f"O-{number}", **says)  # type: ignore[arg-type]


class TestRows:
    def test_come_in_order_and_many_in_a_call(self, bench: Bench) -> None:
        facts = [fact(number) for number in range(2 * BATCH + 5)]
        bench.keep(*facts)
        bench.drainer.begin()
        assert bench.drainer.is_due()

        assert bench.drain() == (len(facts), 0, 0, 0)
        assert [event.id for event in bench.store.events] == [event.id for event in facts]
        assert bench.store.calls == [BATCH, BATCH, 5]
        assert [event.id for event in bench.new] == [event.id for event in facts]
        assert bench.left == 0
        bench.drainer.begin()
        assert not bench.drainer.is_due()

    def test_have_the_routes_and_bytes_that_they_were_kept_with(self, bench: Bench) -> None:
        bench.keep(fact(1))
        bench.drain()
        (entry,) = bench.store.entries.values()

        assert (entry.request, [target.route for target in entry.routes]) == (b"sealed", ["rest"])

    def test_that_had_been_written_before_a_time_out_are_duplicates(self, bench: Bench) -> None:
        bench.keep(fact(1), fact(2))
        PLACING.accept(bench.store, [Sealed(fact(1))], BY_NAME["paratika"], SILENT)

        assert bench.drain() == (1, 1, 0, 0)
        assert [event.id for event in bench.new] == [fact(2).id]
        assert bench.store.kept == 2

    def test_are_kept_while_the_store_is_away(self, bench: Bench) -> None:
        bench.keep(fact(1))
        bench.store.away = Unavailable(Reason.REDIS_REFUSED, "READONLY")
        with pytest.raises(Unavailable):
            bench.drain()
        bench.store.away = None

        assert bench.file.next(0, 1)[0].tries == 0
        assert bench.drain() == (1, 0, 0, 0)

    def test_come_fewer_a_call_where_many_take_longer_than_it_waits(self, bench: Bench) -> None:
        bench.keep(*(fact(number) for number in range(20)))
        bench.store.limit = 6
        for _ in range(3):
            with pytest.raises(Unavailable):
                bench.drain()

        assert bench.store.calls == [20, 20, 12]
        bench.store.limit = 1000
        assert bench.drain() == (0, 20, 0, 0)
        assert bench.store.kept == 20

    def test_that_are_unreadable_callbacks_go_to_quarantine(self, bench: Bench) -> None:
        callback = CallbackRequest("return", "POST", b"", b"", None, NOW, "request-1")
        kept = Unreadable("paratika", "shop", "unreadable_field", "0f" * 32, callback, b"sealed")
        bench.keep(fact(1))
        Spool(bench.file).quarantine(kept)
        bench.keep(fact(2))

        assert bench.drain() == (3, 0, 0, 0)
        assert bench.store.calls == [1, 1]
        assert list(bench.store.quarantined) == ["0f" * 32]
        assert len(bench.new) == 2

    def test_are_drained_by_one_at_a_time(self, bench: Bench) -> None:
        with bench.drainer.turn(0).taken(), pytest.raises(NoTurn), bench.drainer.turn(0.1).taken():
            pass


class TestARowThatIsRefused:
    def test_for_its_own_sake_stops_no_other_and_is_parked_after_so_many_tries(self, bench: Bench) -> None:
        bench.keep(*(fact(number) for number in range(5)))
        bench.store.foreign = {fact(2).id}
        assert bench.drain() == (4, 0, 1, 0)
        for _ in range(TRIES - 2):
            assert bench.drain() == (0, 0, 1, 0)
        assert bench.drain() == (0, 0, 0, 1)

        assert bench.file.parked(10) == [(fact(2).id, "WRONGTYPE")]
        assert bench.drain() == (0, 0, 0, 0)
        bench.store.foreign = set()
        bench.file.unpark()
        assert bench.drain() == (1, 0, 0, 0)

    def test_by_a_fault_of_ours_is_parked_by_the_faults_place(self, bench: Bench) -> None:
        bench.keep(fact(1), fact(2))
        bench.store.broken = {fact(1).id}
        for _ in range(TRIES):
            bench.drain()

        assert bench.file.parked(10)[0][1].startswith("ZeroDivisionError at test_draining.py:")
        assert [event.id for event in bench.store.events] == [fact(2).id]

    def test_because_nobody_can_read_it_is_parked(self, bench: Bench) -> None:
        bench.file.keep([rows.Row("another-version", released=True, head=b'{"version":9}', sealed=b"")])
        bench.keep(fact(1))
        for _ in range(TRIES):
            bench.drain()

        assert bench.file.parked(10) == [
            ("another-version", "KeyError at spool.py:" + bench.file.parked(1)[0][1][-3:].lstrip(":"))
        ]
        assert len(bench.store.events) == 1

    def test_together_with_the_whole_store_is_not_counted(self, bench: Bench) -> None:
        """The store fails between the probe and the row: that is no reason to park anything."""
        bench.keep(fact(1))
        bench.store.foreign = {fact(1).id}
        asked = iter([None, Unavailable(Reason.REDIS_REFUSED, "OOM")])

        def probe() -> None:
            if said := next(asked):
                raise said

        bench.store.probe = probe  # type: ignore[method-assign]
        with pytest.raises(Unavailable):
            bench.drain()
        assert bench.file.next(0, 1)[0].tries == 0


class TestOldRows:
    def test_are_for_a_person(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        today = rows.now()
        monkeypatch.setattr(rows, "now", lambda: today - 30 * DAY * 1_000_000)
        bench.keep(fact(1))
        monkeypatch.setattr(rows, "now", lambda: today - 29 * DAY * 1_000_000)
        bench.keep(fact(2))

        assert (bench.drainer.state().waiting, bench.drainer.state().old) == (1, 1)
        assert bench.drain() == (1, 0, 0, 0)
        assert [event.id for event in bench.store.events] == [fact(2).id]
        bench.drainer.begin()
        assert not bench.drainer.is_due()
        assert bench.drain(old=True) == (1, 0, 0, 0)

    def test_do_not_exist_where_facts_are_known_for_ever(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench(SpoolFile(tmp_path, 8 << 20), days=0)
        monkeypatch.setattr(rows, "now", lambda: 1)
        bench.keep(fact(1))

        assert bench.drain() == (1, 0, 0, 0)


class TestVerdicts:
    def paid(self, ref: str, **says: object) -> Event:
        return event_of(payment_ref=ref, fact_key=(ref,), **says)  # type: ignore[arg-type]

    def test_are_given_when_a_row_is_drained_and_choose_its_routes(self, bench: Bench) -> None:
        bench.keep(self.paid("P-1"), account=ANNOUNCING)
        bench.store.announced = {KNOWN.id: KNOWN}  # after it was spooled
        bench.drain()
        (entry,) = bench.store.entries.values()

        assert entry.event.expected is Verdict.AMOUNT_UNPROVEN
        assert [target.route for target in entry.routes] == ["paid"]
        assert entry.claim and entry.claim.takes == "P-1"  # noqa: PT018 - the first is for mypy
        assert not entry.judge

    def test_on_two_payments_of_one_order_know_of_each_other(self, bench: Bench) -> None:
        bench.keep(self.paid("P-1"), self.paid("P-2"), self.paid("P-3", order_ref="OTHER"), account=ANNOUNCING)
        bench.store.announced = {KNOWN.id: KNOWN}
        bench.drain()

        said = {event.says.payment_ref: event.expected for event in bench.store.events}
        assert said == {
            "P-1": Verdict.AMOUNT_UNPROVEN,
            "P-2": Verdict.ALREADY_PAID,
            "P-3": Verdict.UNKNOWN_ORDER,
        }
        assert bench.store.calls == [1, 2]

    def test_are_given_at_once_where_no_order_is_named(self, bench: Bench) -> None:
        bench.keep(self.paid("P-1", order_ref=None), account=ANNOUNCING)
        bench.drain()

        assert bench.store.events[0].expected is Verdict.UNKNOWN_ORDER

    def test_end_what_is_asked_by_what_they_say(self, bench: Bench) -> None:
        """Too little does not end the question about an announced order."""
        account = replace(ANNOUNCING, api={"base_url": "http://127.0.0.1:1"})
        lacking = replace(KNOWN, amount=Money(2000, "TRY"))
        bench.keep(self.paid("P-1"), account=account)
        bench.store.announced = {lacking.id: lacking}
        bench.drain()
        (drained,) = bench.store.entries.values()
        PLACING.accept(
            direct := Store(announced={lacking.id: lacking}),
            [Sealed(self.paid("P-1"), b"sealed")],
            BY_NAME["paratika"],
            account,
        )
        (stored,) = direct.entries.values()

        assert drained.event.expected is Verdict.UNDERPAID
        assert replace(drained, event=stored.event) == stored
