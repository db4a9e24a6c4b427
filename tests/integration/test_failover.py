"""
Two failovers under callbacks, with everything real: one by kill -9, one by a master that hangs and comes back.

With ``wait_replicas`` and ``min-replicas-to-write`` nothing is lost that was answered with success. Without them it can
be, so that is not tested.
"""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import orjson
import pytest
import redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from receiver.connection import client as client_of
from receiver.sink import EVENTS, RedisSink

from .conftest import write_config
from .facts import entry
from .harness import BIN, Receiver, background, environment, receiving, until
from .sentinels import Cluster, cluster

pytestmark = pytest.mark.integration


@dataclass
class Provider:
    """Sends one callback after the other, each until it is answered with success."""

    receiver: Receiver
    taken: list[str] = field(default_factory=list)  # the orders that were answered with success
    refused: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._path = f"/callbacks/payguru/shop-tr/transaction/{self.receiver.secret('payguru_token')}?"
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        number = 0
        while not self._stop.wait(0.15):
            query = {"txId": f"7{number}", "status": "3", "order": f"M-{number}", "amount": "12.00"}
            if self.receiver.get(self._path + urlencode(query)).status == 200:
                self.taken.append(f"M-{number}")
                number += 1
            else:
                self.refused += 1

    def goes_on(self, what: str, count: int = 8) -> None:
        """Wait until so many callbacks more were taken."""
        wanted = len(self.taken) + count
        until(lambda: len(self.taken) >= wanted, f"callbacks are taken {what}", within=40)


@dataclass
class Shop:
    """What became of the callbacks: in the stream, and in the file of the shop's own job."""

    client: redis.Redis
    notes: Path

    def events(self) -> Counter[str]:
        found: Any = self.client.xrange(EVENTS)
        return Counter(str(orjson.loads(fields[b"event"])["subject"]) for _, fields in found)

    def done(self) -> set[str]:
        return set(self.notes.read_text().splitlines())

    def at_hand(self) -> set[str]:
        """Return the orders whose jobs wait, or were taken by a worker that is gone, which RQ finds out in a minute."""
        queue = Queue("events", connection=self.client, serializer=JSONSerializer)
        taken = queue.started_job_registry.get_job_ids(cleanup=False)
        between: Any = self.client.lrange(queue.intermediate_queue_key, 0, -1)
        jobs = {*queue.job_ids, *taken, *queue.scheduled_job_registry.get_job_ids(), *(job.decode() for job in between)}
        return {Job.fetch(job, self.client, JSONSerializer).args[0]["subject"] for job in jobs}

    def later(self, name: str) -> None:
        """Give RQ's scheduler something to do in a second."""
        queue = Queue("later", connection=self.client, serializer=JSONSerializer)
        queue.enqueue_in(timedelta(seconds=1), "consumer.put_down", {"subject": name})

    def works(self, name: str) -> None:
        """Wait until worker and scheduler have done something new; what a failover takes away is given again."""

        given = 0.0

        def done() -> bool:
            nonlocal given
            if time.monotonic() - given > 5:
                self.later(name)
                given = time.monotonic()
            return name in self.done()

        until(done, f"worker and scheduler do {name}", within=150)


@dataclass
class Running:
    cluster: Cluster
    provider: Provider
    shop: Shop


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A receiver that waits for one replica, workers with their scheduler, and a provider that never stops."""
    config = write_config(tmp_path)
    text = config.read_text().replace("consumer.record", "consumer.put_down")
    config.write_text("wait_replicas = 1\n" + text)
    notes = tmp_path / "notes"
    notes.touch()
    with cluster(tmp_path, 3, "min-replicas-to-write 1", "min-replicas-max-lag 3") as found:
        env = environment(ULAK_CONFIG=str(config), ULAK_DATA=str(tmp_path), REDIS_URL=found.url, PUT_DOWN=str(notes))
        workers = background(
            [str(BIN / "ulak"), "worker", "--queue", "events", "--queue", "later"], env, tmp_path / "worker.log"
        )
        client = client_of(found.url, patience=15.0, socket_timeout=5)
        with receiving(config, env) as receiver, workers, client, Provider(receiver) as provider:
            yield Running(found, provider, Shop(client, notes))


class TestFailover:
    def test_loses_nothing_that_was_answered_with_success(self, running: Running) -> None:
        nodes, provider, shop = running.cluster, running.provider, running.shop
        provider.goes_on("before")
        shop.works("before")

        killed = nodes.nodes[0]
        killed.kill()
        second = nodes.failed_over(killed)
        provider.goes_on("after a kill")
        shop.works("after a kill")

        asleep = RedisSink(client_of(nodes.url), 30)
        asleep.accept([entry("before the hang")])
        connection = asleep._wire._connection
        second.pause()
        third = nodes.failed_over(second)
        second.signal(signal.SIGCONT)
        with second.client() as client:
            client.config_set("min-replicas-to-write", 0)
            assert client.set("test:lost", "1")  # it calls itself master, and takes what it is given
            assert (connection.is_connected, connection.port) == (True, second.port)
            assert asleep.accept([entry("after the hang")])[0].new
            assert (connection.is_connected, connection.port) == (True, third.port)
            client.config_set("min-replicas-to-write", 1)
        provider.goes_on("after a hang")
        until(lambda: second.role() == "slave", "the old master is demoted", within=60)
        until(nodes.settled, "it has caught up", within=60)

        provider.stop()
        until(lambda: set(provider.taken) <= shop.events().keys(), "every callback is in the stream", within=40)
        events = shop.events()
        assert [order for order, count in events.items() if count > 1] == []
        until(lambda: set(provider.taken) <= shop.done() | shop.at_hand(), "every job has run, or will", within=60)
        until(lambda: len(set(provider.taken) - shop.done()) < 5, "all but what was at work has run", within=60)
