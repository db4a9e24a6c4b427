"""What the APIs of Paratika, Paynet and Zotlo are asked, and what is made of their answers."""

import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest

from receiver.account import Account, Secret
from receiver.asking import Answered, Call, Conversation, Query, QueryError, Sought, Trouble
from receiver.event import Category, Failure, Kind, Statement, Why
from receiver.message import Level, Notification
from receiver.money import Money
from receiver.providers.paynet import Paynet
from receiver.providers.zotlo import Zotlo
from receiver.queries.paratika import KINDS, ParatikaQuery
from receiver.queries.paynet import PaynetQuery
from receiver.queries.zotlo import ZotloQuery
from tests.accounts import account_of

SECRETS = ("SECRET-PASSWORD", "sck_SECRET", "SECRET-KEY", "SECRET-OF-KEY")
PARATIKA = replace(
    account_of("paratika"),
    api={
        "base_url": "https://api.example/paratika/api/v2",
        "merchant": "10000000",
        "user": "api@shop.example",
        "password": Secret("env:PASSWORD", b"SECRET-PASSWORD"),
    },
)
PAYNET = replace(
    account_of("paynet"), api={"base_url": "https://api.example/", "secret_key": Secret("env:KEY", b"sck_SECRET")}
)
ZOTLO = Account(
    "zotlo",
    "shop",
    options={"app_id": "7"},
    api={
        "base_url": "https://api.example",
        "access_key": Secret("env:KEY", b"SECRET-KEY"),
        "access_secret": Secret("env:SECRET", b"SECRET-OF-KEY"),
        "sandbox": True,
    },
)
ORDER, TX = "ORDER-1", "0741a0ac-21d8-4750-941f-064f340700c3"
# The documented sample of an encrypted transaction number: not only letters and digits.
XACT = "xk_EAAAAAh7VYf9HG4+GR9ezqiMWAA8PY6P4eroE4BUUHRCLxGO"
BY_ORDER = Sought("return", Kind.PAYMENT_SUCCEEDED, ORDER)
BY_TX = Sought("webhook", Kind.PAYMENT_SUCCEEDED, payment_ref=TX)
REFUND = Sought("refund", Kind.PAYMENT_REFUND_PENDING, refund_ref="R-1")
ASKING: list[tuple[Query, Sought, Account]] = [
    (ParatikaQuery(), BY_ORDER, PARATIKA),
    (PaynetQuery(), BY_ORDER, PAYNET),
    (ZotloQuery(), BY_TX, ZOTLO),
]
NAMES = ("paratika", "paynet", "zotlo")
Told = list[tuple[Kind, tuple[str | None, ...], int | None, int | None]]


def hold(conversation: Conversation, *answers: object, status: int = 200) -> tuple[list[Call], Sequence[Statement]]:
    """Drive a conversation with these answers, bytes or objects; *status* is that of each."""
    calls, waiting = [], list(answers)
    try:
        call = next(conversation)
        while True:
            calls.append(call)
            body = waiting.pop(0)
            call = conversation.send(Answered(status, body if isinstance(body, bytes) else json.dumps(body).encode()))
    except StopIteration as done:
        assert waiting == []
        return calls, done.value


def trouble(conversation: Conversation, *answers: object, status: int = 200) -> Trouble:
    with pytest.raises(QueryError) as caught:
        hold(conversation, *answers, status=status)
    assert not any(secret in str(caught.value) + repr(caught.value) for secret in SECRETS)
    return caught.value.trouble


def told(found: Sequence[Statement]) -> Told:
    return [
        (one.kind, one.fact_key, one.amount.minor if one.amount else None, one.refund.minor if one.refund else None)
        for one in found
    ]


def ask(name: str) -> Conversation:
    query, sought, account = ASKING[NAMES.index(name)]
    return query.ask(sought, account)


def record(said: str, number: str | None = "P1", **changed: Any) -> dict[str, object]:
    """One record of Paratika's list: *said* is its type and status; the numbers are those of the documented sample."""
    kind, _, status = said.partition(" ")
    fields = {
        "pgTranId": number,
        "pgOrderId": ORDER,
        "transactionType": kind,
        "transactionStatus": status,
        "pgTranReturnCode": "00",
        "amount": 80,
        "currency": "TRY",
        "installmentCount": 1,
        "panLast4": "1234",
        "timeCreated": f"2018-10-12 14:16:26.47{(number or 'P0')[1]}",
    }
    return fields | changed


def listing(*records: object, **changed: object) -> dict[str, object]:
    counts = {"transactionCount": len(records), "totalTransactionCount": len(records)}
    return {"responseCode": "00", "responseMsg": "Approved", **counts, "transactionList": list(records)} | changed


def row(kind: object = "1", number: int = 1, **changed: object) -> dict[str, object]:
    """One row of Paynet's check."""
    fields = {
        "id": number,
        "xact_id": f"xk_{number}",
        "xact_date": f"2026-11-20T10:15:0{number}",
        "transaction_type": kind,
        "agent_reference": ORDER,
        "instalment": 0,
        "card_no": "454360****1234",
        "amount": 100.00,
        "netAmount": 97.5,
        "currency": "TL",
        "authorization_code": "123456",
        "order_id": "BANK-1",
        "is_succeed": True,
    }
    return fields | changed


def checked(*rows: object, **changed: object) -> dict[str, object]:
    return {"object_name": "transaction", "code": 0, "message": "ok", "Data": list(rows)} | changed


