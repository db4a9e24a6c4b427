"""The application: a configuration becomes a WSGI callable."""

import weakref

from flask import Flask

from receiver import config, health, log, metrics, orders, web
from receiver.breaker import Breaker
from receiver.draining import Drainer
from receiver.duty import Duty
from receiver.event import Event
from receiver.pipeline import Pipeline
from receiver.placing import Placing
from receiver.providers import BY_NAME
from receiver.rows import SpoolFile
from receiver.seal import Sealer
from receiver.sink import RedisSink
from receiver.spool import Spool


def create_app(settings: config.Settings | None = None) -> Flask:
    """
    Build the receiver, which drains its spool by itself; raise ConfigError with every fault.

    Redis is not called before the first callback, or the first row.
    """
    settings = settings or config.load()
    log.guard_server_logs()
    metrics.prepare(settings.data)
    sink = RedisSink.of(settings)
    placing, counters = Placing(settings.routes, settings.reconcile_after[0]), metrics.PrometheusMetrics()
    breaker, file = Breaker(sink), SpoolFile(settings.data, settings.spool_max)
    spool = Spool(file)

    def count(event: Event) -> None:
        counters.event(event.provider, event.account, event.says.kind)

    drainer = Drainer(file, sink, placing, BY_NAME, settings.dedupe_days, count)
    pipeline = Pipeline(breaker, placing, Sealer(settings.data_keys), counters, spool)
    app = Flask("ulak", static_folder=None)
    web.register(app, web.CallbackView(BY_NAME, settings.accounts, pipeline))
    keep = breaker.guarding(sink.expect)
    orders.register(app, orders.AnnouncementView(BY_NAME, settings.accounts, placing, keep, counters.expected))
    ready = health.Ready(breaker.guarding(sink.ready), spool.ready)
    health.register(app, ready, drainer.state, settings.metrics_token)
    duty = Duty(drainer)
    duty.start()
    weakref.finalize(app, duty.end)
    return app
