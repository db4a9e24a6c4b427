"""A held fact beside what the provider's API states."""

from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from receiver.confirming import Finding, confirmed, differing, judge, never_confirmed, released_unasked, since
from receiver.event import Event, Kind, Statement, Trust, Why, from_wire
from receiver.message import Level
from receiver.money import Money

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LIRA = Money(1176, "TRY")
HELD = Event(
    provider="paratika",
    account="shop",
    channel="return",
    test=True,
    received_at=datetime(2026, 11, 22, tzinfo=UTC),
    trust=Trust(Level.SIGNED, ("order_ref", "status")),
    says=Statement(Kind.PAYMENT_SUCCEEDED, ("ORDER-1",), "00", order_ref="ORDER-1", amount=LIRA),
)


def held(kind: Kind = Kind.PAYMENT_SUCCEEDED, amount: Money | None = LIRA, refund: Money | None = None) -> Event:
    return replace(HELD, says=replace(HELD.says, kind=kind, amount=amount, refund=refund))


def states(
    kind: Kind, amount: Money | None = LIRA, order: str | None = "ORDER-1", refund: Money | None = None
) -> Statement:
    return Statement(kind, (order,), "AP", order_ref=order, payment_ref="P-1", amount=amount, refund=refund)


@pytest.mark.parametrize(
    ("kind", "stated"),
    [
        (Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_SUCCEEDED),
        (Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_REFUNDED),
        (Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_PARTIALLY_REFUNDED),
        (Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_VOIDED),
        (Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_CHARGED_BACK),
        (Kind.PAYMENT_AUTHORIZED, Kind.PAYMENT_AUTHORIZED),
        (Kind.PAYMENT_AUTHORIZED, Kind.PAYMENT_SUCCEEDED),
        (Kind.PAYMENT_REFUNDED, Kind.PAYMENT_REFUNDED),
        (Kind.PAYMENT_REFUNDED, Kind.PAYMENT_PARTIALLY_REFUNDED),
        (Kind.SUBSCRIPTION_ACTIVATED, Kind.SUBSCRIPTION_RENEWED),
    ],
)
def test_the_same_and_a_later_state_agree(kind: Kind, stated: Kind) -> None:
    assert judge(held(kind), [states(stated)]).finding is Finding.AGREES


@pytest.mark.parametrize(
    "stated",
    [
        Kind.PAYMENT_PENDING,
        Kind.PAYMENT_FAILED,
        Kind.PAYMENT_CANCELED,
        Kind.PAYMENT_EXPIRED,
        Kind.PAYMENT_UNKNOWN,
        Kind.PAYMENT_AUTHORIZED,
        Kind.SUBSCRIPTION_ACTIVATED,
    ],
)
def test_a_negative_or_foreign_state_is_no_answer(stated: Kind) -> None:
    assert judge(held(), [states(stated)]).finding is Finding.OPEN


SUBSCRIBED = replace(
    HELD,
    trust=Trust(Level.ROUTE),
    says=Statement(Kind.SUBSCRIPTION_RENEWED, ("s",), "renewal", payment_ref="P-1", subscription_ref="S-1"),
)


def paid(
    why: Why = Why.RENEWAL, kind: Kind = Kind.PAYMENT_SUCCEEDED, payment: str = "P-1", subscription: str | None = "S-1"
) -> Statement:
    return Statement(
        kind, ("p",), "renewal", reason=why, payment_ref=payment, subscription_ref=subscription, amount=LIRA
    )


def test_a_renewal_is_proven_by_its_own_payment() -> None:
    judged = judge(SUBSCRIBED, [paid()])

    assert judged.finding is Finding.AGREES
    assert judged.statement is not None
    settled = confirmed(SUBSCRIBED, judged.statement)
    assert settled.says.amount is None
    assert "amount" not in settled.trust.covers


@pytest.mark.parametrize(
    "found",
    [
        [paid(Why.INITIAL)],
        [paid(Why.TRIAL, Kind.SUBSCRIPTION_TRIAL_STARTED)],
        [paid(payment="P-2")],
        [paid(subscription="S-2")],
        [paid(subscription=None)],
        [paid(), paid(kind=Kind.PAYMENT_REFUNDED)],
        [paid(), paid(kind=Kind.PAYMENT_CHARGED_BACK)],
        [paid(kind=Kind.PAYMENT_FAILED)],
    ],
)
def test_a_renewal_is_proven_by_no_other_payment(found: list[Statement]) -> None:
    assert judge(SUBSCRIBED, found).finding is Finding.OPEN


UNSIGNED = replace(HELD, provider="paynet", trust=Trust(Level.ROUTE), says=replace(HELD.says, payment_ref="P-1"))
EXACT = frozenset({Kind.PAYMENT_SUCCEEDED})


def test_an_unsigned_fact_is_the_api_s_own_or_none() -> None:
    mine = states(Kind.PAYMENT_SUCCEEDED)
    other = replace(mine, fact_key=("ORDER-1", "other"))

    assert judge(UNSIGNED, [mine], EXACT).finding is Finding.AGREES
    assert judge(UNSIGNED, [other], EXACT).finding is Finding.OPEN


def test_an_unsigned_order_alone_finds_no_payment() -> None:
    nameless = replace(UNSIGNED, says=replace(UNSIGNED.says, payment_ref=None))

    assert judge(nameless, [states(Kind.PAYMENT_REFUNDED)]).finding is Finding.OPEN


def test_another_word_for_the_same_payment_is_no_answer() -> None:
    assert judge(UNSIGNED, [replace(states(Kind.PAYMENT_SUCCEEDED), status_code="consumable")]).finding is Finding.OPEN


