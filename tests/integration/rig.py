"""A receiver in this very process, on a real Redis; the providers' APIs played; and its jobs, run by hand."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient

from receiver import config, simulate, web
from receiver.account import Account
from receiver.asking import Answered, Call
from receiver.event import Event
from receiver.expecting import Expectation
from receiver.money import Money
from receiver.pipeline import NoSpool, Pipeline
from receiver.placing import Placing, Sealed
from receiver.providers import BY_NAME
from receiver.routing import CONFIRM
from receiver.seal import Sealer
from receiver.sink import EVENTS, WATCH, Announced, RedisSink
from tests.memory import MemoryMetrics
from workers import confirm, desk, reconcile, sandbox
from workers.desk import Desk
from workers.questions import Questions

from .harness import RedisServer, environment
from .playing import Played

SLUG = "shop-asked"
HASO = {"transactionCode": "TC-1", "merchantOid": "ORDER-1"}
SCHEDULED = "rq:scheduled:ulak-ask"
CONFIRMING = f"rq:queue:{CONFIRM.queue}"


def record(payment: str, status: str = "AP", kind: str = "SALE", **more: str) -> dict[str, str]:
    """Return one of Paratika's records of ORDER-1; the last digit of its id says when it was made."""
    return {
        "pgTranId": payment,
        "merchantPaymentId": "ORDER-1",
        "transactionType": kind,
        "transactionStatus": status,
        "amount": "11.76",
        "currency": "TRY",
        "timeCreated": f"2026-11-20 10:15:0{payment[-1]}",
        **more,
    }


def load(folder: Path, server: RedisServer, api: Played) -> config.Settings:
    """Write the sandbox's configuration into *folder* and read it."""
    path = sandbox.write(folder, api.address)
    return config.load(environment(ULAK_CONFIG=str(path), ULAK_DATA=str(folder), REDIS_URL=server.url))


@dataclass
class Rig:
    """``web`` takes callbacks, ``ask`` and ``confirm`` do what the workers of the two queues would."""

    settings: config.Settings
    client: redis.Redis
    sink: RedisSink
    questions: Questions
    job: str = ""

    @property
    def placing(self) -> Placing:
        return Placing(self.settings.routes, self.settings.reconcile_after[0])

    @property
    def web(self) -> FlaskClient:
        app = Flask("ulak", static_folder=None)
        pipeline = Pipeline(self.sink, self.placing, Sealer(self.settings.data_keys), MemoryMetrics(), NoSpool())
        web.register(app, web.CallbackView(BY_NAME, self.settings.accounts, pipeline))
        return app.test_client()

    def desk(self) -> Desk:
        return Desk(self.settings, self.sink, self.placing, self.client, self.questions, self.job)

    def account(self, provider: str) -> Account:
        return self.settings.accounts[provider, SLUG]

    def change(self, provider: str, **changes: Any) -> None:
        """Give the account of *provider* another configuration."""
        changed = replace(self.account(provider), **changes)
        self.settings = replace(self.settings, accounts={**self.settings.accounts, (provider, SLUG): changed})

    def answer(self, say: Callable[[Call], object]) -> None:
        """Let *say* answer the questions, with JSON, instead of the played APIs."""

        def make(call: Call) -> Answered:
            return Answered(200, orjson.dumps(say(call)))

        self.questions = Questions(self.client, make)

    def know(self, *records: Mapping[str, str]) -> None:
        """Let Paratika know these records, whatever order it is asked for."""
        count = str(len(records))
        counts = {"transactionCount": count, "totalTransactionCount": count}
        self.answer(lambda _: {"responseCode": "00", **counts, "transactionList": records})

    def announce(
        self, provider: str, order: str, amount: str, now: datetime | None = None, lasts: timedelta | None = None
    ) -> Announced:
        at = now or datetime.now(UTC)
        until = at + (lasts or timedelta(hours=1))
        known = Expectation(provider, SLUG, order, Money.parse(amount, "TRY"), until, at)
        return self.sink.expect(known, self.placing.announced(known, BY_NAME[provider], self.account(provider)))

    def send(self, provider: str, scenario: str, changes: Mapping[str, str], account: Account | None = None) -> bytes:
        """Send a callback, signed with the secrets of *account*, and return the answer's body."""
        whose, known = account or self.account(provider), BY_NAME[provider]
        made = simulate.fresh(known.scenarios[scenario], changes, random.Random(0))
        signed = known.sign(made, whose, datetime.now(UTC))
        where = simulate.path(self.account(provider), known.channels[made.channel])
        media = signed.media.value if signed.media else None
        target = f"{where}?{signed.query.decode()}"
        answer = self.web.open(target, method=signed.method, data=signed.body, content_type=media)
        assert answer.status_code in {200, 303}, answer.data
        return bytes(answer.data)

    def put(self, *events: Event, source: str = "") -> None:
        """Accept events of one account as callbacks that were read."""
        provider, account = BY_NAME[events[0].provider], self.account(events[0].provider)
        self.placing.accept(self.sink, [Sealed(event) for event in events], provider, account, source)

    def scheduled(self) -> list[str]:
        """Return the ids of the questions that wait, the first one due first."""
        found: Any = self.client.zrange(SCHEDULED, 0, -1)
        return [job.decode() for job in found]

    def watch(self, job: str) -> dict[str, Any]:
        """Return what a question asks."""
        data: Any = self.client.hget(f"rq:job:{job}", "data")
        found: dict[str, Any] = orjson.loads(data)[2][0]
        return found

    def ask(self) -> list[float | None]:
        """Ask all that is scheduled, due or not, and return for each in how many seconds it comes back, if it does."""
        return [self.ask_one(job) for job in self.scheduled()]

    def ask_one(self, job: str) -> float | None:
        self.client.zrem(SCHEDULED, job)  # as RQ's scheduler does
        self.job = job
        again = reconcile.ask(self.watch(job))
        if again is None:
            self.client.delete(f"rq:job:{job}")
            return None
        (pause,) = again.intervals
        self.client.zadd(SCHEDULED, {job: datetime.now(UTC).timestamp() + pause})
        return float(pause)

    def confirm(self) -> list[bool]:
        """Ask about every fact that is held, and return for each whether that is settled."""
        waiting: Any = self.client.lrange(CONFIRMING, 0, -1)
        settled = []
        for job in waiting:
            again = confirm.confirm(self.watch(job.decode()))
            settled.append(again is None)
            if again is None:
                self.client.lrem(CONFIRMING, 1, job)
        return settled

    def events(self) -> list[dict[str, Any]]:
        found: Any = self.client.xrange(EVENTS)
        return [orjson.loads(raw[b"event"]) for _, raw in found]

    def says(self) -> list[dict[str, Any]]:
        return [event["data"] for event in self.events()]

    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events()]

    def watches(self) -> list[bytes]:
        return list(self.client.scan_iter(WATCH + "*", count=1000))


def rigged(settings: config.Settings, client: redis.Redis, sink: RedisSink, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """Return a rig whose desk is the one that the jobs get."""
    rig = Rig(settings, client, sink, Questions(client))
    monkeypatch.setattr(desk, "at_work", rig.desk)
    return rig