# The documented sample, without what stands in custom_parameters.
DETAIL: dict[str, object] = {
    "id": 143199,
    "payment_type": "consumable",
    "original_transaction_id": "d8ff7792-1c63-4370-be93-447dacaa09ea",
    "subscriber_id": "shopper@example.com",
    "transaction_id": TX,
    "provider_transaction_id": "863AB913JK7512U",
    "package_id": "2",
    "status": "consumable",
    "purchase_date": "2024-12-25 11:16:36",
    "expire_date": "2024-12-25 11:16:36",
    "original_purchase_date": "2024-12-25 11:16:36",
    "price": "1.49",
    "currency": "USD",
    "country": "US",
    "provider_name": "PayPal",
    "subscriptionId": 0,
    "custom_parameters": {"paymentMethod": "paypal", "utm": {"source": None}},
}
BACK = {"is_refund": 1, "refund_price": "1.49", "refund_date": "2024-12-26 09:00:00", "refund_reason": ""}


def detail(log: object = None, **changed: object) -> dict[str, object]:
    meta = {"requestId": "Rhk8q8-REQ-676d1460b284f", "httpStatus": 200}
    return {"meta": meta, "result": {"transaction": DETAIL | changed, "transactionLog": log or {"code": "00"}}}


def refusal(code: object, status: int = 400) -> dict[str, object]:
    meta = {"requestId": "x", "httpStatus": status, "errorMessage": "?", "errorCode": code}
    return {"meta": meta, "result": []}


GOOD: dict[str, Callable[[], dict[str, object]]] = {
    "paratika": lambda: listing(
        record("SALE FA", "P1"),
        record("SALE AP", "P2"),
        record("PTREFUND AP", "P3", amount=30),
        record("VOID FA", "P4"),
    ),
    "paynet": lambda: checked(row(is_succeed=False), row(number=2), row("9", 3, amount="40,00"), row("3", 4)),
    "zotlo": lambda: detail(**BACK),
}


# What is asked


def test_each_class_is_a_query_with_its_provider_s_name_and_no_limit() -> None:
    assert [query.name for query, _, _ in ASKING] == list(NAMES)
    assert {(query.limits.per_day, query.limits.per_second) for query, _, _ in ASKING} == {(0, 0)}


@pytest.mark.parametrize(
    ("sought", "name"), [(BY_ORDER, "MERCHANTPAYMENTID"), (Sought("", Kind.PAYMENT_PENDING, None, "P1"), "PGTRANID")]
)
def test_paratika_is_asked_by_a_form_with_its_three_credentials(sought: Sought, name: str) -> None:
    calls, found = hold(ParatikaQuery().ask(sought, PARATIKA), listing())

    assert (calls[0].method, calls[0].url) == ("POST", "https://api.example/paratika/api/v2")
    assert calls[0].headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert parse_qs(calls[0].body.decode()) == {
        "ACTION": ["QUERYTRANSACTION"],
        "MERCHANT": ["10000000"],
        "MERCHANTUSER": ["api@shop.example"],
        "MERCHANTPASSWORD": ["SECRET-PASSWORD"],
        name: [sought.order_ref or "P1"],
    }
    assert list(found) == []


@pytest.mark.parametrize(
    ("sought", "path", "body"),
    [
        (Sought("confirmation", Kind.PAYMENT_SUCCEEDED, ORDER, XACT), "check", {"reference_no": ORDER}),
        (Sought("confirmation", Kind.PAYMENT_SUCCEEDED, None, XACT), "check", {"xact_id": XACT}),
        (Sought("refund", Kind.PAYMENT_REFUND_PENDING, refund_ref=XACT), "detail", {"xact_id": XACT}),
    ],
)
def test_paynet_is_asked_in_json_with_the_key_as_it_is(sought: Sought, path: str, body: object) -> None:
    calls, found = hold(PaynetQuery().ask(sought, PAYNET), checked())

    assert (calls[0].method, calls[0].url) == ("POST", f"https://api.example/v1/transaction/{path}")
    assert calls[0].headers == {
        "Authorization": "Basic sck_SECRET",
        "Content-Type": "application/json",
        "Accept": "application/json",
    }
    assert json.loads(calls[0].body) == body
    assert list(found) == []


@pytest.mark.parametrize(("sandbox", "word"), [(True, "true"), (False, "false")])
def test_zotlo_is_asked_by_get_with_both_keys_in_the_headers(sandbox: bool, word: str) -> None:  # noqa: FBT001
    account = replace(ZOTLO, api={**ZOTLO.api, "sandbox": sandbox})
    calls, _ = hold(ZotloQuery().ask(BY_TX, account), detail())

    assert (calls[0].method, calls[0].body) == ("GET", b"")
    assert calls[0].url == f"https://api.example/v1/transaction/detail?transactionId={TX}&isSandbox={word}"
    assert calls[0].headers == {
        "AccessKey": "SECRET-KEY",
        "AccessSecret": "SECRET-OF-KEY",
        "Content-Type": "application/json",
        "Language": "en",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_question_shows_no_secret(name: str) -> None:
    assert not any(secret in repr(next(ask(name))) for secret in SECRETS)


BENT = (None, "", "\n", "a\r\nX: y", "a\x00", "a" * 201, "\ud800", "a\x85")


@pytest.mark.parametrize("reference", BENT)
@pytest.mark.parametrize("name", NAMES)
def test_an_id_that_can_be_none_of_theirs_is_not_asked_for(name: str, reference: str | None) -> None:
    query, _, account = ASKING[NAMES.index(name)]

    assert hold(query.ask(Sought("", Kind.PAYMENT_PENDING, reference, reference), account)) == ([], [])


@pytest.mark.parametrize(
    "reference", [f"{TX}&isSandbox=false", "../../payment/refund", "a b", "a#b", "a?b", "a/b", "a%26b", "é", ".", "a\n"]
)
def test_an_id_does_not_break_out_of_the_url_of_zotlo(reference: str) -> None:
    assert hold(ZotloQuery().ask(replace(BY_TX, payment_ref=reference), ZOTLO)) == ([], [])


@pytest.mark.parametrize("order", ["A&ACTION=REFUND", "A=1", "A B", "Sipariş-ŞĞÜ", "%26ACTION%3DREFUND", "A+B;C"])
def test_an_order_does_not_break_out_of_the_form_of_paratika(order: str) -> None:
    call = next(ParatikaQuery().ask(replace(BY_ORDER, order_ref=order), PARATIKA))
    sent = parse_qs(call.body.decode(), strict_parsing=True)

    assert (sent["ACTION"], sent["MERCHANTPAYMENTID"]) == (["QUERYTRANSACTION"], [order])


# What is no answer


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, Trouble.API_REFUSED) for status in (401, 403)),
        (429, Trouble.API_LIMITED),
        *((status, Trouble.API_FAULT) for status in (500, 502, 503, 504, 599)),
        *((status, Trouble.API_UNREADABLE) for status in (100, 201, 204, 301, 302, 307, 400, 404, 405, 418)),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_the_status_of_http_says_who_is_at_fault(name: str, status: int, expected: Trouble) -> None:
    assert trouble(ask(name), b"<html>", status=status) is expected


