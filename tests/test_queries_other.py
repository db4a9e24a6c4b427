"""What the APIs of Payguru, Payguru PHS and HASO are asked, and what is made of their answers."""

import json
import random
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest

from receiver.account import Account, Secret
from receiver.asking import Answered, Call, Conversation, Query, QueryError, Sought, Trouble
from receiver.event import Event, Installment, Kind, Statement, Trust, Why
from receiver.message import CallbackRequest, Level
from receiver.money import Money
from receiver.providers.payguru import Payguru
from receiver.providers.payguru_phs import PayguruPhs
from receiver.queries.haso import HasoQuery
from receiver.queries.payguru import PAGE, PAGES, PayguruQuery
from receiver.queries.payguru_phs import PayguruPhsQuery

NOW = datetime(2026, 11, 22, 22, 30, tzinfo=UTC)
BASE = "https://api.example"
SECRETS = ("MERCHANTKEY", "SERVICEKEY", "MERCHANT KEY", "HMAC-KEY", "THE-SALT")

MOBILE = Account(
    "payguru", "shop", options={"names": {}}, api={"base_url": BASE, "merchant_id": "77", "service_id": "1234"}
)
PHS = Account(
    "payguru-phs",
    "shop",
    # The sample of the token page has a merchant key of its own; the notices are hashed under the joined value.
    secrets=(Secret("env:PHS", b"MERCHANTKEYSERVICEKEY", (b"MERCHANT KEY", b"SERVICEKEY")),),
    options={"merchant_id": "123", "service_code": "XXX", "accept": [3, 6]},
    api={
        "base_url": f"{BASE}/",
        "server_ip": "123.123.123.123",
    },
)
HASO = Account(
    "haso",
    "shop",
    options={"merchant_id": "1000"},
    api={
        "base_url": BASE,
        "ip_address": "203.0.113.5",
        "hmac_key": Secret("env:KEY", b"KEY"),
        "salt": Secret("env:SALT", b"SALT"),
    },
)

# The documented sample of a subscription (payguru.md 1A.9), as it is printed there.
SUBSCRIPTION = (
    b'{"response":{"result":"SUCCESS","resultCode":"0000","resultDescription":"SUCCESS","resultDetail":null,'
    b'"timeElapsed":"8 ms","responseTime":"2017-12-13T15:29:00"},"subscription":{"id":12345678,"service":1234,'
    b'"status":"suspend","msisdn":"5XXXXXXXXX","operator":5,"subscriptionFee":12,"period":"weekly",'
    b'"subscriptionDate":"2017-12-13T15:15:39","renewalDate":1513167339174,"cancellationDate":null,'
    b'"hasTrialPeriod":false,"trialPeriodDay":0,"lastTransaction":{"id":12345678912345,"service":1234,"status":4,'
    b'"operator":5,"amount":12,"error":"Yetersiz limit","errorDetail":"17|Limit error:onetime",'
    b'"transactionDate":"2017-12-13T15:15:39","referenceCode":"null","subscriptionId":12345678},'
    b'"lastSuccessfulTransaction":null}}'
)
RECORD: dict[str, Any] = json.loads(SUBSCRIPTION)["subscription"]
CHARGE: dict[str, Any] = RECORD["lastTransaction"]
GOOD = {"result": "SUCCESS", "resultCode": "0000"}
TOKEN = {"status": "000", "message": "Success", "token": "{3E53E639-5173-D1B6-9368-68FCBCF72342}"}
PAID: dict[str, Any] = {
    "id": 12345,
    "merchant": 123,
    "service_code": "XXX",
    "code": "XXXX01234567",
    "amount": "1.00",
    "currency": "TL",
    "user_name": "AYSE YILMAZ",
    "order_refno": "ORD-1",
    "remote_description": "AYSE YILMAZ 5301112233",
    "transaction_date": "2026-11-20 10:15:00",
    "status": 3,
}
PLAN: list[dict[str, Any]] = [
    {"paymentCode": "P1", "amount": "25000", "status": 1, "paymentDate": "2026-12-01T00:00:00"},
    {"paymentCode": "P2", "amount": "25000", "status": 0, "paymentDate": "soon"},
]

TX = Sought("transaction", Kind.PAYMENT_SUCCEEDED, "ORD-77", payment_ref="12345678912345")
SUBS = Sought("subscription", Kind.SUBSCRIPTION_ACTIVATED, subscription_ref="12345678")
CASH = Sought("notify", Kind.PAYMENT_SUCCEEDED, "ORD-1", payment_ref="12345")
CREDIT = Sought("callback", Kind.PAYMENT_PENDING, "OID-1", payment_ref="TC-1")


