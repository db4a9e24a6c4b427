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
    (
        "zotlo",
        "start_paid",
        ("parameters.transaction_id", "parameters.status"),
        (
            *("queue.requestID", "queue.eventType", "queue.createDate.date", "parameters.id", "parameters.price"),
            *("parameters.purchase_date", "parameters.expire_date", "parameters.package_id", "parameters.quantity"),
            *("parameters.subscription_id", "parameters.subscriber_id", "parameters.provider_status"),
        ),
    ),
    (
        "zotlo",
        "refund",
        *(
            ("parameters.transaction_id", "parameters.status", "parameters.refund_price", "parameters.refund_date"),
            ("queue.requestID", "queue.createDate.date", "parameters.refund_reason", "parameters.purchase_date"),
        ),
    ),
    (
        "zotlo",
        "cancel, served to its end",
        (
            *("parameters.profile.subscriptionId", "queue.eventType", "parameters.profile.expireDate"),
            *("parameters.profile.lastTransactionId", "parameters.profile.cancellation.date"),
            *("parameters.profile.package", "parameters.profile.quantity", "parameters.profile.pendingQuantity"),
        ),
        (
            *("queue.requestID", "queue.createDate.date", "parameters.profile.status", "parameters.profile.realStatus"),
            *("parameters.profile.startDate", "parameters.profile.renewalDate", "parameters.profile.subscriberId"),
            *("parameters.profile.cancellation.code", "parameters.profile.renewalFetchCount"),
        ),
    ),
    ("zotlo", "package_update, the next plan waits", ("parameters.newPackage.packageId",), ("queue.requestID",)),
    ("zotlo", "2020 format, active", ("parameters.profile.expireDate",), ("parameters.profile.realStatus",)),
    ("zotlo", "registration", ("clientUuid", "registerDate"), ()),
    ("zotlo", "a type that nobody lists", ("parameters.transaction_id", "parameters.price"), ("queue.requestID",)),
    (
        "haso",
        "callback, form",
        ("transactionCode",),
        ("merchantOid", "orderAmount", "customerId"),
    ),
    ("haso", "callback, merchantOid only", ("merchantOid",), ("orderAmount", "customerId")),
    ("haso", "ok", ("transactionCode",), ("merchantOid", "orderAmount", "customerId")),
    ("haso", "fail with an error", ("transactionCode",), ("errorCode", "errorMessage")),
    ("haso", "limit", ("customerId", "limit"), ()),
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

    assert facts(first.changed(), signed(first, **{field: other(first.sent(field))})) == 2


@pytest.mark.parametrize(
    ("provider", "name", "field"), [(*row[:2], field) for row in TABLE for field in row[3]], ids=str
)
def test_any_other_field_leaves_it_the_same_fact(provider: str, name: str, field: str) -> None:
    first = find(provider, name)

    assert facts(first.changed(), signed(first, **{field: other(first.sent(field))})) == 1


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


def test_a_purchase_and_its_refund_are_two_facts_however_the_refund_is_told() -> None:
    refunds = [find("zotlo", name) for name in ("refund", "refund as TransactionInsert, is_refund 1")]

    assert facts(find("zotlo", "start_paid"), refunds[0]) == 2
    assert facts(*refunds, refunds[0].changed(**{"parameters.refund_price": "9.990"})) == 1


def test_two_partial_refunds_are_two_facts_even_without_a_currency() -> None:
    partial = find("zotlo", "partial refund").changed(**{"parameters.currency": None})

    assert facts(partial, partial.changed(**{"parameters.refund_price": "2.00"})) == 2


def test_a_payment_and_the_subscription_s_own_word_of_it_are_two_facts() -> None:
    assert facts(find("zotlo", "renewal"), find("zotlo", "subscription renewal")) == 2


def test_the_spelling_of_a_change_makes_no_other_fact() -> None:
    change = find("zotlo", "package_upgrade")
    spelt = [change.changed(**{"queue.eventType": word}) for word in ("packageUpgrade", "PACKAGE_UPGRADE")]

    assert facts(change, *spelt) == 1


def test_states_of_the_format_of_2020_are_facts_of_their_own() -> None:
    names = ("2020 format, active", "2020 format, grace", "2020 format, passive", "2020 format, canceled")

    assert facts(*(find("zotlo", name) for name in names)) == 4


def test_what_a_browser_claims_is_never_the_fact_that_haso_tells() -> None:
    told, ok, fail = (find("haso", name) for name in ("callback, form", "ok", "fail"))

    assert facts(ok, fail, told) == 3
    assert facts(told, find("haso", "callback, JSON"), find("haso", "callback, GET")) == 1


def test_an_order_of_haso_that_is_named_like_a_transaction_is_another_fact() -> None:
    assert facts(find("haso", "callback, merchantOid only"), find("haso", "callback, form")) == 2
    code = find("haso", "callback, transactionCode only")
    order = find("haso", "callback, merchantOid only").changed(merchantOid=code.sent("transactionCode"))
    assert facts(code, order) == 2
