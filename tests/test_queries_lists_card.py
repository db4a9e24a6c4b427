"""How Paratika, Paynet and Zotlo list, and what is made of a list that is cut off from the story of an order."""

from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from receiver.asking import Call, Trouble
from receiver.event import Kind
from tests.played import (
    PLAYERS,
    bought,
    paid,
    paratika,
    paynet,
    sent,
    sold,
    some,
    talk,
    trouble,
    zotlo,
)
from tests.test_queries_card import BACK, DETAIL, ORDER, ROWS, TX, record, row
from tests.test_queries_card import LISTS as STORIES


class TestParatika:
    PLAYER = PLAYERS["paratika"]

    def test_it_asks_from_the_earlier_reading_of_a_time_to_the_later(self) -> None:
        calls, _ = talk(self.PLAYER.listed(10, 12.5), paratika([]))

        assert sent(calls[0]) == {
            "ACTION": "QUERYTRANSACTION",
            "MERCHANT": "10000000",
            "MERCHANTUSER": "api@shop.example",
            "MERCHANTPASSWORD": "SECRET-PASSWORD",
            "STARTDATE": "12-10-2018 07:00",
            "ENDDATE": "12-10-2018 12:31",
            "OFFSET": "0",
            "LIMIT": "200",
        }

    @pytest.mark.parametrize("named", ["by the merchant", "by the bank", "with our number", "with the bank's number"])
    @pytest.mark.parametrize("story", STORIES)
    def test_a_story_is_told_as_the_order_alone_tells_it(self, story: str, named: str) -> None:
        names = {
            "by the merchant": {"merchantPaymentId": ORDER, "pgOrderId": "made by the bank"},
            "with our number": {"pgOrderId": f"10000000-{ORDER}"},
        }
        records = [one | names.get(named, {}) for one in STORIES[story][0]]
        if named == "with the bank's number":
            records = [one | {"pgOrderId": f"700100-{ORDER}"} for one in records]
        known = [{**one, "merchantPaymentId": ORDER} for one in records]

        _, found = talk(self.PLAYER.listed(), paratika(records, known))
        _, alone = talk(self.PLAYER.ask(order_ref=ORDER), paratika(known))

        # Of an attempt without a number nobody can say whether it is the order's, unless it names the order.
        assert list(found) == [said for said in alone if named == "by the merchant" or said.payment_ref]

    def test_an_order_that_is_paid_needs_no_question_of_its_own_and_any_other_does(self) -> None:
        records = [
            *(sold(number) for number in range(1, 6)),
            record("SALE FA", "P6", merchantPaymentId="O-1"),
            record("REFUND AP", "P7", merchantPaymentId="O-2"),
            record("SALE FA", "P8", merchantPaymentId="O-8"),
        ]
        calls, _ = talk(self.PLAYER.listed(), paratika(records))

        assert [sent(call).get("MERCHANTPAYMENTID") for call in calls] == [None, "O-2", "O-8"]

    @pytest.mark.parametrize("said", ["REFUND AP", "PTREFUND AP", "VOID AP"])
    def test_what_was_taken_back_is_told_with_the_sale_that_the_list_no_longer_has(self, said: str) -> None:
        mine = {"merchantPaymentId": ORDER}
        sale = record("SALE AP", "P1", timeCreated="2018-10-01 10:00:00.000", **mine)
        early = record("PTREFUND AP", "P2", timeCreated="2018-10-02 10:00:00.000", amount=50, **mine)
        back = record(said, "P3", amount=30, **mine)
        play = paratika([back], [sale, early, back])

        _, found = talk(self.PLAYER.listed(), play)

        assert [said for said in talk(self.PLAYER.ask(order_ref=ORDER), play)[1] if said.refund_ref == "P3"] == list(
            found
        )
        assert (found[0].payment_ref, found[0].refund_ref) == ("P1", "P3")
        assert found[0].kind in {Kind.PAYMENT_REFUNDED, Kind.PAYMENT_VOIDED}

    def test_a_second_sale_of_an_order_is_not_taken_for_its_first(self) -> None:
        mine = {"merchantPaymentId": ORDER}
        first = record("SALE VD", "P1", timeCreated="2018-10-11 23:59:00.000", **mine)
        _, found = talk(self.PLAYER.listed(), paratika([first, record("SALE AP", "P2", **mine)]))

        assert [said.fact_key for said in found] == [(ORDER, "P2")]

    def test_an_attempt_whose_order_was_paid_after_the_time_is_not_told(self) -> None:
        mine = {"merchantPaymentId": ORDER}
        attempt = record("SALE FA", "P1", **mine)
        sale = record("SALE AP", "P2", timeCreated="2018-10-13 00:00:00.000", **mine)

        assert talk(self.PLAYER.listed(), paratika([attempt], [attempt, sale]))[1] == []

    def test_an_attempt_that_is_listed_only_is_told(self) -> None:
        attempt = record("SALE FA", "P1", merchantPaymentId=ORDER)
        _, found = talk(self.PLAYER.listed(), paratika([attempt], []))

        assert [said.fact_key for said in found] == [(ORDER, "P1", "SALE", "FA")]

    @pytest.mark.parametrize("name", [None, "CUT-SHORT", "123456-CUT-SHORT"])
    def test_money_under_a_name_that_paratika_does_not_know_is_no_answer_and_an_attempt_is_nothing(
        self, name: str | None
    ) -> None:
        assert trouble(self.PLAYER.listed(), paratika([record("SALE AP", pgOrderId=name)], [])) is (
            Trouble.API_UNREADABLE
        )
        assert talk(self.PLAYER.listed(), paratika([record("SALE FA", pgOrderId=name)], []))[1] == []

    def test_the_order_that_a_cut_name_happens_to_be_is_not_taken_for_it(self) -> None:
        other = record("SALE AP", "P9", pgOrderId="ORDER")
        play = paratika([record("SALE AP", "P1", pgOrderId="ORDER")], [other])

        assert trouble(self.PLAYER.listed(), play) is Trouble.API_UNREADABLE

    def test_the_records_of_another_order_are_no_answer(self) -> None:
        answers = iter([[record("SALE FA", merchantPaymentId=ORDER)], [record("SALE AP", merchantPaymentId="X")]])

        assert trouble(self.PLAYER.listed(), lambda _: paratika(next(answers))(next(self.PLAYER.listed()))) is (
            Trouble.OTHER_RECORD
        )

    @pytest.mark.parametrize(
        "changed",
        [{"totalTransactionCount": 4}, {"transactionCount": 4}, {"totalTransactionCount": "9" * 400}],
    )
    def test_a_list_that_is_cut_short_is_no_answer(self, changed: dict[str, object]) -> None:
        play = paratika([sold(1), sold(2), sold(3)])

        def cut(call: Call) -> object:
            answer: Any = play(call)
            return answer | changed

        assert trouble(self.PLAYER.listed(), cut) is Trouble.API_UNREADABLE

    def test_a_list_that_ends_before_its_own_count_is_no_answer(self) -> None:
        play = paratika([sold(number) for number in range(250)])

        def cut(call: Call) -> object:
            asked = sent(call)
            return play(call) if asked["OFFSET"] == "0" else {"responseCode": "99", "errorCode": "ERR10030"}

        assert trouble(self.PLAYER.listed(), cut) is Trouble.API_UNREADABLE

    def test_too_many_orders_to_ask_for_are_asked_for_in_parts_by_the_caller(self) -> None:
        records = [record("SALE FA", f"P{number}", merchantPaymentId=f"O-{number}") for number in range(1001)]

        assert trouble(self.PLAYER.listed(), paratika(records)) is Trouble.API_LIMITED