class AsksOnError(Exception):
    """The conversation has a question more than the test has answers: a search with another page."""


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def hold(conversation: Generator[Call, Answered, Any], *answers: object, status: int = 200) -> tuple[list[Call], Any]:
    """Drive a conversation with these answers; *status* is the last one's."""
    calls = []
    waiting = list(answers)
    try:
        calls.append(next(conversation))
        while True:
            if not waiting:
                raise AsksOnError
            body = waiting.pop(0)
            http = 200 if waiting else status
            calls.append(conversation.send(Answered(http, body if isinstance(body, bytes) else encoded(body))))
    except StopIteration as done:
        assert waiting == []
        return calls, done.value


def trouble(conversation: Generator[Call, Answered, Any], *answers: object, status: int = 200) -> Trouble:
    with pytest.raises(QueryError) as caught:
        hold(conversation, *answers, status=status)
    assert not any(secret in str(caught.value) + repr(caught.value) for secret in SECRETS)
    return caught.value.trouble


def mobile(**changed: object) -> dict[str, object]:
    return {"response": GOOD, "transaction": {**CHARGE, "status": 3, "error": None, "errorDetail": None, **changed}}


def subscribed(**changed: object) -> dict[str, object]:
    return {"response": GOOD, "subscription": {**RECORD, **changed}}


def cash(**changed: object) -> dict[str, object]:
    return {"status": "000", "message": "Success", "transaction": {**PAID, **changed}}


def credit(plan: object = PLAN, name: str = "Payments", **named: object) -> dict[str, object]:
    return {"Success": True, "Errors": [], "Data": {name: plan, **named}}


def event_of(said: Statement) -> Event:
    return Event("any", "shop", "api", test=True, received_at=NOW, trust=Trust(Level.CONFIRMED), says=said)


def ask_mobile() -> Conversation:
    return PayguruQuery().ask(TX, MOBILE)


def ask_subscription() -> Conversation:
    return PayguruQuery().ask(SUBS, MOBILE)


def ask_cash() -> Conversation:
    return PayguruPhsQuery().ask(CASH, PHS)


def ask_credit() -> Conversation:
    return HasoQuery().ask(CREDIT, HASO)


def ask_search() -> Conversation:
    return PayguruQuery().listed(NOW, NOW + timedelta(days=1), MOBILE)


def notice_of_payguru(query: str, channel: str) -> Statement:
    provider = Payguru()
    request = CallbackRequest(channel, "GET", query.encode(), b"", None, NOW, "test")
    note = provider.verify(request, MOBILE, "env:TOKEN")[0]
    return provider.normalize(provider.channels[channel].schema.load(note.fields), note, channel, MOBILE)


def test_each_class_is_a_query_with_its_provider_s_name_and_limits() -> None:
    queries: Sequence[Query] = (PayguruQuery(), PayguruPhsQuery(), HasoQuery())

    assert [query.name for query in queries] == ["payguru", "payguru-phs", "haso"]
    assert [(query.limits.per_day, query.limits.per_second) for query in queries] == [(1000, 5), (0, 0), (0, 0)]


# Payguru mobile


def test_a_transaction_is_asked_for_by_its_id_and_said_as_the_callback_would_have_said_it() -> None:
    calls, found = hold(ask_mobile(), mobile(status=4, error="Yetersiz limit", errorDetail="17|Limit error:onetime"))
    query = "msisdn=5XXXXXXXXX&txId=12345678912345&status=4&amount=12&service=1234&error=Yetersiz%20limit"
    callback = notice_of_payguru(query + "&errorDesc=17%7CLimit%20error%3Aonetime&subsId=12345678", "transaction")

    assert [(call.method, call.url) for call in calls] == [
        ("GET", f"{BASE}/MicroPayment/transaction/detail/77/1234/12345678912345")
    ]
    assert [replace(said, occurred=None, customer=callback.customer) for said in found] == [callback]
    assert found[0].fact_key == ("transaction", "12345678", "12345678912345", "4", "Yetersiz limit")


def test_the_documented_slip_is_read_too() -> None:
    sent = {"response": GOOD, "subscription": mobile()["transaction"]}
    _, found = hold(ask_mobile(), sent)

    assert [(said.kind, said.amount) for said in found] == [(Kind.PAYMENT_SUCCEEDED, Money(1200, "TRY"))]


