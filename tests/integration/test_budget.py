"""The budgets of the providers' APIs, counted in a real Redis by many at once."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import redis

from receiver.account import Account, Secret
from receiver.asking import Limits
from workers import budget
from workers.budget import Budget, Rule

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
WHOSE = "payguru:merchant"
DAY = budget.a_day(WHOSE, 3)
MERCHANT = Account(
    "paratika",
    "shop",
    pseudonym_key=b"k" * 32,
    api={"base_url": "https://api.example/", "sandbox": True, "password": Secret("env:PASSWORD", b"the-password")},
)


def at_once(threads: int, act: Callable[[], None]) -> None:
    """Let so many threads begin together, and wait for their end."""
    begin = threading.Barrier(threads)

    def run() -> None:
        begin.wait()
        act()

    running = [threading.Thread(target=run) for _ in range(threads)]
    for one in running:
        one.start()
    for one in running:
        one.join()


class TestBudget:
    def test_lets_no_more_pass_than_the_limit_whoever_asks_at_once(self, client: redis.Redis) -> None:
        rule = budget.a_day(WHOSE, 100)
        passed: list[bool] = []

        def ask() -> None:
            mine = Budget(client)
            passed.extend(mine.take([rule]) is None for _ in range(20))

        at_once(12, ask)

        assert (len(passed), sum(passed)) == (240, 100)
        assert Budget(client).spent(rule) == 100

    def test_of_a_day_moves_with_the_hours(self, client: redis.Redis) -> None:
        counts = Budget(client)
        spent = [counts.take([DAY], NOW + timedelta(hours=hours)) for hours in (0, 1, 2, 3, 23)]
        later = [counts.take([DAY], NOW + timedelta(hours=hours)) for hours in (24, 24, 25, 25)]

        assert spent == [None, None, None, DAY, DAY]
        assert later == [None, DAY, None, DAY]
        assert counts.spent(DAY, NOW + timedelta(hours=25)) == 3
        assert counts.spent(DAY, NOW + timedelta(hours=100)) == 0

    def test_of_a_second_holds_wherever_the_second_begins(self, client: redis.Redis) -> None:
        counts, rule = Budget(client), budget.a_second(WHOSE, 5)
        times = [NOW + timedelta(milliseconds=37 * step) for step in range(130)]
        passed = [at for at in times if counts.take([rule], at) is None]

        assert max(sum(at <= other < at + timedelta(seconds=1) for other in passed) for at in passed) == 5
        assert len(passed) >= 20

    @pytest.mark.parametrize("order", [1, -1])
    def test_a_refused_call_costs_nothing_under_any_rule(self, client: redis.Redis, order: int) -> None:
        counts = Budget(client)
        rules = [budget.a_day(WHOSE, 10), Rule("ulak:budget:tight", 2, 60, 1)][::order]
        refused = [counts.take(rules, NOW) for _ in range(6)]

        assert [rule.key for rule in refused if rule] == ["ulak:budget:tight"] * 4
        assert counts.spent(budget.a_day(WHOSE, 10), NOW) == 2

    def test_keeps_time_by_redis_where_none_is_given(self, client: redis.Redis) -> None:
        counts = Budget(client)

        assert [counts.take([DAY]) for _ in range(4)] == [None, None, None, DAY]
        assert counts.spent(DAY) == 3

    def test_takes_a_place_back(self, client: redis.Redis) -> None:
        counts = Budget(client)
        assert [counts.take([DAY]) for _ in range(4)] == [None, None, None, DAY]
        counts.give_back(DAY)

        assert [counts.take([DAY]) for _ in range(2)] == [None, DAY]
        assert client.ttl(DAY.key) > 0

    def test_leaves_no_key_for_ever_and_no_old_slot_in_it(self, client: redis.Redis) -> None:
        counts = Budget(client)
        for day in range(3):
            counts.take([DAY, budget.a_second(WHOSE, 5)], NOW + timedelta(days=day))

        keys = list(client.scan_iter("ulak:budget:*"))
        assert sorted(key.rpartition(b":")[2] for key in keys) == [b"day", b"second"]
        assert [client.ttl(key) > 0 for key in keys] == [True, True]
        assert [client.hlen(key) for key in keys] == [1, 1]


class TestMerchant:
    def test_is_the_same_for_two_slugs_with_the_same_credentials(self) -> None:
        other = replace(MERCHANT, slug="other", api=dict(reversed(list(MERCHANT.api.items()))))
        slash = replace(MERCHANT, api={**MERCHANT.api, "base_url": "https://api.example"})
        key_elsewhere = replace(MERCHANT, api={**MERCHANT.api, "password": Secret("file:p", b"the-password")})

        assert {budget.merchant(one) for one in (MERCHANT, other, slash, key_elsewhere)} == {budget.merchant(MERCHANT)}

    def test_differs_with_provider_and_credentials(self) -> None:
        others = (
            replace(MERCHANT, provider="paynet"),
            replace(MERCHANT, api={**MERCHANT.api, "password": Secret("env:PASSWORD", b"another")}),
            replace(MERCHANT, api={**MERCHANT.api, "sandbox": False}),
        )

        assert len({budget.merchant(one) for one in (MERCHANT, *others)}) == 4

    def test_says_nothing_of_the_credentials_even_to_who_guesses_them(self) -> None:
        named = budget.merchant(MERCHANT)

        assert "password" not in named
        assert named != budget.merchant(replace(MERCHANT, pseudonym_key=None))


class TestRules:
    def test_of_a_provider_without_limits_are_none(self) -> None:
        assert budget.of_call(WHOSE, Limits(), verified=False) == ()

    def test_leave_unproven_callbacks_a_quarter_of_a_day(self) -> None:
        proven = budget.of_call(WHOSE, Limits(1000, 5), verified=True)
        claimed = budget.of_call(WHOSE, Limits(1000, 5), verified=False)

        assert [rule.limit for rule in proven] == [5, 1000]
        assert [rule.limit for rule in claimed] == [5, 1000, 250]

    def test_of_a_claim_hold_neither_order_nor_source(self) -> None:
        order = budget.of_order(WHOSE, "ORDER-ayse@example.com")
        rules = budget.of_claim(WHOSE, "digest-of-the-address")

        assert [rule.limit for rule in (*rules, order)] == [600, 60, 12]
        assert not any("ORDER" in rule.key or "digest-of" in rule.key for rule in (*rules, order))
        assert [rule.limit for rule in budget.of_claim(WHOSE, "")] == [600]
