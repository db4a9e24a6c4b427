"""One suite: every provider, every vector."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import orjson
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured_event
from cloudevents.core.v1.event import CloudEvent
from werkzeug.test import TestResponse

from receiver.account import Secret
from receiver.event import Kind
from receiver.message import CallbackRequest, Media
from receiver.providers import BY_NAME, PROVIDERS
from tests import proof
from tests.accounts import ACCOUNTS, BROWSER_TOKEN, OLD_TOKEN, TOKEN
from tests.desk import JSON, Desk
from tests.lines import Lines
from tests.samples import PROOF, SIGNED, SOURCES, Vector, readable, vectors

every_vector = pytest.mark.parametrize("vector", vectors(), ids=str)
every_readable = pytest.mark.parametrize("vector", readable(), ids=str)
every_signed = pytest.mark.parametrize(
    "vector", [vector for vector in readable("paratika", "payguru-phs") if vector.fields], ids=str
)
JUNK = ("", " ", "é", "v1,", "=" * 9999, "\x00", "not-hex", "0" * 32, "0" * 128, "null", "😀", "%00", "İ" * 128)


def assert_holds(expected: Any, actual: Any, where: str = "event") -> None:
    """Compare what *expected* names, and no more."""
    if isinstance(expected, dict):
        assert isinstance(actual, dict), where
        for name, value in expected.items():
            assert_holds(value, actual[name], f"{where}.{name}")
    else:
        assert (where, expected) == (where, actual)


def wire_of(desk: Desk) -> dict[str, Any]:
    """Return the event as a consumer reads it, less what the clock says."""
    (event,) = desk.sink.events
    wire: dict[str, Any] = orjson.loads(event.to_json())
    received = wire["data"].pop("received_at")
    if wire["time"] == received:
        del wire["time"]
    return wire


def whole(vector: Vector) -> bool:
    """Say whether the fact is all that was sent, for want of a reference: an undeclared field is then part of it."""
    known = {"TransactionInsert", "TransactionRefund", "SubscriberUpdate"}
    return vector.provider == "zotlo" and vector.sent("queue.type") not in known


@every_vector
def test_a_vector_says_where_it_comes_from(vector: Vector) -> None:
    assert vector.source in SOURCES
    assert vector.note or vector.source in {"self", "seed"}
    assert bool(vector.refused) + bool(vector.quarantined) + bool(vector.expect) == 1


@pytest.mark.parametrize("provider", sorted(SIGNED))
def test_a_signed_provider_has_a_proof_that_our_code_did_not_compute(provider: str) -> None:
    assert any(vector.source in {"seed", "computed by another tool"} for vector in readable(provider))


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: str(provider.name))
def test_a_provider_has_vectors_for_each_channel(provider: Any) -> None:
    channels = {vector.channel for vector in readable() if vector.provider == provider.name}

    assert set(provider.channels) == channels


@every_readable
def test_a_vector_becomes_the_expected_event(vector: Vector) -> None:
    desk = vector.desk()
    vector.send(desk)

    assert desk.outcome == "accepted"
    assert_holds(vector.expect, desk.says | {"data": json.loads(orjson.dumps(desk.says["data"]))})


@every_readable
def test_an_event_is_a_cloud_event(vector: Vector) -> None:
    desk = vector.desk()
    vector.send(desk)
    (event,) = desk.sink.events

    message = HTTPMessage({"content-type": "application/cloudevents+json"}, event.to_json())
    read = from_structured_event(message)
    assert isinstance(read, CloudEvent)
    assert (event.id, "1.0", event.says.kind) == (read.get_id(), read.get_specversion(), read.get_type())
    assert read.get_source() == f"/{vector.provider}/shop"
    assert event.id.isalnum()
    time = read.get_time()
    assert time
    assert time.tzinfo


@every_vector
def test_a_vector_is_answered_byte_for_byte(vector: Vector) -> None:
    desk = vector.desk()
    answer = vector.send(desk)
    request_id = answer.headers["X-Request-Id"]
    browser = BY_NAME[vector.provider].channels[vector.channel].browser

    if vector.refused:
        status, reason = vector.refused["status"], vector.refused["reason"]
        assert (status, reason) == (answer.status_code, desk.reason)
        if browser and status != 404:
            assert f"{reason} · {request_id}" in answer.text
        else:
            word = "not_found" if status == 404 else reason
            assert answer.data == b'{"error":"%s","request_id":"%s"}' % (word.encode(), request_id.encode())
        assert desk.sink.kept == 0
        assert desk.sink.refused == [(vector.provider, "shop", vector.channel, reason)]
        return
    reply = vector.reply if not browser or not vector.quarantined else {"outcome": "pending"}
    if "outcome" in reply:
        account = vector.the_account()
        location = answer.headers["Location"]
        order = "" if vector.quarantined else (desk.sink.events[0].says.order_ref or "")
        ts = parse_qs(location.partition("?")[2])["ts"][0]
        assert abs(int(ts) - datetime.now(UTC).timestamp()) < 60
        assert location == proof.result_location(account.result_url or "", vector.provider, order, reply["outcome"], ts)
        assert (answer.status_code, answer.data) == (303, b"")
    elif "relay" in reply:
        assert (answer.status_code, answer.data) == (307, b"")
        assert answer.headers["Location"] == vector.the_account().result_url
    elif "page" in reply:
        assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
        assert request_id in answer.text
    else:
        wanted = reply["body"].encode(), reply.get("type", "text/plain; charset=utf-8")
        assert (200, *wanted) == (answer.status_code, answer.data, answer.content_type)
    if browser:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("vector", [vector for vector in vectors() if vector.quarantined], ids=str)
def test_what_cannot_be_read_is_kept_once_and_never_an_event(vector: Vector) -> None:
    desk = vector.desk()
    vector.send(desk)
    vector.send(desk)

    assert (desk.outcome, desk.reason) == ("quarantined", vector.quarantined)
    assert desk.sink.events == []
    (kept,) = desk.sink.quarantined.values()
    assert (kept.callback.query, kept.callback.body) == (vector.query, vector.body)


@every_signed
def test_any_change_of_a_signed_field_is_refused(vector: Vector) -> None:
    desk = vector.desk()
    for name in SIGNED[vector.provider]:
        value = vector.sent(name)
        changes = {value + "0", "0" + value, value[:-1], value[1:], value.swapcase(), "", None} - {value}
        for changed in changes if value else {"0", "x"}:
            answer = vector.changed(**{name: changed}).send(desk)
            assert (name, changed, answer.status_code) == (name, changed, 403)
    assert desk.sink.kept == 0


@every_signed
def test_a_junk_signature_is_refused_and_never_a_crash(vector: Vector) -> None:
    desk = vector.desk()
    name = PROOF[vector.provider]
    good = vector.sent(name)
    for junk in (*JUNK, good + "0", good[:-1], good[::-1], f" {good}", f"{good}\n", None):
        answer = vector.changed(**{name: junk}).send(desk)
        assert (junk, answer.status_code) == (junk, 403)
    assert desk.sink.kept == 0


@pytest.mark.parametrize("provider", sorted(SIGNED))
def test_every_rotating_secret_is_accepted_and_named(provider: str, logged: Lines) -> None:
    vector = readable(provider)[0]
    right = ACCOUNTS[provider].secrets[0]
    others = [Secret("env:NEXT", b"the-secret-of-next-year"), Secret("env:LAST", b"the-secret-of-last-year")]
    for place in range(3):
        secrets = (*others[:place], right, *others[place:])
        desk = Desk((replace(vector.the_account(), secrets=secrets),))
        vector.send(desk)
        assert (desk.outcome, logged[-1]["key_id"]) == ("accepted", right.key_id)


@pytest.mark.parametrize("provider", ["payguru", "paynet", "zotlo", "haso"])
def test_every_rotating_token_is_accepted_and_named(provider: str, logged: Lines) -> None:
    vector = readable(provider)[0]
    for token, key_id in ((TOKEN, "env:TOKEN"), (OLD_TOKEN, "env:OLD_TOKEN")):
        replace(vector, token=token).send(vector.desk())
        assert logged[-1]["key_id"] == key_id


def test_an_optional_token_is_wanted_as_soon_as_the_account_has_one(logged: Lines) -> None:
    vector = readable("payguru-phs")[0]
    tokens = (Secret("env:TOKEN", TOKEN.encode()),)
    statuses = []
    for account in (vector.the_account(), replace(vector.the_account(), tokens=tokens)):
        desk = Desk((account,))
        statuses += [replace(vector, token=token).send(desk).status_code for token in ("", TOKEN, BROWSER_TOKEN)]

    assert statuses == [200, 404, 404, 404, 200, 404]
    assert logged[-2]["key_id"] == "env:PHS"


@pytest.mark.parametrize("vector", [vector for vector in readable() if vector.fields and not whole(vector)], ids=str)
def test_an_undeclared_field_is_not_read_but_counted(vector: Vector) -> None:
    plain, more = vector.desk(), vector.desk()
    unchanged, changed = vector.changed(), vector.changed(zz_status="3", zzAmount="999999")
    unchanged.send(plain)
    changed.send(more)

    assert wire_of(plain) == wire_of(more)
    channel = BY_NAME[vector.provider].channels[vector.channel]
    before = plain.metrics.strangers.get(vector.provider, 0)
    assert more.metrics.strangers.get(vector.provider, 0) == before + (0 if channel.any_name else 2)


@pytest.mark.parametrize("vector", [vector for vector in readable() if vector.fields and not whole(vector)], ids=str)
def test_an_own_key_that_the_account_lets_through_is_no_stranger(vector: Vector) -> None:
    allowed = vector.the_account().custom | {"zzOwn"}
    plain, more = vector.desk(), replace(vector, account={**vector.account, "custom": allowed}).desk()
    vector.changed().send(plain)
    vector.changed(zzOwn="B-7").send(more)

    assert more.says["data"]["custom"]["zzOwn"] == "B-7"
    assert more.metrics.strangers == plain.metrics.strangers


@pytest.mark.parametrize("vector", [vector for vector in readable("paratika") if "SD_SHA512" in vector.fields], ids=str)
def test_the_legacy_hash_is_never_read(vector: Vector) -> None:
    with_it, without = vector.desk(), vector.desk()
    vector.send(with_it)
    vector.changed(SD_SHA512="0" * 128).send(without)

    assert wire_of(with_it) == wire_of(without)


@every_readable
def test_a_redelivery_is_the_same_fact(vector: Vector) -> None:
    desk = vector.desk()
    first, second = vector.send(desk), vector.send(desk)

    assert len(desk.sink.entries) == 1
    assert desk.outcome == "duplicate"
    assert first.status_code == second.status_code
    assert _less_id(first) == _less_id(second)
    assert len(desk.metrics.kinds) == 1


def _less_id(answer: TestResponse) -> str:
    return answer.text.replace(answer.headers["X-Request-Id"], "")


SECRET_FIELDS = (
    *("sessionToken", "sdSha512", "SD_SHA512", "cardToken", "auth3DToken", "nameOnCard", "cardPanMasked", "key"),
    *("SESSIONTOKEN", "SDSHA512", "msisdn", "card_holder", "session_id", "token_id"),
    *(f"parameters.{name}" for name in ("credit_card", "comment", "profile.subscriberId", "profile.phoneNumber")),
    *(f"parameters.customer.{name}" for name in ("id", "firstname", "lastname", "email")),
    *(f"parameters.card.{name}" for name in ("cardNumber", "expireDate", "tokenId")),
    *("parameters.newPackage.subscriberId", "clientUuid", "clientIp", "subscriberId", "subscriberName"),
    *("client.ip", "client.email", "answers.q1", "tckn", "phone", "nameSurname", "email"),
)
# What an account with ``personal = "clear"`` lets through.
PERSONAL = ("msisdn", "parameters.subscriber_id")


def secrets_in(vector: Vector) -> set[str]:
    account = vector.the_account()
    ours = {*account.secrets, *account.tokens, *account.browser_tokens}
    if account.result_secret:
        ours.add(account.result_secret)
    clear = PERSONAL if account.clear_personal else ()
    # Paratika's customerId is the merchant's own number; HASO's is its number of a person.
    names = (*SECRET_FIELDS, *PERSONAL, *(["customerId"] if vector.provider == "haso" else []))
    sent = {vector.fields.get(name, "") for name in names if name not in clear}
    whole_card = {value for value in vector.fields.values() if value == "4111111111111111"}
    return ({secret.value.decode() for secret in ours} | sent | whole_card) - {""}


@every_vector
def test_nothing_secret_is_told_by_answer_log_error_or_raw(vector: Vector, logged: Lines) -> None:
    desk = vector.desk()
    answer = vector.send(desk)
    told = [repr(logged), repr(desk.sink.refused), repr(desk.metrics), answer.text, str(answer.headers)]
    told += [event.to_json().decode() for event in desk.sink.events]

    assert [secret for secret in secrets_in(vector) for text in told if secret in text] == []


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: str(provider.name))
def test_nothing_secret_is_in_the_repr_of_what_is_passed_around(provider: Any) -> None:
    told = []
    for vector in readable(provider.name):
        desk = vector.desk()
        vector.send(desk)
        account = vector.the_account()
        media = Media(vector.content_type.partition(";")[0]) if vector.content_type else None
        encoding = "iso-8859-9" if "8859-9" in vector.content_type else "utf-8"
        request = CallbackRequest(
            vector.channel, vector.method, vector.query, vector.body, media, datetime.now(UTC), "id", encoding
        )
        shown = repr((account, provider.verify(request, account, "env:TOKEN"), desk.sink.entries))
        told += [(vector.name, secret) for secret in secrets_in(vector) if secret in shown]

    assert told == []


@pytest.mark.parametrize("field", ["errorCode", "pgTranErrorCode", "errorMsg", "pgTranErrorText", "cardBrand"])
def test_a_card_number_in_a_field_for_people_is_in_no_event(field: str) -> None:
    declined = next(vector for vector in readable("paratika") if vector.name == "derived, declined")
    desk = declined.desk()
    declined.changed(**{field: "4111111111111111"}).send(desk)

    assert [event for event in desk.sink.events if b"4111111111111111" in event.to_json()] == []


def test_a_callback_keeps_its_bytes_out_of_its_repr() -> None:
    request = CallbackRequest("return", "POST", b"a=secret-query", b"b=secret-body", None, datetime.now(UTC), "id")

    assert "secret" not in repr(request)


SCENARIOS = [(provider, name) for provider in PROVIDERS for name in provider.scenarios]


@pytest.mark.parametrize(
    ("provider", "name"), SCENARIOS, ids=[f"{provider.name}: {name}" for provider, name in SCENARIOS]
)
def test_a_scenario_is_authentic_and_means_something(provider: Any, name: str) -> None:
    desk = Desk()
    account, scenario = ACCOUNTS[provider.name], provider.scenarios[name]
    signed = provider.sign(scenario, account, datetime(2026, 11, 22, tzinfo=UTC))
    answer = desk.send(
        provider.name,
        scenario.channel,
        method=signed.method,
        query_string=signed.query.decode(),
        data=signed.body,
        content_type=signed.media.value if signed.media else None,
    )

    assert (desk.outcome, answer.status_code < 400) == ("accepted", True)
    kind = desk.sink.events[0].says.kind
    assert ("unlisted" in name) == (kind in {Kind.PAYMENT_UNKNOWN, Kind.SUBSCRIPTION_UNKNOWN})
    assert desk.metrics.strangers == {}


def test_what_a_provider_signs_another_tool_would_sign_alike() -> None:
    for vector in readable("paratika", "payguru-phs"):
        text = [vector.fields.get(name, "") for name in SIGNED[vector.provider]]
        if all(name in vector.fields for name in SIGNED[vector.provider]):
            assert proof.expected(vector.provider, text) == vector.fields[PROOF[vector.provider]].lower()


def test_json_and_query_of_one_notice_are_one_fact() -> None:
    first = next(vector for vector in readable("payguru-phs") if vector.name == "amount 1.00")
    again = next(vector for vector in readable("payguru-phs") if vector.name == "JSON, raw amount 1.00, status 3")
    desk = first.desk()
    first.send(desk)
    again.send(desk)

    assert again.content_type == JSON
    assert desk.outcome == "duplicate"


@pytest.mark.parametrize("depth", [3, 100, 260, 400, 700, 900, 2000])
def test_deep_nesting_at_zotlo_is_read_or_refused_and_never_a_fault(depth: int) -> None:
    deep = '{"a":' * depth + "1" + "}" * depth
    told = '"parameters":{"transaction_id":"T","status":"renewal"}'
    paid = '{"queue":{"type":"TransactionInsert","appId":1,"more":%s},' + told + "}"
    quiz = '{"answers":%s}'
    for body, kind in ((paid, Kind.PAYMENT_SUCCEEDED), (quiz, Kind.NOTICE_RECEIVED)):
        desk = Desk()
        answer = desk.send("zotlo", "webhook", data=body % deep, content_type=JSON)
        assert (answer.status_code, desk.reason) in {(200, ""), (400, "bad_body")}
        assert [event.says.kind for event in desk.sink.events] == ([kind] if answer.status_code == 200 else [])
    assert depth > 200 or answer.status_code == 200


def test_a_quiz_is_kept_without_its_answers() -> None:
    desk = Desk()
    body = '{"client":{"ip":"203.0.113.9"},"questions":{"q":"?"},"answers":{"q":["of SANDBOX PERSON"]}}'
    desk.send("zotlo", "webhook", data=body, content_type=JSON)

    assert (desk.says["type"], desk.says["data"]["raw"]) == ("notice.received", {})
    assert desk.metrics.strangers == {}


@pytest.mark.parametrize("vector", readable("zotlo"), ids=str)
def test_every_field_that_zotlo_is_known_to_send_is_accounted_for(vector: Vector) -> None:
    desk = vector.desk()
    vector.send(desk)

    assert desk.metrics.strangers == {}