@pytest.mark.parametrize(("literal", "minor"), [("12", 1200), ("12.3", 1230), ("0.29", 29), ("12.30000", 1230)])
def test_an_amount_is_taken_as_it_is_written(literal: str, minor: int) -> None:
    body = encoded(mobile()).replace(b'"amount": 12', b'"amount": ' + literal.encode())
    _, found = hold(ask_mobile(), body)

    assert [said.amount for said in found] == [Money(minor, "TRY")]


@pytest.mark.parametrize("literal", ["1e3", "12.345", "-12", "true", "[12]", '{"a":1}', '"12 TL"', "null", '""'])
def test_a_success_without_a_plain_amount_is_unreadable(literal: str) -> None:
    body = encoded(mobile()).replace(b'"amount": 12', b'"amount": ' + literal.encode())

    assert trouble(ask_mobile(), body) is Trouble.API_UNREADABLE


@pytest.mark.parametrize("told", ["2017-12-13T15:15:39", 1513167339000])
def test_both_shapes_of_a_date_are_one_moment(told: object) -> None:
    _, found = hold(ask_mobile(), mobile(transactionDate=told))

    assert [said.occurred.at.astimezone(UTC).isoformat() for said in found] == ["2017-12-13T12:15:39+00:00"]


def test_the_day_of_the_charge_is_not_the_day_of_its_refund() -> None:
    _, found = hold(ask_mobile(), mobile(status=6))

    assert [(said.kind, said.occurred) for said in found] == [(Kind.PAYMENT_REFUNDED, None)]


def test_an_unlisted_status_is_unknown() -> None:
    _, found = hold(ask_mobile(), mobile(status=77))

    assert [said.kind for said in found] == [Kind.PAYMENT_UNKNOWN]


def test_the_documented_sample_of_a_subscription_is_read() -> None:
    calls, found = hold(ask_subscription(), SUBSCRIPTION)
    callback = notice_of_payguru(
        "msisdn=5XXXXXXXXX&subsId=12345678&txId=12345678912345&status=suspend&operator=5&service=1234&order=null",
        "subscription",
    )

    assert [call.url for call in calls] == [f"{BASE}/MicroPayment/subscription/detail/77/1234/12345678"]
    assert found == [callback]


def test_an_active_subscription_goes_with_its_last_successful_charge() -> None:
    paid = {**CHARGE, "id": 99, "status": 3}
    _, found = hold(ask_subscription(), subscribed(status="active", lastSuccessfulTransaction=paid))

    assert [said.fact_key for said in found] == [("subscription", "12345678", "99", "active", None)]


def test_an_old_charge_does_not_prove_that_a_suspended_subscription_is_active() -> None:
    paid = {**CHARGE, "id": 99, "status": 3}
    _, found = hold(ask_subscription(), subscribed(lastSuccessfulTransaction=paid))

    assert [(said.kind, said.payment_ref) for said in found] == [(Kind.SUBSCRIPTION_SUSPENDED, "12345678912345")]


def test_a_canceled_subscription_tells_when() -> None:
    _, found = hold(ask_subscription(), subscribed(status="cancelled", cancellationDate="2018-01-01T10:00:00"))

    assert [(said.kind, said.occurred.at.isoformat()) for said in found] == [
        (Kind.SUBSCRIPTION_CANCELED, "2018-01-01T10:00:00+03:00")
    ]


@pytest.mark.parametrize(
    "ref", [None, "", "../refund/77/1234/5", "5/../../refund", "5?x", "5#", "5%2F", "\u0665", "5\n", " 5"]
)
def test_an_id_that_is_no_number_never_comes_into_a_url(ref: str | None) -> None:
    for query, account in ((PayguruQuery(), MOBILE), (PayguruPhsQuery(), PHS)):
        assert isinstance(query, PayguruQuery | PayguruPhsQuery)
        for channel in ("transaction", "subscription", "notify"):
            sought = Sought(channel, Kind.PAYMENT_SUCCEEDED, payment_ref=ref, subscription_ref=ref)
            assert hold(query.ask(sought, account)) == ([], [])


def test_a_setting_that_is_no_number_never_comes_into_a_url() -> None:
    account = replace(MOBILE, api={**MOBILE.api, "merchant_id": "../refund"})

    assert trouble(PayguruQuery().ask(TX, account)) is Trouble.API_REFUSED


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"id": 1}, Trouble.OTHER_RECORD),
        ({"id": "x"}, Trouble.OTHER_RECORD),
        ({"id": None}, Trouble.OTHER_RECORD),
        ({"service": 9}, Trouble.OTHER_RECORD),
        ({"service": None}, Trouble.API_UNREADABLE),
        ({"status": None}, Trouble.API_UNREADABLE),
        ({"status": True}, Trouble.API_UNREADABLE),
        ({"status": [3]}, Trouble.API_UNREADABLE),
        ({"subscriptionId": {"id": 1}}, Trouble.API_UNREADABLE),
        ({"referenceCode": ["ORD-77"]}, Trouble.API_UNREADABLE),
    ],
)
def test_a_record_of_another_payment_or_of_a_wrong_form_is_no_answer(
    changed: dict[str, object], expected: Trouble
) -> None:
    assert trouble(ask_mobile(), mobile(**changed)) is expected


