"""
Counters and durations for Prometheus. Labels hold configured names and reason words, never anything that was sent.

Under gunicorn each worker writes its own files below ``ULAK_DATA``, and a scrape adds them up. The library decides at
its first import whether it does so, hence ``prepare`` before anything else and the import inside ``open_metrics``.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from receiver.errors import Unavailable
from receiver.rows import State

if TYPE_CHECKING:
    import prometheus_client

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def prepare(data: Path) -> None:
    """Choose the folder of the metrics' files, unless the environment names one."""
    folder = Path(os.environ.setdefault(_VARIABLE, str(data / "metrics")))
    folder.mkdir(parents=True, exist_ok=True)


class PrometheusMetrics:
    """``receiver.ports.Metrics``; label children are kept, for making one costs more than counting."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram  # noqa: PLC0415 - see the module's docstring

        registry = CollectorRegistry()
        where = ("provider", "account", "channel")
        self._callbacks = Counter(
            "ulak_callbacks", "Callbacks by what became of them.", (*where, "outcome", "reason"), registry=registry
        )
        self._seconds = Histogram(
            "ulak_callback_seconds", "Time to answer a callback.", ("provider",), buckets=_BUCKETS, registry=registry
        )
        self._events = Counter("ulak_events", "New events by kind.", ("provider", "account", "kind"), registry=registry)
        self._strangers = Counter(
            "ulak_fields_unaccounted", "Fields that no table accounts for.", ("provider",), registry=registry
        )
        self._announced = Counter(
            "ulak_expected", "Announced orders by outcome.", ("provider", "account", "outcome"), registry=registry
        )
        self._counters: dict[tuple[str, ...], prometheus_client.Counter] = {}
        self._timers: dict[str, prometheus_client.Histogram] = {}

    def callback(self, provider: str, account: str, channel: str, outcome: str, reason: str, seconds: float) -> None:
        labels = (provider, account, channel, outcome, reason)
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = self._callbacks.labels(*labels)
        counter.inc()
        timer = self._timers.get(provider)
        if timer is None:
            timer = self._timers[provider] = self._seconds.labels(provider)
        timer.observe(seconds)

    def event(self, provider: str, account: str, kind: str) -> None:
        labels = (provider, account, kind)
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = self._events.labels(*labels)
        counter.inc()

    def expected(self, provider: str, account: str, outcome: str) -> None:
        self._announced.labels(provider, account, outcome).inc()

    def unaccounted(self, provider: str, count: int) -> None:
        self._strangers.labels(provider).inc(count)


class _SpoolGauges:
    """Counted in the spool's file when they are asked for: it is one for all processes, and some may be gone."""

    def __init__(self, spool: Callable[[], State]) -> None:
        self._spool = spool

    def collect(self) -> Iterator["prometheus_client.Metric"]:
        from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415

        try:
            state = self._spool()
        except (OSError, Unavailable):
            return  # no number is better than a wrong one
        rows = GaugeMetricFamily("ulak_spool_rows", "Callbacks in the spool, by what they wait for.", labels=["state"])
        for name, count in (("waiting", state.waiting), ("old", state.old), ("parked", state.parked)):
            rows.add_metric([name], count)
        yield rows
        age = max(0.0, time.time() - state.oldest) if state.oldest else 0.0
        yield GaugeMetricFamily("ulak_spool_oldest_seconds", "Age of the oldest row that waits.", age)
        yield GaugeMetricFamily("ulak_spool_bytes", "What the rows take of the spool's file.", state.bytes)
        yield GaugeMetricFamily("ulak_spool_room_bytes", "What may still come in.", state.room)


def exposition(spool: Callable[[], State] = State) -> tuple[bytes, str]:
    """Return what Prometheus scrapes, over all worker processes, and its Content-Type."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(_SpoolGauges(spool))
    return generate_latest(registry), CONTENT_TYPE_LATEST
