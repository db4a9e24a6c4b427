"""Quarantined callbacks tried again: what today's code can read becomes one event, and the rest stays and says why."""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import redis

from receiver import browser, config
from receiver.account import Account, Confirm, Secret
from receiver.config import Settings
from receiver.errors import Quarantined, Reason, Unavailable
from receiver.event import Kind, Statement
from receiver.message import CallbackRequest, Level, Media, Notification
from receiver.ports import Target
from receiver.providers import BY_NAME
from receiver.routing import Route
from receiver.seal import Sealer
from receiver.sink import EVENTS, HELD, QUARANTINE, RedisSink
from tests.accounts import BROWSER_TOKEN, account_of, token_for
from tests.desk import FORM, JSON, Desk
from tests.samples import Vector, vectors
from workers.quarantine import RESOLVED, Choice, Retrial, Tried

from .harness import Receiver, ulak

pytestmark = pytest.mark.integration

ROUTE = Route(Target("orders", "orders", "consumer.record"), min_trust=Level.CLAIMED)
UNREADABLE = [vector for vector in vectors() if vector.quarantined]
PAYNET = b'{"referance_no": "ORDER-1", "amount": "1e3", "currency": "TL", "is_succeed": true}'
# One of each provider: by query, form and JSON, not readable and contradicting.
NOW = (datetime(2026, 11, 22, tzinfo=UTC), "r1")
ALL = Choice()
KINDS = {
    "payguru": "a second status of the end user",
    "payguru-phs": "no status",
    "paratika": "empty response code",
    "paynet": "both spellings, different",
    "zotlo": "no status",
    "haso": "callback with nothing in it",
}


class Lenient:
    """A schema of a later version, which can read whatever was sent."""

    def load(self, sent: Mapping[str, Any]) -> Mapping[str, Any]:
        return sent


