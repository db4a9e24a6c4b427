"""How workers ask the providers' APIs: with a real Redis, and with an API that answers as each test wants."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import redis

from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.event import Kind, Statement
from workers import budget, recent
from workers.budget import Budget
from workers.questions import Asker, Questions

from .playing import played

pytestmark = pytest.mark.integration

ACCOUNT = Account("payguru", "shop", api={"base_url": "https://api.example", "merchant_id": "1", "service_id": "1234"})
TWIN = Account("payguru", "twin", api=dict(ACCOUNT.api))
CLAIM = Asker(verified=False, source="digest")
PAID, OPEN, FAILED = Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_PENDING, Kind.PAYMENT_FAILED


def paid(ref: str | None, **more: Any) -> Sought:
    return Sought("transaction", PAID, **{"payment_ref": ref, **more})


def read(answered: Answered) -> list[Statement]:
    if answered.status != 200:
        raise answered.refusal()
    return [
        Statement(Kind(kind), (ref, kind), kind, order_ref=f"ORDER-{ref}", payment_ref=ref, subscription_ref=subs)
        for ref, kind, subs in orjson.loads(answered.body)
    ]


@dataclass
class Api:
    """A provider with payments, that can be asked for one or for a list; says how often it was."""

    payments: dict[str, Kind] = field(default_factory=dict)
    limits: Limits = field(default_factory=lambda: Limits(per_day=20))
    status: dict[str, int] = field(default_factory=dict)
    subscription: str | None = None
    pages: int = 1
    by_order: bool = False
    made: Counter[str] = field(default_factory=Counter)
    since: list[datetime] = field(default_factory=list)
    name: str = "payguru"
    exact: frozenset[Kind] = frozenset()

    def ask(self, sought: Sought, account: Account) -> Conversation:
        del account
        ref = sought.payment_ref or (sought.order_ref if self.by_order else None)
        return read((yield Call("GET", f"detail/{ref}"))) if ref else []

    def listed(self, since: datetime, until: datetime, account: Account) -> Conversation:
        del until, account
        self.since.append(since)
        found: list[Statement] = []
        for page in range(self.pages):
            found = read((yield Call("GET", f"list/{page}")))
        return found

    def answer(self, call: Call) -> Answered:
        what, _, ref = call.url.partition("/")
        self.made[what] += 1
        wanted = self.payments if what == "list" else {ref: self.payments[ref]} if ref in self.payments else {}
        rows = [(one, kind, self.subscription) for one, kind in wanted.items()]
        return Answered(self.status.get(what, 200), orjson.dumps(rows))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Asked:
    """Questions to an Api, and the hands to change both."""

    client: redis.Redis
    api: Api = field(default_factory=Api)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        queries, lists = {"payguru": self.api}, {"payguru": self.api}
        self.questions = Questions(self.client, self.api.answer, queries=queries, lists=lists, clock=self.clock)

    def ask(self, sought: Sought, asker: Asker = Asker(), account: Account = ACCOUNT) -> list[Kind]:  # noqa: B008
        return [one.kind for one in self.questions.ask(sought, account, asker)]

    def trouble(self, sought: Sought, asker: Asker = Asker()) -> Trouble:  # noqa: B008
        with pytest.raises(QueryError) as caught:
            self.ask(sought, asker)
        return caught.value.trouble

    def spend(self, count: int = 2) -> None:
        """Use up so much of the day; from two on lists come first."""
        for _ in range(count):
            assert Budget(self.client).take([budget.a_day(budget.merchant(ACCOUNT), 20)]) is None


@pytest.fixture
def asked(client: redis.Redis) -> Asked:
    return Asked(client)


class TestBudgets:
    def test_are_shared_by_two_slugs_of_one_merchant(self, asked: Asked) -> None:
        asked.api.status["list"] = 500
        for number in range(20):
            asked.ask(paid(f"{number}"), account=(ACCOUNT, TWIN)[number % 2])

        assert asked.trouble(paid("one-more")) is Trouble.API_LIMITED
        assert asked.api.made["detail"] == 20

    def test_of_a_second_delay_a_question_and_cost_the_day_nothing(self, client: redis.Redis) -> None:
        asked = Asked(client, Api(limits=Limits(per_second=2)))
        assert [asked.ask(paid("1")), asked.ask(paid("2"))] == [[], []]

        assert asked.trouble(paid("3")) is Trouble.API_LIMITED
        assert asked.api.made["detail"] == 2

    def test_a_list_of_many_pages_waits_for_its_places(self, client: redis.Redis) -> None:
        asked = Asked(client, Api({"1": PAID}, Limits(per_day=1, per_second=4), pages=6))
        now = datetime.now(UTC)
        found = asked.questions.listed(now - timedelta(days=1), now, ACCOUNT)

        assert [one.payment_ref for one in found] == ["1"]
        assert asked.api.made["list"] == 6
        assert list(client.scan_iter("ulak:budget:*:day")) == []

    def test_a_code_of_a_refusal_is_kept_only_where_it_is_one(self) -> None:
        assert QueryError(Trouble.API_REFUSED, "H308").code == "H308"
        for words in ("not found", "h308", "", "A" * 17, "H308\n", "İ1"):
            assert QueryError(Trouble.API_REFUSED, words).code is None


class TestUnprovenCallbacks:
    def test_make_us_ask_about_one_order_twelve_times_a_day(self, client: redis.Redis) -> None:
        asked = Asked(client, Api(limits=Limits()))
        for number in range(12):
            asked.ask(paid("1", order_ref="ORDER-1"), Asker(verified=False, source=f"{number}"))

        assert asked.trouble(paid("2", order_ref="ORDER-1"), CLAIM) is Trouble.API_LIMITED
        assert asked.ask(paid("2", order_ref="ORDER-2"), CLAIM) == []
        assert asked.ask(paid("1", order_ref="ORDER-1")) == []

    @pytest.mark.parametrize(("status", "trouble"), [(500, Trouble.API_FAULT), (403, Trouble.API_REFUSED)])
    def test_lose_no_place_of_their_order_while_nobody_answers(
        self, client: redis.Redis, status: int, trouble: Trouble
    ) -> None:
        asked = Asked(client, Api(limits=Limits(), status={"detail": status}))
        for _ in range(12):
            assert asked.trouble(paid("1", order_ref="ORDER-1"), CLAIM) is trouble
        asked.api.status.clear()

        # A refusal may be what a made-up reference gets, so it counts.
        if trouble is Trouble.API_REFUSED:
            assert asked.trouble(paid("1", order_ref="ORDER-1"), CLAIM) is Trouble.API_LIMITED
        else:
            assert asked.ask(paid("1", order_ref="ORDER-1"), CLAIM) == []

    def test_make_us_ask_sixty_times_an_hour_for_one_source(self, client: redis.Redis) -> None:
        asked = Asked(client, Api(limits=Limits()))
        for number in range(60):
            asked.ask(paid(f"{number}"), CLAIM)

        assert asked.trouble(paid("one-more"), CLAIM) is Trouble.API_LIMITED
        assert asked.ask(paid("one-more"), Asker(verified=False, source="another")) == []

    def test_make_us_ask_six_hundred_times_an_hour_whatever_they_make_up(self, client: redis.Redis) -> None:
        asked = Asked(client, Api(limits=Limits()))
        for number in range(600):
            asked.ask(paid(f"{number}"), Asker(verified=False, source=f"{number}"))

        assert asked.trouble(paid("x"), Asker(verified=False)) is Trouble.API_LIMITED
        assert asked.ask(paid("x")) == []
        assert asked.api.made["detail"] == 601

    def test_get_a_quarter_of_a_day_s_budget_at_most(self, asked: Asked) -> None:
        asked.api.status["list"] = 500
        for number in range(5):
            asked.ask(paid(f"{number}"), CLAIM)

        assert asked.trouble(paid("x"), CLAIM) is Trouble.API_LIMITED
        assert asked.ask(paid("x")) == []

    def test_are_not_counted_where_they_are_proven(self, client: redis.Redis) -> None:
        asked = Asked(client, Api(limits=Limits()))
        for _ in range(100):
            asked.ask(paid("1", order_ref="ORDER-1"), Asker(source="digest"))

        assert list(client.scan_iter("ulak:budget:*")) == []


class TestLists:
    def test_are_left_alone_while_the_budget_is_large(self, asked: Asked) -> None:
        asked.api.payments["1"] = PAID

        assert asked.ask(paid("1")) == [PAID]
        assert asked.api.made == {"detail": 1}

    def test_answer_for_many_once_a_part_of_the_budget_is_spent(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments |= {f"{number}": PAID for number in range(500)}

        assert [asked.ask(paid(f"{number}")) for number in range(500)] == [[PAID]] * 500
        assert asked.api.made == {"list": 1}

    def test_cost_nothing_of_the_day_and_go_on_when_it_is_gone(self, asked: Asked) -> None:
        asked.spend(20)
        asked.api.payments |= {"1": PAID}

        assert asked.ask(paid("1")) == [PAID]
        asked.clock.now = recent.KEPT
        assert asked.trouble(paid("nowhere")) is Trouble.API_LIMITED

    def test_begin_early_enough_for_the_question(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments |= {"1": PAID}
        now = datetime.now(UTC)
        asked.ask(paid("1"))
        asked.clock.now += recent.GAP
        asked.ask(paid("1", since=now - timedelta(days=2)))
        asked.clock.now += recent.KEPT + 1
        asked.ask(paid("1", since=now - timedelta(days=40)))

        assert [since <= now - back for since, back in zip(asked.api.since, map(days, (1, 2, 3)), strict=True)] == [
            True,
            True,
            True,
        ]
        assert asked.api.since[2] >= now - timedelta(days=4)

    def test_that_say_open_or_less_than_was_claimed_settle_nothing(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments |= {"1": PAID, "2": OPEN, "3": FAILED, "4": PAID}
        asked.ask(paid("1"))
        asked.api.payments |= {"2": PAID, "3": PAID, "4": Kind.PAYMENT_REFUNDED}

        for ref in ("2", "3"):
            assert asked.trouble(paid(ref)) is Trouble.API_LIMITED
        refund = Sought("transaction", Kind.PAYMENT_REFUNDED, payment_ref="4")
        assert asked.trouble(refund) is Trouble.API_LIMITED
        asked.clock.now += recent.GAP
        assert [asked.ask(paid("2")), asked.ask(paid("3")), asked.ask(refund)] == [
            [PAID],
            [PAID],
            [Kind.PAYMENT_REFUNDED],
        ]
        assert asked.api.made == {"list": 2}

    def test_end_a_wait_for_what_failed_but_not_for_what_is_open(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments |= {"1": FAILED, "2": OPEN}

        assert asked.ask(Sought("transaction", OPEN, payment_ref="1")) == [FAILED]
        assert asked.api.made == {"list": 1}
        asked.clock.now += recent.GAP
        assert asked.ask(Sought("transaction", OPEN, payment_ref="2")) == [OPEN]
        assert asked.api.made == {"list": 2, "detail": 1}

    def test_are_fetched_anew_for_what_came_later_and_not_more_often_than_every_few_seconds(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments["1"] = PAID
        asked.ask(paid("1"))
        late = [f"late-{number}" for number in range(50)]
        asked.api.payments |= dict.fromkeys(late, PAID)
        delayed = {asked.trouble(paid(ref)) for ref in late}
        asked.clock.now += recent.GAP
        answers = [asked.ask(paid(ref)) for ref in late]

        assert delayed == {Trouble.API_LIMITED}
        assert answers == [[PAID]] * 50
        assert asked.api.made == {"list": 2}

    def test_make_a_budget_last_for_many_times_as_many_payments(self, client: redis.Redis) -> None:
        asked = Asked(client, Api(limits=Limits(per_day=100)))
        # Each is asked about as soon as it is there, and again after the pauses of a confirmation.
        waiting = [(3.0 * number, number, iter((5, 15, 60))) for number in range(400)]
        longest = 0.0
        while waiting:
            at, number, pauses = waiting.pop(waiting.index(min(waiting, key=lambda one: one[0])))
            asked.clock.now = at
            asked.api.payments[f"{number}"] = PAID
            try:
                assert asked.ask(paid(f"{number}")) == [PAID]
                longest = max(longest, at - 3.0 * number)
            except QueryError:
                waiting.append((at + next(pauses), number, pauses))

        assert asked.api.made["detail"] == 10
        assert asked.api.made["list"] <= 400 * 3 / recent.GAP
        assert longest == 5

    def test_without_the_payment_leave_it_to_the_question_about_it(self, asked: Asked) -> None:
        asked.spend()
        asked.ask(paid("other"))
        assert {asked.trouble(paid(ref)) for ref in ("1", "2")} == {Trouble.API_LIMITED}
        asked.clock.now += recent.GAP

        # One new list tells of both that it does not have them.
        assert [asked.ask(paid("1")), asked.ask(paid("2"))] == [[], []]
        assert asked.api.made == {"list": 2, "detail": 3}

    def test_that_cannot_be_had_leave_it_to_the_question_and_rest(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments |= {"1": PAID}
        asked.api.status["list"] = 403

        assert [asked.ask(paid("1")), asked.ask(paid("1"))] == [[PAID], [PAID]]
        assert asked.api.made == {"list": 1, "detail": 2}
        asked.api.status.clear()
        asked.clock.now += recent.PAUSE
        assert asked.ask(paid("1")) == [PAID]
        assert asked.api.made == {"list": 2, "detail": 2}

    def test_that_differ_are_not_believed_by_who_compares(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments |= {"1": PAID}
        found = asked.questions.ask(paid("1"), ACCOUNT, enough=lambda _found: False)

        assert [one.kind for one in found] == [PAID]
        assert asked.api.made == {"list": 1, "detail": 1}

    def test_without_the_subscription_of_a_payment_are_not_relied_on(self, asked: Asked) -> None:
        asked.spend()
        asked.api.payments |= {"1": PAID}
        asked.ask(paid("1", subscription_ref="S-1"))

        assert asked.api.made == {"list": 1, "detail": 1}
        asked.api.subscription = "S-1"
        asked.clock.now += recent.GAP
        asked.ask(paid("1", subscription_ref="S-1"))
        assert asked.api.made == {"list": 2, "detail": 1}

    @pytest.mark.parametrize(
        "sought",
        [
            Sought("subscription", Kind.SUBSCRIPTION_ACTIVATED, payment_ref="1", subscription_ref="S-1"),
            Sought("subscription", OPEN, payment_ref="1"),
            Sought("transaction", Kind.SUBSCRIPTION_RENEWED, payment_ref="1"),
        ],
    )
    def test_are_not_of_subscriptions(self, asked: Asked, sought: Sought) -> None:
        asked.spend()
        asked.ask(sought)

        assert asked.api.made == {"detail": 1}

    def test_are_the_only_way_to_ask_about_an_order_alone(self, asked: Asked) -> None:
        asked.api.payments |= {"1": PAID}
        of_order = [asked.ask(Sought("transaction", OPEN, order_ref=ref)) for ref in ("ORDER-1", "ORDER-1")]

        assert of_order == [[PAID], [PAID]]
        assert asked.trouble(Sought("transaction", OPEN, order_ref="ORDER-2")) is Trouble.API_LIMITED
        asked.clock.now += recent.GAP
        assert asked.ask(Sought("transaction", OPEN, order_ref="ORDER-2")) == []
        assert asked.api.made == {"list": 2}

    def test_that_cannot_be_had_leave_an_order_to_the_query_itself(self, asked: Asked) -> None:
        asked.api.status["list"] = 403
        asked.api.by_order = True
        asked.api.payments |= {"1": PAID}

        assert asked.ask(Sought("transaction", OPEN, order_ref="1")) == [PAID]
        assert asked.api.made == {"list": 1, "detail": 1}

    def test_larger_than_what_may_lie_in_memory_are_not_kept(
        self, asked: Asked, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recent, "LARGEST", 3)
        asked.spend()
        asked.api.payments |= {f"{number}": PAID for number in range(4)}

        assert asked.ask(paid("1")) == [PAID]
        assert asked.api.made == {"list": 1, "detail": 1}

    def test_of_all_accounts_together_stay_within_memory(self, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recent, "LARGEST", 3)
        asked.spend()
        asked.api.payments |= {"1": PAID, "2": PAID}
        asked.ask(paid("1"))
        asked.ask(paid("1"), account=TWIN)
        asked.ask(paid("2"), account=TWIN)
        asked.ask(paid("2"))

        assert asked.api.made == {"list": 3}


def days(count: int) -> timedelta:
    return timedelta(days=count)


class TestOverHttp:
    def test_five_a_second_are_asked_and_the_provider_never_has_to_say_so(self, client: redis.Redis) -> None:
        with played() as api_over_http:
            api = {"base_url": f"{api_over_http.address}/payguru", "merchant_id": "1", "service_id": "1234"}
            account = Account("payguru", "shop", options={"names": {}}, api=api)
            questions = Questions(client)
            answered: list[list[Statement]] = []
            refused = set()
            while len(answered) < 7:
                try:
                    answered.append(questions.ask(paid("12345678912345"), account))
                except QueryError as exc:
                    refused.add(exc.trouble)

        assert [one.kind for found in answered for one in found] == [PAID] * 7
        assert refused == {Trouble.API_LIMITED}
        assert api_over_http.statuses == {200: 7}
