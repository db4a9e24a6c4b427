"""The played APIs, asked over HTTP by the real query clients: every word, wrong credentials, limits, lists."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest

from receiver import config
from receiver.account import Account, Secret
from receiver.asking import Conversation, QueryError, Sought, Trouble
from receiver.event import Kind, Statement
from receiver.queries import LISTS, QUERIES
from receiver.queries.haso import HasoQuery
from workers import outgoing, sandbox
from workers.sandbox_api import SECRET, WORDS, create_api
from workers.sandbox_api.payguru import Counts

from .harness import Response, background, call, environment, free_port, until

pytestmark = pytest.mark.integration

SLOW, PATIENCE = 0.4, 0.1
PROVIDERS = tuple(QUERIES)
# What a provider says of a payment without a word: kind, amount and refund, in kuruş.
Told = list[tuple[str, int | None, int | None]]
SALE: Mapping[str, Told] = {
    "paratika": [("payment.succeeded", 1176, None)],
    "paynet": [("payment.succeeded", 10000, None)],
    "payguru": [("payment.succeeded", 1200, None)],
    "payguru-phs": [("payment.succeeded", 100, None)],
    "zotlo": [("payment.succeeded", 999, None)],
    "haso": [
        ("installment.pending", 25000, None),
        ("installment.pending", 25000, None),
        ("payment.succeeded", 50000, None),
    ],
}
NO_ANSWER: Mapping[str, Trouble] = {
    "fault": Trouble.API_FAULT,
    "limited": Trouble.API_LIMITED,
    "html": Trouble.API_UNREADABLE,
    "other": Trouble.OTHER_RECORD,
}


def one(kind: str, amount: int | None, refund: int | None = None) -> Told:
    return [(f"payment.{kind}", amount, refund)]


def plan(state: str, payment: str, other: str = "", amount: int = 25000) -> Told:
    states = (state, other or state)
    whole = None if payment == "pending" else 2 * amount
    return [*((f"installment.{state}", amount, None) for state in states), (f"payment.{payment}", whole, None)]


# Where the answer is not the one without a word.
SAID: Mapping[str, Mapping[str, Told]] = {
    "paratika": {
        "differs": one("succeeded", 1),
        "nothing": [],
        "declined": one("failed", 1176),
        "pending": one("pending", 1176),
        "partial": SALE["paratika"] + one("partially_refunded", 1176, 100),
        "refunded": SALE["paratika"] + one("refunded", 1176, 1176),
        "voided": SALE["paratika"] + one("voided", 1176),
    },
    "paynet": {
        "differs": one("succeeded", 1),
        "nothing": [],
        "declined": one("failed", 10000),
        "pending": [],
        "partial": SALE["paynet"] + one("partially_refunded", 10000, 100),
        "refunded": SALE["paynet"] + one("refunded", 10000, 10000),
        "voided": SALE["paynet"] + one("voided", 10000),
    },
    "payguru": {
        "differs": one("succeeded", 1),
        "nothing": [],
        "declined": one("failed", 1200),
        "pending": one("pending", 1200),
        "refunded": one("refunded", 1200),
    },
    "payguru-phs": {
        "differs": one("succeeded", 1),
        "nothing": [],
        "declined": one("pending", 100),  # paid in part: PHS knows nothing worse
        "pending": one("pending", 100),
        "refunded": one("refunded", 100),
    },
    "zotlo": {
        "differs": one("succeeded", 1),
        "nothing": [],
        "declined": one("failed", 999),
        "pending": [],
        "partial": SALE["zotlo"] + one("partially_refunded", 999, 100),
        "refunded": SALE["zotlo"] + one("refunded", 999, 999),
    },
    "haso": {
        "differs": [("installment.pending", 0, None), ("installment.pending", 1, None), *one("succeeded", 1)],
        "declined": plan("canceled", "canceled"),
        "pending": [],
        "partial": plan("pending", "pending", "canceled"),
        "refunded": plan("canceled", "canceled"),
        "voided": plan("canceled", "canceled"),
        "paid": plan("paid", "succeeded"),
        "partly": plan("partially_paid", "succeeded"),
        "overdue": plan("past_due", "succeeded"),
    },
}

WORDS_OF_RECORDS = [word for word in WORDS if word not in {*NO_ANSWER, "slow"}]
# Payguru is asked no more than it must be: five times a second.
CASES = [
    (provider, word)
    for provider in PROVIDERS
    for word in ("", *WORDS_OF_RECORDS)
    if provider != "payguru" or not word or word in SAID[provider]
]


def reference(provider: str, word: str = "") -> str:
    """Return a reference with this word, in digits where the provider takes nothing else."""
    samples = {"payguru": "12345678912345", "payguru-phs": "12345"}
    if provider in samples:
        return samples[provider] + WORDS.get(word, "123456789")
    return f"REF-{word}-1"


def sought(provider: str, ref: str) -> Sought:
    by_order = provider in {"paratika", "paynet"}
    return Sought("", Kind.PAYMENT_SUCCEEDED, ref if by_order else None, None if by_order else ref)


def told(found: Sequence[Statement]) -> Told:
    return [
        (one.kind.value, one.amount.minor if one.amount else None, one.refund.minor if one.refund else None)
        for one in found
    ]


@dataclass
class Played:
    """The APIs, running, and the accounts of the sandbox that ask them."""

    port: int
    accounts: Mapping[str, Account]
    transport: outgoing.Transport

    def hold(self, conversation: Conversation, *, patient: bool = True) -> Sequence[Statement] | Trouble:
        try:
            return outgoing.ask(conversation, self.transport if patient else outgoing.transport(PATIENCE))
        except QueryError as exc:
            return exc.trouble

    def ask(
        self, provider: str, ref: str, account: Account | None = None, *, patient: bool = True
    ) -> Sequence[Statement] | Trouble:
        """Ask about one payment; wait for the next second where Payguru has had its five questions in this one."""
        asking = account or self.accounts[provider]
        while True:
            answer = self.hold(QUERIES[provider].ask(sought(provider, ref), asking), patient=patient)
            if answer is not Trouble.API_LIMITED or reference(provider, "limited") == ref:
                return answer
            time.sleep(0.1)

    def listed(self, provider: str, since: datetime, end: datetime) -> Sequence[Statement] | Trouble:
        return self.hold(LISTS[provider].listed(since, end, self.accounts[provider]))

    def under(self, word: str, provider: str) -> Account:
        """Return the account whose every answer is chosen by *word*."""
        account = self.accounts[provider]
        base = account.api["base_url"].replace(f"/{provider}", f"/as/{word}/{provider}")
        return replace(account, api={**account.api, "base_url": base})

    def record(self, *payments: Mapping[str, str]) -> Response:
        return self.json("/-/payments", list(payments))

    def json(self, path: str, body: object, **headers: str) -> Response:
        return call(self.port, path, orjson.dumps(body), {"Content-Type": "application/json", **headers})


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    folder, port = tmp_path_factory.mktemp("api"), free_port()
    written = sandbox.write(folder, f"http://127.0.0.1:{port}")
    settings = config.load({"ULAK_CONFIG": str(written), "ULAK_DATA": str(folder)})
    accounts = {provider: settings.accounts[provider, "shop-asked"] for provider in PROVIDERS}
    argv = [sys.executable, "-m", "workers.sandbox_api", str(port)]

    def answers() -> bool:
        try:
            return call(port, "/").status == 404
        except OSError:
            return False

    with background(argv, environment(SANDBOX_SLOW=str(SLOW)), folder / "api.log"):
        until(answers, f"the played APIs answer; see {folder / 'api.log'}")
        yield Played(port, accounts, outgoing.transport())


class TestAnswers:
    @pytest.mark.parametrize(("provider", "word"), CASES)
    def test_state_what_the_word_says(self, played: Played, provider: str, word: str) -> None:
        answer = played.ask(provider, reference(provider, word))

        if (provider, word) == ("haso", "nothing"):
            # With which words HASO says so is not documented.
            assert answer is Trouble.API_REFUSED
            return
        assert not isinstance(answer, Trouble), answer
        assert told(answer) == SAID[provider].get(word, SALE[provider])

    @pytest.mark.parametrize("word", NO_ANSWER)
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_are_none_where_the_word_says_so(self, played: Played, provider: str, word: str) -> None:
        assert played.ask(provider, reference(provider, word)) is NO_ANSWER[word]

    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_come_too_late_for_the_impatient(self, played: Played, provider: str) -> None:
        ref = reference(provider, "slow")

        assert played.ask(provider, ref, patient=False) is Trouble.NO_ANSWER

    def test_come_late_and_then_as_ever(self, played: Played) -> None:
        begun = time.monotonic()
        answer = played.ask("zotlo", "REF-slow-1")

        assert time.monotonic() - begun >= SLOW
        assert not isinstance(answer, Trouble)
        assert told(answer) == SALE["zotlo"]

    def test_follow_the_digits_at_the_end_too(self, played: Played) -> None:
        answer = played.ask("paratika", f"ORDER-1001{WORDS['partial']}")

        assert not isinstance(answer, Trouble)
        assert [one.kind for one in answer] == [Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_PARTIALLY_REFUNDED]

    @pytest.mark.parametrize("word", ["fault", "limited", "html"])
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_follow_a_word_in_the_path_before_all_others(self, played: Played, provider: str, word: str) -> None:
        answer = played.hold(
            QUERIES[provider].ask(sought(provider, reference(provider, "other")), played.under(word, provider))
        )

        assert answer is NO_ANSWER[word]

    def test_know_a_sale_and_a_refund_of_paynet_by_their_numbers(self, played: Played) -> None:
        by_sale = replace(sought("zotlo", "S-REF-1"), channel="return")
        by_refund = Sought("refund", Kind.PAYMENT_REFUNDED, refund_ref="900001123456789")
        query, account = QUERIES["paynet"], played.accounts["paynet"]
        sale, refund = played.hold(query.ask(by_sale, account)), played.hold(query.ask(by_refund, account))

        assert not isinstance(sale, Trouble)
        assert not isinstance(refund, Trouble)
        assert [one.order_ref for one in sale] == ["REF-1"]
        assert told(refund) == SALE["paynet"] + one("refunded", 10000, 10000)
        assert refund[-1].refund_ref == by_refund.refund_ref
        assert refund[-1].order_ref == "ORDER-4001123456789"

    def test_know_a_payment_of_paratika_by_its_number(self, played: Played) -> None:
        asking = QUERIES["paratika"].ask(sought("zotlo", "P-REF-1"), played.accounts["paratika"])
        answer = played.hold(asking)

        assert not isinstance(answer, Trouble)
        assert [(one.order_ref, one.payment_ref) for one in answer] == [("REF-1", "P-REF-1")]

    @pytest.mark.parametrize(
        ("word", "kind"),
        [
            ("", Kind.SUBSCRIPTION_ACTIVATED),
            ("declined", Kind.SUBSCRIPTION_SUSPENDED),
            ("pending", Kind.SUBSCRIPTION_PENDING),
            ("voided", Kind.SUBSCRIPTION_CANCELED),
        ],
    )
    def test_know_the_subscriptions_of_payguru(self, played: Played, word: str, kind: Kind) -> None:
        ref = "12345678" + WORDS.get(word, "123456789")
        asking = Sought("subscription", Kind.SUBSCRIPTION_ACTIVATED, subscription_ref=ref)
        answer = played.hold(QUERIES["payguru"].ask(asking, played.accounts["payguru"]))

        assert not isinstance(answer, Trouble)
        assert [(one.kind, one.order_ref, one.subscription_ref) for one in answer] == [(kind, "ORDER-2001", ref)]


class TestHaso:
    @pytest.mark.parametrize(
        ("word", "kinds"),
        [("", [Kind.PAYMENT_REFUND_PENDING]), ("refunded", [Kind.PAYMENT_REFUNDED]), ("nothing", [])],
    )
    def test_knows_refunds(self, played: Played, word: str, kinds: list[Kind]) -> None:
        answer = played.hold(HasoQuery().check_refund(f"R-{word}-1", played.accounts["haso"]))

        assert not isinstance(answer, Trouble)
        assert [one.kind for one in answer] == kinds

    def test_lists_its_error_codes(self, played: Played) -> None:
        codes = self._codes(played, played.accounts["haso"])

        assert isinstance(codes, dict)
        assert {"H307", "H308", "RS100", "SANDBOX"} <= codes.keys()
        assert all(codes.values())

    @pytest.mark.parametrize(
        ("word", "outcome"), [("fault", Trouble.API_FAULT), ("html", Trouble.API_UNREADABLE), ("nothing", {})]
    )
    def test_lists_none_where_its_path_says_so(self, played: Played, word: str, outcome: object) -> None:
        assert self._codes(played, played.under(word, "haso")) == outcome

    def test_takes_the_address_into_the_token_where_it_is_sent(self, played: Played) -> None:
        account = played.accounts["haso"]
        named = replace(account, api={**account.api, "ip_address": "203.0.113.5"})

        assert not isinstance(played.ask("haso", "REF-1", named), Trouble)

    def _codes(self, played: Played, account: Account) -> object:
        asking = HasoQuery().error_codes(account)
        try:
            asking.send(played.transport(next(asking)))
        except StopIteration as done:
            return done.value
        except QueryError as exc:
            return exc.trouble
        return None


WRONG = Secret("env:WRONG", b"wrong")


class TestCredentials:
    @pytest.mark.parametrize(
        ("provider", "name", "value"),
        [
            ("paratika", "merchant", "2"),
            ("paratika", "user", "someone"),
            ("paratika", "password", WRONG),
            ("paynet", "secret_key", WRONG),
            ("payguru", "merchant_id", "2"),
            ("payguru", "service_id", "4321"),
            ("payguru-phs", "server_ip", "203.0.113.5"),
            ("zotlo", "access_key", WRONG),
            ("zotlo", "access_secret", WRONG),
            ("haso", "hmac_key", WRONG),
            ("haso", "salt", WRONG),
        ],
    )
    def test_that_are_wrong_are_refused(self, played: Played, provider: str, name: str, value: object) -> None:
        account = played.accounts[provider]
        wrong = replace(account, api={**account.api, name: value})

        assert played.ask(provider, reference(provider), wrong) is Trouble.API_REFUSED

    @pytest.mark.parametrize("provider", ["payguru-phs", "haso"])
    def test_of_another_merchant_are_refused(self, played: Played, provider: str) -> None:
        account = played.accounts[provider]
        wrong = replace(account, options={**account.options, "merchant_id": "9"})

        assert played.ask(provider, reference(provider), wrong) is Trouble.API_REFUSED

    def test_of_phs_need_the_merchants_key(self, played: Played) -> None:
        wrong = replace(played.accounts["payguru-phs"], secrets=(replace(WRONG, parts=(b"wro", b"ng")),))

        assert played.ask("payguru-phs", "12345", wrong) is Trouble.API_REFUSED

    @pytest.mark.parametrize(("token", "status"), [("", "ERR_015"), ("{made-up}", "ERR_016")])
    def test_of_phs_are_a_token_that_was_given_out(self, played: Played, token: str, status: str) -> None:
        headers = {"merchant": "123", "token": token}
        answer = call(played.port, "/payguru-phs/phs/transaction/get?id=12345", headers=headers)

        assert answer.json()["status"] == status

    def test_of_payguru_mobile_are_the_numbers_alone_and_the_answer_says_so(self, played: Played) -> None:
        answer = call(played.port, "/payguru/MicroPayment/transaction/detail/1/9/12345")

        assert answer.status == 403
        assert answer.json()["response"]["resultDescription"]


class TestLimits:
    def test_are_five_questions_a_second(self, played: Played) -> None:
        path = "/payguru/MicroPayment/subscription/detail/1/1234/12345678"
        statuses = [call(played.port, path).status for _ in range(12)]

        # The twelve may have crossed into another second, but not into a third one.
        assert statuses.count(429) >= 2
        until(lambda: call(played.port, path).status == 200, "the next second brings five more", 3)

    def test_are_a_thousand_a_day_of_which_none_is_spent_by_a_question_that_came_too_fast(self) -> None:
        counts, midnight = Counts(), 20_000 * 24 * 3600
        quick = [counts.take("transaction", midnight) for _ in range(10)]
        later = [counts.take("transaction", midnight + second) for second in range(1, 1001)]

        assert quick == [True] * 5 + [False] * 5
        assert later == [True] * 995 + [False] * 5
        assert counts.take("subscription", midnight)
        assert counts.take("transaction", midnight + 24 * 3600)


def at(day: datetime, minutes: int = 0) -> str:
    return (day + timedelta(minutes=minutes)).isoformat()


class TestLedger:
    @pytest.mark.parametrize("provider", PROVIDERS)
    def test_knows_the_amount(self, played: Played, provider: str) -> None:
        ref = reference(provider) + "77"
        recorded = played.record({"provider": provider, "reference": ref, "amount": "123.40", "at": at(YEAR[2031])})
        answer = played.ask(provider, ref)

        assert (recorded.status, recorded.json()) == (201, {"recorded": 1})
        assert not isinstance(answer, Trouble)
        assert told(answer)[-1] == ("payment.succeeded", 12340, None)

    @pytest.mark.parametrize("provider", ["payguru", "payguru-phs"])
    def test_knows_an_order_that_the_reference_does_not_tell(self, played: Played, provider: str) -> None:
        ref = reference(provider) + "78"
        played.record({"provider": provider, "reference": ref, "order": "ORDER-other-shop", "at": at(YEAR[2031])})
        played.record({"provider": provider, "reference": ref, "order": "ORDER-X", "at": at(YEAR[2031])})
        answer = played.ask(provider, ref)

        assert not isinstance(answer, Trouble)
        assert [one.order_ref for one in answer] == ["ORDER-X"]

    @pytest.mark.parametrize(
        "wrong",
        [
            {"provider": "nobody", "reference": "1"},
            {"provider": "zotlo"},
            {"provider": "zotlo", "reference": "1", "at": "2031-01-01T00:00:00"},
            {"provider": "zotlo", "reference": "1", "amount": "1,5"},
            {"provider": "zotlo", "reference": "1", "ammount": "1.50"},
            [],
        ],
    )
    def test_says_what_it_does_not_understand(self, played: Played, wrong: object) -> None:
        answer = played.json("/-/payments", [wrong])

        assert answer.status == 400
        assert answer.json()["errors"]


YEAR = {year: datetime(year, 5, 4, 9, 0, tzinfo=UTC) for year in range(2031, 2040)}


class TestLists:
    """Each test has a year of its own, for the ledger is one."""

    def test_of_paratika_come_in_pages_and_tell_the_records_of_the_details(self, played: Played) -> None:
        self._record(played, "paratika", YEAR[2032], "", "refunded", "nothing", "fault", "declined")
        pages = [
            self._paratika(played, STARTDATE="04-05-2032 12:00", ENDDATE="04-05-2032 13:00", OFFSET=offset, LIMIT="4")
            for offset in ("0", "4")
        ]

        assert [(page["transactionCount"], page["totalTransactionCount"]) for page in pages] == [(4, 5), (1, 5)]
        records = [record for page in pages for record in page["transactionList"]]
        assert [(one["merchantPaymentId"], one["transactionType"], one["transactionStatus"]) for one in records] == [
            ("D--0", "SALE", "AP"),
            ("D-refunded-1", "SALE", "AP"),
            ("D-refunded-1", "REFUND", "AP"),
            ("D-fault-3", "SALE", "AP"),
            ("D-declined-4", "SALE", "FA"),
        ]
        assert records[0]["timeCreated"] == "2032-05-04 12:00:00.000"

    def test_of_paratika_go_back_a_month_by_themselves(self, played: Played) -> None:
        now = datetime.now(UTC)
        self._record(played, "paratika", now - timedelta(days=29), "recent")
        self._record(played, "paratika", now - timedelta(days=31), "ancient")
        references = {one["merchantPaymentId"] for one in self._paratika(played)["transactionList"]}

        assert "D-recent-0" in references
        assert "D-ancient-0" not in references

    def test_of_paratika_end_before_the_end(self, played: Played) -> None:
        self._record(played, "paratika", YEAR[2033], "", "")
        page = self._paratika(played, STARTDATE="04-05-2033 12:00", ENDDATE="04-05-2033 12:01")

        assert [one["merchantPaymentId"] for one in page["transactionList"]] == ["D--0"]

    def test_of_paynet_name_days_and_leave_failures_out(self, played: Played) -> None:
        self._record(played, "paynet", YEAR[2032], "", "partial", "declined", "html", "nothing")
        days = {"datab": "2032-05-04", "datbi": "2032-05-04"}
        first = self._paynet(played, **days, limit=3)
        second = self._paynet(played, **days, limit=3, starting_after=3)
        everything = self._paynet(played, **days, show_unsucceed=True)

        assert [(page["total"], page["total_count"], page["has_more"]) for page in (first, second)] == [
            (4, 3, True),
            (4, 1, False),
        ]
        rows = [*first["Data"], *second["Data"]]
        assert [(row["reference_no"], row["transaction_type"]) for row in rows] == [
            ("D--0", 1),
            ("D-partial-1", 1),
            ("D-partial-1", 9),
            ("D-html-3", 1),
        ]
        assert [row["is_succeed"] for row in everything["Data"]] == [True, True, True, False, True]
        assert self._paynet(played, datab="2032-05-05", datbi="2032-05-06")["Data"] == []

    def test_of_paynet_need_their_days(self, played: Played) -> None:
        answer = played.json("/paynet/v1/transaction/list", {"datab": "2032"}, Authorization=f"Basic {SECRET}")

        assert (answer.status, answer.json()["type"]) == (400, "invalid_request_error")

    def test_of_zotlo_are_read_by_a_cursor(self, played: Played) -> None:
        self._record(played, "zotlo", YEAR[2032], "", "partial", "declined", "pending", "slow")
        days = {"start_date": "2032-05-04", "end_date": "2032-05-04", "limit": "2"}
        first = self._zotlo(played, **days)
        second = self._zotlo(played, **days, after=first["paging"]["cursors"]["next"])

        assert [one["transaction_id"] for one in first["data"]] == ["D--0", "D-partial-1"]
        assert first["data"][1]["refund_price"] == "1.00"
        assert [one["transaction_id"] for one in second["data"]] == ["D-declined-2", "D-slow-4"]
        assert second["paging"]["cursors"] == {"previous": "page-0", "next": None}
        assert first["data"][0]["purchase_date"] == "2032-05-04 09:00:00"

    def test_of_payguru_begin_at_a_day(self, played: Played) -> None:
        ids = [str(20_320_000_000 + number) for number in range(3)]
        for number, ref in enumerate(ids):
            day = at(YEAR[2038], number * 24 * 60)
            assert played.record({"provider": "payguru", "reference": ref, "at": day}).status == 201
        refused = ids[0] + WORDS["declined"]
        played.record({"provider": "payguru", "reference": refused, "at": at(YEAR[2038], 24 * 60)})
        since = YEAR[2038] + timedelta(hours=12)
        answer = played.listed("payguru", since, since + timedelta(days=9))

        assert not isinstance(answer, Trouble)
        assert [(one.payment_ref, one.kind) for one in answer] == [
            (ids[1], Kind.PAYMENT_SUCCEEDED),
            (ids[2], Kind.PAYMENT_SUCCEEDED),
            (refused, Kind.PAYMENT_FAILED),
        ]

    def test_of_payguru_have_as_many_pages_as_it_takes(self, played: Played) -> None:
        ids = [str(20_390_000_000 + number) for number in range(150)]
        day = at(YEAR[2039])
        played.record(*({"provider": "payguru", "reference": ref, "at": day} for ref in ids))
        answer = played.listed("payguru", YEAR[2039], YEAR[2039] + timedelta(days=1))

        assert not isinstance(answer, Trouble)
        assert [one.payment_ref for one in answer] == ids

    def test_of_payguru_find_an_order(self, played: Played) -> None:
        payment = {"provider": "payguru", "reference": "5550001", "order": "ORDER-found", "at": at(YEAR[2031])}
        played.record(payment, payment | {"reference": "5550002", "order": "ORDER-else"})
        found = self._payguru(played, column="referenceCode", condition="=", term="ORDER-found")
        asking = Sought("transaction", Kind.PAYMENT_SUCCEEDED, "ORDER-found", since=YEAR[2031])
        answer = played.hold(QUERIES["payguru"].ask(asking, played.accounts["payguru"]))

        assert [(one["id"], one["referenceCode"], one["status"]) for one in found] == [(5550001, "ORDER-found", 3)]
        assert not isinstance(answer, Trouble)
        assert [(one.payment_ref, one.order_ref, one.kind) for one in answer] == [
            ("5550001", "ORDER-found", Kind.PAYMENT_SUCCEEDED)
        ]

    @pytest.mark.parametrize(
        "search", [{"column": "nothing", "condition": "=", "term": "1"}, {"column": "id", "condition": "~", "term": 1}]
    )
    def test_of_payguru_refuse_what_they_cannot_search(self, played: Played, search: dict[str, Any]) -> None:
        played.record({"provider": "payguru", "reference": "5550003"})
        answer = played.json("/payguru/MicroPayment/transactions/search", {**OURS, "search": [search]})

        assert (answer.status, answer.json()["response"]["result"]) == (400, "FAILED")

    def test_are_for_those_with_credentials(self, played: Played) -> None:
        paynet = played.json("/paynet/v1/transaction/list", {}, Authorization="Basic wrong")
        zotlo = call(played.port, "/zotlo/v1/reports/activity/transaction", headers={"AccessKey": SECRET})
        payguru = played.json("/payguru/MicroPayment/transactions/search", {"merchantId": 2, "serviceId": 1234})

        assert self._paratika(played, MERCHANTPASSWORD="wrong")["errorCode"] == "ERR10020"
        assert paynet.status == 401
        assert zotlo.json()["meta"]["errorCode"] == 401002
        assert payguru.status == 403

    def test_do_not_tell_what_was_only_asked_about(self, played: Played) -> None:
        for provider in ("paratika", "paynet", "zotlo"):
            played.ask(provider, "REF-asked-only")
        answers = [
            self._paratika(played)["transactionList"],
            self._paynet(played, datab="2010-01-01", datbi="2050-01-01", limit=10000)["Data"],
            self._zotlo(played)["data"],
        ]

        assert b"REF-asked-only" not in orjson.dumps(answers)

    @pytest.mark.parametrize("provider", LISTS)
    def test_are_read_whole_by_the_real_clients(self, played: Played, provider: str) -> None:
        day = YEAR[2035]
        refs = [reference(provider) + f"{number:03}" for number in range(130)]
        played.record(
            *({"provider": provider, "reference": ref, "at": at(day, place)} for place, ref in enumerate(refs))
        )
        answer = played.listed(provider, day + timedelta(minutes=5), day + timedelta(minutes=125))

        assert not isinstance(answer, Trouble), answer
        assert {one.kind for one in answer} == {Kind.PAYMENT_SUCCEEDED}
        told = [one.order_ref if sought(provider, "").payment_ref is None else one.payment_ref for one in answer]
        assert sorted(filter(None, told)) == refs[5:125]

    @pytest.mark.parametrize("provider", LISTS)
    def test_tell_the_real_clients_what_the_details_tell(self, played: Played, provider: str) -> None:
        day, words = YEAR[2036], ["", *SAID[provider]]
        refs = [reference(provider, word) for word in words]
        played.record(
            *({"provider": provider, "reference": ref, "at": at(day, place)} for place, ref in enumerate(refs))
        )
        answer = played.listed(provider, day, day + timedelta(days=1))
        details = [played.ask(provider, ref) for ref in refs]

        assert not isinstance(answer, Trouble), answer
        alone = [one for detail in details if not isinstance(detail, Trouble) for one in detail]
        assert sorted(map(str, answer)) == sorted(map(str, alone))
        assert len(alone) >= len(SAID[provider]) - 1

    def _record(self, played: Played, provider: str, day: datetime, *words: str) -> None:
        """Record a payment a minute from *day* on, one for each of *words*."""
        payments = [
            {"provider": provider, "reference": f"D-{word}-{place}", "at": at(day, place)}
            for place, word in enumerate(words)
        ]
        assert played.record(*payments).status == 201

    def _paratika(self, played: Played, **more: str) -> dict[str, Any]:
        form = {"ACTION": "QUERYTRANSACTION", "MERCHANT": "1", "MERCHANTUSER": "sandbox", "MERCHANTPASSWORD": SECRET}
        answer: dict[str, Any] = call(played.port, "/paratika", urlencode(form | more).encode()).json()
        return answer

    def _paynet(self, played: Played, **sent: object) -> dict[str, Any]:
        answer: dict[str, Any] = played.json(
            "/paynet/v1/transaction/list", sent, Authorization=f"Basic {SECRET}"
        ).json()
        return answer

    def _zotlo(self, played: Played, **query: str) -> dict[str, Any]:
        path = f"/zotlo/v1/reports/activity/transaction?{urlencode(query)}"
        answer = call(played.port, path, headers={"AccessKey": SECRET, "AccessSecret": SECRET}).json()
        found: dict[str, Any] = answer["result"]
        return found

    def _payguru(self, played: Played, **search: str) -> list[dict[str, Any]]:
        sent = {**OURS, "search": [search], "sort": [{"column": "id", "asc": True}], "limit": 100, "page": 1}
        answer = played.json("/payguru/MicroPayment/transactions/search", sent).json()
        found: list[dict[str, Any]] = answer["transactions"]
        return found


OURS = {"merchantId": 1, "serviceId": 1234}


def test_an_unknown_word_in_the_path_is_no_address() -> None:
    client = create_api().test_client()

    assert client.get("/as/whatever/zotlo/v1/transaction/detail").status_code == 404
    assert client.get("/as/nothing/zotlo/v1/transaction/detail").status_code == 400
