"""The proof must be able to fail: each kind of fault, made up, is found."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from chaos.callbacks import Callback, Habit
from chaos.consumer import Shop
from chaos.senders import Ledger, Sent
from chaos.verdict import Kept, compare
from receiver.message import CallbackRequest

FACT = "fact"
EFFECT = (FACT, "orders")
REQUEST = CallbackRequest("webhook", "POST", b"", b"{}", None, datetime.now(UTC), "1")
CALLBACK = Callback(7, "zotlo/shop-tr success", "/", REQUEST, Habit((1.0,), frozenset({b"OK"})), ids=(FACT,))
KEPT = Kept(Counter([FACT]), Counter([EFFECT]), Counter(), Counter(), {})
SHOP = Shop(Counter([EFFECT]), Counter([EFFECT]), again_while_calm=0)
FORGED = replace(CALLBACK, ids=(), forged=True)


def ledger(callback: Callback = CALLBACK, status: int = 200, body: bytes = b"OK") -> Ledger:
    found = Ledger()
    found.sent.append(Sent(callback))
    found.note(found.sent[0], status, body, 0.01)
    return found


def found(told: Ledger | None = None, kept: Kept = KEPT, shop: Shop = SHOP) -> dict[str, int]:
    """Return how many faults of each kind there are, where there are any."""
    verdict = compare(told or ledger(), kept, shop)
    assert verdict.is_good is not any(verdict.faults.values())
    return {name: len(faults) for name, faults in verdict.faults.items() if faults}


class TestVerdict:
    def test_is_good_where_everything_came_once(self) -> None:
        assert found() == {}

    def test_finds_a_fact_that_was_answered_and_is_nowhere(self) -> None:
        assert found(kept=replace(KEPT, events=Counter(), wanted=Counter()), shop=Shop(Counter(), Counter(), 0)) == {
            "lost": 1
        }

    def test_finds_a_fact_that_is_held_for_ever(self) -> None:
        kept = replace(KEPT, events=Counter(), wanted=Counter(), held=Counter([FACT]))

        assert found(kept=kept, shop=Shop(Counter(), Counter(), 0)) == {"lost": 1}

    def test_finds_a_job_without_an_effect(self) -> None:
        assert found(shop=Shop(Counter(), Counter(), 0)) == {"lost": 1}

    def test_finds_a_callback_that_is_not_in_quarantine(self) -> None:
        told = ledger(replace(CALLBACK, ids=(), digest="digest"))
        nothing = replace(KEPT, events=Counter(), wanted=Counter())

        assert found(told, nothing, Shop(Counter(), Counter(), 0)) == {"lost": 1}
        assert found(told, replace(nothing, quarantined=Counter(["digest"])), Shop(Counter(), Counter(), 0)) == {}

    def test_finds_a_question_that_nobody_asked(self) -> None:
        told = ledger(replace(CALLBACK, label="haso/shop-asked callback", asks=True))

        assert found(told) == {"lost": 1}
        assert found(told, replace(KEPT, told={FACT: CALLBACK.number})) == {}

    @pytest.mark.parametrize(
        "twice",
        [
            {"events": Counter({FACT: 2})},
            {"held": Counter({FACT: 2})},
            {"quarantined": Counter({"digest": 2})},
        ],
        ids=lambda one: next(iter(one)),
    )
    def test_finds_two_entries_of_one_id(self, twice: dict[str, Any]) -> None:
        told = ledger()
        told.sent.append(Sent(replace(CALLBACK, ids=(), digest="digest")))

        assert found(told, replace(KEPT, **twice)) == {"twice": 1}

    def test_finds_an_effect_that_happened_twice(self) -> None:
        assert found(shop=replace(SHOP, effects=Counter({EFFECT: 2}))) == {"twice": 1}

    def test_counts_a_job_that_ran_again_apart(self) -> None:
        shop = replace(SHOP, runs=Counter({EFFECT: 3}))

        assert found(shop=shop) == {}
        assert shop.again == 2

    def test_finds_a_job_that_ran_twice_before_anything_was_killed(self) -> None:
        assert found(shop=replace(SHOP, again_while_calm=1)) == {"twice": 1}

    def test_finds_what_nobody_sent(self) -> None:
        assert found(kept=replace(KEPT, events=Counter([FACT, "other"]))) == {"out of nowhere": 1}
        assert found(kept=replace(KEPT, held=Counter(["other"]))) == {"out of nowhere": 1}
        assert found(kept=replace(KEPT, quarantined=Counter(["other"]))) == {"out of nowhere": 1}
        assert found(shop=replace(SHOP, effects=Counter([EFFECT, ("other", "orders")]))) == {"out of nowhere": 1}

    def test_lets_stay_what_was_sent_and_never_answered(self) -> None:
        """Nobody was told that it is there, so it may be, and it may not."""
        assert found(ledger(status=503)) == {}
        assert (
            found(ledger(status=503), replace(KEPT, events=Counter(), wanted=Counter()), Shop(Counter(), Counter(), 0))
            == {}
        )


class TestLedger:
    @pytest.mark.parametrize(("status", "body"), [(200, b"no"), (404, b""), (403, b""), (500, b""), (302, b"OK")])
    def test_finds_an_answer_that_no_sender_should_get(self, status: int, body: bytes) -> None:
        assert ledger(status=status, body=body).strange != []

    @pytest.mark.parametrize(("status", "body"), [(200, b"OK"), (503, b"")])
    def test_takes_a_success_and_being_put_off_as_usual(self, status: int, body: bytes) -> None:
        assert ledger(status=status, body=body).strange == []

    def test_finds_a_forgery_that_was_taken(self) -> None:
        assert found(
            ledger(FORGED), replace(KEPT, events=Counter(), wanted=Counter()), Shop(Counter(), Counter(), 0)
        ) == {"strange answers": 1}
        assert ledger(FORGED, 403).strange == []
