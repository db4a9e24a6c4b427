"""Announced orders: over HTTP, from Python and from the command line, and what the events then say."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import orjson
import pytest
import redis

from receiver import app, config, simulate
from receiver.message import CallbackRequest
from receiver.providers import BY_NAME
from receiver.sink import EVENTS, EXPECTED, HELD, WATCH

from .harness import ROOT, Receiver, RedisServer, Response, call, got, is_told, receiving, run_stock_worker, ulak, until

pytestmark = pytest.mark.integration

DAY = 24 * 3600
SECRETS = {
    "data_key": "ab" * 32,
    "paratika_secret": "qw3rty4iopa77fgh",
    "asked_secret": "asked-secret-of-the-tests",
    "merchant_key": "MERCHANTKEY",
    "service_key": "SERVICEKEY",
    "payguru_token": "route-token-0123456789",
    "silent_token": "route-token-9876543210",
    "expected": "expected-token-0123456789",
    "expected_old": "expected-token-of-last-year",
    "expected_asked": "expected-token-of-the-asked",
}
CONFIG = """
data_key = "file:data_key"

[[accounts]]
provider = "paratika"
slug = "shop"
test = true
secrets = ["file:paratika_secret"]
expected_token = ["file:expected", "file:expected_old"]

[[accounts]]
provider = "paratika"
slug = "asked"
test = true
secrets = ["file:asked_secret"]
expected_token = "file:expected_asked"
api = { base_url = "http://127.0.0.1:1", merchant = "1", user = "u", password = "file:asked_secret" }

[[accounts]]
provider = "payguru-phs"
slug = "shop"
test = true
merchant_id = "123"
service_code = "XXX"
secrets = [{ merchant_key = "file:merchant_key", service_key = "file:service_key" }]
expected_token = "file:expected"

[[accounts]]
provider = "payguru"
slug = "shop"
test = true
token = "file:payguru_token"
expected_token = "file:expected"

[[accounts]]
provider = "payguru"
slug = "silent"
test = true
token = "file:silent_token"

[[routes]]
name = "paid"
job = "consumer.record"
verdicts = ["match", "amount_unproven"]

[[routes]]
name = "review"
job = "consumer.record"
verdicts = ["underpaid", "overpaid", "wrong_currency", "unknown_order", "already_paid"]