def test_a_subscription_with_the_charge_of_another_one_is_no_answer() -> None:
    other = subscribed(lastTransaction={**CHARGE, "subscriptionId": 5})
    odd = subscribed(lastTransaction={**CHARGE, "id": "../5"})

    assert trouble(ask_subscription(), other) is Trouble.OTHER_RECORD
    assert trouble(ask_subscription(), odd) is Trouble.API_UNREADABLE


@pytest.mark.parametrize(
    ("sent", "status"),
    [(b"", 204), ({"response": {"result": "FAILED"}}, 404), ({"response": GOOD, "transaction": None}, 200)],
)
def test_what_payguru_does_not_know_is_an_empty_list(sent: object, status: int) -> None:
    assert hold(ask_mobile(), sent, status=status)[1] == []


@pytest.mark.parametrize(
    "response",
    [None, [], {}, {"result": "FAILED", "resultCode": "0000"}, {"result": "SUCCESS", "resultCode": 0}, {"result": []}],
)
def test_a_record_beside_a_failure_is_not_believed(response: object) -> None:
    assert trouble(ask_mobile(), {**mobile(), "response": response}) is Trouble.API_UNREADABLE


def test_the_search_asks_page_after_page_for_the_turkish_days() -> None:
    full = [{**CHARGE, "id": number, "status": 3} for number in range(PAGE)]
    first = {"response": GOOD, "transactions": full}
    last = {"response": GOOD, "transactions": [{**CHARGE, "id": 99, "status": 6}, {**CHARGE, "id": 500}]}
    calls, found = hold(ask_search(), first, last)

    assert [call.url for call in calls] == [f"{BASE}/MicroPayment/transactions/search"] * 2
    assert json.loads(calls[0].body) == {
        "merchantId": 77,
        "serviceId": 1234,
        "search": [
            {"column": "modifiedDate", "term": "2026-11-23", "condition": ">="},
            {"column": "modifiedDate", "term": "2026-11-25", "condition": "<="},
        ],
        "sort": [{"column": "id", "asc": True}],
        "limit": 100,
        "page": 1,
    }
    assert json.loads(calls[1].body)["page"] == 2
    assert len(found) == PAGE + 1
    assert found[99].kind is Kind.PAYMENT_REFUNDED


def test_a_search_that_never_ends_ends() -> None:
    same = {"response": GOOD, "transactions": [{**CHARGE, "id": number} for number in range(PAGE)]}
    others = [
        {"response": GOOD, "transactions": [{**CHARGE, "id": page * PAGE + number} for number in range(PAGE)]}
        for page in range(PAGES)
    ]

    assert trouble(ask_search(), same, same) is Trouble.API_UNREADABLE
    assert trouble(ask_search(), *others) is Trouble.API_LIMITED


@pytest.mark.parametrize("listed", [None, {}, [1], [None], "x"])
def test_a_search_without_a_list_of_records_is_unreadable(listed: object) -> None:
    assert trouble(ask_search(), {"response": GOOD, "transactions": listed}) is Trouble.API_UNREADABLE


# Payguru PHS


def test_phs_buys_a_token_with_the_key_of_the_documented_formula_and_shows_it_to_nobody() -> None:
    calls, _ = hold(ask_cash(), TOKEN, cash())

    assert [(call.method, call.url) for call in calls] == [
        ("GET", f"{BASE}/phs/getToken?merchant=123&key=477a24573ae989f115e0e24b4f60cf53"),
        ("GET", f"{BASE}/phs/transaction/get?id=12345"),
    ]
    assert calls[1].headers == {"merchant": "123", "token": TOKEN["token"], "Accept": "application/json"}
    assert "477a" not in repr(calls)
    assert "3E53" not in repr(calls)


