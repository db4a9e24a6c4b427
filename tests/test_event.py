"""The event, as consumers get it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from receiver.event import WEIGHTY, Card, Category, Customer, Failure, Kind, Method, Moment, Subscription, Why
from tests.facts import NOW, event_of

FIELDS = {
    *("provider", "account", "channel", "test", "origin", "order_ref", "payment_ref", "refund_ref", "subscription_ref"),
    *("status", "reason", "amount", "refund", "failure", "method", "card", "customer", "subscription", "installment"),
    *("occurred_at", "occurred_at_zone", "received_at", "trust", "expected", "replay", "custom", "raw"),
}


def test_an_event_has_exactly_the_documented_fields() -> None:
    wire = json.loads(event_of().to_json())

    assert wire.keys() == {
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
    }
    assert wire["data"].keys() == FIELDS
    assert wire["data"]["customer"].keys() == {"ref", "key", "phone", "email"}
    assert wire["data"]["trust"].keys() == {"level", "covers", "conflict"}
    assert wire["dataschema"] == "urn:ulak:event:1"


def test_the_nested_records_are_written_out() -> None:
    event = event_of(
        Kind.SUBSCRIPTION_ACTIVATED,
        reason=Why.PARTIAL_PAYMENT,
        failure=Failure(Category.FRAUD, "7", "x"),
        method=Method.CARD,
        card=Card("1234", "VISA", 3),
        customer=Customer(ref="c"),
        subscription=Subscription(plan="p"),
    )
    data = json.loads(event.to_json())["data"]

    assert data["reason"] == "partial_payment"
    assert data["failure"] == {"category": "fraud", "code": "7", "message": "x"}
    assert data["card"] == {"last4": "1234", "brand": "VISA", "installments": 3}
    assert data["subscription"] == {"plan": "p", "phase": None, "period_end": None, "ends_at": None}
    assert data["amount"] == {"value": "11.76", "minor": 1176, "currency": "TRY"}


def test_the_subject_is_left_out_where_there_is_no_order() -> None:
    assert "subject" not in event_of(order_ref=None).to_wire()
    assert event_of().to_wire()["subject"] == "ORDER-1"


def test_the_id_is_made_of_provider_account_and_fact_alone() -> None:
    event = event_of()
    same = [
        replace(event, channel="other", received_at=NOW + timedelta(days=1), test=False, raw={"a": "1"}),
        event_of(Kind.PAYMENT_FAILED, amount=None),
    ]
    others = [
        event_of(account="other"),
        event_of(provider="paynet"),
        event_of(fact_key=("ORDER-1", None)),
        event_of(fact_key=("ORDER-2",)),
    ]

    assert {other.id for other in same} == {event.id}
    assert len({event.id, *(other.id for other in others)}) == 5


@pytest.mark.parametrize(
    ("one", "other"), [(("a", "b"), ("ab",)), ((None,), ("",)), (("a",), ("a", None)), (("null",), (None,))]
)
def test_parts_of_a_fact_do_not_run_into_each_other(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    assert event_of(fact_key=one).id != event_of(fact_key=other).id


def test_the_id_can_be_part_of_a_job_id() -> None:
    assert event_of().id.isalnum()
    assert len(event_of().id) == 64


def test_the_time_is_the_providers_in_utc_or_else_ours() -> None:
    istanbul = timezone(timedelta(hours=3))
    occurred = event_of(occurred=Moment(datetime(2017, 1, 12, 14, 13, 13, tzinfo=istanbul), "assumed")).to_wire()

    assert occurred["time"] == "2017-01-12T11:13:13Z"
    assert occurred["data"]["occurred_at"] == "2017-01-12T14:13:13+03:00"
    assert occurred["data"]["occurred_at_zone"] == "assumed"
    assert event_of().to_wire()["time"] == "2026-11-22T09:30:00.123456Z"
    assert event_of().to_wire()["data"]["occurred_at_zone"] == "none"
    whole = replace(event_of(), received_at=datetime(2026, 11, 22, tzinfo=UTC)).to_wire()
    assert whole["data"]["received_at"] == "2026-11-22T00:00:00.000000Z"


def test_only_kinds_that_give_or_take_something_are_weighty() -> None:
    assert {kind.value for kind in WEIGHTY} == {
        *("payment.succeeded", "payment.authorized", "payment.refunded", "payment.partially_refunded"),
        *("payment.charged_back", "payment.voided", "subscription.activated", "subscription.renewed"),
        *("subscription.reactivated", "subscription.trial_started", "installment.paid"),
    }


def test_no_float_is_in_an_event() -> None:
    assert b"." not in orjson.dumps(event_of().to_wire()["data"]["amount"]["minor"])