HOSTILE = (
    *(b"", b"<html>ok</html>", b"null", b"[]", b"true", b"7", b'"00"', b"{", b"{}", b"\xff\xfe", b"NaN", b'{"a":NaN}'),
    b'{"responseCode":"99","responseCode":"00","transactionList":[]}',
    b'{"code":0,"code":0,"Data":[]}',
    b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    b'{"responseCode":"00","transactionList":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"meta":{"httpStatus":200},"result":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"responseCode":"00","code":0,"Data":"\\ud800","transactionList":"\\ud800"}',
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_what_is_not_the_documented_object_is_unreadable(name: str, body: bytes) -> None:
    assert trouble(ask(name), body) is Trouble.API_UNREADABLE


JUNK: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    1.5,
    "",
    "00",
    "AP",
    "1",
    "x" * 300,
    [],
    {},
    [1],
    {"a": 1},
    "1e3",
    "\x00",
    "SALE",
)


def mutate(value: Any, dice: random.Random) -> Any:
    """Change one place in a tree: leave it out, double it, or put junk there."""
    if isinstance(value, dict) and value and dice.random() < 0.85:
        name = dice.choice(list(value))
        if dice.random() < 0.15:
            return {key: kept for key, kept in value.items() if key != name}
        return {**value, name: mutate(value[name], dice)}
    if isinstance(value, list) and value and dice.random() < 0.85:
        place = dice.randrange(len(value))
        return [*value[:place], mutate(value[place], dice), *value[place + dice.randrange(2) :]]
    return dice.choice(JUNK)


@pytest.mark.parametrize("name", NAMES)
def test_three_thousand_changed_answers_are_statements_or_no_answer_and_nothing_else(name: str) -> None:
    dice = random.Random(name)
    query, sought, account = ASKING[NAMES.index(name)]
    seen = set()
    for _ in range(3000):
        answer: Any = GOOD[name]()
        for _ in range(dice.randrange(1, 4)):
            answer = mutate(answer, dice)
        try:
            _, found = hold(query.ask(sought, account), answer)
        except QueryError as exc:
            seen.add(exc.trouble)
            continue
        assert all(isinstance(one, Statement) for one in found)
        assert all(one.order_ref == sought.order_ref for one in found)
        assert sought.payment_ref is None or all(one.payment_ref == sought.payment_ref for one in found)
        assert len({one.fact_key for one in found}) == len(found)

    assert {Trouble.API_UNREADABLE, Trouble.OTHER_RECORD} <= seen


# Paratika

SOLD = (Kind.PAYMENT_SUCCEEDED, (ORDER,), 8000, None)


def fact(kind: Kind, number: str | None, said: str, amount: int | None = 8000, refund: int | None = None) -> Any:
    return (kind, (ORDER, number, *said.split()), amount, refund)


