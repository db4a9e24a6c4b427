"""``ulak reconcile``: what the played providers list, beside what a real receiver took."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import redis
from click.testing import CliRunner, Result

from receiver.cli import main
from receiver.providers import BY_NAME
from receiver.schema import TURKEY
from receiver.sink import EVENTS, FULL
from workers import sandbox

from .harness import Receiver, RedisServer, background, call, environment, free_port, receiving, ulak, until

pytestmark = pytest.mark.integration

SLUG = "shop-asked"
# By provider: the fields of the callback that hold the payment's reference, the amount, and the time if there is one.
FIELDS: Mapping[str, tuple[str, str, str]] = {
    "paratika": ("merchantPaymentId", "amount", "pgTranDate"),
    "paynet": ("referance_no", "amount", "xact_date"),
    "payguru": ("txId", "amount", ""),
    "zotlo": ("parameters.transaction_id", "parameters.price", "parameters.purchase_date"),
}
everyone = pytest.mark.parametrize("provider", sorted(FIELDS))


@dataclass
class Shop:
    """A receiver whose accounts can be asked and give out at once, and the played APIs."""

    receiver: Receiver
    api: int
    client: redis.Redis

    def ulak(self, *words: str) -> Result:
        """Run a command in this process: a new one each time would take longer than all it does."""
        return CliRunner(env=dict(self.receiver.env)).invoke(main, words)

    def callbacks(self, provider: str, count: int, *changes: str) -> list[str]:
        """Send callbacks, and return the references of their payments."""
        sets = [word for change in changes for word in ("--set", change)]
        words = ("--account", SLUG, "--count", str(count), "--to", self.receiver.base, "--json")
        done = self.ulak("simulate", provider, "success", *words, *sets)
        assert done.exit_code == 0, done.output
        return [reference_of(provider, orjson.loads(line)["order"][-9:]) for line in done.stdout.splitlines()]

    def paid(self, provider: str, references: list[str], at: datetime) -> None:
        payments = [{"provider": provider, "reference": one, "at": at.isoformat()} for one in references]
        body = orjson.dumps(payments)
        assert call(self.api, "/-/payments", body, {"Content-Type": "application/json"}).status == 201

    def reconcile(self, provider: str, at: datetime, *more: str) -> Result:
        day = at.astimezone(TURKEY).date().isoformat()
        return self.ulak("reconcile", "--provider", provider, "--account", SLUG, "--since", day, *more)

    def compared(self, provider: str, at: datetime, *more: str) -> tuple[int, dict[str, Any]]:
        done = self.reconcile(provider, at, "--json", *more)
        assert done.stderr == ""
        return done.exit_code, orjson.loads(done.stdout)

    def events(self) -> list[dict[str, Any]]:
        found: Any = self.client.xrange(EVENTS)
        return [orjson.loads(raw[b"event"]) for _, raw in found]


def reference_of(provider: str, suffix: str) -> str:
    return BY_NAME[provider].scenarios["success"].fields[FIELDS[provider][0]] + suffix


def called(provider: str, suffix: str) -> list[str]:
    """Return what must be set so that all references of a callback end in *suffix*, nine digits."""
    scenario = BY_NAME[provider].scenarios["success"]
    return [f"{name}={scenario.fields[name]}{suffix}" for name in scenario.unique]


def counts(report: Mapping[str, Any]) -> dict[str, int]:
    return {name: count for name, count in report["counts"].items() if count}


_HELD = """
[[accounts]]
provider = "paratika"
slug = "shop-held"
test = true
secrets = ["file:held_secret"]
api = { base_url = "http://127.0.0.1:PORT/paratika", merchant = "1", user = "sandbox", password = "file:api_secret" }