def test_an_order_that_only_the_callback_names_is_left_out() -> None:
    settled = confirmed(UNSIGNED, states(Kind.PAYMENT_SUCCEEDED, order=None))

    assert settled.says.order_ref is None
    assert "order_ref" not in settled.trust.covers


def test_an_unproven_payment_id_gives_way_to_the_api_s() -> None:
    event = replace(HELD, says=replace(HELD.says, payment_ref="made-up"))
    settled = confirmed(event, states(Kind.PAYMENT_SUCCEEDED))

    assert settled.says.payment_ref == "P-1"


def test_a_refund_whose_amount_the_api_does_not_name_is_no_answer() -> None:
    event = held(Kind.PAYMENT_REFUNDED, refund=Money(999, "TRY"))

    assert judge(event, [states(Kind.PAYMENT_REFUNDED)]).finding is Finding.OPEN


def test_nothing_found_is_no_answer() -> None:
    assert judge(held(), []).finding is Finding.OPEN


def test_another_order_is_no_answer() -> None:
    assert judge(held(), [states(Kind.PAYMENT_SUCCEEDED, order="ORDER-2")]).finding is Finding.OPEN


def test_a_statement_without_an_amount_proves_none() -> None:
    assert judge(held(), [states(Kind.PAYMENT_SUCCEEDED, amount=None)]).finding is Finding.OPEN


@pytest.mark.parametrize("other", [Money(1175, "TRY"), Money(1176, "USD")])
def test_another_amount_or_currency_differs(other: Money) -> None:
    assert judge(held(), [states(Kind.PAYMENT_SUCCEEDED, amount=other)]).finding is Finding.DIFFERS


def test_another_refund_differs() -> None:
    event = held(Kind.PAYMENT_PARTIALLY_REFUNDED, refund=Money(100, "TRY"))

    assert judge(event, [states(Kind.PAYMENT_PARTIALLY_REFUNDED, refund=Money(200, "TRY"))]).finding is Finding.DIFFERS


def test_an_approved_sale_counts_whatever_attempts_failed_around_it() -> None:
    found = [states(Kind.PAYMENT_FAILED), states(Kind.PAYMENT_SUCCEEDED), states(Kind.PAYMENT_FAILED)]

    assert judge(held(), found).finding is Finding.AGREES


def test_the_statement_of_the_very_kind_names_the_amount() -> None:
    found = [states(Kind.PAYMENT_SUCCEEDED), states(Kind.PAYMENT_PARTIALLY_REFUNDED, amount=Money(1, "TRY"))]

    assert judge(held(), found).finding is Finding.AGREES


def test_of_several_sales_the_very_payment_is_compared() -> None:
    event = replace(HELD, says=replace(HELD.says, payment_ref="P-1"))
    other = replace(states(Kind.PAYMENT_SUCCEEDED, amount=Money(1, "TRY")), payment_ref="P-2")

    assert judge(event, [other, states(Kind.PAYMENT_SUCCEEDED), other]).finding is Finding.AGREES


def test_what_happened_since_is_told_beside_the_success() -> None:
    voided = replace(states(Kind.PAYMENT_VOIDED), fact_key=("ORDER-1", "P-1", "SALE", "VD"))
    settled = confirmed(HELD, voided)
    (later,) = since(HELD, [voided, states(Kind.PAYMENT_FAILED)], NOW)

    assert settled.says.kind is Kind.PAYMENT_SUCCEEDED
    assert (later.says.kind, later.trust.level, later.received_at) == (Kind.PAYMENT_VOIDED, Level.CONFIRMED, NOW)
    assert later.id not in {settled.id, HELD.id}


def test_a_refund_has_nothing_beside_it() -> None:
    refunded = states(Kind.PAYMENT_REFUNDED)

    assert since(held(Kind.PAYMENT_REFUNDED), [refunded], NOW) == []


def test_a_confirmed_fact_keeps_its_id_and_gains_amount_and_references() -> None:
    event = held(amount=None)
    settled = confirmed(event, states(Kind.PAYMENT_SUCCEEDED))

    assert settled.id == event.id
    assert settled.says.amount == LIRA
    assert settled.says.payment_ref == "P-1"
    assert settled.trust == Trust(Level.CONFIRMED, ("order_ref", "status", "payment_ref", "amount"))
    assert settled.origin == "confirmation"


def test_a_refund_that_turns_out_partial_is_told_as_one() -> None:
    stated = states(Kind.PAYMENT_PARTIALLY_REFUNDED, refund=Money(100, "TRY"))
    settled = confirmed(held(Kind.PAYMENT_REFUNDED, amount=None), stated)

    assert settled.says.kind is Kind.PAYMENT_PARTIALLY_REFUNDED
    assert settled.says.refund == Money(100, "TRY")


@pytest.mark.parametrize(
    ("made", "kind", "conflict"),
    [
        (differing, Kind.PAYMENT_PENDING, True),
        (never_confirmed, Kind.PAYMENT_UNKNOWN, True),
        (released_unasked, Kind.PAYMENT_PENDING, False),
    ],
)
def test_what_is_said_instead_has_an_id_of_its_own(made: object, kind: Kind, *, conflict: bool) -> None:
    assert callable(made)
    told = made(HELD)

    assert told.id != HELD.id
    assert (told.says.kind, told.says.reason, told.trust.conflict) == (kind, Why.UNCONFIRMED, conflict)
    assert told.trust.level is Level.SIGNED


def test_the_three_ids_differ() -> None:
    assert len({HELD.id, differing(HELD).id, never_confirmed(HELD).id, released_unasked(HELD).id}) == 4


def test_an_event_is_read_back_as_it_was_written() -> None:
    wire = orjson.loads(HELD.to_json())

    assert from_wire(wire).to_json() == HELD.to_json()
    assert from_wire(wire).id == HELD.id