@pytest.mark.parametrize(
    ("amount", "digest"),
    [
        ("1.00", "445f0ead6c157cb78b8780aa740719a6"),
        ("1.0", "83a9691397d65d6afaa5684067632363"),
        ("1,00", "711d414fa65b03e798dbf4381d5c7c49"),
    ],
)
def test_the_fact_key_is_the_digest_that_the_notice_would_have_proven(amount: str, digest: str) -> None:
    _, found = hold(ask_cash(), TOKEN, cash(amount=amount))
    query = f"txid=12345&code=XXXX01234567&order=ORD-1&status=3&amount={amount}&key={digest}"
    provider = PayguruPhs()
    note = provider.verify(
        CallbackRequest("notify", "GET", f"{query}&transaction_date=2026-11-20 10:15:00".encode(), b"", None, NOW, "t"),
        PHS,
        "",
    )[0]
    callback = provider.normalize(provider.channels["notify"].schema.load(note.fields), note, "notify", PHS)

    assert found == [callback]
    assert found[0].fact_key == (digest, "3")
    assert found[0].amount == Money(100, "TRY")


def test_no_personal_field_of_phs_comes_into_a_statement() -> None:
    _, found = hold(ask_cash(), TOKEN, cash())
    event = event_of(found[0])

    assert b"YILMAZ" not in event.to_json()
    assert b"5301112233" not in event.to_json()


def test_phs_tells_another_currency_as_it_is() -> None:
    _, found = hold(ask_cash(), TOKEN, cash(currency="EUR"))

    assert [said.amount for said in found] == [Money(100, "EUR")]


@pytest.mark.parametrize(
    ("status", "kind"), [(1, Kind.PAYMENT_PENDING), ("8", Kind.PAYMENT_PENDING), (4, Kind.PAYMENT_UNKNOWN)]
)
def test_phs_statuses_are_those_of_the_notice(status: object, kind: Kind) -> None:
    assert [said.kind for said in hold(ask_cash(), TOKEN, cash(status=status))[1]] == [kind]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"id": 1}, Trouble.OTHER_RECORD),
        ({"service_code": "YYY"}, Trouble.OTHER_RECORD),
        ({"service_code": None}, Trouble.OTHER_RECORD),
        ({"merchant": 9}, Trouble.OTHER_RECORD),
        ({"order_refno": "ORD-2"}, Trouble.OTHER_RECORD),
        ({"code": None}, Trouble.API_UNREADABLE),
        ({"amount": None}, Trouble.API_UNREADABLE),
        ({"amount": "1.005"}, Trouble.API_UNREADABLE),
        ({"currency": None}, Trouble.API_UNREADABLE),
        ({"currency": "XYZ"}, Trouble.API_UNREADABLE),
        ({"status": True}, Trouble.API_UNREADABLE),
    ],
)
def test_what_phs_says_of_another_payment_or_in_another_form_is_no_answer(
    changed: dict[str, object], expected: Trouble
) -> None:
    assert trouble(ask_cash(), TOKEN, cash(**changed)) is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        *((f"ERR_{number}", Trouble.API_REFUSED) for number in ("001", "002", "004", "015", "016", "020")),
        *((code, Trouble.API_FAULT) for code in ("ERR_010", "500", 500)),
        *((code, Trouble.API_UNREADABLE) for code in ("ERR_099", 0, None, True, ["000"], "")),
    ],
)
def test_a_response_code_of_phs_is_a_trouble(code: object, expected: Trouble) -> None:
    assert trouble(ask_cash(), {**TOKEN, "status": code}) is expected
    assert trouble(ask_cash(), TOKEN, {**cash(), "status": code}) is expected


@pytest.mark.parametrize(("code", "http"), [("ERR_006", 200), ("404", 200), ("404", 404)])
def test_what_phs_does_not_know_is_an_empty_list_but_its_token_is_not(code: str, http: int) -> None:
    assert hold(ask_cash(), TOKEN, {"status": code}, status=http)[1] == []
    assert trouble(ask_cash(), {"status": code}, status=http) is Trouble.API_UNREADABLE


@pytest.mark.parametrize(
    "token", [None, "", 5, ["{A}"], "{A}\r\nx: y", "{A B}", "3E53", "{}", "{ş}", "{" + "A" * 999 + "}"]
)
def test_a_token_that_could_break_a_header_is_unreadable(token: object) -> None:
    assert trouble(ask_cash(), {**TOKEN, "token": token}) is Trouble.API_UNREADABLE


# HASO


def form_of(call: Call) -> dict[str, list[str]]:
    return parse_qs(call.body.decode(), keep_blank_values=True)