[[routes]]
name = "rest"
job = "consumer.record"
verdicts = ["none"]
"""
BEARER = {"Authorization": f"Bearer {SECRETS['expected']}", "Content-Type": "application/json"}


def write(folder: Path) -> Path:
    for name, value in SECRETS.items():
        (folder / name).write_text(value)
    path = folder / "ulak.toml"
    path.write_text(CONFIG)
    return path


def callback(
    settings: config.Settings, provider: str, slug: str, scenario: str, changes: Mapping[str, str]
) -> tuple[str, CallbackRequest]:
    """Return the path and the signed callback of a scenario with exactly these references."""
    account, known = settings.accounts[provider, slug], BY_NAME[provider]
    made = known.scenarios[scenario]
    signed = known.sign(replace(made, fields={**made.fields, **changes}), account, datetime.now(UTC))
    return simulate.path(account, known.channels[made.channel]), signed


@dataclass
class Shop:
    """A shop, and the providers that call its receiver."""

    receiver: Receiver
    settings: config.Settings
    client: redis.Redis

    def announce(
        self, provider: str, order: str, amount: str = "11.76", currency: str = "TRY", **more: Any
    ) -> Response:
        sent = {"provider": provider, "account": "shop", "order_ref": order, "amount": amount, "currency": currency}
        headers = {**BEARER, "Authorization": f"Bearer {more.pop('token', SECRETS['expected'])}"}
        return call(self.receiver.port, "/expected", orjson.dumps(sent | more), headers)

    def announced(self, *words: str, **more: Any) -> str:
        answer = self.announce(*words, **more)
        assert answer.status == 200, answer.body
        return str(answer.json()["announced"])

    def send(self, provider: str, changes: Mapping[str, str], scenario: str = "success", slug: str = "shop") -> None:
        answer = simulate.send(self.receiver.base, *callback(self.settings, provider, slug, scenario, changes))
        assert answer.status in {200, 303}

    def says(self, stream: str = EVENTS) -> list[dict[str, Any]]:
        found: Any = self.client.xrange(stream)
        return [orjson.loads(fields[b"event"])["data"] for _, fields in found]

    def verdicts(self) -> list[str | None]:
        return [event["expected"] for event in self.says()]

    def queued(self) -> dict[str, int]:
        return {name: int(self.client.llen(f"rq:queue:{name}")) for name in ("paid", "review", "rest")}


@pytest.fixture(scope="module")
def _receiver(_session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    path = write(tmp_path_factory.mktemp("shop"))
    with receiving(path, _session_redis.ulak(path)) as found:
        yield found


@pytest.fixture
def shop(_receiver: Receiver, client: redis.Redis) -> Shop:
    return Shop(_receiver, config.load(_receiver.env), client)


def card(order: str, **changes: str) -> dict[str, str]:
    return {"merchantPaymentId": order, "amount": "11.76", "pgTranId": f"T-{order}", **changes}


def mobile(order: str, payment: str, **changes: str) -> dict[str, str]:
    return {"order": order, "txId": payment, "amount": "12.00", **changes}


def scheduled(client: redis.Redis) -> list[str]:
    found: Any = client.zrange("rq:scheduled:ulak-ask", 0, -1)
    return [job.decode() for job in found]


class TestAnnouncement:
    def test_is_new_then_the_same_then_changed(self, shop: Shop) -> None:
        deadline = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
        words = [
            shop.announced("paratika", "A-1", deadline=deadline),
            shop.announced("paratika", "A-1", deadline=deadline),
            shop.announced("paratika", "A-1", "11.760", deadline=deadline, token=SECRETS["expected_old"]),
            shop.announced("paratika", "A-1", "12", deadline=deadline),
            shop.announced("paratika", "A-2", deadline=deadline),
            shop.announced("payguru", "A-1", deadline=deadline),
        ]

        assert words == ["new", "same", "same", "changed", "new", "new"]

    def test_is_kept_for_dedupe_days_after_its_deadline(self, shop: Shop) -> None:
        shop.announced("paratika", "A-1")
        (key,) = shop.client.scan_iter(EXPECTED + "*")

        assert 31 * DAY - 60 < int(shop.client.ttl(key)) <= 31 * DAY

    def test_of_a_paid_order_may_be_repeated_and_not_changed(self, shop: Shop) -> None:
        shop.announced("paratika", "A-1")
        shop.send("paratika", card("A-1"))
        other = shop.announce("paratika", "A-1", "12.00")

        assert shop.announced("paratika", "A-1") == "same"
        assert (other.status, other.json()["error"]) == (409, "already_paid")
        assert shop.announce("paratika", "A-1", "11.76", "USD").status == 409

    def test_begins_to_be_asked_for_where_the_provider_can_be_asked(self, shop: Shop) -> None:
        shop.announced("paratika", "A-1")
        assert not list(shop.client.scan_iter(WATCH + "*"))

        shop.announced("paratika", "A-1", account="asked", token=SECRETS["expected_asked"])
        (job,) = scheduled(shop.client)
        assert len(list(shop.client.scan_iter(WATCH + "*"))) == 1
        assert shop.client.hget(f"rq:job:{job}", "status") == b"scheduled"

    def test_with_the_token_of_another_account_is_401(self, shop: Shop) -> None:
        answers = [
            shop.announce("paratika", "A-1", token=SECRETS["expected_asked"]),
            shop.announce("payguru", "A-1", account="silent"),
            shop.announce("payguru", "A-1", account="nobody"),
            shop.announce("payguru", "A-1", token=SECRETS["payguru_token"]),
        ]

        assert {(one.status, one.json()["error"]) for one in answers} == {(401, "unauthorized")}
        assert not list(shop.client.scan_iter(EXPECTED + "*"))

    @pytest.mark.parametrize("chunked", [False, True])
    def test_past_64_kib_is_413_that_the_client_reads(self, shop: Shop, *, chunked: bool) -> None:
        body = b'{"order_ref":"' + b"x" * 65536 + b'"}'
        answer = call(shop.receiver.port, "/expected", body, BEARER, chunked=chunked)

        assert (answer.status, answer.json()["error"]) == (413, "too_large")

    @pytest.mark.parametrize("method", ["GET", "PUT", "OPTIONS", "BREW"])
    def test_by_another_method_is_405(self, shop: Shop, method: str) -> None:
        answer = call(shop.receiver.port, "/expected", method=method)

        assert (answer.status, answer.headers["Allow"], answer.headers["Cache-Control"]) == (405, "POST", "no-store")

    def test_leaves_no_order_amount_and_token_in_a_log(self, shop: Shop) -> None:
        answer = shop.announce("paratika", "ORDER-OF-AYSE", "4321.09")
        line = shop.receiver.line(answer)
        access = shop.receiver.access_log
        until(lambda: "POST /expected HTTP/1.1" in access.read_text(), "the server's own line")
        logs = shop.receiver.log.read_text() + access.read_text()

        assert (line["event"], line["outcome"], line["key_id"]) == ("expected", "new", "file:expected")
        assert [word for word in ("ORDER-OF-AYSE", "4321", SECRETS["expected"]) if word in logs] == []

    def test_is_counted(self, shop: Shop) -> None:
        name = b'ulak_expected_total{account="shop",outcome="same",provider="paratika"} '

        def count() -> float:
            found = [line for line in shop.receiver.get("/metrics").body.splitlines() if line.startswith(name)]
            return float(found[0].removeprefix(name)) if found else 0.0

        deadline, before = (datetime.now(UTC) + timedelta(hours=2)).isoformat(), count()
        for _ in range(3):
            shop.announced("paratika", "A-1", deadline=deadline)

        assert count() - before == 2

    def test_to_a_full_redis_is_503(self, shop: Shop) -> None:
        shop.client.set("ulak:full", "1")
        answer = shop.announce("paratika", "A-1")

        assert (answer.status, answer.json()["error"], answer.headers["Retry-After"]) == (503, "redis_full", "30")
        assert not list(shop.client.scan_iter(EXPECTED + "*"))
        shop.client.delete("ulak:full")
        is_told(shop.receiver, 200, status="ready")

    def test_over_a_key_of_a_foreign_type_is_503(self, shop: Shop) -> None:
        shop.announced("paratika", "A-1")
        (key,) = shop.client.scan_iter(EXPECTED + "*")
        shop.client.set(key, "x")

        assert shop.announce("paratika", "A-1").json()["error"] == "redis_refused"


class TestVerdict:
    def test_on_an_unsigned_amount_is_no_match(self, shop: Shop, redis_server: RedisServer) -> None:
        """Paratika's hash covers order and status, and not the amount."""
        shop.announced("paratika", "A-1")
        shop.send("paratika", card("A-1"))
        run_stock_worker(redis_server, "paid")

        (one,) = got(shop.client)
        assert one["event"]["subject"] == "A-1"
        assert one["event"]["data"]["expected"] == "amount_unproven"
        assert shop.queued() == {"paid": 0, "review": 0, "rest": 0}

    def test_on_an_amount_with_the_commission_of_instalments(self, shop: Shop) -> None:
        for order, changes in {
            "A-1": {"amount": "13.00", "installment": "6"},
            "A-2": {"amount": "13.00", "installment": "1"},
            "A-3": {"amount": "11.75", "installment": "6"},
        }.items():
            shop.announced("paratika", order)
            shop.send("paratika", card(order, **changes))

        assert shop.verdicts() == ["amount_unproven", "overpaid", "underpaid"]
        assert shop.queued() == {"paid": 1, "review": 2, "rest": 0}

    def test_on_a_signed_amount_may_be_a_match(self, shop: Shop) -> None:
        for number, (amount, currency) in enumerate(
            [("1.00", "TRY"), ("1.01", "TL"), ("0.99", "TRY"), ("1.00", "EUR")], start=1
        ):
            shop.announced("payguru-phs", f"A-{number}", amount, currency)
            shop.send("payguru-phs", {"order": f"A-{number}", "txid": f"100{number}", "amount": "1.00"})
        shop.send("payguru-phs", {"order": "A-9", "txid": "1009", "amount": "1.00"})

        # PHS is paid in lira: an order announced in euro was announced for the wrong account.
        assert shop.verdicts() == ["match", "underpaid", "overpaid", "wrong_currency", "unknown_order"]
        assert shop.queued() == {"paid": 1, "review": 4, "rest": 0}

    def test_is_none_where_no_money_came_or_the_account_announces_nothing(self, shop: Shop) -> None:
        shop.announced("paratika", "A-1")
        shop.send("paratika", card("A-1"), "declined")
        shop.send("payguru", mobile("A-1", "1"), slug="silent")

        assert shop.verdicts() == [None, None]
        assert shop.queued() == {"paid": 0, "review": 0, "rest": 2}

    def test_on_a_second_payment_is_already_paid_and_never_on_a_redelivery(self, shop: Shop) -> None:
        shop.announced("payguru", "A-1", "12.00")
        for payment in ("1", "2", "1", "2", "3"):
            shop.send("payguru", mobile("A-1", payment))

        says = [(event["payment_ref"], event["expected"]) for event in shop.says()]
        assert says == [("1", "amount_unproven"), ("2", "already_paid"), ("3", "already_paid")]
        assert shop.queued() == {"paid": 1, "review": 2, "rest": 0}

    def test_of_too_little_leaves_the_order_to_the_right_payment(self, shop: Shop) -> None:
        shop.announced("payguru", "A-1", "12.00")
        shop.send("payguru", mobile("A-1", "1", amount="11.99"))
        shop.send("payguru", mobile("A-1", "2"))

        assert shop.verdicts() == ["underpaid", "amount_unproven"]

    def test_counts_what_was_announced_when_the_payment_came(self, shop: Shop) -> None:
        shop.send("payguru", mobile("A-1", "1"))
        shop.announced("payguru", "A-1", "11.00")
        shop.send("payguru", mobile("A-1", "2"))

        assert shop.verdicts() == ["unknown_order", "overpaid"]
        assert shop.announce("payguru", "A-1", "12.00").status == 409

    def test_of_payments_at_the_same_moment_is_paid_once(self, shop: Shop) -> None:
        """Two gunicorn workers read the same announcement; the script lets one of them take it."""
        tries, payments = 20, 3
        for number in range(tries):
            shop.announced("payguru", f"A-{number}", "12.00")
        start = Barrier(payments)

        def pay(payment: int) -> None:
            for number in range(tries):
                start.wait(10)
                shop.send("payguru", mobile(f"A-{number}", f"{payment}{number:04}"))

        with ThreadPoolExecutor(payments) as pool:
            list(pool.map(pay, range(payments)))

        said = [(event["order_ref"], event["expected"]) for event in shop.says()]
        assert len(said) == tries * payments
        assert sorted(order for order, verdict in said if verdict != "already_paid") == sorted(
            f"A-{number}" for number in range(tries)
        )
        assert shop.queued() == {"paid": tries, "review": tries * (payments - 1), "rest": 0}

    def test_waits_with_a_fact_that_is_held(self, shop: Shop) -> None:
        shop.announced("paratika", "A-1", account="asked", token=SECRETS["expected_asked"])
        shop.send("paratika", card("A-1"), slug="asked")

        assert [event["expected"] for event in shop.says(HELD)] == [None]
        assert shop.says() == []