FAILED, VOIDED, PART = Kind.PAYMENT_FAILED, Kind.PAYMENT_VOIDED, Kind.PAYMENT_PARTIALLY_REFUNDED
LISTS: dict[str, tuple[list[dict[str, object]], list[Any]]] = {
    "sale": ([record("SALE AP")], [SOLD]),
    "sale beats the attempts": (
        [record("SALE FA", "P1"), record("SALE AP", "P2"), record("SALE FA", "P3"), record("SALE IP", "P4")],
        [SOLD],
    ),
    "two attempts": (
        [record("SALE FA", "P1"), record("SALE AFA", "P2")],
        [fact(FAILED, "P1", "SALE FA"), fact(FAILED, "P2", "SALE AFA")],
    ),
    "attempt without a number": ([record("SALE FA", None)], [fact(FAILED, None, "SALE FA")]),
    "a new attempt goes on": (
        [record("SALE FA", "P1"), record("SALE IP", "P2")],
        [fact(FAILED, "P1", "SALE FA"), fact(Kind.PAYMENT_PENDING, "P2", "SALE IP")],
    ),
    "second sale": (
        [record("SALE AP", "P1"), record("SALE AP", "P2", amount="90.5")],
        [SOLD, (Kind.PAYMENT_SUCCEEDED, (ORDER, "P2"), 9050, None)],
    ),
    "voided": ([record("SALE VD")], [fact(VOIDED, "P1", "SALE VD")]),
    "voided by a record": ([record("SALE AP"), record("VOID AP", "P2")], [SOLD, fact(VOIDED, "P2", "VOID AP")]),
    "a later VD": ([record("SALE AP"), record("VOID VD", "P2")], [SOLD, fact(VOIDED, "P2", "VOID VD")]),
    "voided, then sold anew": (
        [record("SALE VD", "P1"), record("SALE AP", "P2")],
        [fact(VOIDED, "P1", "SALE VD"), (Kind.PAYMENT_SUCCEEDED, (ORDER, "P2"), 8000, None)],
    ),
    "voided by itself, then sold": (
        [record("SALE AVD", "P1"), record("SALE AP", "P2")],
        [fact(VOIDED, "P1", "SALE AVD", None), SOLD],
    ),
    "void refused": (
        [record("SALE AP"), record("VOID FA", "P2")],
        [SOLD, fact(Kind.PAYMENT_REFUND_FAILED, "P2", "VOID FA")],
    ),
    "full refund": (
        [record("SALE AP"), record("REFUND AP", "P2")],
        [SOLD, fact(Kind.PAYMENT_REFUNDED, "P2", "REFUND AP", 8000, 8000)],
    ),
    "refunds that add up": (
        [record("SALE AP"), record("PTREFUND AP", "P2", amount="50.01"), record("PTREFUND AP", "P3", amount="29.99")],
        [
            SOLD,
            fact(PART, "P2", "PTREFUND AP", 8000, 5001),
            fact(Kind.PAYMENT_REFUNDED, "P3", "PTREFUND AP", 8000, 2999),
        ],
    ),
    "a refund of less than all": (
        [record("SALE AP"), record("REFUND AP", "P2", amount=79.99)],
        [SOLD, fact(PART, "P2", "REFUND AP", 8000, 7999)],
    ),
    "refund refused": (
        [record("SALE AP"), record("REFUND FA", "P2")],
        [SOLD, fact(Kind.PAYMENT_REFUND_FAILED, "P2", "REFUND FA")],
    ),
    "refund waits": (
        [record("SALE AP"), record("REFUND WFA", "P2")],
        [SOLD, fact(Kind.PAYMENT_REFUND_PENDING, "P2", "REFUND WFA")],
    ),
    "refunded by itself": ([record("SALE ARND")], [fact(Kind.PAYMENT_REFUNDED, "P1", "SALE ARND", None, 8000)]),
    "reserved": ([record("PREAUTH AP")], [fact(Kind.PAYMENT_AUTHORIZED, "P1", "PREAUTH AP")]),
    "reserved after an attempt": (
        [record("PREAUTH FA", "P1"), record("PREAUTH AP", "P2")],
        [fact(Kind.PAYMENT_AUTHORIZED, "P2", "PREAUTH AP")],
    ),
    "captured": ([record("PREAUTH PA")], [SOLD]),
    "captured, with a record": (
        [record("PREAUTH PA", "P1", amount=90), record("POSTAUTH AP", "P2")],
        [SOLD],
    ),
    "capture refused": (
        [record("PREAUTH AP"), record("POSTAUTH FA", "P2")],
        [fact(Kind.PAYMENT_UNKNOWN, "P2", "POSTAUTH FA"), fact(Kind.PAYMENT_AUTHORIZED, "P1", "PREAUTH AP")],
    ),
    "reservation voided": ([record("PREAUTH VD")], [fact(VOIDED, "P1", "PREAUTH VD", None)]),
    "waits": ([record("SALE MR")], [fact(Kind.PAYMENT_PENDING, "P1", "SALE MR")]),
    "canceled": ([record("SALE CA")], [fact(Kind.PAYMENT_CANCELED, "P1", "SALE CA")]),
    "rejected": ([record("SALE RJ")], [fact(FAILED, "P1", "SALE RJ")]),
    "unlisted status": ([record("SALE ZZ")], [fact(Kind.PAYMENT_UNKNOWN, "P1", "SALE ZZ")]),
    "unlisted type": ([record("GIFT AP")], [fact(Kind.PAYMENT_UNKNOWN, "P1", "GIFT AP")]),
    "status in small letters": ([record("SALE ap")], [fact(Kind.PAYMENT_UNKNOWN, "P1", "SALE ap")]),
    "a query of points": ([record("QUERYPOINTS AP"), record("SALE AP", "P2")], [SOLD]),
    "one record twice": ([record("SALE AP"), record("SALE AP")], [SOLD]),
    "nothing": ([], []),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_list_of_paratika_says_the_same_in_whatever_order_it_comes(case: str) -> None:
    records, expected = LISTS[case]
    for shuffled in itertools.permutations(records):
        _, found = hold(ask("paratika"), listing(*shuffled))
        assert told(found) == expected


def test_every_word_of_the_table_is_read_and_no_other_says_that_money_came() -> None:
    words = {status for statuses in KINDS.values() for status in statuses} | {"", "OK", "00"}
    for kind, status in itertools.product([*KINDS, "OTHER"], sorted(words - {""})):
        _, found = hold(ask("paratika"), listing(record(f"{kind} {status}")))
        sold = (kind, status) in {("SALE", "AP"), ("PREAUTH", "PA"), ("POSTAUTH", "AP"), ("POSTAUTH", "PA")}
        assert [one.kind is Kind.PAYMENT_SUCCEEDED for one in found] == [sold]


@pytest.mark.parametrize("code", ["00", "000", "0000", "VPB-0000", "51", None])
def test_the_return_code_of_the_bank_does_not_matter(code: str | None) -> None:
    assert told(hold(ask("paratika"), listing(record("SALE AP", pgTranReturnCode=code)))[1]) == [SOLD]


def test_a_sale_has_what_the_callback_has() -> None:
    sent = record("SALE AP", customerId="C-7", timeCreatedISO="2018-10-12T11:16:26.474Z")
    _, (sale,) = hold(ask("paratika"), listing(sent))

    assert (sale.order_ref, sale.payment_ref, sale.refund_ref) == (ORDER, "P1", None)
    assert (sale.status_code, sale.amount, sale.customer.ref) == ("AP", Money(8000, "TRY"), "C-7")
    assert sale.card is not None
    assert (sale.card.last4, sale.card.installments) == ("1234", 1)
    assert sale.occurred is not None
    assert (sale.occurred.at.isoformat(), sale.occurred.zone) == ("2018-10-12T11:16:26.474000+00:00", "provider")


def test_a_time_without_a_zone_is_taken_as_turkish_and_marked() -> None:
    _, (sale,) = hold(ask("paratika"), listing(record("SALE AP")))

    assert sale.occurred is not None
    assert (sale.occurred.at.isoformat(), sale.occurred.zone) == ("2018-10-12T14:16:26.471000+03:00", "assumed")


def test_a_refund_names_itself_and_its_sale() -> None:
    _, (_, back) = hold(ask("paratika"), listing(record("SALE AP"), record("REFUND AP", "P2")))

    assert (back.payment_ref, back.refund_ref) == ("P1", "P2")


@pytest.mark.parametrize(
    ("fields", "failure"),
    [
        ({}, Failure(Category.BANK_DECLINE, "FA")),
        ({"pgTranErrorCode": "51"}, Failure(Category.INSUFFICIENT_FUNDS, "51")),
        ({"errorCode": "ERR10090", "pgTranErrorCode": "ISO-54"}, Failure(Category.CARD_DATA, "ERR10090")),
        ({"errorCode": "ERR20034"}, Failure(Category.FRAUD, "ERR20034")),
        ({"errorCode": "ERR30002", "pgTranErrorText": "3D"}, Failure(Category.THREEDS, "ERR30002", "3D")),
        ({"errorCode": "ERR77777"}, Failure(Category.UNKNOWN, "ERR77777")),
    ],
)
def test_a_failed_attempt_says_why_by_the_tables_of_the_callback(fields: dict[str, Any], failure: Failure) -> None:
    _, (one,) = hold(ask("paratika"), listing(record("SALE FA", **fields)))

    assert one.failure == failure


def test_what_did_not_fail_has_no_failure_and_a_cancel_has_the_customer_s() -> None:
    _, found = hold(ask("paratika"), listing(record("SALE AP", errorCode="ERR10090"), record("VOID AP", "P2")))
    _, (canceled,) = hold(ask("paratika"), listing(record("SALE CA")))

    assert [one.failure for one in found] == [None, None]
    assert canceled.failure == Failure(Category.CUSTOMER_CANCELED, "CA")


@pytest.mark.parametrize("last4", ["12345", "1 34", "4111111111111111", "", None, 1234.0])
def test_nothing_but_the_last_four_digits_of_a_card_is_taken(last4: object) -> None:
    _, (sale,) = hold(ask("paratika"), listing(record("SALE AP", panLast4=last4)))

    assert sale.card is not None
    assert sale.card.last4 is None


@pytest.mark.parametrize(
    "answer",
    [
        listing(record("SALE AP"), record("SALE AP", amount=81)),
        listing(record("SALE AP"), totalTransactionCount=2),
        listing(record("SALE AP"), transactionCount="many"),
        listing(transactionList=None, transactionCount=1),
        listing(transactionList=None, transactionCount=None, totalTransactionCount=None),
        listing(transactionList={}),
        listing(None),
        listing("SALE AP"),
        listing(record("SALE AP", None)),
        listing(record("SALE AP", amount=None)),
        listing(record("SALE AP", amount="-80")),
        listing(record("SALE AP", amount=80.001)),
        listing(record("SALE AP", amount=1e30)),
        listing(record("SALE AP", amount="1,234.56")),
        listing(record("SALE AP", currency="XXX")),
        listing(record("SALE AP", currency=949)),
        listing(record("SALE AP", transactionStatus=None)),
        listing(record("SALE AP", transactionType=["SALE"])),
        listing(record("SALE AP"), record("REFUND AP", "P2", currency="USD")),
        listing(record("SALE AP"), responseCode="0"),
        listing(record("SALE AP"), responseCode=True),
        listing(record("SALE AP"), responseCode="99", errorCode=["ERR10034"]),
        listing(record("SALE AP"), responseCode="77"),
    ],
)
def test_a_list_of_paratika_that_contradicts_itself_or_lacks_something_is_unreadable(answer: object) -> None:
    assert trouble(ask("paratika"), answer) is Trouble.API_UNREADABLE


def test_no_list_beside_a_count_of_none_is_an_empty_list() -> None:
    assert list(hold(ask("paratika"), listing(transactionList=None))[1]) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"pgOrderId": "ORDER-2"},
        {"pgOrderId": "X-ORDER-1"},
        {"pgOrderId": "12345-ORDER-1"},
        {"pgOrderId": "ORDER-1-2"},
        {"merchantPaymentId": "ORDER-2"},
        {"merchantPaymentId": "order-1"},
    ],
)
def test_a_record_of_another_order_is_no_answer(fields: dict[str, Any]) -> None:
    answer = listing(record("SALE AP"), record("SALE FA", "P2", **fields))

    assert trouble(ask("paratika"), answer) is Trouble.OTHER_RECORD


