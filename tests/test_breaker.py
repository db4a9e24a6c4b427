"""A store that has failed is tried by one thread, and by nobody who waits for an answer."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from receiver.breaker import Breaker
from receiver.errors import Reason, Unavailable
from receiver.ports import Entry, Receipt
from tests.facts import event_of
from tests.integration.harness import until
from tests.memory import MemorySink

ENTRY = Entry(event_of(), (), b"")
HUNG = Unavailable(Reason.REDIS_UNREACHABLE, "TimeoutError")


@dataclass
class Store(MemorySink):
    """Says how often it was asked, by whom, and can refuse an entry for its own sake."""

    asked: list[str] = field(default_factory=list)
    foreign: Unavailable | None = None

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        self.asked.append("accept")
        if self.foreign:
            raise self.foreign
        return super().accept(entries)

    def probe(self) -> None:
        self.asked.append(f"probe by {threading.current_thread().name}")
        if self.away:
            raise self.away


def reason(breaker: Breaker) -> tuple[Reason, str]:
    with pytest.raises(Unavailable) as caught:
        breaker.accept([ENTRY])
    return caught.value.reason, caught.value.detail


def test_while_nothing_is_wrong_everything_goes_through() -> None:
    store = Store()
    breaker = Breaker(store)

    assert breaker.accept([ENTRY]) == [Receipt(new=True, released=True)]
    assert breaker.expected("paratika", "shop", "ORDER-1") is None
    breaker.refuse("paratika", "shop", "return", "bad_signature", "request-1")
    assert breaker.guarding(lambda name: name * 2)("a") == "aa"
    assert (breaker.away, store.asked, len(store.refused)) == (None, ["accept"], 1)


def test_once_it_has_failed_only_one_thread_tries_it_until_it_is_back() -> None:
    store = Store(HUNG)
    breaker = Breaker(store)
    assert reason(breaker) == (Reason.REDIS_UNREACHABLE, "TimeoutError")
    for _ in range(10):
        assert reason(breaker) == (Reason.REDIS_UNREACHABLE, "TimeoutError")
        with pytest.raises(Unavailable):
            breaker.expected("paratika", "shop", "ORDER-1")
        with pytest.raises(Unavailable):
            breaker.guarding(store.probe)()
        breaker.refuse("paratika", "shop", "return", "bad_signature", "request-1")
    until(lambda: len(store.asked) >= 3, "it is watched")
    assert set(store.asked) == {"accept", "probe by ulak-breaker"}
    assert store.refused == []

    store.away = Unavailable(Reason.REDIS_REFUSED, "LOADING")
    until(lambda: reason(breaker) == (Reason.REDIS_REFUSED, "LOADING"), "what is wrong is told anew")
    store.away = None
    until(lambda: breaker.away is None, "it is back")
    assert breaker.accept([ENTRY]) == [Receipt(new=True, released=True)]


def test_many_failures_at_once_are_watched_by_one_thread() -> None:
    store = Store(HUNG)
    breaker = Breaker(store)
    before = set(threading.enumerate())  # an application of another test may watch its own store still
    threads = [threading.Thread(target=reason, args=(breaker,)) for _ in range(8)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()

    assert [one.name for one in set(threading.enumerate()) - before] == ["ulak-breaker"]
    store.away = None
    until(lambda: breaker.away is None, "it is back")


def test_a_store_that_fails_again_as_soon_as_it_is_back_is_left_alone_for_longer() -> None:
    store = Store(HUNG)
    breaker = Breaker(store)
    reason(breaker)
    store.away = None
    until(lambda: breaker.away is None, "it is back")
    store.asked.clear()
    store.away = HUNG
    reason(breaker)
    store.away = None

    with pytest.raises(AssertionError):
        until(lambda: breaker.away is None, "it is back", within=0.5)
    until(lambda: breaker.away is None, "it is back")


def test_what_is_refused_for_its_own_sake_keeps_no_other_off() -> None:
    store = Store(foreign=Unavailable(Reason.REDIS_REFUSED, "a key of a foreign type"))
    breaker = Breaker(store)
    assert reason(breaker) == (Reason.REDIS_REFUSED, "a key of a foreign type")

    assert breaker.away is None
    store.foreign = None
    assert breaker.accept([ENTRY])[0].new


def test_a_fault_in_the_probe_does_not_leave_the_store_away_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(HUNG)
    breaker = Breaker(store)
    faults = [ZeroDivisionError(), ZeroDivisionError()]
    sound = store.probe

    def probe() -> None:
        if faults:
            raise faults.pop()
        sound()

    monkeypatch.setattr(store, "probe", probe)
    reason(breaker)
    store.away = None

    until(lambda: breaker.away is None, "it is back")
    assert faults == []
