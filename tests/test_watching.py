"""Which events begin the watch over a payment, and which end it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from receiver import watching
from receiver.event import Event, Kind, Verdict
from receiver.expecting import Expectation
from receiver.message import Level
from receiver.money import Money
from receiver.watching import Watch
from tests.facts import NOW, event_of

REFS: dict[str, Any] = {"refund_ref": "R-1", "payment_ref": "P-1", "subscription_ref": "S-1"}
KNOWN = Expectation("paratika", "shop", "ORDER-1", Money(1176, "TRY"), NOW + timedelta(hours=1), NOW)
ANNOUNCED = watching.of_expectation(KNOWN, "return")
STAYS_OPEN = {Kind.PAYMENT_PENDING, Kind.PAYMENT_UNKNOWN, Kind.PAYMENT_REFUND_PENDING}
ENDS = {
    *(Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_AUTHORIZED),
    *(Kind.PAYMENT_VOIDED, Kind.PAYMENT_REFUNDED, Kind.PAYMENT_PARTIALLY_REFUNDED, Kind.PAYMENT_CHARGED_BACK),
}
UNPAID = {Kind.PAYMENT_CANCELED, Kind.PAYMENT_EXPIRED}
FAILS = {Kind.PAYMENT_FAILED, Kind.PAYMENT_REFUND_FAILED}


def watch_of(event: Event, source: str = "") -> Watch:
    found = watching.of_event(event, source)
    assert found is not None
    return found


def ended(kind: Kind, **refs: Any) -> set[str]:
    """Return the ids of the watches that an event of *kind* ends."""
    return set(watching.ended(event_of(kind, **refs)))


class TestBeginning:
    @pytest.mark.parametrize("kind", sorted(Kind))
    def test_is_for_what_leaves_a_payment_open(self, kind: Kind) -> None:
        assert (watching.of_event(event_of(kind, payment_ref="P-1")) is not None) == (kind in STAYS_OPEN)

    def test_needs_something_to_ask_by(self) -> None:
        assert watching.of_event(event_of(Kind.PAYMENT_PENDING, order_ref=None)) is None
        assert watching.of_event(event_of(Kind.PAYMENT_PENDING, order_ref=None, subscription_ref="S-1")) is None
        assert watching.of_event(event_of(Kind.PAYMENT_PENDING, order_ref=None, payment_ref="P-1")) is not None

    @pytest.mark.parametrize("origin", ["confirmation", "reconciliation"])
    def test_is_for_callbacks_alone_and_not_for_what_we_say_ourselves(self, origin: str) -> None:
        assert watching.of_event(replace(event_of(Kind.PAYMENT_PENDING), origin=origin)) is None

    def test_remembers_all_that_the_question_may_need(self) -> None:
        asked = watch_of(event_of(Kind.PAYMENT_PENDING, **REFS), source="digest")

        assert asked == Watch(
            *("paratika", "shop", "return", Kind.PAYMENT_PENDING, NOW, "ORDER-1", "P-1", "R-1", "S-1"),
            verified=True,
            source="digest",
        )
        assert asked.sought.order_ref == "ORDER-1"
        assert asked.sought.since == NOW

    @pytest.mark.parametrize("level", list(Level))
    def test_knows_a_claim_from_what_is_proven(self, level: Level) -> None:
        assert watch_of(event_of(Kind.PAYMENT_PENDING, level=level)).verified is (level is not Level.CLAIMED)

    def test_of_an_announced_order_is_by_the_order_until_its_deadline(self) -> None:
        assert (ANNOUNCED.order_ref, ANNOUNCED.since, ANNOUNCED.until) == ("ORDER-1", NOW, KNOWN.deadline)
        assert ANNOUNCED.id != watch_of(event_of(Kind.PAYMENT_PENDING)).id

    @pytest.mark.parametrize("watch", [ANNOUNCED, watch_of(event_of(Kind.PAYMENT_UNKNOWN, **REFS), "digest")], ids=str)
    def test_is_read_back_from_its_json_whole(self, watch: Watch) -> None:
        assert watching.from_wire(orjson.loads(watch.to_json())) == watch


class TestName:
    @pytest.mark.parametrize(
        "refs", [REFS, {"payment_ref": "P-1"}, {"refund_ref": "R-1"}, {}, {"order_ref": None, "payment_ref": "P-1"}]
    )
    def test_of_a_watch_is_the_nearest_of_those_that_the_event_concerns(self, refs: dict[str, Any]) -> None:
        event = event_of(Kind.PAYMENT_PENDING, **refs)

        assert watch_of(event).id == watching.names(event)[0]

    def test_needs_a_reference(self) -> None:
        nameless = Watch("paratika", "shop", "return", Kind.PAYMENT_PENDING, NOW, subscription_ref="S-1")
        with pytest.raises(ValueError, match="reference"):
            nameless.id  # noqa: B018 - it is a property that looks

    def test_is_another_for_each_provider_account_and_reference(self) -> None:
        events = [
            event_of(Kind.PAYMENT_PENDING, payment_ref="X"),
            event_of(Kind.PAYMENT_PENDING, refund_ref="X"),
            event_of(Kind.PAYMENT_PENDING, order_ref="X"),
            event_of(Kind.PAYMENT_PENDING, order_ref="X", account="other"),
            event_of(Kind.PAYMENT_PENDING, order_ref="X", provider="paynet"),
        ]

        assert len({watch_of(event).id for event in events}) == len(events)

    def test_holds_letters_and_digits_only_whatever_the_reference(self) -> None:
        for ref in ("ç", "a:b", "\U0001f600", "x" * 500):
            assert watch_of(event_of(Kind.PAYMENT_PENDING, payment_ref=ref)).id.isalnum()


class TestEnding:
    @pytest.mark.parametrize("kind", sorted(ENDS))
    def test_ends_all_that_it_concerns(self, kind: Kind) -> None:
        asked = {
            watch_of(event_of(Kind.PAYMENT_REFUND_PENDING, **REFS)).id,
            watch_of(event_of(Kind.PAYMENT_PENDING, payment_ref="P-1")).id,
            watch_of(event_of(Kind.PAYMENT_PENDING)).id,
            ANNOUNCED.id,
        }

        assert len(asked) == 4
        assert ended(kind, **REFS) == asked

    @pytest.mark.parametrize("kind", sorted(set(Kind) - ENDS - UNPAID - FAILS))
    def test_is_for_no_other_kind(self, kind: Kind) -> None:
        assert ended(kind, **REFS) == set()

    @pytest.mark.parametrize("kind", sorted(UNPAID))
    def test_unpaid_leaves_the_announced_order_to_the_next_attempt(self, kind: Kind) -> None:
        asked = {
            watch_of(event_of(Kind.PAYMENT_PENDING, payment_ref="P-1")).id,
            watch_of(event_of(Kind.PAYMENT_PENDING)).id,
        }

        assert ended(kind, payment_ref="P-1") == asked
        assert ended(kind, order_ref=None, payment_ref="P-1") < asked

    @pytest.mark.parametrize("verdict", sorted(Verdict))
    def test_with_too_little_leaves_the_announced_order_to_the_right_payment(self, verdict: Verdict) -> None:
        event = replace(event_of(Kind.PAYMENT_SUCCEEDED, payment_ref="P-1"), expected=verdict)
        lacking = verdict in {Verdict.UNDERPAID, Verdict.WRONG_CURRENCY}

        assert (ANNOUNCED.id not in watching.ended(event)) is lacking
        assert set(watching.names(event)) - set(watching.ended(event)) == ({ANNOUNCED.id} if lacking else set())

    def test_of_a_failed_attempt_leaves_the_order_to_the_next_one(self) -> None:
        attempt = watch_of(event_of(Kind.PAYMENT_PENDING, payment_ref="P-1")).id

        assert ended(Kind.PAYMENT_FAILED, payment_ref="P-1") == {attempt}
        assert ANNOUNCED.id not in ended(Kind.PAYMENT_FAILED)

    def test_of_a_failed_refund_leaves_the_payment_alone(self) -> None:
        asked = watch_of(event_of(Kind.PAYMENT_REFUND_PENDING, **REFS)).id

        assert ended(Kind.PAYMENT_REFUND_FAILED, **REFS) == {asked}

    def test_leaves_the_watches_of_others_alone(self) -> None:
        theirs = {
            watch_of(event_of(Kind.PAYMENT_PENDING, payment_ref="P-2")).id,
            watch_of(event_of(Kind.PAYMENT_PENDING, order_ref="ORDER-2")).id,
            watching.of_expectation(replace(KNOWN, account="other"), "return").id,
        }

        assert ended(Kind.PAYMENT_SUCCEEDED, **REFS) & theirs == set()

    def test_that_names_nothing_ends_nothing(self) -> None:
        assert ended(Kind.PAYMENT_SUCCEEDED, order_ref=None) == set()
        assert ended(Kind.PAYMENT_FAILED, order_ref=None) == set()