Commands = Callable[..., list[str]]


class TestRoundTrips:
    @pytest.fixture
    def commands(self, redis_server: RedisServer, tmp_path: Path, metrics_folder: Path) -> Iterator[Commands]:
        """Give what tells the commands that one callback sends to Redis; those within a script are not sent."""
        assert metrics_folder.is_dir()
        settings = config.load(redis_server.ulak(write(tmp_path)))
        web = app.create_app(settings).test_client()

        def send(provider: str, slug: str, changes: Mapping[str, str], scenario: str = "success") -> None:
            path, sent = callback(settings, provider, slug, scenario, changes)
            media = sent.media.value if sent.media else None
            target = f"{path}?{sent.query.decode()}"
            assert web.open(target, method=sent.method, data=sent.body, content_type=media).status_code in {200, 303}

        with redis_server.client() as client, redis_server.client() as marker, client.monitor() as monitor:

            def sent(*words: Any, **more: Any) -> list[str]:
                send(*words, **more)
                marker.echo("END")
                seen = []
                while not (one := monitor.next_command())["command"].startswith("ECHO"):
                    if one["client_type"] != "lua":
                        seen.append(one["command"].split()[0])
                return seen

            sent("payguru", "silent", mobile("WARM", "999"))  # connects, and brings the script
            yield sent

    def test_are_one_where_nothing_is_announced_and_nobody_is_asked(self, commands: Commands) -> None:
        for _ in range(2):
            assert commands("payguru", "silent", mobile("A-1", "1")) == ["EVALSHA"]

    def test_are_two_where_money_is_held_against_an_announcement(self, commands: Commands) -> None:
        for _ in range(2):
            assert commands("paratika", "shop", card("A-1")) == ["HMGET", "EVALSHA"]

    def test_are_one_where_the_fact_is_held_for_the_api(self, commands: Commands) -> None:
        assert commands("paratika", "asked", card("A-1")) == ["EVALSHA"]

    @pytest.mark.parametrize("slug", ["shop", "asked"])
    @pytest.mark.parametrize("scenario", ["declined", "timeout"])
    def test_are_one_where_no_money_came(self, commands: Commands, slug: str, scenario: str) -> None:
        assert commands("paratika", slug, card("A-1"), scenario=scenario) == ["EVALSHA"]


