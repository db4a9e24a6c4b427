"""What the APIs say happened in a time: the same facts as of one payment asked for alone, or no answer."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from receiver.asking import Call, QueryError, Sought, Trouble
from receiver.event import Kind, Statement
from receiver.queries import LISTS, QUERIES
from tests.played import PLAYERS, SECRETS, charged, payguru, sent, some, talk, trouble
from tests.test_queries_card import BACK, DETAIL, HOSTILE, ORDER, PARATIKA, mutate, record, row
from tests.test_queries_other import CHARGE, MOBILE

each = pytest.mark.parametrize("name", PLAYERS)


def test_four_providers_can_list() -> None:
    assert LISTS.keys() == PLAYERS.keys()
    assert [id(LISTS[name]) for name in LISTS] == [id(QUERIES[name]) for name in LISTS]


class TestEveryList:
    @each
    def test_it_tells_what_asking_for_each_payment_tells(self, name: str) -> None:
        player, records = PLAYERS[name], some(name, 3)
        _, found = talk(player.listed(), player.play(records))
        numbers = {"zotlo": "T-{}", "payguru": "{}"}
        refs = [(None, numbers[name].format(one)) if name in numbers else (f"O-{one}", None) for one in range(1, 4)]
        alone = [talk(player.ask(*ref), player.play(records))[1] for ref in refs]

        assert list(found) == [said for facts in alone for said in facts]
        assert [said.kind for said in found] == [Kind.PAYMENT_SUCCEEDED] * 3

    @each
    @pytest.mark.parametrize("number", [0, 1, 99, 100, 101, 200, 201, 450])
    def test_it_is_read_to_its_end_however_long(self, name: str, number: int) -> None:
        player = PLAYERS[name]
        calls, found = talk(player.listed(), player.play(some(name, number)))

        assert len(found) == len({said.fact_key for said in found}) == number
        assert len(calls) <= number // player.page + 1 + (number if name == "zotlo" else 0)

    @each
    def test_what_happened_at_another_time_is_left_out(self, name: str) -> None:
        player = PLAYERS[name]
        play = player.play(some(name, 2))
        at = talk(player.listed(), play)[1][0].occurred
        assert at is not None
        hour = (at.at - player.hours()[0]) / timedelta(hours=1)

        assert len(talk(player.listed(hour, hour + 1), play)[1]) == 2
        assert talk(player.listed(0, hour), play)[1] == []
        if name != "payguru":  # its search goes by the time of the last change, of which the record may be silent
            assert talk(player.listed(hour + 0.001, 24), play)[1] == []

    @each
    def test_one_record_on_two_pages_is_one_fact(self, name: str) -> None:
        player = PLAYERS[name]
        records = some(name, player.page)

        assert len(talk(player.listed(), player.play([*records, records[7], player.some(999)]))[1]) == player.page + 1

    @each
    def test_a_question_shows_no_secret(self, name: str) -> None:
        player = PLAYERS[name]
        calls, _ = talk(player.listed(), player.play(some(name, 2)))

        assert not any(secret in repr(calls) for secret in SECRETS)


class TestNoAnswer:
    @each
    @pytest.mark.parametrize(
        ("status", "expected"),
        [
            *((status, Trouble.API_REFUSED) for status in (401, 403)),
            (429, Trouble.API_LIMITED),
            *((status, Trouble.API_FAULT) for status in (500, 503)),
            *((status, Trouble.API_UNREADABLE) for status in (100, 201, 301, 302, 400, 404, 418)),
        ],
    )
    def test_the_status_of_http_says_who_is_at_fault(self, name: str, status: int, expected: Trouble) -> None:
        assert trouble(PLAYERS[name].listed(), lambda _: b"<html>", status) is expected

    @each
    @pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
    def test_what_is_not_the_documented_object_is_unreadable(self, name: str, body: bytes) -> None:
        assert trouble(PLAYERS[name].listed(), lambda _: body) is Trouble.API_UNREADABLE

    @each
    def test_a_page_that_is_spoiled_makes_no_short_list(self, name: str) -> None:
        player = PLAYERS[name]
        play, number = player.play(some(name, player.page + 5)), count()

        assert trouble(player.listed(), lambda call: play(call) if next(number) == 0 else b"<html>") is (
            Trouble.API_UNREADABLE
        )

    @each
    def test_the_same_page_for_ever_is_no_list(self, name: str) -> None:
        player = PLAYERS[name]
        play, first = player.play(some(name, player.page * 3)), next(player.listed())

        assert trouble(player.listed(), lambda _: play(first)) is Trouble.API_UNREADABLE

    @each
    def test_a_list_without_an_end_ends(self, name: str) -> None:
        player = PLAYERS[name]
        number = count(1)

        def endless() -> Iterator[object]:
            while True:
                page = [player.some(next(number)) for _ in range(player.page)]
                answer = player.play(page)(next(player.listed()))
                assert isinstance(answer, dict)
                yield answer

        def play(_: Call) -> object:
            answer: Any = next(answers)
            if name == "paratika":
                answer["totalTransactionCount"] = 999_999
            if name == "paynet":
                answer |= {"total": 999_999, "has_more": True}
            if name == "zotlo":
                answer["result"]["paging"]["cursors"]["next"] = f"c{next(number)}"
            return answer

        answers = endless()

        assert trouble(player.listed(), play) is Trouble.API_LIMITED

    @each
    def test_three_thousand_changed_lists_are_statements_or_no_answer_and_nothing_else(self, name: str) -> None:
        player, dice = PLAYERS[name], random.Random(name)
        play, seen, told = player.play([*some(name, 2), *odd(name)]), set(), 0

        def spoiled(call: Call) -> object:
            answer = play(call)
            for _ in range(dice.randrange(3)):
                answer = mutate(answer, dice)
            return answer

        for _ in range(3000):
            try:
                _, found = talk(player.listed(), spoiled)
            except QueryError as exc:
                seen.add(exc.trouble)
                continue
            told += len(found)
            assert all(isinstance(one, Statement) for one in found)
            assert len({one.fact_key for one in found}) == len(found)
            assert all(one.amount is None or one.amount.minor >= 0 for one in found)

        assert {Trouble.API_UNREADABLE, Trouble.OTHER_RECORD} <= seen
        assert told > 500


def odd(name: str) -> list[dict[str, Any]]:
    """Return a list with a story that is not just a sale."""
    mine = {"merchantPaymentId": ORDER}
    stories = {
        "paratika": [record("SALE FA", "P1", **mine), record("SALE AP", "P2"), record("PTREFUND AP", "P3", amount=30)],
        "paynet": [row(is_succeed=False), row(number=2), row("9", 3, amount="40,00")],
        "zotlo": [DETAIL | BACK],
        "payguru": [{**charged(5), "status": 6}, {**charged(6), "status": 4}],
    }
    return stories[name]


class TestPayguru:
    PLAYER = PLAYERS["payguru"]
    SINCE = datetime.fromisoformat("2017-12-13T22:30:00+00:00")
    BY_ORDER = Sought("transaction", Kind.PAYMENT_PENDING, "ORD-7", since=SINCE)

    def ask(self, sought: Sought, *records: Mapping[str, object]) -> tuple[list[Call], Sequence[Statement]]:
        return talk(QUERIES["payguru"].ask(sought, MOBILE), payguru(records))

    def test_it_asks_by_turkish_days_and_one_more(self) -> None:
        calls, _ = talk(self.PLAYER.listed(), payguru([]))

        assert [(one["condition"], one["term"]) for one in sent(calls[0])["search"]] == [
            (">=", "2017-12-13"),
            ("<=", "2017-12-14"),
        ]

    @pytest.mark.parametrize("status", [1, 3, 4, 5, 6, 7, 8, 9, -18, -5, -8, -9, 77])
    def test_a_status_is_told_as_the_details_tell_it(self, status: int) -> None:
        play = payguru([{**CHARGE, "status": status}])

        assert list(talk(self.PLAYER.listed(), play)[1]) == list(
            talk(self.PLAYER.ask(payment_ref=str(CHARGE["id"])), play)[1]
        )

    @pytest.mark.parametrize(
        ("changed", "number"),
        [
            ("2017-12-12T23:59:59", 0),
            ("2017-12-13T00:00:00", 1),
            ("2017-12-13T23:59:59", 1),
            ("2017-12-14T00:00:00", 0),
            ("some day", 1),
            (7, 1),
        ],
    )
    def test_a_record_that_names_the_time_of_its_change_is_of_that_time(self, changed: object, number: int) -> None:
        play = payguru([{**charged(1), "modifiedDate": changed}])

        assert len(talk(self.PLAYER.listed(), play)[1]) == number

    @pytest.mark.parametrize("changed", [{"service": 9}, {"service": "1234 "}])
    def test_the_record_of_another_service_is_no_answer(self, changed: dict[str, object]) -> None:
        assert trouble(self.PLAYER.listed(), payguru([charged(1), charged(2) | changed])) is Trouble.OTHER_RECORD

    def test_an_order_is_looked_for_among_all_since_it_was_begun(self) -> None:
        mine = {"referenceCode": "ORD-7"}
        calls, found = self.ask(
            self.BY_ORDER,
            {**charged(1), **mine},
            {**charged(2), "referenceCode": "ORD-77"},
            {**charged(3), "service": 9},
            {**charged(4), **mine, "status": 4},
            {**charged(5), **mine, "status": 6},
            {**charged(6), "referenceCode": "null"},
        )

        assert sent(calls[0])["search"] == [{"column": "modifiedDate", "term": "2017-12-14", "condition": ">="}]
        assert [(said.payment_ref, said.kind) for said in found] == [
            ("4", Kind.PAYMENT_FAILED),
            ("5", Kind.PAYMENT_REFUNDED),
            ("1", Kind.PAYMENT_SUCCEEDED),
        ]

    def test_what_is_found_for_an_order_is_what_its_transaction_says(self) -> None:
        records = [{**charged(number), "referenceCode": "ORD-7"} for number in range(1, 4)]
        _, found = self.ask(self.BY_ORDER, *records)

        assert list(found) == [
            self.ask(Sought("transaction", Kind.PAYMENT_PENDING, payment_ref=str(number)), *records)[1][0]
            for number in range(1, 4)
        ]

    @pytest.mark.parametrize("order", ["null", "NULL", "", " ORD-7", "ORD-7\n", "A\x00", "\ud800", "x" * 201, "\x85"])
    def test_an_order_that_no_callback_can_name_is_not_looked_for(self, order: str) -> None:
        assert self.ask(replace(self.BY_ORDER, order_ref=order)) == ([], [])

    def test_without_a_time_or_for_a_subscription_no_order_is_looked_for(self) -> None:
        assert self.ask(replace(self.BY_ORDER, since=None)) == ([], [])
        assert self.ask(replace(self.BY_ORDER, channel="subscription")) == ([], [])

    @pytest.mark.parametrize("changed", [{"referenceCode": ["ORD-7"]}, {"referenceCode": "ORD-7", "amount": None}])
    def test_a_record_of_the_order_that_cannot_be_read_is_no_answer(self, changed: dict[str, object]) -> None:
        assert trouble(QUERIES["payguru"].ask(self.BY_ORDER, MOBILE), payguru([charged(1) | changed])) is (
            Trouble.API_UNREADABLE
        )


@pytest.mark.parametrize("name", ["payguru-phs", "haso", "zotlo"])
def test_those_that_are_not_asked_by_an_order_know_nothing_of_one(name: str) -> None:
    sought = Sought("", Kind.PAYMENT_PENDING, "ORD-7", since=datetime.fromisoformat("2026-11-20T00:00:00+03:00"))

    assert talk(QUERIES[name].ask(sought, PARATIKA), lambda _: {}) == ([], [])
