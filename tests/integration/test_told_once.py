"""What callback and API both tell is told once, whatever their fact keys, and only what is proven is a match."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from receiver import simulate
from receiver.account import Account, Confirm, Secret
from receiver.message import Level
from receiver.money import Money
from receiver.providers import BY_NAME
from receiver.sink import FACT, HELD, STATE, Announced, RedisSink
from tests.facts import event_of

from .harness import RedisServer
from .playing import Played, played
from .rig import HASO, SLUG, Rig, load, record, rigged

pytestmark = pytest.mark.integration

TRANSFER = {"txid": "12345", "order": "ORDER-3001"}
RESERVED = {"merchantPaymentId": "ORDER-1", "pgTranId": "PG-1"}
CHARGE = {"id": 12345678912345, "service": 1234, "amount": 12.0, "referenceCode": "ORDER-2001", "operator": 1}
DECLINED = {"merchantPaymentId": "ORDER-declined-1", "pgTranId": "P-ORDER-declined-1"}


@pytest.fixture(scope="module")
def api() -> Iterator[Played]:
    with played() as found:
        yield found


@pytest.fixture
def rig(
    api: Played,
    redis_server: RedisServer,
    client: redis.Redis,
    sink: RedisSink,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Rig:
    return rigged(load(tmp_path, redis_server, api), client, sink, monkeypatch)


def rotated(rig: Rig) -> Account:
    """Give the PHS account a new secret; return it as the provider still has it."""
    before = rig.account("payguru-phs")
    merchant_key, service_key = before.secrets[0].parts[0], b"brand-new-service-key"
    new = Secret("file:new", merchant_key + service_key, (merchant_key, service_key))
    rig.change("payguru-phs", secrets=(new, *before.secrets))
    return before


def told(rig: Rig) -> list[tuple[str, str]]:
    return [(event["type"], event["data"]["origin"]) for event in rig.events()]


def markers(rig: Rig) -> list[Any]:
    return [rig.client.get(key) for key in rig.client.scan_iter(FACT + "*")]


class TestATransferUnderAnotherKey:
    """PHS hashes the amount as it is written, and under the secret of that day; its API's own spelling is another."""

    @pytest.fixture(params=["rotated", "1.0"])
    def how(self, request: pytest.FixtureRequest, rig: Rig) -> dict[str, Any]:
        changes = TRANSFER | ({"amount": "1.0"} if request.param == "1.0" else {})
        return {"changes": changes, "account": rotated(rig) if request.param == "rotated" else None}

    def test_is_told_once_where_the_callback_comes_late(self, rig: Rig, how: dict[str, Any]) -> None:
        rig.send("payguru-phs", "awaiting-merchant", **how)
        rig.ask()
        assert told(rig) == [("payment.pending", "callback"), ("payment.succeeded", "reconciliation")]

        assert rig.send("payguru-phs", "success", **how) == b"OK"
        assert rig.confirm() == []
        assert rig.client.xlen(HELD) == 0
        assert len(rig.events()) == 2

    def test_is_told_once_where_it_is_held(self, rig: Rig, how: dict[str, Any]) -> None:
        rig.send("payguru-phs", "awaiting-merchant", **how)
        rig.send("payguru-phs", "success", **how)
        rig.ask()
        assert rig.confirm() == [True]

        assert told(rig) == [("payment.pending", "callback"), ("payment.succeeded", "confirmation")]
        assert rig.watches() == []

    def test_that_is_still_open_says_why_once(self, rig: Rig, how: dict[str, Any]) -> None:
        how["changes"] |= {"txid": "12345000900003", "order": "ORDER-3001000900003"}  # the API says partly paid
        rig.send("payguru-phs", "partial", **how)
        rig.ask()

        assert told(rig) == [("payment.pending", "callback")]

    def test_that_the_api_tells_under_two_keys_is_told_once(self, rig: Rig) -> None:
        """PHS's key is hashed with our newest secret, in the API's answer too."""
        partly = {"txid": "12345000900003", "order": "ORDER-3001000900003"}
        rig.send("payguru-phs", "awaiting-merchant", partly)
        rig.ask()
        rotated(rig)
        rig.ask()

        assert [(one["reason"], one["origin"]) for one in rig.says()] == [
            ("awaiting_merchant", "callback"),
            ("partial_payment", "reconciliation"),
        ]