@pytest.mark.parametrize(
    "fields",
    [
        {"pgOrderId": None},
        {"pgOrderId": "10000000-ORDER-1"},
        {"pgOrderId": "123456-ORDER-1"},
        {"merchantPaymentId": ORDER, "pgOrderId": "made by the bank"},
    ],
)
def test_the_bank_may_write_the_order_in_its_own_way(fields: dict[str, Any]) -> None:
    assert told(hold(ask("paratika"), listing(record("SALE AP", **fields)))[1]) == [SOLD]


def test_asked_by_the_bank_s_number_the_list_must_hold_it_and_name_its_order() -> None:
    sought = Sought("return", Kind.PAYMENT_SUCCEEDED, None, "P1")
    named = record("SALE AP", merchantPaymentId=ORDER)

    assert told(hold(ParatikaQuery().ask(sought, PARATIKA), listing(named))[1]) == [SOLD]
    other = listing(named | {"pgTranId": "P2"})
    assert trouble(ParatikaQuery().ask(sought, PARATIKA), other) is Trouble.OTHER_RECORD
    assert trouble(ParatikaQuery().ask(sought, PARATIKA), listing(record("SALE AP"))) is Trouble.API_UNREADABLE


@pytest.mark.parametrize(
    ("code", "error", "expected"),
    [
        ("99", "ERR10020", Trouble.API_REFUSED),
        ("99", "ERR10060", Trouble.API_REFUSED),
        ("99", "ERR10010", Trouble.API_REFUSED),
        ("99", "ERR10019", Trouble.API_FAULT),
        ("98", "ERR77777", Trouble.API_FAULT),
        ("99", "ERR77777", Trouble.API_UNREADABLE),
        ("99", None, Trouble.API_UNREADABLE),
        ("01", None, Trouble.API_UNREADABLE),
    ],
)
def test_a_query_that_paratika_refuses_is_no_answer(code: str, error: str | None, expected: Trouble) -> None:
    assert trouble(ask("paratika"), {"responseCode": code, "errorCode": error}) is expected


