"""Held facts, asked about: real receiver, real workers, and the providers' APIs played over HTTP."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from receiver.sink import EVENTS, FACT, HELD
from workers import sandbox
from workers.sandbox_api import WORDS

from .harness import BIN, Receiver, RedisServer, background, environment, free_port, receiving, ulak, until

pytestmark = pytest.mark.integration


@dataclass
class Asked:
    """A receiver whose accounts ask, its Redis, and a way to play the APIs for a while."""

    receiver: Receiver
    client: redis.Redis
    api: Callable[[], Any]

    def send(self, provider: str, *more: str) -> None:
        words = ("simulate", provider, "success", "--account", "shop-asked", "--to", self.receiver.base, *more)
        done = ulak(*words, env=self.receiver.env)
        assert done.returncode == 0, done.stderr

    def events(self) -> list[dict[str, Any]]:
        found: Any = self.client.xrange(EVENTS)
        return [orjson.loads(raw[b"event"]) for _, raw in found]

    def held(self) -> list[str]:
        """Return the ids of what was held, in order."""
        found: Any = self.client.xrange(HELD)
        return [orjson.loads(raw[b"event"])["id"] for _, raw in found]

    def marker(self, event_id: str) -> bytes | None:
        found: Any = self.client.get(FACT + event_id)
        return bytes(found) if found is not None else None


@pytest.fixture
def asked(own_redis: RedisServer, tmp_path: Path) -> Iterator[Asked]:
    port = free_port()
    config = sandbox.write(tmp_path, f"http://127.0.0.1:{port}")
    env = environment(ULAK_CONFIG=str(config), ULAK_DATA=str(tmp_path), REDIS_URL=own_redis.url)

    @contextmanager
    def api() -> Iterator[None]:
        with background([sys.executable, "-m", "workers.sandbox_api", str(port)], env, tmp_path / "api.log"):
            yield

    with ExitStack() as stack:
        client = stack.enter_context(own_redis.client())
        receiver = stack.enter_context(receiving(config, env))
        stack.enter_context(background([str(BIN / "ulak"), "worker"], env, tmp_path / "worker.log"))
        yield Asked(receiver, client, api)


class TestConfirmation:
    @pytest.mark.parametrize("provider", ["paratika", "payguru", "payguru-phs", "paynet", "zotlo"])
    def test_gives_out_a_held_success_once_the_api_agrees(self, asked: Asked, provider: str) -> None:
        with asked.api():
            asked.send(provider)
            until(lambda: len(asked.events()) == 1, "one confirmed event", 30)

        (event,) = asked.events()
        assert asked.held() == [event["id"]]
        assert event["type"] == "payment.succeeded"
        assert event["data"]["trust"]["level"] == "confirmed"
        assert {"amount", "status"} <= set(event["data"]["trust"]["covers"])
        assert event["data"]["origin"] == "confirmation"
        assert asked.marker(event["id"]) == b"released"

    def test_of_another_amount_is_a_conflict_for_a_person(self, asked: Asked) -> None:
        with asked.api():
            asked.send("paratika", "--set", "merchantPaymentId=ORDER-differs-1")
            until(lambda: len(asked.events()) == 1, "one event in conflict", 30)

        (event,) = asked.events()
        (held_id,) = asked.held()
        assert event["type"] == "payment.pending"
        assert event["data"]["trust"]["conflict"] is True
        assert event["id"] != held_id
        assert asked.marker(held_id) == b"held"

    @pytest.mark.parametrize("word", ["nothing", "declined", "fault", "limited", "html", "other"])
    def test_waits_where_the_answer_is_none(self, asked: Asked, word: str) -> None:
        assert word in WORDS
        with asked.api():
            asked.send("paratika", "--set", f"merchantPaymentId=ORDER-{word}-1")
            until(lambda: asked.client.zcard("rq:scheduled:ulak-confirm") == 1, "the question is asked again later", 30)

        assert asked.events() == []
        (held_id,) = asked.held()
        assert asked.marker(held_id) == b"held"

    def test_goes_on_past_the_hundred_connections_of_a_pool(self, asked: Asked) -> None:
        with asked.api():
            asked.send("paratika", "--count", "120")
            until(lambda: len(asked.events()) == 120, "all are confirmed by one worker", 60)

    def test_releases_each_fact_once_when_the_api_comes_back(self, asked: Asked) -> None:
        for provider in ("paratika", "paynet", "zotlo"):
            asked.send(provider, "--count", "3", "--duplicate", "1")
        until(lambda: asked.client.zcard("rq:scheduled:ulak-confirm") == 9, "nobody answers, so all wait", 30)
        assert asked.events() == []

        with asked.api():
            until(lambda: len(asked.events()) == 9, "all are confirmed", 60)

        events = asked.events()
        assert len({event["id"] for event in events}) == 9
        assert {event["data"]["trust"]["level"] for event in events} == {"confirmed"}
