"""When two deliveries are one fact: the table of EVENTS, field by field."""

import pytest

from tests import proof
from tests.desk import Desk
from tests.samples import PROOF, SIGNED, Vector, readable

# Vector, fields that make another fact, fields that do not.
TABLE: list[tuple[str, str, tuple[str, ...], tuple[str, ...]]] = [
    (
        "paratika",
        "seed sample, 3D",
        ("merchantPaymentId",),
        ("sessionToken", "random", "customerId", "pgTranDate", "amount", "installment", "pgOrderId", "pgTranRefId"),
    ),
    (
        "paratika",
        "derived, declined",
        ("merchantPaymentId", "sessionToken", "random", "responseCode"),
        ("customerId", "pgTranId", "amount", "errorCode", "pgTranErrorCode", "responseMsg"),
    ),
    (
        "payguru",
        "example transaction",
        ("subsId", "txId", "status", "error"),
        ("msisdn", "operator", "order", "item", "amount", "service", "errorDesc", "billingType"),
    ),
    ("payguru", "word active", ("subsId", "txId", "status"), ("msisdn", "operator", "order", "service", "billingType")),
    ("payguru-phs", "amount 1.00", ("txid", "code", "order", "amount", "status"), ("transaction_date", "bank")),
    (
        "paynet",
        "TL is the lira",
        ("referance_no", "authorization_code", "order_id"),
        ("xact_id", "amount", "netAmount", "xact_date", "bank_id", "instalment", "card_number", "agent_id"),
    ),
    ("paynet", "refund approved", ("xact_id", "code"), ("status", "message")),
]


def signed(vector: Vector, **changes: str) -> Vector:
    """Change fields as the provider itself would: with a new hash, made by the standard library."""
    changed = vector.changed(**changes)
    if vector.provider in SIGNED:
        values = [changed.sent(name) for name in SIGNED[vector.provider]]
        changed = changed.changed(**{PROOF[vector.provider]: proof.expected(vector.provider, values)})
    return changed


def find(provider: str, name: str) -> Vector:
    return next(vector for vector in readable(provider) if vector.name == name)


def other(value: str) -> str:
    """Return a value of the same form that differs."""
    return value[:-1] + ("2" if value[-1:] != "2" else "3")


def facts(*sent: Vector) -> int:
    desk = Desk()
    for vector in sent:
        vector.send(desk)
        assert desk.outcome in {"accepted", "duplicate"}
    return len(desk.sink.entries)


@pytest.mark.parametrize(
    ("provider", "name", "field"), [(*row[:2], field) for row in TABLE for field in row[2]], ids=str
)
def test_a_field_of_the_fact_key_makes_another_fact(provider: str, name: str, field: str) -> None:
    first = find(provider, name)

    assert facts(first, signed(first, **{field: other(first.sent(field))})) == 2


@pytest.mark.parametrize(
    ("provider", "name", "field"), [(*row[:2], field) for row in TABLE for field in row[3]], ids=str
)
def test_any_other_field_leaves_it_the_same_fact(provider: str, name: str, field: str) -> None:
    first = find(provider, name)

    assert facts(first, signed(first, **{field: other(first.sent(field))})) == 1


def test_success_and_failure_of_paynet_are_two_facts() -> None:
    paid = find("paynet", "TL is the lira")

    assert facts(paid, paid.changed(is_succeed="false")) == 2


def test_the_spelling_of_a_paynet_notice_makes_no_other_fact() -> None:
    paid = find("paynet", "TL is the lira")
    spelt = paid.changed(referance_no=None, reference_no=paid.sent("referance_no"))

    assert facts(paid, paid.changed(is_succeed="1"), paid.changed(is_succeed="TRUE"), spelt) == 1


def test_a_transaction_and_a_subscription_of_payguru_are_two_facts() -> None:
    transaction = find("payguru", "status 3").changed(status="active", subsId="12345678")

    assert facts(transaction, find("payguru", "word active")) == 2


def test_a_decline_and_a_later_sale_of_one_order_are_two_facts() -> None:
    assert facts(find("paratika", "derived, declined"), find("paratika", "seed sample, 3D")) == 2


def test_a_return_of_paynet_shares_no_key_with_a_payment() -> None:
    assert facts(find("paynet", "return that names its order"), find("paynet", "TL is the lira")) == 2