@pytest.mark.parametrize("error", ["ERR10030", "ERR10034", "10034"])
def test_what_paratika_does_not_find_is_an_empty_list(error: str) -> None:
    assert list(hold(ask("paratika"), {"responseCode": "99", "errorCode": error})[1]) == []


# Paynet

PAID = (Kind.PAYMENT_SUCCEEDED, (ORDER, "123456", "BANK-1", "true"), 10000, None)


def other(kind: Kind, number: int, code: str, amount: int | None = 10000, refund: int | None = None) -> Any:
    return (kind, ("transaction", ORDER, str(number), code, "true"), amount, refund)


ROWS: dict[str, tuple[list[dict[str, object]], list[Any]]] = {
    "sale": ([row()], [PAID]),
    "sale, by letter": ([row("S")], [PAID]),
    "capture": ([row("3", 1, authorization_code="9"), row("CR", 2)], [other(Kind.PAYMENT_AUTHORIZED, 1, "3"), PAID]),
    "sale beats the attempt": ([row(is_succeed=False, authorization_code=None), row(number=2)], [PAID]),
    "attempt": ([row(is_succeed="False")], [(FAILED, (ORDER, "123456", "BANK-1", "false"), 10000, None)]),
    "paid twice": (
        [row(), row(number=2, authorization_code="777")],
        [PAID, (Kind.PAYMENT_SUCCEEDED, (ORDER, "777", "BANK-1", "true"), 10000, None)],
    ),
    "paid twice, alike": ([row(), row(number=2)], [PAID, (Kind.PAYMENT_SUCCEEDED, (*PAID[1], "2"), 10000, None)]),
    "voided": ([row(), row("2", 2)], [PAID, other(VOIDED, 2, "2")]),
    "reservation voided": ([row("RP", 2)], [other(VOIDED, 2, "5", None)]),
    "refunded": ([row(), row("CD", 2)], [PAID, other(Kind.PAYMENT_REFUNDED, 2, "9", 10000, 10000)]),
    "refunds that add up": (
        [row(), row("9", 2, amount="40,00"), row("9", 3, amount=60)],
        [PAID, other(PART, 2, "9", 10000, 4000), other(Kind.PAYMENT_REFUNDED, 3, "9", 10000, 6000)],
    ),
    "points used": ([row(), row("10", 2)], [other(Kind.PAYMENT_UNKNOWN, 2, "10"), PAID]),
    "a query": ([row("7"), row(number=2)], [PAID]),
    "one row twice": ([row(), row()], [PAID]),
    "encrypted number only": (
        [row(), row("2", 2, id=None)],
        [PAID, (VOIDED, ("transaction", ORDER, "xk_2", "2", "true"), 10000, None)],
    ),
    "nothing": ([], []),
}


@pytest.mark.parametrize("case", ROWS)
def test_the_rows_of_paynet_say_the_same_in_whatever_order_they_come(case: str) -> None:
    rows, expected = ROWS[case]
    for shuffled in itertools.permutations(rows):
        assert told(hold(ask("paynet"), checked(*shuffled))[1]) == expected


@pytest.mark.parametrize("value", [True, "true", "TRUE", "1", 1])
def test_a_sale_is_what_the_confirmation_would_have_said(value: object) -> None:
    sent = {name: str(row()[name]) for name in ("amount", "currency", "xact_id", "xact_date", "order_id")}
    sent |= {"referance_no": ORDER, "is_succeed": "true", "authorization_code": "123456", "instalment": "0"}
    sent |= {"card_number": "454360****1234"}
    note = Notification(sent, Level.ROUTE, "env:TOKEN")
    fields = Paynet.channels["confirmation"].schema.load(sent)
    callback = Paynet().normalize(fields, note, "confirmation", PAYNET)
    _, (found,) = hold(ask("paynet"), checked(row(is_succeed=value)))

    assert replace(found, status_code="true") == callback


@pytest.mark.parametrize(
    "answer",
    [
        checked(row(), code=100),
        checked(row(), code="0"),
        checked(Data=row()),
        {"code": 0, "data": [row()]},
        {"code": 0, "data": row()},
    ],
)
def test_the_shapes_of_a_good_answer_of_paynet_say_one_thing(answer: object) -> None:
    assert told(hold(ask("paynet"), answer)[1]) == [PAID]


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (checked(), 200),
        (checked(Data=None), 200),
        (checked(Data={}), 200),
        ({"code": 12, "message": "nodata"}, 200),
        ({"type": "no_data_error", "code": 404, "result_code": 12}, 404),
        ({"type": "no_data_error", "code": 400}, 400),
        ({"message": "?"}, 404),
    ],
)
def test_what_paynet_does_not_know_is_an_empty_list(answer: object, status: int) -> None:
    assert list(hold(ask("paynet"), answer, status=status)[1]) == []