class TestStoreThatIsAway:
    def test_is_503_within_a_second(self, tmp_path: Path, metrics_folder: Path) -> None:
        assert metrics_folder.is_dir()
        path = write(tmp_path)
        settings = config.load({"ULAK_CONFIG": str(path), "REDIS_URL": f"unix://{tmp_path / 'none.sock'}"})
        sent = {"provider": "paratika", "account": "shop", "order_ref": "A-1", "amount": "1", "currency": "TRY"}
        answer = app.create_app(settings).test_client().post("/expected", json=sent, headers=BEARER)

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert answer.json and answer.json["error"] == "redis_unreachable"  # noqa: PT018 - the first is for mypy


SCRIPT = """
import json, sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from workers.expect import expect

soon = datetime.now(timezone.utc) + timedelta(hours=1)
for words in (
    ("paratika", "shop", "A-1", "11.76", "TRY", soon),
    ("paratika", "shop", "A-1", Decimal("11.760"), "TL", soon.isoformat()),
    ("paratika", "shop", "A-1", Decimal("1.2E+1"), "TRY", soon),
    ("paratika", "shop", "A-1", 11.76, "TRY"),
    ("paratika", "shop", "A-1", "11.765", "TRY", datetime.now()),
    ("paratika", "shop", "\\ud800", "1", "TRY"),
    ("payguru", "silent", "A-1", "11.76", "TRY"),
    ("nobody", "shop", "A-1", "11.76", "TRY"),
):
    try:
        print(json.dumps(expect(*words)))
    except Exception as exc:
        print(json.dumps([type(exc).__name__, str(exc), getattr(exc, "fields", None)]))
"""