@pytest.fixture
def upgrade(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a later version of one provider in place: it reads everything that is proven."""

    def put(name: str, order: str | None = None) -> None:
        provider: Any = BY_NAME[name]
        verify = provider.verify

        def verified(request: Any, account: Account, token_id: str) -> Sequence[Notification]:
            try:
                found: Sequence[Notification] = verify(request, account, token_id)
            except Quarantined:
                return (Notification({"read": "now"}, Level.ROUTE, token_id),)
            return found

        def normalize(fields: Mapping[str, Any], *_: Any) -> Statement:
            digest = hashlib.sha256(repr(sorted(fields.items())).encode()).hexdigest()
            return Statement(Kind.PAYMENT_SUCCEEDED, ("of a later version", digest), "1", order_ref=order)

        channels = {key: replace(one, schema=Lenient()) for key, one in provider.channels.items()}
        monkeypatch.setattr(provider, "channels", channels, raising=False)
        monkeypatch.setattr(provider, "verify", verified, raising=False)
        monkeypatch.setattr(provider, "normalize", normalize, raising=False)

    return put


@pytest.fixture
def received(sink: RedisSink) -> Callable[[Vector], Settings]:
    """Let a receiver on the real store take a callback, which ends in quarantine; return its configuration."""

    def take(vector: Vector) -> Settings:
        account = vector.the_account()
        desk = desk_of(sink, account)
        vector.send(desk)
        assert desk.outcome == "quarantined"
        return settings_of(account)

    return take


def desk_of(sink: RedisSink, *accounts: Account) -> Desk:
    return Desk(accounts, (ROUTE,), sink=sink)  # type: ignore[arg-type]


def settings_of(*accounts: Account, **more: Any) -> Settings:
    known = {(account.provider, account.slug): account for account in accounts}
    return Settings(accounts=known, routes=(ROUTE,), redis_url="", data=Path(), **more)


def send_paynet(sink: RedisSink, *accounts: Account, body: bytes = PAYNET, **sent: Any) -> None:
    desk = desk_of(sink, *(accounts or (account_of("paynet"),)))
    answer = desk.send("paynet", sent.pop("channel", "confirmation"), data=body, content_type=JSON, **sent)
    assert (answer.status_code, desk.outcome) == (200, "quarantined")


def retried(
    settings: Settings,
    client: redis.Redis,
    sink: RedisSink,
    *,
    dry: bool = False,
    old: bool = False,
    choice: Choice = ALL,
) -> list[Tried]:
    return list(Retrial(settings, client, sink, dry=dry, old=old).run(choice))


def only(found: list[Tried]) -> Tried:
    (one,) = found
    return one


def events(client: redis.Redis, stream: str = EVENTS) -> list[dict[str, Any]]:
    found: Any = client.xrange(stream)
    return [orjson.loads(fields[b"event"]) for _, fields in found]


def everything(client: redis.Redis) -> dict[bytes, Any]:
    """Return every key of Redis with what it holds, as Redis itself would write it down."""
    keys: Any = client.keys("*")
    return {key: client.dump(key) for key in sorted(keys)}


def kept_of(client: redis.Redis, stream: str = QUARANTINE) -> dict[bytes, bytes]:
    """Return the fields of the one entry of a stream."""
    found: Any = client.xrange(stream)
    ((_, fields),) = found
    return dict(fields)


def replaced(client: redis.Redis, fields: Mapping[Any, Any]) -> None:
    """Let the quarantine hold this entry alone."""
    client.delete(QUARANTINE)
    client.xadd(QUARANTINE, dict(fields))


class TestWithTodaysCode:
    @pytest.mark.parametrize("vector", UNREADABLE, ids=str)
    def test_what_could_not_be_read_stays_for_the_same_reason(
        self, vector: Vector, received: Callable[[Vector], Settings], client: redis.Redis, sink: RedisSink
    ) -> None:
        settings = received(vector)
        before = everything(client)
        tried = only(retried(settings, client, sink))

        assert (tried.outcome, tried.was, tried.why) == ("stays", vector.quarantined, vector.quarantined)
        assert (tried.provider, tried.account, tried.channel) == (vector.provider, "shop", vector.channel)
        assert everything(client) == before


class TestAfterAnUpgrade:
    @pytest.mark.parametrize("vector", UNREADABLE, ids=str)
    def test_a_callback_of_any_kind_passes_and_only_once(
        self,
        vector: Vector,
        received: Callable[[Vector], Settings],
        upgrade: Callable[[str], None],
        client: redis.Redis,
        sink: RedisSink,
    ) -> None:
        settings = received(vector)
        upgrade(vector.provider)
        tried = only(retried(settings, client, sink))

        assert (tried.outcome, tried.why, tried.was) == ("accepted", "", vector.quarantined)
        assert [one["id"] for one in events(client)] == list(tried.events)
        assert client.lrange("rq:queue:orders", 0, -1) == [f"{tried.events[0]}-orders".encode()]
        assert client.xlen(QUARANTINE) == 1  # nothing is ever taken out
        assert retried(settings, client, sink) == []
        assert len(events(client)) == 1

    @pytest.mark.parametrize(("provider", "name"), KINDS.items())
    def test_the_callback_itself_is_a_duplicate_then(
        self,
        provider: str,
        name: str,
        received: Callable[[Vector], Settings],
        upgrade: Callable[[str], None],
        client: redis.Redis,
        sink: RedisSink,
    ) -> None:
        vector = next(one for one in UNREADABLE if (one.provider, one.name) == (provider, name))
        settings = received(vector)
        upgrade(provider)
        only(retried(settings, client, sink))
        desk = desk_of(sink, vector.the_account())
        vector.send(desk)

        assert desk.outcome == "duplicate"
        assert len(events(client)) == 1

    def test_the_event_is_as_if_it_had_passed_then(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink
    ) -> None:
        before = datetime.now(UTC)
        send_paynet(sink)
        after = datetime.now(UTC)
        upgrade("paynet")
        only(retried(settings_of(account_of("paynet")), client, sink))
        fields = kept_of(client, EVENTS)
        data = orjson.loads(fields[b"event"])["data"]

        assert before <= datetime.fromisoformat(data["received_at"]) <= after
        assert (data["channel"], data["origin"], data["trust"]["level"]) == ("confirmation", "callback", "route")
        assert Sealer().open(fields[b"request"], orjson.loads(fields[b"event"])["id"]).body == PAYNET

    def test_it_waits_for_confirmation_where_the_account_wants_that(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink
    ) -> None:
        account = replace(account_of("paynet"), confirm=Confirm.UNPROVEN, api={"base_url": "https://api.example"})
        send_paynet(sink, account)
        upgrade("paynet")
        tried = only(retried(settings_of(account), client, sink))

        assert tried.outcome == "held"
        assert (len(events(client)), len(events(client, HELD))) == (0, 1)
        assert client.exists(f"rq:job:{tried.events[0]}-CONFIRM")
        assert retried(settings_of(account), client, sink) == []

    def test_many_who_try_at_once_make_one_event(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink, sinks: Any, redis_server: Any
    ) -> None:
        for number in range(5):
            send_paynet(sink, body=PAYNET.replace(b"1e3", b"1e%d" % number))
        upgrade("paynet")
        found: list[Tried] = []
        begin = threading.Barrier(4)
        stores = [sinks(redis_server) for _ in range(4)]

        def act(store: RedisSink) -> None:
            begin.wait()
            found.extend(retried(settings_of(account_of("paynet")), client, store))

        threads = [threading.Thread(target=act, args=(store,)) for store in stores]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

        assert len(events(client)) == 5
        assert client.llen("rq:queue:orders") == 5
        assert sum(one.outcome == "accepted" for one in found) == 5
        assert {one.outcome for one in found} <= {"accepted", "duplicate"}

    def test_a_kill_before_it_was_noted_leaves_a_duplicate(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink
    ) -> None:
        send_paynet(sink)
        upgrade("paynet")
        settings = settings_of(account_of("paynet"))
        only(retried(settings, client, sink))
        client.delete(RESOLVED)

        assert only(retried(settings, client, sink)).outcome == "duplicate"
        assert retried(settings, client, sink) == []
        assert len(events(client)) == 1

    def test_a_dry_run_tells_and_changes_nothing(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink
    ) -> None:
        send_paynet(sink)
        upgrade("paynet")
        settings = settings_of(account_of("paynet"))
        before = everything(client)
        tried = only(retried(settings, client, sink, dry=True))

        assert tried.outcome == "accepted"
        assert everything(client) == before
        only(retried(settings, client, sink))
        client.delete(RESOLVED)
        assert only(retried(settings, client, sink, dry=True)).outcome == "duplicate"
        assert not client.exists(RESOLVED)


class TestProof:
    BODY = b"responseCode=&merchantPaymentId=A-1"

    def test_is_asked_for_again_with_todays_secrets(
        self,
        received: Callable[[Vector], Settings],
        upgrade: Callable[[str], None],
        client: redis.Redis,
        sink: RedisSink,
    ) -> None:
        vector = next(one for one in UNREADABLE if one.provider == "paratika")
        received(vector)
        upgrade("paratika")
        rotated = replace(vector.the_account(), secrets=(Secret("env:NEW", b"the-secret-of-next-year"),))
        tried = only(retried(settings_of(rotated), client, sink))

        assert (tried.outcome, tried.why) == ("stays", "bad_signature")
        both = replace(rotated, secrets=(*rotated.secrets, *vector.the_account().secrets))
        assert only(retried(settings_of(both), client, sink)).outcome == "accepted"

    def test_by_a_token_was_given_then(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink
    ) -> None:
        send_paynet(sink)
        upgrade("paynet")
        rotated = replace(account_of("paynet"), tokens=(Secret("env:NEW", b"route-token-of-next-year"),))

        assert only(retried(settings_of(rotated), client, sink)).outcome == "accepted"

    @pytest.mark.parametrize(("named", "outcome", "why"), [(None, "accepted", ""), ("B-2", "stays", "bad_signature")])
    def test_of_one_order_is_no_proof_of_another(
        self, upgrade: Any, client: redis.Redis, sink: RedisSink, named: str | None, outcome: str, why: str
    ) -> None:
        desk = desk_of(sink, account_of("paynet"))
        token = browser.order_token(BROWSER_TOKEN.encode(), "A-1")
        desk.send("paynet", "return", token=token, data=b"", content_type=FORM)
        assert desk.outcome == "quarantined"
        upgrade("paynet", named)
        tried = only(retried(settings_of(account_of("paynet")), client, sink))

        assert (tried.outcome, tried.why) == (outcome, why)
        assert [one["subject"] for one in events(client)] == ([] if named else ["A-1"])

    def test_of_which_nobody_knows_whether_it_was_of_one_order_is_none(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink
    ) -> None:
        desk = desk_of(sink, account_of("paynet"))
        desk.send("paynet", "return", data=b"", content_type=FORM)
        replaced(client, {name: value for name, value in kept_of(client).items() if name != b"order"})
        upgrade("paynet")

        assert only(retried(settings_of(account_of("paynet")), client, sink)).why == "bad_token"


class TestWhatStays:
    @pytest.fixture
    def kept(self, sink: RedisSink, upgrade: Callable[[str], None]) -> Account:
        """An account with one callback that today's code could read."""
        send_paynet(sink)
        upgrade("paynet")
        return account_of("paynet")

    def test_says_that_its_account_is_gone(self, kept: Account, client: redis.Redis, sink: RedisSink) -> None:
        others = settings_of(replace(kept, slug="other"))

        assert only(retried(others, client, sink)).why == "no_account"
        assert only(retried(settings_of(kept), client, sink)).outcome == "accepted"

    def test_says_that_its_provider_or_channel_is_gone(
        self, kept: Account, client: redis.Redis, sink: RedisSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(BY_NAME["paynet"], "channels", {})
            assert only(retried(settings_of(kept), client, sink)).why == "no_channel"
            # Not taken out of BY_NAME itself: put back, it would stand last, and other tests see the order.
            known = {name: provider for name, provider in BY_NAME.items() if name != "paynet"}
            patched.setattr("workers.quarantine.BY_NAME", known)
            assert only(retried(settings_of(kept), client, sink)).why == "no_provider"

    def test_says_that_its_key_is_gone(self, kept: Account, client: redis.Redis, sink: RedisSink) -> None:
        replaced(client, {**kept_of(client), b"request": b"\x01" + b"k" * 60})

        assert only(retried(settings_of(kept, data_keys=(b"d" * 32,)), client, sink)).why == "not_opened"

    def test_says_that_it_is_older_than_the_markers(self, kept: Account, client: redis.Redis, sink: RedisSink) -> None:
        long_ago = (datetime.now(UTC) - timedelta(days=3)).isoformat().encode()
        replaced(client, {**kept_of(client), b"received_at": long_ago})

        assert only(retried(settings_of(kept, dedupe_days=2), client, sink)).why == "too_old"
        assert only(retried(settings_of(kept, dedupe_days=2), client, sink, dry=True, old=True)).outcome == "accepted"
        assert only(retried(settings_of(kept, dedupe_days=0), client, sink)).outcome == "accepted"

    def test_for_a_fault_of_ours_says_where_and_stops_nobody_else(
        self, kept: Account, client: redis.Redis, sink: RedisSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client.xadd(QUARANTINE, {"provider": "paynet"})
        faulty = SimpleNamespace(open=lambda *_: 1 / 0)
        retrial = Retrial(settings_of(kept), client, sink, dry=True, old=False)
        monkeypatch.setattr(retrial, "_sealer", faulty)
        first, second = retrial.run(Choice())

        assert (first.outcome, first.why) == ("stays", "internal_error")
        assert first.detail.startswith("ZeroDivisionError at test_quarantine_retry.py:")
        assert (second.why, second.detail.partition(" ")[0]) == ("internal_error", "KeyError")

    def test_while_redis_takes_nothing_is_not_noted(self, kept: Account, client: redis.Redis, sink: RedisSink) -> None:
        client.set("ulak:full", "1")
        with pytest.raises(Unavailable) as caught:
            retried(settings_of(kept), client, sink)

        assert caught.value.reason is Reason.REDIS_FULL
        assert not client.exists(RESOLVED)
        client.delete("ulak:full")
        assert only(retried(settings_of(kept), client, sink)).outcome == "accepted"


class TestChoice:
    def test_takes_what_fits_all_that_is_given(
        self, upgrade: Callable[[str], None], client: redis.Redis, sink: RedisSink
    ) -> None:
        other = replace(account_of("paynet"), slug="other")
        send_paynet(sink)
        desk = desk_of(sink, other)
        path = f"/callbacks/paynet/other/confirmation/{token_for('paynet', 'confirmation')}"
        desk.client.post(path, data=PAYNET, content_type=JSON)
        zotlo = next(one for one in UNREADABLE if one.provider == "zotlo")
        zotlo.send(desk_of(sink, zotlo.the_account()))
        settings = settings_of(account_of("paynet"), other, zotlo.the_account())

        def chosen(**what: str) -> list[tuple[str, str]]:
            return [
                (one.provider, one.account) for one in retried(settings, client, sink, dry=True, choice=Choice(**what))
            ]

        assert chosen() == [("paynet", "shop"), ("paynet", "other"), ("zotlo", "shop")]
        assert chosen(provider="paynet") == [("paynet", "shop"), ("paynet", "other")]
        assert chosen(account="shop") == [("paynet", "shop"), ("zotlo", "shop")]
        assert chosen(provider="paynet", account="shop") == [("paynet", "shop")]
        assert chosen(reason="conflicting_field") == []
        digest = hashlib.sha256(b"\n" + PAYNET).hexdigest()
        assert chosen(digest=digest[:8]) == [("paynet", "shop"), ("paynet", "other")]
        assert chosen(digest="zz") == []


def test_a_charset_that_was_announced_is_kept(client: redis.Redis, sink: RedisSink) -> None:
    """Read as UTF-8 it would be refused; read right, it is unreadable for the amount alone."""
    desk = desk_of(sink, account_of("paynet"))
    body = PAYNET.decode().replace("ORDER", "ŞİŞLİ").encode("iso-8859-9")
    desk.send("paynet", "confirmation", data=body, content_type=f"{JSON}; charset=iso-8859-9")
    assert desk.outcome == "quarantined"

    assert only(retried(settings_of(account_of("paynet")), client, sink)).why == "unreadable_field"
    replaced(client, {**kept_of(client), b"encoding": b"utf-8"})
    assert only(retried(settings_of(account_of("paynet")), client, sink)).why == "bad_encoding"


def test_what_stays_is_not_kept_twice_once_its_mark_is_forgotten(client: redis.Redis, sink: RedisSink) -> None:
    send_paynet(sink)
    (mark,) = list(client.scan_iter("ulak:quarantine:seen:*"))
    client.delete(mark)
    only(retried(settings_of(account_of("paynet")), client, sink))

    assert client.xlen(QUARANTINE) == 1
    assert not client.exists(mark)


class TestTheCommand:
    def quarantine(self, receiver: Receiver) -> None:
        path = f"/callbacks/paynet/shop-tr/confirmation/{receiver.secret('paynet_token')}"
        assert receiver.post(path, PAYNET, Content_Type=JSON).status == 200

    def test_tells_what_stays_and_ends_with_1(self, receiver: Receiver) -> None:
        self.quarantine(receiver)
        told = ulak("quarantine", "retry", env=receiver.env)
        machine = ulak("quarantine", "retry", "--json", "--provider", "paynet", env=receiver.env)

        assert (told.returncode, machine.returncode, told.stderr, machine.stderr) == (1, 1, "", "")
        line, summary = told.stdout.splitlines()
        assert line.split()[:3] == ["stays", "paynet/shop-tr", "confirmation"]
        assert line.endswith("unreadable_field amount")
        assert summary == "1 tried: 1 stays"
        answer = orjson.loads(machine.stdout)
        assert (answer["tried"], answer["counts"], answer["dry"], answer["refused"]) == (1, {"stays": 1}, False, None)
        assert answer["entries"][0]["why"] == "unreadable_field"
        assert "ORDER-1" not in told.stdout + machine.stdout

    def test_leaves_what_is_resolved_and_tail_says_so(self, receiver: Receiver, client: redis.Redis) -> None:
        self.quarantine(receiver)
        assert ulak("events", "tail", "--quarantine", env=receiver.env).stdout.split()[1] == "state=open"
        found: Any = client.xrange(QUARANTINE)
        client.hset(RESOLVED, found[0][0], "accepted")
        done = ulak("quarantine", "retry", env=receiver.env)

        assert (done.returncode, done.stdout) == (0, "0 tried\n")
        shown = orjson.loads(ulak("events", "tail", "--quarantine", "--json", env=receiver.env).stdout)
        assert shown["state"] == "accepted"

    def test_gives_out_what_can_be_read_now(self, receiver: Receiver, client: redis.Redis) -> None:
        """The receiver of an older version is simulated: it kept bytes that this one can read."""
        self.quarantine(receiver)
        fields = kept_of(client)
        old = CallbackRequest("confirmation", "POST", b"", PAYNET.replace(b"1e3", b"10.00"), Media.JSON, *NOW)
        settings = config.load(receiver.env)
        request = Sealer(settings.data_keys).seal(old, fields[b"digest"].decode())
        replaced(client, {**fields, b"request": request})
        tried = ulak("quarantine", "retry", "--dry-run", env=receiver.env)
        assert (tried.returncode, events(client)) == (0, [])
        assert tried.stdout.endswith("1 tried: 1 accepted (nothing was changed)\n")
        client.set("ulak:full", "1")
        refused = ulak("quarantine", "retry", "--json", env=receiver.env)
        assert (refused.returncode, orjson.loads(refused.stdout)["refused"]) == (1, "redis_full")
        assert refused.stderr.startswith("ulak: redis_full: ")
        client.delete("ulak:full")
        done = ulak("quarantine", "retry", env=receiver.env)

        assert (done.returncode, done.stderr) == (0, "")
        (event,) = events(client)
        assert done.stdout.split()[:3] == ["accepted", "paynet/shop-tr", "confirmation"]
        assert event["id"][:12] in done.stdout
        assert (event["subject"], event["data"]["amount"]["value"]) == ("ORDER-1", "10.00")

    def test_says_that_redis_is_away(self, receiver: Receiver, tmp_path: Path) -> None:
        done = ulak("quarantine", "retry", env={**receiver.env, "REDIS_URL": f"unix://{tmp_path}/none.sock"})

        assert done.returncode == 1
        assert "Redis does not answer" in done.stderr
        assert "Traceback" not in done.stderr