class TestPaynet:
    PLAYER = PLAYERS["paynet"]
    OWN: ClassVar = {
        "agent_reference": "xact_agent_reference",
        "transaction_type": "xact_type",
        "xact_date": "xact_time",
    }

    def renamed(self, one: Mapping[str, object]) -> dict[str, object]:
        """Give a row the names that the provider's own client reads in a list, and its form of a time."""
        letters = {"1": "S", "2": "R", "3": "PR", "5": "RP", "9": "CD"}
        told = {self.OWN.get(name, name): value for name, value in one.items() if name != "id"}
        at = f"20.11.2026 {str(one['xact_date'])[11:]}"
        return told | {"xact_type": letters.get(str(told["xact_type"]), told["xact_type"]), "xact_time": at}

    def test_it_asks_by_turkish_days_and_one_more(self) -> None:
        calls, _ = talk(self.PLAYER.listed(), paynet([]))

        assert calls[0].url == "https://api.example/v1/transaction/list"
        assert sent(calls[0]) == {
            "datab": "2026-11-20",
            "datbi": "2026-11-21",
            "show_unsucceed": True,
            "limit": 200,
            "starting_after": 0,
        }

    @pytest.mark.parametrize("own_names", [False, True])
    @pytest.mark.parametrize("story", ROWS)
    def test_a_story_is_told_as_the_reference_alone_tells_it(self, story: str, own_names: bool) -> None:  # noqa: FBT001
        rows = ROWS[story][0]
        listed = [self.renamed(one) for one in rows] if own_names else rows

        _, found = talk(self.PLAYER.listed(), paynet(listed, rows))

        assert list(found) == list(talk(self.PLAYER.ask(order_ref=ORDER), paynet(rows))[1])

    def test_an_order_that_is_paid_needs_no_question_of_its_own_and_any_other_does(self) -> None:
        rows = [
            *(paid(number) for number in range(1, 7)),
            row(number=7, agent_reference="O-1", is_succeed=False),
            row("9", 8, agent_reference="O-2", amount=40),
            row(number=9, agent_reference="O-9", is_succeed=False),
            paid(10) | {"authorization_code": None},
        ]
        calls, _ = talk(self.PLAYER.listed(), paynet(rows))

        assert [sent(call).get("reference_no") for call in calls] == [None, "O-2", "O-9", "O-10"]

    def test_a_refund_is_told_with_the_sale_that_the_list_no_longer_has(self) -> None:
        sale, back = row(xact_date="2026-11-01T10:15:00"), row("9", 2, amount=40)
        _, found = talk(self.PLAYER.listed(), paynet([back], [sale, back]))

        assert [(said.kind, said.payment_ref, said.refund_ref) for said in found] == [
            (Kind.PAYMENT_PARTIALLY_REFUNDED, "xk_1", "xk_2")
        ]

    def test_a_second_payment_with_the_key_of_an_earlier_one_has_its_own(self) -> None:
        alike: dict[str, Any] = {"authorization_code": None, "order_id": None}
        first, second = row(xact_date="2026-11-01T10:15:00", **alike), row(number=2, **alike)
        _, found = talk(self.PLAYER.listed(), paynet([second], [first, second]))

        assert [said.fact_key for said in found] == [(ORDER, None, None, "true", "2")]

    def test_a_row_without_a_reference_is_of_no_order(self) -> None:
        assert talk(self.PLAYER.listed(), paynet([row(agent_reference=None), row(agent_reference=" ")]))[1] == []

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"reference_no": "ORDER-2"}, Trouble.OTHER_RECORD),
            ({"xact_agent_reference": "ORDER-2"}, Trouble.OTHER_RECORD),
            ({"agent_reference": [ORDER]}, Trouble.API_UNREADABLE),
            ({"agent_reference": "A\nB"}, Trouble.API_UNREADABLE),
            ({"amount": None}, Trouble.API_UNREADABLE),
            ({"is_succeed": "yes"}, Trouble.API_UNREADABLE),
        ],
    )
    def test_a_row_that_cannot_be_read_is_no_list(self, changed: dict[str, object], expected: Trouble) -> None:
        assert trouble(self.PLAYER.listed(), paynet([row(), row(number=2, **changed)])) is expected

    @pytest.mark.parametrize(
        "changed",
        [
            {"has_more": True},
            {"has_more": "false"},
            {"has_more": None},
            {"total": 2},
            {"total": "9" * 400},
            {"total": None},
            {"Data": {"id": 1}},
            {"Data": [1]},
            {"Data": [{}]},
            {"code": 1},
        ],
    )
    def test_a_list_that_is_cut_short_or_of_another_form_is_no_answer(self, changed: dict[str, object]) -> None:
        play = paynet([paid(1)])

        def cut(call: Call) -> object:
            answer: Any = play(call)
            return answer | changed

        assert trouble(self.PLAYER.listed(), cut) is Trouble.API_UNREADABLE

    def test_a_list_may_come_without_a_code_as_the_provider_s_client_has_it(self) -> None:
        play = paynet([paid(1)])

        def bare(call: Call) -> object:
            answer: Any = play(call)
            return {name: value for name, value in answer.items() if name != "code"}

        assert len(talk(self.PLAYER.listed(), bare)[1]) == 1

    def test_a_reference_that_the_check_does_not_know_or_has_for_another_is_no_answer(self) -> None:
        failed = row(is_succeed=False)

        assert trouble(self.PLAYER.listed(), paynet([failed], [])) is Trouble.API_UNREADABLE
        answers = iter([paynet([failed])(next(self.PLAYER.listed())), {"code": 0, "Data": [paid(1)]}])
        assert trouble(self.PLAYER.listed(), lambda _: next(answers)) is Trouble.OTHER_RECORD

    def test_no_data_is_an_empty_list(self) -> None:
        assert talk(self.PLAYER.listed(), lambda _: {"code": 12, "message": "nodata"})[1] == []


