"""From an event to the store: verdict, routes, claim on the announced order, and what is asked later."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from receiver import watching
from receiver.account import Account, Confirm, Secret
from receiver.errors import Reason, Unavailable
from receiver.event import Card, Event, Kind, Verdict, Why
from receiver.expecting import Expectation
from receiver.message import Level
from receiver.money import Money
from receiver.placing import Placing, Sealed
from receiver.ports import Claim, Entry, Receipt, State, Target
from receiver.providers import BY_NAME
from receiver.routing import Route
from tests.accounts import ACCOUNTS
from tests.facts import NOW, event_of
from tests.memory import MemorySink

KNOWN = Expectation("paratika", "shop", "ORDER-1", Money(1176, "TRY"), NOW + timedelta(days=1), NOW)
TOKENS = (Secret("env:EXPECTED", b"expected-token-0123456789"),)
API = {"base_url": "http://127.0.0.1:1"}
SILENT = ACCOUNTS["paratika"]
ANNOUNCING = replace(SILENT, expected_tokens=TOKENS)
ROUTES = (
    Route(Target("paid", "paid", "a.b"), verdicts=frozenset({"match", "amount_unproven"})),
    Route(Target("review", "review", "a.b"), verdicts=frozenset({"already_paid", "unknown_order", "underpaid"})),
    Route(Target("rest", "rest", "a.b"), verdicts=frozenset({"none"})),
)
PLACING = Placing(ROUTES, first_ask=120)


@dataclass
class Store(MemorySink):
    """Counts what is asked of it, and can let another payment in between the reading and the writing."""

    reads: int = 0
    between: int = 0  # so many times

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        self.reads += 1
        found = super().expected(provider, account, order_ref)
        if found and self.between:
            self.between -= 1
            self.announced[found.id] = replace(found, taken=f"OTHER-{self.between}")
        return found

    def release(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        return self.accept(entries)


def store_of(known: Expectation | None = KNOWN, **more: Any) -> Store:
    return Store(announced={known.id: known} if known else {}, **more)


def paid(**says: Any) -> Event:
    return event_of(**{"payment_ref": "P-1", **says})


def put(event: Event, account: Account = ANNOUNCING, store: Store | None = None, source: str = "") -> Entry:
    """Accept one event and return what the store got."""
    at = store or store_of()
    (receipt,) = PLACING.accept(at, [Sealed(event, b"sealed")], BY_NAME[account.provider], account, source)
    assert receipt.new
    return at.entries[event.id]


def targets(entry: Entry) -> list[str]:
    return [target.route for target in entry.routes]


class TestVerdict:
    def test_is_in_the_event_and_chooses_its_routes(self) -> None:
        entry = put(paid())

        assert entry.event.to_wire()["data"]["expected"] == "amount_unproven"
        assert targets(entry) == ["paid"]
        assert entry.request == b"sealed"

    def test_is_not_looked_for_where_the_account_announces_nothing(self) -> None:
        store = store_of()
        entry = put(paid(), SILENT, store)

        assert (entry.event.expected, entry.claim, targets(entry), store.reads) == (None, None, ["rest"], 0)

    @pytest.mark.parametrize("kind", [Kind.PAYMENT_FAILED, Kind.PAYMENT_PENDING, Kind.PAYMENT_REFUNDED])
    def test_is_not_looked_for_where_no_money_came(self, kind: Kind) -> None:
        store = store_of()
        entry = put(paid(kind=kind), store=store)

        assert (entry.event.expected, entry.claim, targets(entry), store.reads) == (None, None, ["rest"], 0)

    def test_on_an_order_that_nobody_announced_claims_nothing(self) -> None:
        entry = put(paid(), store=store_of(None))

        assert (entry.event.expected, entry.claim, targets(entry)) == (Verdict.UNKNOWN_ORDER, None, ["review"])

    def test_needs_no_look_where_the_payment_names_no_order(self) -> None:
        store = store_of()

        assert put(paid(order_ref=None), store=store).event.expected is Verdict.UNKNOWN_ORDER
        assert store.reads == 0

    def test_respects_the_commission_that_the_provider_adds_to_instalments(self) -> None:
        more = {"amount": Money(1300, "TRY"), "card": Card(installments=6)}
        shop = replace(ACCOUNTS["payguru"], expected_tokens=TOKENS)
        theirs = store_of(replace(KNOWN, provider="payguru"))

        assert put(paid(**more)).event.expected is Verdict.AMOUNT_UNPROVEN
        assert put(paid(**more, provider="payguru"), shop, theirs).event.expected is Verdict.OVERPAID

    def test_waits_where_the_fact_is_held(self) -> None:
        store = store_of()
        account = replace(ANNOUNCING, confirm=Confirm.UNPROVEN, api=API)
        entry = put(paid(), account, store)

        assert entry.hold
        assert (entry.event.expected, entry.claim, entry.ask, entry.ended, store.reads) == (None, None, None, (), 0)

    def test_comes_when_the_held_fact_is_released(self) -> None:
        store = store_of()
        account = replace(ANNOUNCING, confirm=Confirm.UNPROVEN, api=API)
        event = paid(level=Level.CONFIRMED, covers=("order_ref", "status", "amount"))
        PLACING.release(store, event, BY_NAME["paratika"], account)
        entry = store.entries[event.id]

        assert (entry.event.expected, targets(entry)) == (Verdict.MATCH, ["paid"])
        assert entry.claim == Claim(KNOWN.id, KNOWN.read, "P-1")


class TestClaim:
    def test_of_taken_money_takes_the_order(self) -> None:
        store = store_of()

        assert put(paid(), store=store).claim == Claim(KNOWN.id, KNOWN.read, "P-1")
        assert store.announced[KNOWN.id].taken == "P-1"

    @pytest.mark.parametrize(
        "event",
        [
            paid(kind=Kind.PAYMENT_AUTHORIZED),
            paid(amount=Money(1175, "TRY")),
            paid(amount=Money(1176, "USD")),
        ],
        ids=["reserved", "too little", "another currency"],
    )
    def test_of_anything_less_only_looks(self, event: Event) -> None:
        store = store_of()

        assert put(event, store=store).claim == Claim(KNOWN.id, KNOWN.read, "")
        assert store.announced[KNOWN.id].taken == ""

    def test_of_a_second_payment_leaves_the_order_to_the_first(self) -> None:
        store = store_of()
        put(paid(), store=store)
        second = put(paid(payment_ref="P-2", fact_key=("second",)), store=store)

        assert second.event.expected is Verdict.ALREADY_PAID
        assert second.claim == Claim(KNOWN.id, replace(KNOWN, taken="P-1").read, "")
        assert store.announced[KNOWN.id].taken == "P-1"

    def test_of_a_reservation_and_its_capture_under_another_id_is_one_payment(self) -> None:
        store = store_of()
        reserved = put(paid(kind=Kind.PAYMENT_AUTHORIZED, payment_ref="A-1", fact_key=("a",)), store=store)
        captured = put(paid(payment_ref="C-1", fact_key=("c",)), store=store)

        assert [reserved.event.expected, captured.event.expected] == [Verdict.AMOUNT_UNPROVEN] * 2
        assert store.announced[KNOWN.id].taken == "C-1"

    def test_is_decided_again_where_another_payment_came_in_between(self) -> None:
        store = store_of(between=1)
        entry = put(paid(), store=store)

        assert store.reads == 2
        assert entry.event.expected is Verdict.ALREADY_PAID
        assert targets(entry) == ["review"]
        assert store.announced[KNOWN.id].taken == "OTHER-0"

    def test_is_given_up_where_that_never_ends(self) -> None:
        store = store_of(between=1000)
        with pytest.raises(Unavailable) as caught:
            put(paid(), store=store)

        assert caught.value.reason is Reason.REDIS_REFUSED
        assert (store.reads, store.kept) == (5, 0)

    def test_is_not_made_where_the_store_is_away(self) -> None:
        store = store_of(away=Unavailable(Reason.REDIS_FULL))
        with pytest.raises(Unavailable) as caught:
            put(paid(), store=store)

        assert caught.value.reason is Reason.REDIS_FULL


class TestAsking:
    ASKED = replace(SILENT, api=API)

    def test_is_for_accounts_that_can_be_asked(self) -> None:
        entry = put(paid(kind=Kind.PAYMENT_PENDING), SILENT)

        assert (entry.ask, entry.ended, entry.told) == (None, (), ())

    def test_begins_with_what_is_open(self) -> None:
        event = paid(kind=Kind.PAYMENT_PENDING)
        entry = put(event, replace(self.ASKED, pseudonym_key=b"key"), source="203.0.113.9")

        assert entry.ask is not None
        assert (entry.ask.id, entry.ask.after) == (watching.names(event)[0], 120)
        asked = orjson.loads(entry.ask.watch)
        assert asked["payment_ref"] == "P-1"
        assert asked["source"]
        assert b"203.0.113.9" not in entry.ask.watch

    def test_is_at_once_where_the_callback_is_no_more_than_a_reason_to_ask(self) -> None:
        event = replace(event_of(Kind.PAYMENT_PENDING, provider="haso", payment_ref="P-1"), channel="callback")
        entry = put(event, replace(ACCOUNTS["haso"], api=API))

        assert entry.ask is not None
        assert entry.ask.after == 0

    def test_ends_with_the_end_of_what_it_is_about(self) -> None:
        event, failed = paid(), paid(kind=Kind.PAYMENT_FAILED)
        names = watching.names(event)
        assert len(names) == 3

        assert put(event, self.ASKED).ended == names
        assert put(failed, self.ASKED).ended == names[:1]

    @pytest.mark.parametrize(
        ("kind", "payment", "remembered"),
        [
            (Kind.PAYMENT_FAILED, "P-1", False),
            (Kind.PAYMENT_FAILED, None, True),
            (Kind.PAYMENT_UNKNOWN, "P-1", True),
            (Kind.PAYMENT_PENDING, "P-1", True),
        ],
    )
    def test_remembers_what_was_told_where_no_state_of_the_payment_does(
        self, kind: Kind, payment: str | None, *, remembered: bool
    ) -> None:
        event = paid(kind=kind, payment_ref=payment)
        entry = put(event, self.ASKED)
        others = tuple(name for name in watching.names(event) if name not in entry.ended)

        assert (entry.state is None) is remembered
        assert entry.told == (others if remembered else ())

    def test_keeps_the_announced_order_where_the_payment_lacks_something(self) -> None:
        entry = put(paid(amount=Money(1175, "TRY")), replace(ANNOUNCING, api=API))

        assert entry.event.expected is Verdict.UNDERPAID
        assert entry.ended == watching.names(paid())[:-1]

    def test_tells_nobody_of_what_the_api_itself_said(self) -> None:
        failed = replace(paid(kind=Kind.PAYMENT_FAILED), origin="reconciliation")

        assert put(failed, self.ASKED).told == ()

    def test_about_an_announced_order_goes_on_past_its_deadline(self) -> None:
        ask = PLACING.announced(KNOWN, BY_NAME["paratika"], self.ASKED)

        assert ask is not None
        assert ask.id in watching.names(paid())
        assert (ask.after, ask.lives) == (120, 24 * 3600 + watching.LIVES)
        assert watching.from_wire(orjson.loads(ask.watch)) == watching.of_expectation(KNOWN, "return")

    def test_about_a_claim_gives_way_to_others(self) -> None:
        haso = replace(ACCOUNTS["haso"], api=API)
        events = [
            replace(event_of(Kind.PAYMENT_PENDING, provider="haso", level=level, fact_key=(level,)), channel="ok")
            for level in (Level.CLAIMED, Level.ROUTE)
        ]
        asks = [put(event, haso).ask for event in events]

        assert [ask.claimed for ask in asks if ask] == [True, False]

    @pytest.mark.parametrize("provider", ["haso", "payguru-phs", "zotlo"])
    def test_about_an_announced_order_needs_an_api_that_finds_orders(self, provider: str) -> None:
        known, account = replace(KNOWN, provider=provider), replace(ACCOUNTS[provider], api=API)

        assert PLACING.announced(known, BY_NAME[provider], account) is None

    def test_about_an_announced_order_needs_an_api(self) -> None:
        assert PLACING.announced(KNOWN, BY_NAME["paratika"], ANNOUNCING) is None


class TestState:
    """What is told once of a payment, whatever the fact keys."""

    ASKED = TestAsking.ASKED

    def state(self, event: Event) -> State | None:
        return put(event, self.ASKED).state

    def test_is_marked_where_the_api_may_tell_it_too(self) -> None:
        assert self.state(paid()) is not None
        assert put(paid(), SILENT).state is None

    def test_has_one_name_for_callback_and_api_and_says_which_tells_it(self) -> None:
        told = paid(kind=Kind.PAYMENT_FAILED, fact_key=("callback",))
        found = replace(paid(kind=Kind.PAYMENT_FAILED, fact_key=("api",)), origin="reconciliation")
        callback, api = self.state(told), self.state(found)

        assert callback
        assert api
        assert callback.name == api.name
        assert (callback.teller, api.teller) == ("callback", "api")

    def test_is_the_callback_s_where_its_held_fact_was_confirmed(self) -> None:
        held = replace(paid(), origin="confirmation")

        assert (state := self.state(held))
        assert state.teller == "api"
        assert (state := self.state(replace(held, known_id="id of the fact")))
        assert state.teller == "callback"

    @pytest.mark.parametrize(
        "other",
        [
            {"payment_ref": "P-2"},
            {"order_ref": "ORDER-2"},
            {"kind": Kind.PAYMENT_AUTHORIZED},
            {"kind": Kind.PAYMENT_REFUNDED},
            {"reason": Why.CHARGEBACK_PREVENTED},
        ],
        ids=str,
    )
    def test_is_another_for_another_payment_order_kind_or_reason(self, other: dict[str, Any]) -> None:
        first, second = self.state(paid()), self.state(paid(fact_key=("other",), **other))

        assert first
        assert second
        assert first.name != second.name

    @pytest.mark.parametrize(
        "says",
        [
            {"payment_ref": None},
            {"kind": Kind.PAYMENT_PENDING},
            {"kind": Kind.PAYMENT_REFUND_PENDING},
            {"kind": Kind.PAYMENT_UNKNOWN},
            {"kind": Kind.PAYMENT_PARTIALLY_REFUNDED},
            {"kind": Kind.INSTALLMENT_PENDING},
        ],
        ids=str,
    )
    def test_is_none_where_the_same_may_be_said_more_than_once(self, says: dict[str, Any]) -> None:
        assert self.state(paid(**says)) is None

    @pytest.mark.parametrize(
        "says",
        [
            {"kind": Kind.PAYMENT_PENDING, "reason": Why.PARTIAL_PAYMENT},
            {"kind": Kind.PAYMENT_PARTIALLY_REFUNDED, "refund_ref": "R-1"},
        ],
        ids=str,
    )
    def test_is_marked_where_a_reason_or_a_refund_tells_it_apart(self, says: dict[str, Any]) -> None:
        assert self.state(paid(**says)) is not None
