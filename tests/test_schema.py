"""Strict where a fact rests on a value, lenient where it is only shown."""

from typing import Any

import pytest
from marshmallow import Schema, ValidationError
from marshmallow.fields import Field

from receiver.account import Reference
from receiver.errors import Quarantined, Reason
from receiver.message import Literal
from receiver.money import Money
from receiver.schema import (
    Amount,
    BaseUrl,
    CallbackSchema,
    Flag,
    Installments,
    Note,
    SecretRef,
    SettingsSchema,
    Text,
    moment,
    money,
)


def load(field: Field[Any], value: Any) -> Any:
    made: Schema = CallbackSchema.from_dict({"x": field})()
    return made.load({"x": value})["x"]


def refuses(field: Field[Any], value: Any) -> bool:
    with pytest.raises(ValidationError):
        load(field, value)
    return True


def test_text_is_stripped_and_plain() -> None:
    found = load(Text(), Literal(" 12 "))

    assert (found, type(found)) == ("12", str)


@pytest.mark.parametrize("value", ["", "  ", None, "null"])
def test_empty_text_is_none_and_an_error_where_it_is_required(value: Any) -> None:
    absent = frozenset({"null"})

    assert load(Text(absent=absent), value) is None
    assert refuses(Text(required=True, absent=absent), value)


def test_a_missing_text_is_none_and_an_error_where_it_is_required() -> None:
    assert CallbackSchema.from_dict({"x": Text()})().load({}) == {"x": None}
    with pytest.raises(ValidationError):
        CallbackSchema.from_dict({"x": Text(required=True)})().load({})


@pytest.mark.parametrize("value", ["a" * 201, "a\x00b", "a\nb", "a\x7fb", "a\x85b", True, [], {}, 1, 1.5, b"a"])
def test_text_that_cannot_identify_is_refused(value: Any) -> None:
    assert refuses(Text(), value)


def test_text_may_have_to_fit_a_pattern() -> None:
    assert load(Text(pattern="[0-9]+"), "123") == "123"
    assert refuses(Text(pattern="[0-9]+"), "123a")
    assert refuses(Text(pattern="[0-9]+"), "١٢٣")


def test_a_note_takes_anything_and_cuts_it() -> None:
    assert load(Note(limit=5), " a\x00b\ncdef") == "a b c"
    nothing: list[Any] = [None, 1, True, [], "", "\x00"]

    assert [load(Note(), value) for value in nothing] == [None] * 6


@pytest.mark.parametrize(
    ("value", "expected"),
    [("12", "12"), ("12.50", "12.50"), ("12,5", "12.5"), ("12,50", "12.50"), (" 1 ", "1"), ("", None)],
)
def test_an_amount_is_plain_decimal_text(value: str, expected: str | None) -> None:
    assert load(Amount(), value) == expected


@pytest.mark.parametrize(
    "value", ["1,234", "1.000,00", "1e3", "-1", "+1", ".5", "1.", "NaN", "12 TL", "1" * 16, 12, 12.5, True]
)
def test_an_amount_of_another_form_is_refused(value: Any) -> None:
    assert refuses(Amount(), value)


@pytest.mark.parametrize("value", [True, "true", "TRUE", "True", "1", " true ", Literal("1")])
def test_a_flag_is_true(value: Any) -> None:
    assert load(Flag(), value) is True


@pytest.mark.parametrize("value", [False, "false", "False", "0", Literal("0")])
def test_a_flag_is_false(value: Any) -> None:
    assert load(Flag(), value) is False


@pytest.mark.parametrize("value", ["", "yes", "on", "t", "2", "-1", "1.0", "01", None, 1, 0, [], {}])
def test_a_flag_is_never_guessed(value: Any) -> None:
    assert refuses(Flag(), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("0", 1), ("1", 1), ("12", 12), ("", None), ("100", None), ("-1", None), ("x", None), (True, None)],
)
def test_instalments_are_for_show(value: Any, expected: int | None) -> None:
    assert load(Installments(), value) == expected


def test_a_secret_is_a_reference_and_is_never_repeated_in_a_fault() -> None:
    assert load(SecretRef(), "env:NAME") == Reference("env:NAME")
    assert load(SecretRef(), "file:/run/secrets/x") == Reference("file:/run/secrets/x")
    for value in ("hunter2-hunter2", "env:", "env:1X", "file:", "ENV:X", "env:A B", 7, None, ["env:A"]):
        with pytest.raises(ValidationError) as caught:
            load(SecretRef(), value)
        assert "hunter2" not in str(caught.value)


def test_an_address_of_an_api_may_be_on_this_machine() -> None:
    assert load(BaseUrl(), "http://127.0.0.1:8080/x") == "http://127.0.0.1:8080/x"
    assert refuses(BaseUrl(), "ftp://example.com")
    assert refuses(BaseUrl(), "javascript:alert(1)")


def test_a_callback_may_hold_more_and_a_setting_may_not() -> None:
    assert CallbackSchema.from_dict({"x": Text()})().load({"x": "1", "y": "2"}) == {"x": "1"}
    with pytest.raises(ValidationError):
        SettingsSchema.from_dict({"x": Text()})().load({"x": "1", "y": "2"})


def test_money_needs_an_amount_and_a_currency() -> None:
    assert money("1.5", "TRY") == Money(150, "TRY")
    assert (money(None, "TRY"), money("1.5", None), money("1.5", "")) == (None, None, None)
    for text, currency in (("1.555", "TRY"), ("1", "XYZ"), ("1.5", "JPY")):
        with pytest.raises(Quarantined) as caught:
            money(text, currency)
        assert caught.value.reason is Reason.UNREADABLE_FIELD


@pytest.mark.parametrize(
    ("text", "expected", "zone"),
    [
        ("20170112 14:13:13", "2017-01-12T14:13:13+03:00", "assumed"),
        ("12/01/2017 14:13:13.250", "2017-01-12T14:13:13.250000+03:00", "assumed"),
        ("12/01/2017 14:13:13", "2017-01-12T14:13:13+03:00", "assumed"),
        ("12.01.2017 14:13:13", "2017-01-12T14:13:13+03:00", "assumed"),
        ("2017-01-12 14:13:13", "2017-01-12T14:13:13+03:00", "assumed"),
        ("2017-01-12T14:13:13", "2017-01-12T14:13:13+03:00", "assumed"),
        ("2017-01-12T11:13:13Z", "2017-01-12T11:13:13+00:00", "provider"),
        ("2017-01-12T14:13:13+03:00", "2017-01-12T14:13:13+03:00", "provider"),
        ("1484219593250", "2017-01-12T11:13:13.250000+00:00", "provider"),
    ],
)
def test_a_time_is_read_in_every_known_form(text: str, expected: str, zone: str) -> None:
    found = moment(text)

    assert found
    assert (expected, zone) == (found.at.isoformat(), found.zone)


@pytest.mark.parametrize(
    "text",
    [
        *(
            None,
            "",
            "yesterday",
            "20171312 14:13:13",
            "20170112 25:00:00",
            "32/01/2017 00:00:00",
            "0001-01-01",
            "9999-12-31",
        ),
        *("148421959325", "12345678901234", "1999-12-31 23:59:59", "2100-01-01 00:00:00", "0000-00-00 00:00:00"),
    ],
)
def test_a_time_that_nobody_can_read_is_none(text: str | None) -> None:
    assert moment(text) is None
