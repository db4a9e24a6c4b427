"""A provider's list of a time beside what was received."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.account import Account
from receiver.event import Event, Kind, Moment, Statement, Trust, fact_id
from receiver.message import Level
from receiver.money import Money
from workers.comparing import Comparison, Received, What, compare, doubtful
from workers.listing import span

ACCOUNT = Account("paynet", "shop")
EXACT = frozenset({Kind.PAYMENT_SUCCEEDED})
SINCE = datetime(2026, 11, 22, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=1)
NOON = SINCE + timedelta(hours=12)
LIRA = Money(1176, "TRY")
KURUS = Money(50, "TRY")


def says(kind: Kind = Kind.PAYMENT_SUCCEEDED, order: str = "A", **more: Any) -> Statement:
    """Return what is said of an order; the key is that of the kind, unless *key* says otherwise."""
    key = more.pop("key", (order, kind.value))
    return Statement(kind, key, "0", **{"order_ref": order, "payment_ref": f"P-{order}", "amount": LIRA, **more})


def event(said: Statement, *, at: datetime = NOON, conflict: bool = False) -> Event:
    trust = Trust(Level.CONFIRMED, ("amount",), conflict)
    return Event("paynet", "shop", "confirmation", True, at, trust, said)  # noqa: FBT003 - a test account


def name_of(said: Statement) -> str:
    return fact_id("paynet", "shop", said.fact_key)


def compared(
    stated: Sequence[Statement],
    released: Sequence[Statement] = (),
    held: Sequence[Statement] = (),
    markers: Mapping[str, str] | None = None,
    *,
    whole: bool = True,
) -> Comparison:
    given = [event(said) for said in released]
    received = Received(given, [event(said) for said in held], markers or {}, whole)
    doubts = [(one, ()) for one in doubtful(stated, given, ACCOUNT, SINCE, UNTIL)]
    return compare(stated, received, ACCOUNT, EXACT, doubts)


def words(found: Comparison) -> list[str]:
    return [one.what for one in found.differences]


PAID = says()
FAILED = says(Kind.PAYMENT_FAILED)


class TestCompare:
    def test_counts_what_is_as_received(self) -> None:
        found = compared([PAID, says(order="B")], [PAID, says(order="B")])

        assert (found.listed, found.received, words(found)) == (2, 2, [])

    def test_calls_missing_what_left_no_trace(self) -> None:
        found = compared([PAID])

        (one,) = found.differences
        assert (one.what, one.theirs, one.ours, one.acceptable) == (What.MISSING, PAID, None, True)
        assert one.id == name_of(PAID)

    def test_tells_a_fact_that_the_list_has_twice_once(self) -> None:
        assert words(compared([PAID, PAID])) == ["missing"]

    def test_takes_a_marker_for_an_event_that_was_trimmed(self) -> None:
        assert words(compared([PAID], markers={name_of(PAID): "released"}, whole=False)) == []

    @pytest.mark.parametrize("held", [[PAID], []])
    def test_leaves_what_waits_to_its_confirmation(self, held: list[Statement]) -> None:
        found = compared([PAID], held=held, markers={name_of(PAID): "held"})

        assert words(found) == ["held"]
        assert not found.differences[0].acceptable

    def test_finds_another_amount_in_what_waits(self) -> None:
        assert words(compared([PAID], held=[replace(PAID, amount=KURUS)])) == ["other_amount"]

    @pytest.mark.parametrize(
        ("amount", "found"), [(KURUS, ["other_amount"]), (Money(1176, "EUR"), ["other_amount"]), (None, [])]
    )
    def test_compares_amounts_that_both_sides_know(self, amount: Money | None, found: list[str]) -> None:
        assert words(compared([PAID], [replace(PAID, amount=amount)])) == found

    def test_compares_what_was_given_back(self) -> None:
        back = says(Kind.PAYMENT_PARTIALLY_REFUNDED, refund=KURUS, refund_ref="R")

        assert words(compared([back], [replace(back, refund=LIRA)])) == ["other_amount"]

    @pytest.mark.parametrize("kind", [Kind.PAYMENT_PENDING, Kind.PAYMENT_UNKNOWN, Kind.NOTICE_RECEIVED])
    def test_counts_what_has_no_end_yet_as_open(self, kind: Kind) -> None:
        found = compared([says(kind)])

        assert (found.open, words(found)) == (1, [])

    @pytest.mark.parametrize("kind", [Kind.PAYMENT_VOIDED, Kind.PAYMENT_REFUNDED, Kind.PAYMENT_CHARGED_BACK])
    def test_finds_that_money_went_back(self, kind: Kind) -> None:
        found = compared([says(kind)], [PAID])

        (one,) = found.differences
        assert (one.what, one.ours and one.ours.says, one.acceptable) == (What.OTHER_STATE, PAID, True)

    def test_finds_a_success_after_a_failure(self) -> None:
        found = compared([PAID], [FAILED])

        assert words(found) == ["other_state"]
        assert found.differences[0].acceptable

    def test_finds_a_failure_where_a_success_was_given_out(self) -> None:
        found = compared([FAILED], [PAID])

        (one,) = found.differences
        assert (one.what, one.theirs, one.ours and one.ours.says) == (What.OTHER_STATE, FAILED, PAID)
        assert not one.acceptable

    def test_takes_a_failed_attempt_beside_a_success_for_usual(self) -> None:
        found = compared([FAILED, PAID], [PAID])

        assert (found.received, words(found)) == (2, [])

    @pytest.mark.parametrize("kind", [Kind.PAYMENT_FAILED, Kind.PAYMENT_CANCELED, Kind.PAYMENT_EXPIRED])
    def test_knows_who_did_not_pay_under_any_word_and_key(self, kind: Kind) -> None:
        assert words(compared([FAILED], [says(kind, key=("callback",), payment_ref=None)])) == []

    def test_does_not_take_one_exact_fact_for_another(self) -> None:
        assert words(compared([PAID], [replace(PAID, fact_key=("A", "other"))])) == ["other_state"]

    def test_tells_refunds_of_one_payment_apart(self) -> None:
        refunds = [says(Kind.PAYMENT_PARTIALLY_REFUNDED, key=(ref,), refund_ref=ref) for ref in ("R1", "R2")]

        assert words(compared([PAID, *refunds], [PAID, refunds[0]])) == ["other_state"]

    def test_takes_a_capture_for_the_end_of_a_reservation(self) -> None:
        assert words(compared([says(Kind.PAYMENT_AUTHORIZED), PAID], [PAID])) == []

    def test_cannot_tell_what_a_callback_keeps_under_its_own_key_once_the_stream_is_trimmed(self) -> None:
        found = compared([FAILED, says(order="B")], whole=False)

        assert (found.forgotten, words(found)) == (1, ["missing"])

    def test_takes_what_is_in_conflict_for_no_end(self) -> None:
        given = event(replace(PAID, kind=Kind.PAYMENT_REFUNDED), conflict=True)
        found = compare([FAILED], Received([given], (), {}, whole=True), ACCOUNT, EXACT)

        assert words(found) == ["missing"]

    def test_does_not_mix_a_subscription_with_its_payment(self) -> None:
        assert words(compared([PAID], [says(Kind.SUBSCRIPTION_RENEWED)])) == ["missing"]


class TestNotListed:
    def test_is_a_success_that_the_list_does_not_have(self) -> None:
        found = compared([says(order="B")], [PAID, says(order="B")])

        (one,) = found.differences
        assert (one.what, one.theirs, one.ours and one.ours.says) == (What.NOT_LISTED, None, PAID)
        assert (one.acceptable, one.to_wire()["order_ref"]) == (False, "A")

    @pytest.mark.parametrize("kind", [Kind.PAYMENT_REFUNDED, Kind.PAYMENT_VOIDED, Kind.PAYMENT_PENDING])
    def test_is_not_what_has_another_state_there(self, kind: Kind) -> None:
        assert doubtful([says(kind)], [event(PAID)], ACCOUNT, SINCE, UNTIL) == []

    @pytest.mark.parametrize(
        "kind", [Kind.PAYMENT_FAILED, Kind.PAYMENT_REFUNDED, Kind.PAYMENT_PENDING, Kind.SUBSCRIPTION_RENEWED]
    )
    def test_is_never_what_a_list_need_not_tell(self, kind: Kind) -> None:
        assert doubtful([], [event(says(kind))], ACCOUNT, SINCE, UNTIL) == []

    @pytest.mark.parametrize(
        ("at", "doubted"), [(SINCE, True), (UNTIL, False), (SINCE - timedelta(seconds=1), False), (NOON, True)]
    )
    def test_is_within_the_time_by_the_provider_s_word_for_it(self, at: datetime, *, doubted: bool) -> None:
        by_word = event(replace(PAID, occurred=Moment(at, "assumed")), at=NOON)
        by_clock = event(PAID, at=at)

        assert [bool(doubtful([], [one], ACCOUNT, SINCE, UNTIL)) for one in (by_word, by_clock)] == [doubted] * 2

    def test_is_a_contradiction_where_asking_says_that_it_failed(self) -> None:
        given = event(PAID)
        received = Received([given], (), {}, whole=True)

        (one,) = compare([], received, ACCOUNT, EXACT, [(given, [FAILED])]).differences
        assert (one.what, one.theirs, one.acceptable) == (What.OTHER_STATE, FAILED, False)


class TestSpan:
    NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("since", "until", "found"),
        [
            ("2026-11-20", None, ("2026-11-20T00:00:00+03:00", "2026-11-21T00:00:00+03:00")),
            ("2026-11-20", "2026-11-21", ("2026-11-20T00:00:00+03:00", "2026-11-22T00:00:00+03:00")),
            ("2026-11-23", None, ("2026-11-23T00:00:00+03:00", "2026-11-23T12:00:00+03:00")),
            ("2026-11-22T10:00:00Z", None, ("2026-11-22T10:00:00+00:00", "2026-11-23T09:00:00+00:00")),
            ("2026-11-22T10:00:00Z", "2026-11-22T14:00+03:00", ("2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z")),
        ],
    )
    def test_is_of_turkish_days_or_of_times(self, since: str, until: str | None, found: tuple[str, str]) -> None:
        known = span(since, until, self.NOW, 30)

        assert (known.since, known.until) == tuple(datetime.fromisoformat(text) for text in found)

    @pytest.mark.parametrize(
        ("since", "until", "sentence"),
        [
            ("2026-11-22T10:00:00", None, "offset"),
            ("2026-11-22", "2026-11-21", "before --until"),
            ("2026-11-22", "today", "--until 'today' is no day"),
            ("2026-02-30", None, "is no day"),
            ("9999-12-31", "9999-12-31", "is no day"),
            ("2026-11-24", None, "in the past"),
            ("2026-10-01", "2026-11-20", "31 days"),
            ("2026-10-22", None, "dedupe_days"),
        ],
    )
    def test_is_refused_with_a_sentence(self, since: str, until: str | None, sentence: str) -> None:
        with pytest.raises(ValueError, match=sentence):
            span(since, until, self.NOW, 30)

    def test_may_begin_at_any_time_where_facts_are_known_for_ever(self) -> None:
        assert span("2025-01-01", None, self.NOW, 0).since.year == 2025