class TestAReservation:
    """Paratika's API has a key of its own for all but sales."""

    @pytest.fixture(autouse=True)
    def reserving(self, rig: Rig) -> None:
        options = dict(rig.account("paratika").options) | {"session": "preauth"}
        rig.change("paratika", options=options)
        rig.know(record("PG-1", "AP", "PREAUTH"))
        rig.announce("paratika", "ORDER-1", "11.76")

    def test_is_told_once_where_the_callback_comes_late(self, rig: Rig) -> None:
        rig.ask()
        rig.send("paratika", "success", RESERVED)
        rig.confirm()

        assert told(rig) == [("payment.authorized", "reconciliation")]

    def test_is_told_once_where_it_is_held(self, rig: Rig) -> None:
        rig.send("paratika", "success", RESERVED)
        rig.ask()
        assert markers(rig) == [b"held"]  # not as if what the API says had been given out
        assert rig.confirm() == [True]

        assert told(rig) == [("payment.authorized", "confirmation")]

    def test_is_told_once_where_the_callback_named_another_payment(self, rig: Rig) -> None:
        """The payment's id is not in Paratika's hash."""
        rig.send("paratika", "success", RESERVED | {"pgTranId": "PG-2"})
        rig.ask()
        assert rig.confirm() == [True]

        assert told(rig) == [("payment.authorized", "reconciliation")]
        assert rig.says()[0]["payment_ref"] == "PG-1"
        assert markers(rig) == [b"released"] * 2  # nothing waits any more


class TestAFailedAttempt:
    def test_that_came_before_the_announcement_is_told_once(self, rig: Rig) -> None:
        rig.send("paratika", "declined", DECLINED)
        rig.announce("paratika", "ORDER-declined-1", "11.76")
        rig.ask()

        assert told(rig) == [("payment.failed", "callback")]
        assert len(rig.watches()) == 1

    def test_whose_callback_comes_late_is_told_once(self, rig: Rig) -> None:
        rig.announce("paratika", "ORDER-declined-1", "11.76")
        rig.ask()
        rig.send("paratika", "declined", DECLINED)

        assert told(rig) == [("payment.failed", "reconciliation")]

    def test_does_not_hide_another_one_of_its_order(self, rig: Rig) -> None:
        rig.announce("paratika", "ORDER-declined-1", "11.76")
        rig.send("paratika", "declined", DECLINED | {"pgTranId": "P-1"})
        rig.ask()

        assert told(rig) == [("payment.failed", "callback"), ("payment.failed", "reconciliation")]

    def test_does_not_hide_that_of_another_order(self, rig: Rig) -> None:
        """A shopper can post any payment's id, for the hash does not cover it."""
        rig.announce("paratika", "ORDER-declined-1", "11.76")
        rig.send("paratika", "declined", DECLINED | {"merchantPaymentId": "ORDER-2"})
        rig.ask()

        assert [(one["order_ref"], one["origin"]) for one in rig.says()] == [
            ("ORDER-2", "callback"),
            ("ORDER-declined-1", "reconciliation"),
        ]

    def test_that_two_callbacks_tell_is_two_facts(self, rig: Rig) -> None:
        rig.send("paratika", "declined", DECLINED | {"random": "a"})
        rig.send("paratika", "declined", DECLINED | {"random": "b"})

        assert told(rig) == [("payment.failed", "callback")] * 2

    def test_is_not_marked_where_nobody_can_be_asked(self, rig: Rig) -> None:
        rig.send("paratika", "declined", DECLINED)
        assert len(list(rig.client.scan_iter(STATE + "*"))) == 1

        rig.client.flushall()
        rig.change("paratika", api={}, confirm=Confirm.NEVER)
        rig.send("paratika", "declined", DECLINED)
        assert list(rig.client.scan_iter(STATE + "*")) == []

    def test_without_an_id_is_told_once_though_the_order_is_announced_anew(self, rig: Rig) -> None:
        rig.announce("paratika", "ORDER-declined-1", "11.76")
        rig.send("paratika", "declined", {"merchantPaymentId": "ORDER-declined-1", "pgTranId": ""})
        assert rig.announce("paratika", "ORDER-declined-1", "12.00") is Announced.CHANGED
        rig.ask()

        assert told(rig) == [("payment.failed", "callback")]


class TestAContradiction:
    def test_is_not_undone_by_reconciliation(self, rig: Rig) -> None:
        differs = {"txid": "7000900001", "order": "ORDER-30017000900001", "amount": "100.00"}
        rig.send("payguru-phs", "awaiting-merchant", differs)
        rig.send("payguru-phs", "success", differs)
        assert rig.confirm() == [True]
        rig.ask()

        assert told(rig) == [("payment.pending", "callback"), ("payment.pending", "confirmation")]
        assert [one["trust"]["conflict"] for one in rig.says()] == [False, True]

    def test_is_not_forestalled_by_reconciliation(self, rig: Rig) -> None:
        rig.announce("paratika", "ORDER-differs-1", "11.76")
        rig.send("paratika", "success", {"merchantPaymentId": "ORDER-differs-1"})
        rig.ask()
        assert rig.confirm() == [True]
        rig.ask()

        assert told(rig) == [("payment.pending", "confirmation")]
        assert rig.says()[0]["trust"]["conflict"] is True