def test_haso_is_asked_with_the_token_of_the_documented_formula() -> None:
    calls, found = hold(ask_credit(), credit())

    assert [(call.method, call.url) for call in calls] == [("POST", f"{BASE}/Index/GetPaymentsOfTransaction")]
    assert form_of(calls[0]) == {
        "merchantId": ["1000"],
        "merchantOid": ["OID-1"],
        "transactionCode": ["TC-1"],
        "ipAddress": ["203.0.113.5"],
        "requestToken": ["DWB/jMefMaXYwAfC2ceZ1ob4EV3RUhAqabJqG1ZlLN8="],
    }
    assert "DWB" not in repr(calls)
    assert [(said.kind, said.fact_key, said.amount) for said in found] == [
        (Kind.INSTALLMENT_PAID, ("TC-1", "1", "P1"), Money(25000, "TRY")),
        (Kind.INSTALLMENT_PENDING, ("TC-1", "0", "P2"), Money(25000, "TRY")),
        (Kind.PAYMENT_SUCCEEDED, ("TC-1", "succeeded"), Money(50000, "TRY")),
    ]
    assert [said.installment for said in found] == [Installment("P1", None, "2026-12-01"), Installment("P2"), None]


@pytest.mark.parametrize("name", ["Payments", "PaymentPlan", "payments", "PAYMENTPLAN"])
def test_the_plan_is_found_under_each_name_that_it_may_have(name: str) -> None:
    assert len(hold(ask_credit(), credit(name=name))[1]) == 3


def test_the_status_of_an_instalment_may_have_its_longer_name() -> None:
    plan = [{"PaymentCode": "P1", "AMOUNT": "25000", "paymentStatus": "3"}]

    assert hold(ask_credit(), credit(plan))[1][0].kind is Kind.INSTALLMENT_PAST_DUE


def test_the_order_is_said_only_where_haso_says_it() -> None:
    assert {said.order_ref for said in hold(ask_credit(), credit())[1]} == {None}
    assert {said.order_ref for said in hold(ask_credit(), credit(MerchantOid="OID-1"))[1]} == {"OID-1"}


@pytest.mark.parametrize(
    "sent",
    [
        credit(MerchantOid="OID-2"),
        credit(TransactionCode="TC-2"),
        credit([{**PLAN[0], "transactionCode": "TC-2"}]),
        credit([{**PLAN[0], "merchantOid": "OID-2"}]),
    ],
)
def test_the_plan_of_another_transaction_or_order_is_no_answer(sent: object) -> None:
    assert trouble(ask_credit(), sent) is Trouble.OTHER_RECORD


def test_a_plan_that_names_two_orders_is_no_answer_even_where_none_was_asked() -> None:
    sought = replace(CREDIT, order_ref=None)
    sent = credit([{**PLAN[0], "merchantOid": "OID-1"}, {**PLAN[1], "merchantOid": "OID-2"}])

    assert trouble(HasoQuery().ask(sought, HASO), sent) is Trouble.OTHER_RECORD


@pytest.mark.parametrize(
    ("statuses", "kind", "state", "minor"),
    [
        ("00", Kind.PAYMENT_SUCCEEDED, "succeeded", 50000),
        ("23", Kind.PAYMENT_SUCCEEDED, "succeeded", 50000),
        ("44", Kind.PAYMENT_CANCELED, "canceled", 50000),
        ("14", Kind.PAYMENT_PENDING, "partly_canceled", None),
    ],
)
def test_a_plan_says_what_became_of_the_payment(statuses: str, kind: Kind, state: str, minor: int | None) -> None:
    plan = [{**entry, "status": status} for entry, status in zip(PLAN, statuses, strict=True)]
    payment = hold(ask_credit(), credit(plan))[1][-1]

    assert (payment.kind, payment.fact_key) == (kind, ("TC-1", state))
    # Pending for a reason is for a person to look at.
    assert payment.reason == (Why.OTHER_PENDING if kind is Kind.PAYMENT_PENDING else None)
    assert payment.amount == (None if minor is None else Money(minor, "TRY"))


NO_FLAGS: list[object] = ["true", 1, None, [], False]
NO_DATA: list[object] = [None, [], PLAN, "x", {}, {"Payments": PLAN, "payments": PLAN}]
NO_PLANS: list[object] = [None, {}, [1], [None], [[]], [{}], [PLAN[0], PLAN[0]]]
NO_AMOUNTS: list[object] = [25000, 250.0, "250.00", "-1", "", None, "0", "9" * 13]
NO_STATUSES: list[object] = [5, "-1", True, None, "4.0", [1]]
NO_CODES: list[object] = ["", None, True, {}, "x" * 65, "a\u0000"]