class TestPython:
    def test_announces_or_says_what_is_wrong(self, shop: Shop) -> None:
        env = {**shop.receiver.env, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = [orjson.loads(line) for line in done.stdout.splitlines()]

        assert said[:3] == ["new", "same", "changed"]
        assert said[3] == ["AnnouncementError", "amount: is not text", {"amount": "is not text"}]
        assert said[4][0] == "AnnouncementError"
        assert said[4][2].keys() == {"deadline"}
        assert said[5][2].keys() == {"order_ref"}
        for refused in said[6:]:
            assert refused[0] == "LookupError"
            assert "with an expected_token is in the configuration" in refused[1]


class TestCommand:
    def test_announces_and_the_event_says_so(self, shop: Shop) -> None:
        env = shop.receiver.env
        told = ulak("expect", "payguru-phs", "A-1", "1.00", "TRY", env=env)
        machine = ulak("expect", "payguru", "A-1", "12", "TRY", "--account", "shop", "--json", env=env)
        sent = ulak(
            *("simulate", "payguru-phs", "success", "--to", shop.receiver.base),
            *("--set", "order=A-1", "--set", "txid=7", "--set", "amount=1.00"),
            env=env,
        )

        assert (told.returncode, told.stdout) == (0, "new  payguru-phs/shop  A-1  1.00 TRY\n")
        assert orjson.loads(machine.stdout) == {"ok": True, "announced": "new"}
        assert sent.returncode == 0
        assert shop.verdicts() == ["match"]

    def test_of_a_paid_order_ends_with_1(self, shop: Shop) -> None:
        shop.announced("payguru-phs", "A-1", "1.00")
        shop.send("payguru-phs", {"order": "A-1", "txid": "7", "amount": "1.00"})
        done = ulak("expect", "payguru-phs", "A-1", "2.00", "TRY", "--json", env=shop.receiver.env)

        assert (done.returncode, orjson.loads(done.stdout)) == (1, {"ok": False, "error": "already_paid"})
        assert done.stderr.startswith("ulak: already_paid: The announced order is paid already")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (("payguru-phs", "A-1", "1,00", "TRY"), "amount: has an unknown form"),
            (("payguru", "A-1", "1.00", "TRY"), "name the account with --account"),
            (("nobody", "A-1", "1.00", "TRY"), "no provider is called 'nobody'"),
        ],
    )
    def test_that_is_typed_wrong_ends_with_2(self, shop: Shop, words: tuple[str, ...], said: str) -> None:
        done = ulak("expect", *words, env=shop.receiver.env)

        assert done.returncode == 2
        assert said in " ".join(done.stderr.split())

    def test_without_redis_ends_with_1(self, shop: Shop) -> None:
        env = {**shop.receiver.env, "REDIS_URL": f"unix://{os.devnull}"}
        done = ulak("expect", "payguru-phs", "A-1", "1.00", "TRY", env=env)

        assert done.returncode == 1
        assert done.stderr.startswith("ulak: redis_unreachable: ")
