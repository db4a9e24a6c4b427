"""Every code of the source documents is in a table, and means what EVENTS settles."""

from dataclasses import replace
from typing import Any

import pytest

from receiver.event import Category, Kind
from receiver.providers import haso, paratika, payguru, payguru_phs, paynet, zotlo
from tests import codes
from tests.samples import Vector, readable


def find(provider: str, name: str) -> Vector:
    return next(vector for vector in readable(provider) if vector.name == name)


def says(vector: Vector, **fields: str) -> tuple[Kind, Category | None]:
    desk = vector.desk()
    vector.changed(**fields).send(desk)
    (event,) = desk.sink.events
    failure = event.says.failure
    return event.says.kind, failure.category if failure else None


def assert_means(expected: tuple[Kind, Category | None], actual: tuple[Kind, Any]) -> None:
    kind, category = expected
    assert kind is actual[0]
    assert category in {None, actual[1]}


def test_the_documents_list_105_numbers_of_paratika() -> None:
    assert len(codes.PARATIKA_NUMBERS) == 105
    assert set(codes.PARATIKA_NUMBERS) == codes.PARATIKA_GROUPS.keys()


def test_each_number_is_in_the_table_of_its_group() -> None:
    table = {number: group for number, group in paratika.CODES.items() if int(number) < 10118}

    assert table == codes.PARATIKA_GROUPS


@pytest.mark.parametrize("number", codes.PARATIKA_NUMBERS)
def test_a_declined_return_means_what_its_group_means(number: str) -> None:
    declined = find("paratika", "derived, declined")

    assert_means(codes.PARATIKA_MEANING[codes.PARATIKA_GROUPS[number]], says(declined, errorCode=f"ERR{number}"))


@pytest.mark.parametrize("number", codes.PARATIKA_NUMBERS)
@pytest.mark.parametrize("brand", ["msu", "ziraatpay", "vakifpays"])
def test_a_number_of_another_brand_is_read_from_its_own_list(number: str, brand: str) -> None:
    declined = replace(find("paratika", "derived, declined"), account={"brand": brand})
    if number in codes.MSU_MEANING:
        expected = codes.MSU_MEANING[number]
    elif number in codes.DAGGER:
        expected = (Kind.PAYMENT_UNKNOWN, Category.UNKNOWN)
    else:
        expected = codes.PARATIKA_MEANING[codes.PARATIKA_GROUPS[number]]

    assert_means(expected, says(declined, errorCode=f"ERR{number}"))


def test_27_numbers_differ_between_the_brands() -> None:
    assert len(codes.DAGGER) == 27


@pytest.mark.parametrize("code", codes.PARATIKA_OTHERS)
def test_a_code_of_the_later_lists_means_what_was_settled(code: str) -> None:
    declined = find("paratika", "derived, declined")

    assert_means(codes.PARATIKA_OTHERS[code], says(declined, errorCode=code))


def test_no_group_of_paratika_makes_a_decline_a_success() -> None:
    kinds = {kind for kind, *_ in paratika.GROUPS.values()}

    assert kinds == {Kind.PAYMENT_FAILED, Kind.PAYMENT_PENDING, Kind.PAYMENT_UNKNOWN}
    assert set(paratika.CODES.values()) | set(paratika.BANK_CODES.values()) <= paratika.GROUPS.keys()


def test_the_response_codes_of_paratika_are_known() -> None:
    names = {"00": "seed sample, 3D", "98": "98, general error", "99": "derived, declined"}
    expected = {"00": Kind.PAYMENT_SUCCEEDED, "98": Kind.PAYMENT_PENDING, "99": Kind.PAYMENT_FAILED}

    assert tuple(names) == codes.PARATIKA_RESPONSES
    assert expected == {code: says(find("paratika", name))[0] for code, name in names.items()}


@pytest.mark.parametrize("status", codes.PAYGURU_STATUSES)
def test_a_status_of_payguru_is_in_its_table(status: str) -> None:
    assert status in payguru.TRANSACTIONS
    assert codes.PAYGURU_STATUSES[status] is says(find("payguru", "status 3"), status=status)[0]


