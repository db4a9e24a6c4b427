"""The way back to the shop: signed over the exact text, never to a posted address."""

import hashlib
import hmac
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from receiver import browser
from receiver.event import Event, Kind
from receiver.message import Outcome, Reply
from receiver.ports import Settled
from tests.accounts import RESULT_SECRET, RESULT_URL, account_of
from tests.facts import NOW, event_of


def back(*events: Event, outcome: Outcome = Outcome.ACCEPTED, released: bool = True, **account: Any) -> Reply:
    relay = account.get("relay", False)
    settled = Settled(outcome, events, released)
    return browser.settled(settled, account_of("paratika", **account), NOW, "request-1", relay=relay)


def query_of(reply: Reply) -> dict[str, str]:
    return {
        name: value for name, (value,) in parse_qs(location(reply).partition("?")[2], keep_blank_values=True).items()
    }


def location(reply: Reply) -> str:
    return dict(reply.headers)["Location"]


def test_the_result_is_signed_over_the_text_before_the_signature() -> None:
    reply = back(event_of(order_ref="ORDER 1&outcome=succeeded/ŞĞ"))
    signed, _, signature = urlsplit(location(reply)).query.partition("&sig=")

    assert signed == (
        "provider=paratika&account=shop&order=ORDER+1%26outcome%3Dsucceeded%2F%C5%9E%C4%9E&outcome=succeeded&ts=1795339800"
    )
    assert signature == hmac.new(RESULT_SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
    assert (reply.status, reply.body) == (303, b"")


def test_the_query_of_the_address_is_kept_and_signed_too() -> None:
    reply = back(event_of(), result_url=RESULT_URL + "?lang=tr&x=%20")
    query = location(reply).partition("?")[2]
    signed, _, signature = query.partition("&sig=")

    assert location(reply).startswith(RESULT_URL + "?lang=tr&x=%20&provider=paratika&")
    assert signature == hmac.new(RESULT_SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()


def test_the_way_back_is_remembered_by_nobody() -> None:
    for reply in (back(event_of()), back(event_of(), relay=True), back(event_of(), result_url=None)):
        assert dict(reply.headers)["Cache-Control"] == "no-store"
        assert dict(reply.headers)["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("kind", list(Kind))
def test_the_outcome_is_one_of_three(kind: Kind) -> None:
    failed = {Kind.PAYMENT_FAILED, Kind.PAYMENT_CANCELED, Kind.PAYMENT_EXPIRED}
    expected = "succeeded" if kind is Kind.PAYMENT_SUCCEEDED else "failed" if kind in failed else "pending"

    assert query_of(back(event_of(kind)))["outcome"] == expected


@pytest.mark.parametrize(
    ("outcome", "released", "expected"),
    [
        (Outcome.ACCEPTED, True, "succeeded"),
        (Outcome.DUPLICATE, True, "succeeded"),
        (Outcome.DUPLICATE, False, "pending"),
        (Outcome.HELD, False, "pending"),
        (Outcome.SPOOLED, False, "pending"),
        (Outcome.QUARANTINED, False, "pending"),
    ],
)
def test_a_success_counts_only_when_it_is_released(
    outcome: Outcome,
    released: bool,  # noqa: FBT001
    expected: str,
) -> None:
    assert query_of(back(event_of(), outcome=outcome, released=released))["outcome"] == expected


def test_without_an_event_or_order_the_order_is_empty() -> None:
    assert query_of(back(outcome=Outcome.QUARANTINED))["order"] == ""
    assert query_of(back(event_of(order_ref=None)))["order"] == ""


def test_a_relay_lets_the_browser_post_on() -> None:
    reply = back(event_of(Kind.PAYMENT_PENDING), relay=True)

    assert (reply.status, reply.body, location(reply)) == (307, b"", RESULT_URL)


@pytest.mark.parametrize("missing", ["result_url", "result_secret"])
def test_without_an_address_or_its_secret_a_page_is_shown(missing: str) -> None:
    account = account_of("paratika")
    account = replace(account, result_url=None) if missing == "result_url" else replace(account, result_secret=None)
    reply = browser.settled(
        Settled(Outcome.ACCEPTED, (event_of(),), released=True), account, NOW, "request-1", relay=False
    )

    assert (reply.status, reply.content_type) == (200, "text/html; charset=utf-8")
    assert "Ödeme" in reply.body.decode()


def test_a_page_speaks_turkish_and_english_and_works_without_scripts() -> None:
    pages = [browser.refused(status, "a_reason", "request-1").body.decode() for status in (400, 403, 503)]
    pages.append(back(event_of(), result_url=None).body.decode())
    for page in pages:
        assert 'lang="tr"' in page
        assert '<p lang="en">' in page
        assert "request-1" in page
        assert "<script" not in page
        assert "ORDER-1" not in page
    assert "reload" in pages[2]
    assert len(set(pages)) == 3
