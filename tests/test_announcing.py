"""What a shop may announce, and how it is told what is wrong."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from marshmallow import ValidationError

from receiver.announcing import DEADLINE, FARTHEST, faults, read
from receiver.message import Literal
from receiver.money import Money
from tests.facts import NOW

SENT = {"provider": "paratika", "account": "shop", "order_ref": "ORDER-1", "amount": "11.76", "currency": "TRY"}


def wrong(**changes: Any) -> dict[str, str]:
    """Return what is wrong with an announcement after *changes*; nothing at all fails the test."""
    with pytest.raises(ValidationError) as caught:
        read({**SENT, **changes}, NOW)
    return faults(caught.value)


class TestGoodAnnouncement:
    def test_names_an_order_and_its_exact_amount(self) -> None:
        known = read(SENT, NOW)

        assert (known.provider, known.account, known.order_ref) == ("paratika", "shop", "ORDER-1")
        assert known.amount == Money(1176, "TRY")
        assert (known.announced_at, known.deadline, known.taken) == (NOW, NOW + DEADLINE, "")

    @pytest.mark.parametrize(
        ("amount", "currency", "expected"),
        [
            ("11.7600", "TRY", Money(1176, "TRY")),
            ("0.01", "TL", Money(1, "TRY")),
            (" 12 ", "usd", Money(1200, "USD")),
            ("500", "JPY", Money(500, "JPY")),
            ("1.234", "KWD", Money(1234, "KWD")),
            ("999999999999999.99", "EUR", Money(99999999999999999, "EUR")),
            (Literal("11.76"), "TRY", Money(1176, "TRY")),
        ],
    )
    def test_may_write_the_amount_in_any_plain_way(self, amount: str, currency: str, expected: Money) -> None:
        assert read({**SENT, "amount": amount, "currency": currency}, NOW).amount == expected

    @pytest.mark.parametrize(
        "deadline",
        [
            "2026-11-23T18:00:00+03:00",
            "2026-11-23 18:00+03:00",
            "2026-11-23T15:00:00Z",
            "2026-11-23T15:00:00.000+00:00",
        ],
    )
    def test_may_name_a_deadline_in_any_zone(self, deadline: str) -> None:
        assert read({**SENT, "deadline": deadline}, NOW).deadline == datetime(2026, 11, 23, 15, tzinfo=UTC)

    def test_may_leave_the_deadline_null(self) -> None:
        assert read({**SENT, "deadline": None}, NOW).deadline == NOW + DEADLINE

    @pytest.mark.parametrize("order", ["ç-1", "a b", "x" * 128, "../'\"{}", "\U0001f600"])
    def test_may_name_the_order_in_any_printable_signs(self, order: str) -> None:
        assert read({**SENT, "order_ref": order}, NOW).order_ref == order

    def test_is_read_with_blanks_cut_off_as_the_providers_orders_are(self) -> None:
        assert read({**SENT, "order_ref": " ORDER-1 "}, NOW).order_ref == "ORDER-1"


class TestBadAnnouncement:
    @pytest.mark.parametrize("name", sorted(SENT))
    def test_without_a_field_says_which(self, name: str) -> None:
        with pytest.raises(ValidationError) as caught:
            read({other: value for other, value in SENT.items() if other != name}, NOW)

        assert faults(caught.value) == {name: "Missing data for required field."}

    @pytest.mark.parametrize("name", sorted(SENT))
    @pytest.mark.parametrize("value", [None, 1, 1.5, True, [], {}, "", "  ", "\x00", "a\nb", "x" * 200, "\ud800"])
    def test_with_a_field_of_a_wrong_form_says_which_and_repeats_no_value(self, name: str, value: object) -> None:
        found = wrong(**{name: value})

        assert found.keys() == {name}
        assert "x" * 20 not in found[name]

    @pytest.mark.parametrize(
        "amount",
        [
            *("-1", "+1", "1e2", "1E2", "0x10", "1_000", "1,000.00", "11,76", ".5", "5.", "1.2.3", "NaN", "Infinity"),
            *("\u0661\u0662", "1\u00a0000", "1 2", "1" * 16, "1.123456789", "11.76 TRY"),
        ],
    )
    def test_with_an_amount_that_is_no_plain_decimal_is_refused(self, amount: str) -> None:
        assert wrong(amount=amount) == {"amount": "has an unknown form"}

    @pytest.mark.parametrize(("amount", "currency"), [("0", "TRY"), ("0.00", "TRY"), ("11.765", "TRY"), ("1.5", "JPY")])
    def test_with_an_amount_of_nothing_or_not_of_its_currency_is_refused(self, amount: str, currency: str) -> None:
        assert wrong(amount=amount, currency=currency).keys() == {"amount"}

    @pytest.mark.parametrize("currency", ["XXX", "999", "TR", "tr\u0131", "EU\u0130"])
    def test_with_a_currency_that_is_none_says_so_of_the_currency(self, currency: str) -> None:
        assert wrong(currency=currency) == {"currency": "currency is not an ISO 4217 code"}

    @pytest.mark.parametrize(
        "deadline",
        [
            *("", "soon", "2026-11-23", "2026-11-23T18:00:00", "20261123T180000Z", "2026-W48-1T18:00:00Z", 1795300000),
            *("2026-13-01T00:00:00Z", "2026-11-23T25:00:00Z", "2026-11-23T18:00:00+99:00", "2026-11-23T18:00:00Z\n"),
            *("0001-01-01T00:00:00+03:00", "9999-12-31T23:59:59-03:00", "2026-11-23T18:00:00\ud800", True, [], {}),
        ],
    )
    def test_with_a_deadline_that_is_no_moment_is_refused(self, deadline: object) -> None:
        assert wrong(deadline=deadline)["deadline"].startswith("must be an ISO 8601 time with its offset")

    @pytest.mark.parametrize("away", [timedelta(0), -timedelta(seconds=1), FARTHEST + timedelta(microseconds=1)])
    def test_with_a_deadline_that_is_over_or_too_far_is_refused(self, away: timedelta) -> None:
        assert wrong(deadline=(NOW + away).isoformat()) == {
            "deadline": "must be in the future, and at most 90 days away"
        }

    def test_with_a_field_that_is_not_known_is_a_typing_slip(self) -> None:
        assert wrong(dedline="x") == {"dedline": "Unknown field."}

    def test_tells_every_fault_at_once(self) -> None:
        assert wrong(amount="x", currency="LIRA", deadline="x").keys() == {"amount", "currency", "deadline"}