@pytest.mark.parametrize("word", codes.PAYGURU_WORDS)
def test_a_word_of_payguru_is_in_its_table(word: str) -> None:
    assert word in payguru.SUBSCRIPTIONS
    assert codes.PAYGURU_WORDS[word] is says(find("payguru", "word active"), status=word)[0]


@pytest.mark.parametrize("status", codes.PHS_STATUSES)
def test_a_status_of_phs_is_in_its_own_table(status: str) -> None:
    assert status in payguru_phs.STATUSES
    assert codes.PHS_STATUSES[status] is says(find("payguru-phs", "amount 1.00"), status=status)[0]


@pytest.mark.parametrize("number", [*range(-30, 40), 100])
def test_an_unlisted_status_is_unknown_and_never_success(number: int) -> None:
    status = str(number)
    if status not in codes.PAYGURU_STATUSES:
        assert says(find("payguru", "status 3"), status=status)[0] is Kind.PAYMENT_UNKNOWN
    if status not in codes.PHS_STATUSES:
        assert says(find("payguru-phs", "amount 1.00"), status=status)[0] is Kind.PAYMENT_UNKNOWN


def test_the_http_codes_of_the_documents_are_listed() -> None:
    assert set(codes.PAYGURU_HTTP) == payguru.HTTP_ANSWERS.keys()
    assert set(codes.PAYNET_HTTP) == paynet.HTTP_ANSWERS.keys()
    assert set(codes.ZOTLO_HTTP) == zotlo.HTTP_ANSWERS.keys()


def test_the_results_errors_and_states_of_paynet_are_listed() -> None:
    assert set(codes.PAYNET_RESULTS) == paynet.RESULT_CODES.keys()
    assert set(codes.PAYNET_ERROR_TYPES) == paynet.ERROR_TYPES.keys()
    assert set(codes.PAYNET_ORDER_STATES) == paynet.STATUSES.keys()


@pytest.mark.parametrize(("status", "kind"), (codes.ZOTLO_STATUSES | codes.ZOTLO_LATER).items())
def test_a_status_of_zotlo_is_in_its_table(status: str, kind: Kind) -> None:
    assert kind is says(find("zotlo", "start_paid"), **{"parameters.status": status})[0]


def test_zotlo_has_no_other_words_than_the_documents() -> None:
    words = {word.lower().replace("_", "") for word in codes.ZOTLO_CHANGES}

    assert {*codes.ZOTLO_STATUSES, *codes.ZOTLO_LATER} == zotlo.PURCHASES.keys()
    assert words == zotlo.CHANGES.keys()
    assert codes.ZOTLO_STATES == zotlo.STATES
    assert {word: kind for word, (kind, _) in zotlo.REFUND_REASONS.items()} == codes.ZOTLO_REFUNDS


@pytest.mark.parametrize(("word", "kind"), codes.ZOTLO_REFUNDS.items())
def test_a_refund_of_zotlo_by_the_bank_says_so(word: str, kind: Kind) -> None:
    assert kind is says(find("zotlo", "refund"), **{"parameters.refund_reason": word})[0]


@pytest.mark.parametrize(("word", "kind"), codes.ZOTLO_CHANGES.items())
def test_a_change_of_zotlo_means_the_same_however_it_is_spelt(word: str, kind: Kind) -> None:
    change = find("zotlo", "subscription renewal")
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in word).lstrip("_")

    for spelt in (word, word.upper(), word.lower(), snake, snake.upper()):
        assert (spelt, kind) == (spelt, says(change, **{"queue.eventType": spelt})[0])


@pytest.mark.parametrize("word", ["paid", "success", "succeeded", "approved", "renewals", "1", "true", "refund", "0"])
def test_an_unlisted_word_of_zotlo_is_unknown_and_never_success(word: str) -> None:
    assert says(find("zotlo", "start_paid"), **{"parameters.status": word})[0] is Kind.PAYMENT_UNKNOWN
    assert says(find("zotlo", "subscription renewal"), **{"queue.eventType": word})[0] is Kind.SUBSCRIPTION_UNKNOWN


def test_the_instalments_and_codes_of_haso_are_listed() -> None:
    assert codes.HASO_INSTALLMENTS == haso.INSTALLMENTS
    assert set(codes.HASO_CODES) == {haso.SUCCEEDED, haso.REFUND_MADE_BEFORE, haso.REFUND_NOT_FOUND}
