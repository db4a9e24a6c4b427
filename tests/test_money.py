import pytest

from receiver.money import EXPONENTS, Money, currency_code


@pytest.mark.parametrize(
    ("text", "currency", "minor", "value"),
    [
        ("11.76", "TRY", 1176, "11.76"),
        ("11.7", "TRY", 1170, "11.70"),
        ("11", "TL", 1100, "11.00"),
        ("0.05", "TRY", 5, "0.05"),
        ("0", "TRY", 0, "0.00"),
        ("007.10", "EUR", 710, "7.10"),
        ("11.760000", "TRY", 1176, "11.76"),
        ("500", "JPY", 500, "500"),
        ("500.00", "JPY", 500, "500"),
        ("1.234", "KWD", 1234, "1.234"),
        ("999999999999999.99", "TRY", 99999999999999999, "999999999999999.99"),
    ],
)
def test_an_amount_is_read_exactly(text: str, currency: str, minor: int, value: str) -> None:
    amount = Money.parse(text, currency)

    assert (minor, value) == (amount.minor, amount.value)
    assert amount.to_wire() == {"value": value, "minor": minor, "currency": currency_code(currency)}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            " ",
            "1e3",
            "-1",
            "+1",
            "1,00",
            "1.000,00",
            "1 000",
            ".5",
            "5.",
            "1.2.3",
            "NaN",
            "Infinity",
            "0x10",
            "1_0",
        ),
        *("١٢", "1\n", " 1", "12.345", "0.001", "1.00000000001", "1" * 16),
    ],
)
def test_what_is_no_plain_decimal_of_the_currency_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="amount"):
        Money.parse(text, "TRY")


@pytest.mark.parametrize("text", ["", "XYZ", "TRYY", "TR", "₺", "949"])
def test_a_currency_that_is_not_on_the_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="currency"):
        currency_code(text)


@pytest.mark.parametrize("text", ["TL", "tl", " TRY ", "try"])
def test_the_lira_is_known_by_its_old_name(text: str) -> None:
    assert currency_code(text) == "TRY"


def test_the_list_of_currencies_has_no_slip() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in EXPONENTS)
    assert {"TRY": 2, "EUR": 2, "USD": 2, "JPY": 0, "KWD": 3}.items() <= EXPONENTS.items()


def test_no_error_repeats_what_was_sent() -> None:
    with pytest.raises(ValueError, match="plain") as caught:
        Money.parse("4111111111111111", "TRY")

    assert "4111" not in str(caught.value)