class TestZotlo:
    PLAYER = PLAYERS["zotlo"]

    def test_it_asks_by_the_days_of_both_zones_and_names_the_application(self) -> None:
        calls, _ = talk(self.PLAYER.listed(), zotlo([]))

        assert calls[0].method == "GET"
        assert calls[0].url == (
            "https://api.example/v1/reports/activity/transaction?limit=100&start_date=2024-12-24&end_date=2024-12-25"
        )
        assert (calls[0].headers["ApplicationId"], calls[0].headers["AccessKey"]) == ("7", "SECRET-KEY")

    def test_a_cursor_is_sent_back_as_it_came_and_does_not_break_out(self) -> None:
        pages = iter(["a&limit=9#", ""])
        calls, _ = talk(
            self.PLAYER.listed(),
            lambda _: {
                "meta": {"httpStatus": 200},
                "result": {"data": [], "paging": {"cursors": {"next": next(pages)}}},
            },
        )

        assert sent(calls[1]) == {**sent(calls[0]), "after": "a&limit=9#"}

    @pytest.mark.parametrize("name", ["transaction_id", "transactionId"])
    def test_a_row_says_which_payment_there_is_and_the_details_say_what_became_of_it(self, name: str) -> None:
        play = zotlo([{name: TX, "appId": 7, "status": "renewal", "price": "9.99"}], [DETAIL])
        calls, found = talk(self.PLAYER.listed(), play)

        assert list(found) == list(talk(self.PLAYER.ask(payment_ref=TX), play)[1])
        assert [sent(call).get("transactionId") for call in calls] == [None, TX]

    def test_a_payment_whose_details_tell_of_a_failure_is_no_success(self) -> None:
        meta = {"httpStatus": 200}
        answers = iter(
            [
                zotlo([DETAIL])(next(self.PLAYER.listed())),
                {"meta": meta, "result": {"transaction": DETAIL, "transactionLog": {"code": "DO_NOT_HONOR"}}},
            ]
        )

        assert [said.kind for said in talk(self.PLAYER.listed(), lambda _: next(answers))[1]] == [Kind.PAYMENT_FAILED]

    def test_each_fact_is_told_in_its_own_time(self) -> None:
        play = zotlo([DETAIL | BACK])

        assert [said.kind for said in talk(self.PLAYER.listed(), play)[1]] == [Kind.PAYMENT_SUCCEEDED]
        assert [said.kind for said in talk(self.PLAYER.listed(24, 48), play)[1]] == [Kind.PAYMENT_REFUNDED]

    def test_what_was_bought_later_is_not_even_asked_for(self) -> None:
        assert len(talk(self.PLAYER.listed(0, 12), zotlo(some("zotlo", 5)))[0]) == 1

    def test_a_payment_that_the_details_do_not_know_is_not_told(self) -> None:
        assert talk(self.PLAYER.listed(), zotlo([DETAIL], []))[1] == []

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"transaction_id": None}, Trouble.API_UNREADABLE),
            ({"transaction_id": "../refund"}, Trouble.API_UNREADABLE),
            ({"transaction_id": [TX]}, Trouble.API_UNREADABLE),
            ({"transactionId": "another"}, Trouble.API_UNREADABLE),
            ({"app_id": 8}, Trouble.OTHER_RECORD),
            ({"appId": "8"}, Trouble.OTHER_RECORD),
        ],
    )
    def test_a_row_that_cannot_be_read_or_is_another_s_is_no_list(
        self, changed: dict[str, object], expected: Trouble
    ) -> None:
        assert trouble(self.PLAYER.listed(), zotlo([bought(1), DETAIL | changed], [bought(1)])) is expected

    @pytest.mark.parametrize(
        "result",
        [
            {},
            {"data": None},
            {"data": {}},
            {"data": [1]},
            {"data": [], "paging": {"cursors": {"next": ["c"]}}},
            {"data": [], "paging": {"cursors": {"next": "a\nb"}}},
            {"data": [bought(number) for number in range(100)]},
            {"data": [bought(number) for number in range(100)], "paging": {"cursors": {}}},
        ],
    )
    def test_a_page_of_another_form_is_unreadable(self, result: object) -> None:
        answers = [{"meta": {"httpStatus": 200}, "result": result}]

        assert trouble(self.PLAYER.listed(), lambda _: answers.pop()) is Trouble.API_UNREADABLE

    def test_too_many_payments_to_ask_for_are_asked_for_in_parts_by_the_caller(self) -> None:
        assert trouble(self.PLAYER.listed(), zotlo(some("zotlo", 1001))) is Trouble.API_LIMITED