[[accounts]]
provider = "paynet"
slug = "shop-refused"
test = true
token = "file:refused_token"
browser_token = "file:refused_browser_token"
api = { base_url = "http://127.0.0.1:PORT/paynet", secret_key = "file:data_key" }
"""


@pytest.fixture(scope="module")
def _shop(_session_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    port, folder = free_port(), tmp_path_factory.mktemp("shop")
    config = sandbox.write(folder, f"http://127.0.0.1:{port}")
    # Given out at once, so that no test waits for a worker; shop-held is as everybody's.
    text = config.read_text().replace(f'slug = "{SLUG}"', f'slug = "{SLUG}"\nconfirm = "never"')
    config.write_text(text + _HELD.replace("PORT", str(port)))
    for name in ("held_secret", "refused_token", "refused_browser_token"):
        (folder / name).write_text(name.ljust(24, "-"))
    env = _session_redis.ulak(config)
    with ExitStack() as stack:
        played = [sys.executable, "-m", "workers.sandbox_api", str(port)]
        stack.enter_context(background(played, environment(), folder / "api.log"))
        receiver = stack.enter_context(receiving(config, env))
        until(lambda: _answers(port), "the played APIs answer")
        yield Shop(receiver, port, stack.enter_context(_session_redis.client()))


def _answers(port: int) -> bool:
    try:
        return call(port, "/-/payments", b"[]", {"Content-Type": "application/json"}).status == 201
    except OSError:
        return False


@pytest.fixture
def shop(redis_server: RedisServer, _shop: Shop) -> Shop:
    """The module's receiver and played APIs, on an empty Redis; what was paid stays, so each test has its own day."""
    del redis_server
    return _shop


def days_ago(count: int) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) - timedelta(days=count)