@pytest.mark.parametrize(
    "sent",
    [
        *({"Success": flag, "Errors": [], "Data": {"Payments": PLAN}} for flag in NO_FLAGS),
        *({"Success": True, "Errors": errors, "Data": {"Payments": PLAN}} for errors in (["E1"], "E1", [1])),
        *({"Success": True, "Data": data} for data in NO_DATA),
        *(credit(plan) for plan in NO_PLANS),
        *(credit([{**PLAN[0], "amount": told}]) for told in NO_AMOUNTS),
        *(credit([{**PLAN[0], "status": told}]) for told in NO_STATUSES),
        *(credit([{**PLAN[0], "paymentCode": told}]) for told in NO_CODES),
        credit([{**PLAN[0], "Amount": "1"}]),
        credit([{**PLAN[0], "paymentStatus": 1}]),
    ],
)
def test_a_plan_in_another_form_is_unreadable(sent: object) -> None:
    assert trouble(ask_credit(), sent) is Trouble.API_UNREADABLE


def test_an_address_that_is_not_set_is_not_sent() -> None:
    account = replace(HASO, api={name: value for name, value in HASO.api.items() if name != "ip_address"})
    calls, _ = hold(HasoQuery().ask(CREDIT, account), credit())

    assert form_of(calls[0]).keys() == {"merchantId", "merchantOid", "transactionCode", "requestToken"}


def test_haso_s_refusal_is_never_taken_for_nothing_known() -> None:
    assert trouble(ask_credit(), {"Success": False, "Errors": ["X1 imza"], "Data": None}) is Trouble.API_REFUSED
    assert hold(ask_credit(), credit([]))[1] == []


def test_without_a_transaction_code_haso_is_not_asked() -> None:
    assert hold(HasoQuery().ask(replace(CREDIT, payment_ref=None), HASO)) == ([], [])


def test_the_token_of_the_error_codes_is_the_documented_one() -> None:
    listed = {"ErrorCodes": [{"errorCode": "H307", "message": "İade yapılmış"}, {"errorCode": "H1", "message": None}]}
    calls, meanings = hold(HasoQuery().error_codes(HASO), {"Success": True, "Errors": None, "Data": listed})

    assert calls[0].url == f"{BASE}/Index/GetErrorCodes"
    assert form_of(calls[0])["requestToken"] == ["TmJrc41YAFk8PxlsHL9w2eAAMX7hVC1HuCdyh76cKWE="]
    assert meanings == {"H307": "İade yapılmış", "H1": ""}


@pytest.mark.parametrize("listed", [None, {}, [1], [{}], [{"errorCode": "A"}, {"errorCode": "A"}]])
def test_error_codes_in_another_form_are_unreadable(listed: object) -> None:
    sent = {"Success": True, "Errors": [], "Data": {"ErrorCodes": listed}}

    assert trouble(HasoQuery().error_codes(HASO), sent) is Trouble.API_UNREADABLE
    assert trouble(HasoQuery().error_codes(HASO), {"Success": False, "Errors": ["X1"]}) is Trouble.API_REFUSED


@pytest.mark.parametrize(
    ("sent", "kinds"),
    [
        ({"Success": False, "Errors": ["H307"]}, [Kind.PAYMENT_REFUNDED]),
        ({"Success": False, "Errors": ["H307: yapılmış"]}, [Kind.PAYMENT_REFUNDED]),
        ({"Success": False, "Errors": ["H308"]}, []),
        ({"Success": True, "Errors": [], "Data": {}}, [Kind.PAYMENT_REFUND_PENDING]),
    ],
)
def test_a_refund_is_said_only_by_the_documented_code(sent: object, kinds: list[Kind]) -> None:
    calls, found = hold(HasoQuery().check_refund("R-1", HASO), sent)

    assert calls[0].url == f"{BASE}/RequestV2/CheckRefund"
    assert form_of(calls[0])["refundId"] == ["R-1"]
    assert [said.kind for said in found] == kinds
    assert all(said.refund_ref == "R-1" for said in found)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"Success": False, "Errors": ["H307", "H308"]}, Trouble.API_REFUSED),
        ({"Success": False, "Errors": ["H3070"]}, Trouble.API_REFUSED),
        ({"Success": False, "Errors": ["H307X"]}, Trouble.API_REFUSED),
        ({"Success": None, "Errors": ["H307"]}, Trouble.API_UNREADABLE),
        ({"Success": "false", "Errors": ["H307"]}, Trouble.API_UNREADABLE),
        ({"Success": True, "Data": {"refundId": "R-2"}}, Trouble.OTHER_RECORD),
        ({"Success": True, "Errors": ["H307"], "Data": {}}, Trouble.API_UNREADABLE),
    ],
)
def test_a_refund_of_another_form_is_no_answer(sent: object, expected: Trouble) -> None:
    assert trouble(HasoQuery().check_refund("R-1", HASO), sent) is expected


