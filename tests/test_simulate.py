"""What the simulator sends is what a provider would send, and what it spoils is refused."""

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver import simulate
from receiver.message import CallbackRequest
from receiver.providers import BY_NAME, PROVIDERS
from tests.accounts import ACCOUNTS, BROWSER_TOKEN, TOKEN
from tests.desk import Desk
from tests.samples import SIGNED

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SCENARIOS = [(provider, name) for provider in PROVIDERS for name in provider.scenarios]
every_scenario = pytest.mark.parametrize(
    ("provider", "name"), SCENARIOS, ids=[f"{provider.name}: {name}" for provider, name in SCENARIOS]
)


def made(provider: Any, name: str, seed: int, **settings: str) -> CallbackRequest:
    scenario = simulate.fresh(provider.scenarios[name], settings, random.Random(seed))
    return simulate.make(provider, scenario, ACCOUNTS[provider.name], NOW)


def send(desk: Desk, provider: Any, request: CallbackRequest) -> int:
    path = simulate.path(ACCOUNTS[provider.name], provider.channels[request.channel])
    return desk.client.open(
        path,
        method=request.method,
        query_string=request.query.decode(),
        data=request.body,
        content_type=request.media.value if request.media else None,
    ).status_code


@every_scenario
def test_two_fresh_callbacks_are_two_facts_and_one_sent_twice_is_one(provider: Any, name: str) -> None:
    desk = Desk()
    first, second = made(provider, name, 1), made(provider, name, 2)
    statuses = [send(desk, provider, request) for request in (first, second, first)]

    assert max(statuses) < 400
    assert len(desk.sink.events) == 2


def test_a_path_ends_with_the_newest_token_of_its_channel() -> None:
    paths = [
        simulate.path(ACCOUNTS[provider], BY_NAME[provider].channels[channel])
        for provider, channel in (
            ("paratika", "return"),
            ("paynet", "return"),
            ("paynet", "refund"),
            ("payguru-phs", "notify"),
        )
    ]

    assert paths == [
        "/callbacks/paratika/shop/return",
        f"/callbacks/paynet/shop/return/{BROWSER_TOKEN}",
        f"/callbacks/paynet/shop/refund/{TOKEN}",
        "/callbacks/payguru-phs/shop/notify",
    ]


@pytest.mark.parametrize(("provider", "field"), [(name, field) for name, fields in SIGNED.items() for field in fields])
def test_a_tampered_signed_field_is_refused(provider: str, field: str) -> None:
    desk = Desk()
    request = simulate.tampered(made(BY_NAME[provider], "success", 1), field)

    assert send(desk, BY_NAME[provider], request) == 403
    assert desk.sink.kept == 0


def test_a_field_that_was_not_there_is_put_in() -> None:
    assert b"zz=1" in simulate.tampered(made(BY_NAME["paratika"], "success", 1), "zz").body
    assert b'"amount":"100.01"' in simulate.tampered(made(BY_NAME["paynet"], "success", 1), "amount").body
    assert b"zz=1" in simulate.tampered(made(BY_NAME["payguru"], "success", 1), "zz").query


def test_a_setting_stands_in_for_what_is_fresh() -> None:
    request = made(BY_NAME["paratika"], "success", 1, merchantPaymentId="MINE")

    assert b"merchantPaymentId=MINE&" in request.body


def test_a_callback_can_be_shown_as_a_shell_command() -> None:
    get, post = made(BY_NAME["payguru"], "success", 1), made(BY_NAME["paynet"], "success", 1)

    assert simulate.as_curl("http://127.0.0.1:8000/", "/x", get).startswith(
        "curl -sS -i 'http://127.0.0.1:8000/x?msisdn="
    )
    assert "'Content-Type: application/json' --data-raw '{" in simulate.as_curl("http://127.0.0.1:8000", "/x", post)
