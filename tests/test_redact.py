"""Card numbers and people stay out of events."""

import pytest

from receiver.redact import pass_through, phone, pseudonym, raw_copy, scrub
from tests.accounts import account_of

KEY = b"k" * 32


@pytest.mark.parametrize(
    "card", ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005", "6011000990139424"]
)
def test_a_whole_card_number_is_taken_out_of_text(card: str) -> None:
    assert scrub(f"card {card} refused") == "card [card] refused"


@pytest.mark.parametrize("text", ["41111111111111111229", "12294111111111111111", "4111..1111..1111..1111"])
def test_a_card_number_beside_its_expiry_date_is_taken_out_too(text: str) -> None:
    assert scrub(text) == "[card]"


@pytest.mark.parametrize("number", ["5000000007", "05000000007", "905000000007", "+905000000007"])
def test_a_mobile_number_is_taken_out_of_text(number: str) -> None:
    assert scrub(f"call {number} now") == "call [phone] now"


@pytest.mark.parametrize(
    "text",
    ["", "4111111111111112", "454360****1234", "123456789012", "order 12345678912345679000", "17|Limit error:onetime"],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert scrub(text) == text


def test_a_raw_copy_holds_the_named_fields_only() -> None:
    fields = {
        "a": "1",
        "b": "4111111111111111",
        "c": True,
        "d": False,
        "e": None,
        "f": "",
        "g": [1],
        "secret": "x",
        "h": "y" * 600,
    }
    copy = raw_copy(fields, ("a", "b", "c", "d", "e", "f", "g", "h", "missing"))

    assert copy == {"a": "1", "b": "[card]", "c": "true", "d": "false", "h": "y" * 500}


@pytest.mark.parametrize("left", [12, 15])
def test_a_cut_leaves_no_card_number_with_its_end_missing(left: int) -> None:
    sent = {"a": " " + "x" * (498 - left) + " 4111111111111111"}

    assert "4" not in raw_copy(sent, ("a",))["a"]
    assert "4" not in pass_through(sent, account_of("paratika", custom=frozenset("a")))["a"]


def test_own_keys_pass_only_by_the_allow_list() -> None:
    fields = {"basket": "B-7", "note": "4111111111111111", "other": "x", "flag": True, "empty": ""}

    assert pass_through(fields, account_of("paratika")) == {}
    allowed = account_of("paratika", custom=frozenset({"basket", "note", "flag", "empty"}))
    assert pass_through(fields, allowed) == {"basket": "B-7", "note": "[card]"}


def test_a_phone_number_is_masked_unless_the_account_shows_it() -> None:
    account = account_of("payguru")

    assert [phone(number, account) for number in (None, "5000000007", "7", "123")] == [
        None,
        "********07",
        "****7",
        "****23",
    ]
    assert phone("5000000007", account_of("payguru", clear_personal=True)) == "5000000007"


def test_a_subscriber_has_a_stable_name_under_the_key() -> None:
    account = account_of("payguru", pseudonym_key=KEY)
    name = pseudonym("5000000007", account)

    assert name == pseudonym("5000000007", account)
    assert name != pseudonym("5000000008", account)
    assert name != pseudonym("5000000007", account_of("payguru", pseudonym_key=b"j" * 32))
    assert name
    assert len(name) == 64


@pytest.mark.parametrize("number", [None, "", "5XXXXXXXXX", "5xxxxxxx07", "50000***07"])
def test_a_masked_number_names_nobody(number: str | None) -> None:
    assert pseudonym(number, account_of("payguru", pseudonym_key=KEY)) is None
    assert pseudonym("5000000007", account_of("payguru")) is None