# All of them

Asked = tuple[Callable[[], Conversation], list[object]]
ASKED: dict[str, Asked] = {
    "payguru": (ask_mobile, [mobile()]),
    "payguru subscription": (ask_subscription, [SUBSCRIPTION]),
    "payguru search": (ask_search, [{"response": GOOD, "transactions": [CHARGE, {**CHARGE, "id": 5, "status": 3}]}]),
    "payguru-phs": (ask_cash, [TOKEN, cash()]),
    "haso": (ask_credit, [credit(merchantOid="OID-1", transactionCode="TC-1")]),
    "haso refund": (lambda: HasoQuery().check_refund("R-1", HASO), [{"Success": False, "Errors": ["H307"]}]),
}
each = pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)


@each
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, Trouble.API_REFUSED),
        (403, Trouble.API_REFUSED),
        (429, Trouble.API_LIMITED),
        (500, Trouble.API_FAULT),
        (503, Trouble.API_FAULT),
        *((status, Trouble.API_UNREADABLE) for status in (100, 201, 301, 302, 307, 400, 404, 409, 600)),
    ],
)
def test_an_http_status_is_a_trouble_whatever_the_body_says(asked: Asked, status: int, expected: Trouble) -> None:
    start, answers = asked

    for place in range(len(answers)):
        assert trouble(start(), *answers[: place + 1], status=status) is expected


@each
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>OK</html>",
        b"[]",
        b"null",
        b"3",
        b'"OK"',
        b"\xff\xfe",
        b"[" * 9000,
        b'{"a":NaN}',
        b'{"a":1,"a":2}',
        b"{}",
    ],
)
def test_what_is_no_object_of_the_documented_form_is_unreadable(asked: Asked, body: bytes) -> None:
    start, answers = asked

    for place in range(len(answers)):
        assert trouble(start(), *answers[:place], body) is Trouble.API_UNREADABLE


ODD: tuple[object, ...] = (
    *(
        None,
        True,
        False,
        0,
        -1,
        3,
        3.0,
        1e300,
        10**40,
        "",
        "3",
        "null",
        "active",
        "../x",
        "\u0000",
        "ş" * 300,
        "9" * 400,
    ),
    *([], [[]], {}, {"id": 3}, ["3"], "2026-99-99T99:99:99", "9999999999999", "H307", "12,5", "TRY", "\ud800"),
)


def mutated(value: Any, rng: random.Random) -> Any:
    """Return a copy in which one value, somewhere, is odd, missing or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        name = rng.choice(sorted(value))
        copy = {**value, name: mutated(value[name], rng)}
        if rng.random() < 0.1:
            del copy[name]
        elif rng.random() < 0.1:
            copy[name.upper()] = copy[name]
        return copy
    if isinstance(value, list) and value and rng.random() < 0.9:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(value[place], rng), *value[place + (rng.random() < 0.8) :]]
    return rng.choice(ODD)


def spoiled(answer: object, rng: random.Random) -> bytes:
    tree = json.loads(answer) if isinstance(answer, bytes) else answer
    for _ in range(rng.randint(0, 3)):
        tree = mutated(tree, rng)
    raw = bytearray(encoded(tree))
    if rng.random() < 0.3 and raw:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw)


@pytest.mark.parametrize("name", ASKED)
def test_no_answer_makes_anything_but_a_query_error_or_statements_about_what_was_asked(name: str) -> None:
    start, answers = ASKED[name]
    rng = random.Random(name)
    refs = {"payguru": "12345678912345", "payguru-phs": "12345", "haso": "TC-1"}
    told = 0
    for _ in range(3000):
        sent = [answer if rng.random() < 0.5 else spoiled(answer, rng) for answer in answers]
        try:
            found = hold(start(), *sent, status=rng.choice((200, 200, 200, 200, 204, 404)))[1]
        except QueryError:
            continue
        except AsksOnError:
            continue
        for said in found:
            told += 1
            event = event_of(said)
            assert event.to_json()
            assert said.payment_ref == refs.get(name, said.payment_ref)
            assert said.amount is None or said.amount.minor >= 0

    assert told > 100


@each
def test_nothing_secret_is_in_the_repr_of_a_call(asked: Asked) -> None:
    start, answers = asked
    calls, _ = hold(start(), *answers)

    assert not any(secret in repr(calls) for secret in (*SECRETS, "requestToken", "key=", "KEY", "SALT"))