@pytest.mark.parametrize(
    ("answer", "status", "expected"),
    [
        *((checked(row(), code=code), 200, Trouble.API_FAULT) for code in (8, 10)),
        *((checked(row(), code=code), 200, Trouble.API_REFUSED) for code in (7, 2, 11)),
        *((checked(row(), code=code), 200, Trouble.API_UNREADABLE) for code in (1, 5, 77, None, True, "", [0])),
        ({"type": "authorization_error", "code": 400}, 400, Trouble.API_REFUSED),
        ({"type": "api_error", "result_code": 8}, 400, Trouble.API_FAULT),
        ({"type": "authorization_error"}, 404, Trouble.API_REFUSED),
        ({"type": "?"}, 400, Trouble.API_UNREADABLE),
        ({"type": ["no_data_error"]}, 400, Trouble.API_UNREADABLE),
        (checked(row()), 400, Trouble.API_UNREADABLE),
    ],
)
def test_a_query_that_paynet_refuses_is_no_answer(answer: object, status: int, expected: Trouble) -> None:
    assert trouble(ask("paynet"), answer, status=status) is expected


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 0},
        {"code": 0, "Data": [row()], "data": [row()]},
        checked(Data="x"),
        checked(None),
        checked(row(), "x"),
        checked(row(), row(amount=99)),
        checked(row(), row("2")),
        checked(row(), row("9", 2, currency="USD")),
        checked(row("9")),
        checked(row(is_succeed="yes")),
        checked(row(is_succeed=2)),
        checked(row(is_succeed=None)),
        checked(row(amount=None)),
        checked(row(amount="1.000,00")),
        checked(row(amount=1e-9)),
        checked(row(currency="YTL")),
        checked(row(currency=None)),
        checked(row(id=None, xact_id=None)),
        checked(row(agent_reference=None)),
        checked(row(transaction_type=None)),
        checked(row(agent_reference=[ORDER])),
    ],
)
def test_rows_of_paynet_that_contradict_each_other_or_lack_something_are_unreadable(answer: object) -> None:
    assert trouble(ask("paynet"), answer) is Trouble.API_UNREADABLE


@pytest.mark.parametrize(
    "fields",
    [
        {"agent_reference": "ORDER-2"},
        {"reference_no": "ORDER-2"},
        {"reference_no": ORDER, "agent_reference": "ORDER-2"},
    ],
)
def test_a_row_of_another_reference_is_no_answer(fields: dict[str, object]) -> None:
    assert trouble(ask("paynet"), checked(row(), row(number=2, **fields))) is Trouble.OTHER_RECORD


def refund() -> Conversation:
    return PaynetQuery().ask(REFUND, PAYNET)


BACKED = row("9", 2, xact_id="R-1", amount=40)


def test_a_refund_is_asked_for_and_then_its_order_which_tells_whether_it_is_all() -> None:
    calls, found = hold(refund(), checked(BACKED), checked(row()))

    assert [(call.url.rpartition("/")[2], json.loads(call.body)) for call in calls] == [
        ("detail", {"xact_id": "R-1"}),
        ("check", {"reference_no": ORDER}),
    ]
    assert told(found) == [PAID, other(PART, 2, "9", 10000, 4000)]
    assert (found[1].payment_ref, found[1].refund_ref) == ("xk_1", "R-1")


def test_a_refund_whose_sale_nobody_knows_is_no_answer() -> None:
    assert trouble(refund(), checked(BACKED), checked()) is Trouble.API_UNREADABLE
    assert trouble(refund(), checked(BACKED), checked(BACKED)) is Trouble.API_UNREADABLE


def test_a_refund_is_not_that_of_another_transaction() -> None:
    assert trouble(refund(), checked(row("9", 3))) is Trouble.OTHER_RECORD
    assert trouble(refund(), checked(BACKED), checked(row(agent_reference="X"))) is Trouble.OTHER_RECORD


def test_a_refund_that_was_refused_needs_no_sale() -> None:
    _, (one,) = hold(refund(), checked(BACKED | {"is_succeed": False}))

    assert (one.kind, one.refund_ref, one.refund) == (Kind.PAYMENT_REFUND_FAILED, "R-1", None)


# Zotlo


def posted(kind: str, fields: Mapping[str, object]) -> Statement:
    sent = {"queue.type": kind, **{f"parameters.{name}": value for name, value in fields.items()}}
    note = Notification(sent, Level.ROUTE, "env:TOKEN")
    return Zotlo().normalize(Zotlo.channels["webhook"].schema.load(sent), note, "webhook", ZOTLO)


def test_the_documented_sample_says_what_the_post_would_have_said() -> None:
    _, (found,) = hold(ask("zotlo"), detail())

    assert found == posted("TransactionInsert", {**DETAIL, "id": "143199"})
    assert (found.kind, found.reason, found.amount) == (Kind.PAYMENT_SUCCEEDED, Why.ONE_TIME, Money(149, "USD"))
    assert (found.payment_ref, found.subscription_ref) == (TX, None)