class TestReconcile:
    @everyone
    def test_finds_what_never_came_and_puts_it_in_once(self, shop: Shop, provider: str) -> None:
        at = days_ago(3)
        came = shop.callbacks(provider, 16)
        wrong = shop.callbacks(provider, 1, f"{FIELDS[provider][1]}=0.50")
        lost = [reference_of(provider, f"{number:09}") for number in (1, 2, 3)]
        shop.paid(provider, [*came, *wrong, *lost], at)

        code, first = shop.compared(provider, at)
        accepting, second = shop.compared(provider, at, "--accept")
        _, third = shop.compared(provider, at, "--accept")
        shop.callbacks(provider, 1, *called(provider, "000000001"))

        assert (code, accepting) == (1, 1)
        assert counts(first) == {"listed": 20, "received": 16, "missing": 3, "other_amount": 1}
        assert counts(second) == {"listed": 20, "received": 16, "accepted": 3, "other_amount": 1}
        assert counts(third) == {"listed": 20, "received": 19, "other_amount": 1}
        (other,) = third["differences"]
        assert other["ours"]["amount"]["minor"] == 50
        assert other["theirs"]["amount"]["minor"] > 50
        events = shop.events()
        assert len(events) == 20
        found = [event["data"] for event in events if event["data"]["origin"] == "reconciliation"]
        assert [(one["trust"]["level"], "amount" in one["trust"]["covers"]) for one in found] == [
            ("confirmed", True)
        ] * 3
        assert {event["type"] for event in events} == {"payment.succeeded"}

    @everyone
    def test_ends_with_0_where_nothing_differs(self, shop: Shop, provider: str) -> None:
        at = days_ago(5)
        shop.paid(provider, shop.callbacks(provider, 3), at)

        done = shop.reconcile(provider, at)
        quiet = shop.reconcile(provider, days_ago(29))

        assert (done.exit_code, done.stdout) == (0, "3 listed, 3 as received\n")
        assert (quiet.exit_code, quiet.stdout) == (0, "0 listed, 0 as received\n")

    @everyone
    def test_finds_a_success_that_the_provider_does_not_know(self, shop: Shop, provider: str) -> None:
        time = FIELDS[provider][2]
        at = days_ago(7 if time else 0)
        # The first is in no list, for it was not recorded; asked about by itself, it is known all the same.
        changes = [f"{time}={at.astimezone(TURKEY):%Y-%m-%d %H:%M:%S}"] if time else []
        shop.callbacks(provider, 1, *changes)
        shop.callbacks(provider, 1, *called(provider, "000900002"), *changes)

        code, report = shop.compared(provider, at, *(() if time else ("--accept",)))

        assert (code, counts(report)) == (1, {"not_listed": 1})
        (one,) = report["differences"]
        assert (one["what"], one["theirs"], one["ours"]["kind"]) == ("not_listed", None, "payment.succeeded")
        assert reference_of(provider, "000900002") in {one["order_ref"], one["payment_ref"]}
        assert len(shop.events()) == 2

    @everyone
    def test_finds_money_given_back(self, shop: Shop, provider: str) -> None:
        at = days_ago(9)
        shop.callbacks(provider, 1, *called(provider, "000900010"))
        shop.paid(provider, [reference_of(provider, "000900010")], at)

        code, report = shop.compared(provider, at, "--accept")
        again, _ = shop.compared(provider, at)

        assert (code, again) == (0, 0)
        (one,) = report["differences"]
        assert (one["what"], one["theirs"]["kind"]) == ("accepted", "payment.refunded")
        assert [event["type"] for event in shop.events()] == ["payment.succeeded", "payment.refunded"]

    def test_prints_a_table_without_a_person_in_it(self, shop: Shop) -> None:
        at = days_ago(11)
        shop.paid("paratika", ["ORDER-lost"], at)

        day = at.astimezone(TURKEY).date().isoformat()
        words = ("--provider", "paratika", "--account", SLUG, "--since", day, "--until", day)
        done = ulak("reconcile", *words, env=shop.receiver.env)

        assert (done.returncode, done.stderr) == (1, "")
        heading, row, summary = done.stdout.splitlines()
        assert heading.split() == ["what", "kind", "order", "payment", "theirs", "ours", "id"]
        told = "missing payment.succeeded ORDER-lost P-ORDER-lost succeeded 11.76 TRY -"
        assert row.split()[:-1] == told.split()
        assert summary == "1 listed, 0 as received, 1 missing"

    def test_leaves_alone_what_waits_for_confirmation(self, shop: Shop) -> None:
        at = days_ago(13)
        words = ("--account", "shop-held", "--to", shop.receiver.base, "--set", "merchantPaymentId=ORDER-waits")
        assert shop.ulak("simulate", "paratika", "success", *words).exit_code == 0
        shop.paid("paratika", ["ORDER-waits"], at)

        day = at.astimezone(TURKEY).date().isoformat()
        words = ("--account", "shop-held", "--since", day, "--accept", "--json")
        done = shop.ulak("reconcile", "--provider", "paratika", *words)

        assert done.exit_code == 1
        assert counts(orjson.loads(done.stdout)) == {"listed": 1, "held": 1}
        assert shop.events() == []

    def test_knows_what_was_trimmed(self, shop: Shop) -> None:
        at = days_ago(15)
        shop.paid("paynet", shop.callbacks("paynet", 2), at)
        shop.client.xtrim(EVENTS, maxlen=0, approximate=False)

        assert shop.reconcile("paynet", at).stdout == "2 listed, 2 as received\n"

    def test_can_tell_of_a_failure_where_the_stream_reaches_back(self, shop: Shop) -> None:
        at = days_ago(17)
        shop.paid("paynet", [reference_of("paynet", "000900003")], at)
        shop.callbacks("paynet", 1)
        shop.client.xtrim(EVENTS, maxlen=0, approximate=False)
        _, trimmed = shop.compared("paynet", at)
        shop.client.delete(EVENTS)
        shop.client.xadd(EVENTS, {"routes": b"[]"}, id="1-0")  # any entry that is old enough

        _, whole = shop.compared("paynet", at, "--accept")

        assert counts(trimmed) == {"listed": 1, "forgotten": 1}
        assert counts(whole) == {"listed": 1, "accepted": 1}

    def test_says_what_could_not_be_put_in(self, shop: Shop) -> None:
        at = days_ago(19)
        shop.paid("zotlo", [reference_of("zotlo", "000000019")], at)
        shop.client.set(FULL, "1")

        done = shop.reconcile("zotlo", at, "--accept")

        assert (done.exit_code, done.stdout.splitlines()[-1]) == (1, "1 listed, 0 as received, 1 missing")
        assert "redis_full" in done.stderr

    def test_says_why_there_is_no_list(self, shop: Shop) -> None:
        words = ("--provider", "paynet", "--account", "shop-refused", "--since", "2026-11-22T00:00:00Z")
        done = shop.ulak("reconcile", *words, "--json")

        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith("ulak: api_refused: wrong credentials")
        assert "[accounts.api]" in done.stderr

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (("haso", SLUG, "2026-11-22"), "these have one: paratika, payguru, paynet, zotlo"),
            (("nobody", SLUG, "2026-11-22"), "no provider is called"),
            (("paynet", "shop-x", "2026-11-22"), "the configuration has: shop-tr, shop-asked"),
            (("paynet", "shop-tr", "2026-11-22"), "has no [accounts.api]"),
            (("paynet", SLUG, "2026-11-22T10:00:00"), "needs an offset"),
            (("paynet", SLUG, "yesterday"), "is no day"),
            (("paynet", SLUG, "2999-01-01"), "in the past"),
        ],
    )
    def test_says_what_cannot_be_asked(self, shop: Shop, words: tuple[str, str, str], sentence: str) -> None:
        provider, slug, since = words
        done = shop.ulak("reconcile", "--provider", provider, "--account", slug, "--since", since)

        assert (done.exit_code, done.stdout) == (2, "")
        assert sentence in " ".join(done.stderr.split())
