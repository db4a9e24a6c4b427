"""What a payment is against the order that the shop announced."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from receiver.event import Card, Event, Kind, Verdict
from receiver.expecting import JUDGED, LACKING, TAKES, TAKING, Expectation, order_id, payment_name, verdict
from receiver.money import Money
from tests.facts import NOW, event_of

ANNOUNCED = Expectation("paratika", "shop", "ORDER-1", Money(1176, "TRY"), NOW + timedelta(days=1), NOW)
COVERED = ("order_ref", "status", "amount")
SIX = Card(installments=6)


def paid(minor: int = 1176, currency: str = "TRY", kind: Kind = Kind.PAYMENT_SUCCEEDED, **says: Any) -> Event:
    """Return a payment of the announced order with its amount proven."""
    says.setdefault("payment_ref", "P-1")
    says.setdefault("covers", COVERED)
    says.setdefault("amount", Money(minor, currency))
    return event_of(kind, **says)


def judged(event: Event, known: Expectation | None = ANNOUNCED, *, adds_commission: bool = False) -> Verdict | None:
    return verdict(event, known, adds_commission=adds_commission)


class TestAmount:
    @pytest.mark.parametrize(
        ("minor", "currency", "expected"),
        [
            (1176, "TRY", Verdict.MATCH),
            (1175, "TRY", Verdict.UNDERPAID),
            (1177, "TRY", Verdict.OVERPAID),
            (0, "TRY", Verdict.UNDERPAID),
            (1176, "USD", Verdict.WRONG_CURRENCY),
            (1, "USD", Verdict.WRONG_CURRENCY),
            (99999, "USD", Verdict.WRONG_CURRENCY),
        ],
    )
    def test_that_is_proven_is_compared_to_the_last_kurus(self, minor: int, currency: str, expected: Verdict) -> None:
        assert judged(paid(minor, currency)) is expected

    @pytest.mark.parametrize(
        ("minor", "expected"),
        [(1176, Verdict.AMOUNT_UNPROVEN), (1175, Verdict.UNDERPAID), (1177, Verdict.OVERPAID)],
    )
    def test_that_is_not_proven_is_never_a_match(self, minor: int, expected: Verdict) -> None:
        assert judged(paid(minor, covers=("order_ref", "status"))) is expected

    def test_of_an_order_that_is_not_proven_is_never_a_match(self) -> None:
        """It may be the payment of another order, shown to us once more."""
        assert judged(paid(covers=("status", "payment_ref", "amount"))) is Verdict.AMOUNT_UNPROVEN

    @pytest.mark.parametrize("covers", [COVERED, ()])
    def test_that_was_not_sent_is_unproven_whatever_is_covered(self, covers: tuple[str, ...]) -> None:
        assert judged(paid(amount=None, covers=covers)) is Verdict.AMOUNT_UNPROVEN

    def test_of_a_reservation_is_compared_too(self) -> None:
        assert judged(paid(kind=Kind.PAYMENT_AUTHORIZED)) is Verdict.MATCH
        assert judged(paid(1, kind=Kind.PAYMENT_AUTHORIZED)) is Verdict.UNDERPAID


class TestInstalments:
    @pytest.mark.parametrize(
        ("minor", "card", "adds", "expected"),
        [
            (1300, SIX, True, Verdict.MATCH),
            (1300, SIX, False, Verdict.OVERPAID),
            (1300, Card(installments=1), True, Verdict.OVERPAID),
            (1300, Card(), True, Verdict.OVERPAID),
            (1300, None, True, Verdict.OVERPAID),
            (1176, SIX, True, Verdict.MATCH),
            (1175, SIX, True, Verdict.UNDERPAID),
        ],
    )
    def test_may_cost_more_where_the_provider_adds_its_commission(
        self, minor: int, card: Card | None, *, adds: bool, expected: Verdict
    ) -> None:
        assert judged(paid(minor, card=card), adds_commission=adds) is expected

    def test_do_not_prove_the_amount(self) -> None:
        event = paid(1300, card=SIX, covers=("status",))

        assert judged(event, adds_commission=True) is Verdict.AMOUNT_UNPROVEN


class TestOrder:
    def test_that_nobody_announced_is_unknown(self) -> None:
        assert judged(paid(), None) is Verdict.UNKNOWN_ORDER
        assert judged(paid(order_ref=None), None) is Verdict.UNKNOWN_ORDER

    @pytest.mark.parametrize("kind", sorted(set(Kind) - JUDGED))
    @pytest.mark.parametrize("known", [None, ANNOUNCED, replace(ANNOUNCED, taken="P-2")])
    def test_is_held_against_payments_alone(self, kind: Kind, known: Expectation | None) -> None:
        assert judged(paid(kind=kind), known) is None

    def test_that_this_payment_took_is_no_second_payment(self) -> None:
        assert judged(paid(), replace(ANNOUNCED, taken="P-1")) is Verdict.MATCH

    @pytest.mark.parametrize("minor", [1, 1176, 5000])
    @pytest.mark.parametrize("currency", ["TRY", "USD"])
    def test_that_another_payment_took_is_already_paid_whatever_the_amount(self, minor: int, currency: str) -> None:
        assert judged(paid(minor, currency), replace(ANNOUNCED, taken="P-2")) is Verdict.ALREADY_PAID

    def test_that_was_taken_has_no_verdict_on_later_charges_of_its_subscription(self) -> None:
        charge = paid(subscription_ref="S-1", payment_ref="P-2")

        assert judged(charge, replace(ANNOUNCED, taken="P-1")) is None
        assert judged(charge, replace(ANNOUNCED, taken="P-2")) is Verdict.MATCH
        assert judged(charge) is Verdict.MATCH

    def test_may_be_reserved_under_one_id_and_captured_under_another(self) -> None:
        """A reservation takes no order, so the capture finds it free."""
        assert Kind.PAYMENT_AUTHORIZED in JUDGED - TAKES
        assert judged(paid(kind=Kind.PAYMENT_AUTHORIZED, payment_ref="AUTH-1")) is Verdict.MATCH
        assert judged(paid(payment_ref="CAPTURE-1")) is Verdict.MATCH

    def test_is_not_taken_by_too_little_or_another_currency(self) -> None:
        assert set(Verdict) - TAKING == LACKING | {Verdict.UNKNOWN_ORDER, Verdict.ALREADY_PAID}

    def test_is_another_to_read_with_each_change_that_counts(self) -> None:
        others = [
            replace(ANNOUNCED, amount=Money(1177, "TRY")),
            replace(ANNOUNCED, amount=Money(1176, "USD")),
            replace(ANNOUNCED, taken="P-1"),
        ]

        assert len({known.read for known in (ANNOUNCED, *others)}) == 4
        assert replace(ANNOUNCED, deadline=NOW).read == ANNOUNCED.read


class TestNames:
    def test_a_payment_is_named_by_the_provider_or_by_its_fact(self) -> None:
        event = paid(payment_ref=None)

        assert payment_name(paid()) == "P-1"
        assert payment_name(event) == event.id

    def test_an_order_of_any_signs_has_a_plain_name_of_its_own(self) -> None:
        orders = {order_id("paratika", "shop", ref) for ref in ("A", "a", " A", "A\n", "A:B", "ç", "A" * 500)}
        accounts = {
            order_id("paratika", "shop", "A"),
            order_id("paratika", "shopA", ""),
            order_id("paynet", "shop", "A"),
        }

        assert len(orders) == 7
        assert len(accounts) == 3
        assert all(len(name) == 64 and name.isalnum() for name in orders | accounts)