@pytest.mark.parametrize(
    ("fields", "kind", "refund"),
    [
        (BACK, Kind.PAYMENT_REFUNDED, 149),
        ({**BACK, "is_refund": True}, Kind.PAYMENT_REFUNDED, 149),
        ({**BACK, "is_refund": None}, Kind.PAYMENT_REFUNDED, 149),
        ({**BACK, "refund_price": 0.5}, Kind.PAYMENT_PARTIALLY_REFUNDED, 50),
        ({**BACK, "refund_reason": "chargeback_dispute"}, Kind.PAYMENT_CHARGED_BACK, 149),
        ({"is_refund": "1"}, Kind.PAYMENT_REFUNDED, None),
    ],
)
def test_a_refund_is_told_after_its_purchase(fields: dict[str, object], kind: Kind, refund: int | None) -> None:
    _, found = hold(ask("zotlo"), detail(**fields))
    sent = {**DETAIL, **fields, "id": "1"}
    text = {name: str(value) if isinstance(value, int | float) else value for name, value in sent.items()}

    assert [one.kind for one in found] == [Kind.PAYMENT_SUCCEEDED, kind]
    assert found[1] == posted("TransactionRefund", text)
    assert (found[1].refund.minor if found[1].refund else None) == refund


@pytest.mark.parametrize("fields", [{"is_refund": "0", "refund_price": None}, {"is_refund": 0, "refund_price": "0.00"}])
def test_what_was_not_refunded_is_a_purchase_alone(fields: dict[str, object]) -> None:
    assert len(hold(ask("zotlo"), detail(**fields))[1]) == 1


@pytest.mark.parametrize(
    ("status", "price", "kind"),
    [
        ("trial", "0.00", Kind.SUBSCRIPTION_TRIAL_STARTED),
        ("trial", "1.00", Kind.PAYMENT_SUCCEEDED),
        ("renewal", 9.99, Kind.PAYMENT_SUCCEEDED),
        ("something_new", "9.99", Kind.PAYMENT_UNKNOWN),
    ],
)
def test_the_tables_of_the_post_say_what_a_purchase_is(status: str, price: object, kind: Kind) -> None:
    _, (found,) = hold(ask("zotlo"), detail(status=status, price=price, subscriptionId=2005))

    assert (found.kind, found.subscription_ref) == (kind, "2005")


@pytest.mark.parametrize("log", [{"code": "INSUFFICIENT_FUNDS"}, [{"code": "insufficient_funds"}]])
def test_a_payment_whose_log_says_a_known_word_of_failure_has_failed(log: object) -> None:
    _, (found,) = hold(ask("zotlo"), detail(log))

    assert (found.kind, found.fact_key) == (FAILED, (TX, "consumable", "failed", "INSUFFICIENT_FUNDS"))
    assert found.failure == Failure(Category.INSUFFICIENT_FUNDS, "INSUFFICIENT_FUNDS")


@pytest.mark.parametrize(
    "fields",
    [
        {"transaction_id": "another"},
        {"transaction_id": TX.upper()},
        {"app_id": 8},
        {"app_id": [7]},
        {"subscriptionId": 6, "original_transaction_id": "x"},
    ],
)
def test_the_record_of_another_payment_is_no_answer(fields: dict[str, object]) -> None:
    sought = replace(BY_TX, subscription_ref="5")
    good = {"subscriptionId": 5, "app_id": 7}

    assert len(hold(ZotloQuery().ask(sought, ZOTLO), detail(**good))[1]) == 1
    assert trouble(ZotloQuery().ask(sought, ZOTLO), detail(**{**good, **fields})) is Trouble.OTHER_RECORD


@pytest.mark.parametrize(
    "answer",
    [
        detail(transaction_id=None),
        detail(transaction_id=[TX]),
        detail(status=None),
        detail(price=None),
        detail(price="1,234.5"),
        detail(price=-1),
        detail(currency="US"),
        detail(currency=None),
        detail(is_refund="yes"),
        detail(is_refund={}),
        detail(**{**BACK, "is_refund": 0}),
        detail(**{**BACK, "is_refund": None, "refund_date": None}),
        detail(**{**BACK, "refund_price": "1.50"}),
        detail(**{**BACK, "refund_price": "0"}),
        detail({"code": "EXPIRED_CARD"}, **BACK),
        {**detail(), "meta": {"httpStatus": 400}},
        {**detail(), "meta": {}},
        {**detail(), "meta": []},
        {**detail(), "result": "x"},
        {**detail(), "result": [1]},
        {**detail(), "result": {"transactionLog": {}}},
        {**detail(), "result": {"transaction": [1]}},
    ],
)
def test_a_record_of_zotlo_that_contradicts_itself_or_lacks_something_is_unreadable(answer: object) -> None:
    assert trouble(ask("zotlo"), answer) is Trouble.API_UNREADABLE


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("401002", 400, Trouble.API_REFUSED),
        (401002, 200, Trouble.API_REFUSED),
        ("401002", 500, Trouble.API_REFUSED),
        ("404001", 400, Trouble.API_REFUSED),
        ("500000", 500, Trouble.API_FAULT),
        ("500000", 200, Trouble.API_FAULT),
        ("777", 500, Trouble.API_FAULT),
        ("777", 400, Trouble.API_UNREADABLE),
        (["400009"], 400, Trouble.API_UNREADABLE),
        (None, 400, Trouble.API_UNREADABLE),
    ],
)
def test_a_query_that_zotlo_refuses_is_no_answer(code: object, status: int, expected: Trouble) -> None:
    assert trouble(ask("zotlo"), refusal(code, status), status=status) is expected


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (refusal(400009), 400),
        (refusal("400008"), 400),
        ({**detail(), "result": []}, 200),
        ({**detail(), "result": {}}, 200),
        ({**detail(), "result": {"transaction": None, "transactionLog": {"code": "1"}}}, 200),
    ],
)
def test_what_zotlo_does_not_know_is_an_empty_list(answer: object, status: int) -> None:
    assert list(hold(ask("zotlo"), answer, status=status)[1]) == []