class TestAVerdict:
    def test_on_an_order_that_is_only_claimed_is_no_match(self, rig: Rig) -> None:
        """HASO's plan names no order: a shopper can post a dear order with the code of a cheap transaction."""
        rig.announce("haso", "ORDER-VICTIM", "500.00")
        rig.send("haso", "ok", {"transactionCode": "TC-5001", "merchantOid": "ORDER-VICTIM"})
        rig.ask()

        (paid,) = (event["data"] for event in rig.events() if event["type"] == "payment.succeeded")
        assert (paid["order_ref"], paid["amount"]["value"]) == ("ORDER-VICTIM", "500.00")
        assert "amount" in paid["trust"]["covers"]
        assert "order_ref" not in paid["trust"]["covers"]
        assert paid["expected"] == "amount_unproven"

    def test_is_on_the_announcement_that_counts_when_it_is_written(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rig.announce("payguru-phs", "ORDER-1", "1.00")
        read = RedisSink.expected
        announced: list[Announced] = []

        def between(sink: RedisSink, *names: str) -> Any:
            found = read(sink, *names)
            if not announced:
                announced.append(rig.announce("payguru-phs", "ORDER-1", "1000.00"))
            return found

        monkeypatch.setattr(RedisSink, "expected", between)
        rig.put(transfer(100))

        assert announced == [Announced.CHANGED]
        assert [one["expected"] for one in rig.says()] == ["underpaid"]
        # It does not take the order, so that the right payment still can.
        rig.put(transfer(100_000, "78"))
        assert [one["expected"] for one in rig.says()] == ["underpaid", "match"]


def transfer(minor: int, payment: str = "77") -> Any:
    """Return a transfer for ORDER-1 that is proven whole."""
    return event_of(
        provider="payguru-phs",
        account=SLUG,
        level=Level.CONFIRMED,
        covers=("order_ref", "status", "amount"),
        payment_ref=payment,
        fact_key=(payment,),
        amount=Money(minor, "TRY"),
    )


class TestWhatOnlyTheApiKnows:
    def test_of_a_plan_partly_canceled_is_told_once_as_pending_for_a_reason(self, rig: Rig) -> None:
        rig.send("haso", "callback", {"transactionCode": "TC-partial-1", "merchantOid": "ORDER-1"})
        rig.ask()
        rig.ask()

        pending = [event["data"] for event in rig.events() if event["type"] == "payment.pending"]
        assert [(one["origin"], one["reason"]) for one in pending] == [
            ("callback", None),
            ("reconciliation", "other_pending"),
        ]
        assert len(rig.watches()) == 1

    def test_of_an_announced_order_is_told_once_as_unknown(self, rig: Rig) -> None:
        rig.know(record("PG-1", "ZZ"))
        rig.announce("paratika", "ORDER-1", "11.76")
        rig.ask()
        rig.ask()

        assert told(rig) == [("payment.unknown", "reconciliation")]
        assert rig.says()[0]["status"]["code"] == "ZZ"
        assert len(rig.watches()) == 1

    def test_is_not_told_where_a_callback_told_that_it_is_unknown(self, rig: Rig) -> None:
        rig.know(record("PG-1", "ZZ"))
        rig.announce("paratika", "ORDER-1", "11.76")
        rig.send("paratika", "unlisted", {"merchantPaymentId": "ORDER-1", "pgTranId": "PG-1"})
        rig.ask()

        assert told(rig) == [("payment.unknown", "callback")]

    def test_is_told_where_the_notice_contradicted_itself(self, rig: Rig) -> None:
        details = {"response": {"result": "SUCCESS", "resultCode": "0000"}, "transaction": CHARGE | {"status": 77}}
        rig.answer(lambda _: details)
        where = simulate.path(rig.account("payguru"), BY_NAME["payguru"].channels["transaction"])
        rig.web.get(f"{where}?txId={CHARGE['id']}&status=3&status=4")
        rig.ask()
        rig.ask()

        assert told(rig) == [("payment.unknown", "reconciliation")]

    def test_that_it_is_only_waiting_is_not_told(self, rig: Rig) -> None:
        rig.announce("paratika", "ORDER-pending-1", "11.76")
        rig.ask()

        assert rig.events() == []


class TestAClaim:
    def test_and_the_callback_after_it_are_told_once_each(self, rig: Rig) -> None:
        for scenario in ("ok", "callback", "ok", "callback"):
            rig.send("haso", scenario, HASO)
        rig.ask()

        levels = [one["trust"]["level"] for one in rig.says() if one["origin"] == "callback"]
        assert levels == ["claimed", "route"]
        assert rig.kinds().count("payment.succeeded") == 1
