"""The application: a configuration becomes a WSGI callable."""

from flask import Flask

from receiver import config, health, log, metrics, orders, web
from receiver.pipeline import NoSpool, Pipeline
from receiver.placing import Placing
from receiver.providers import BY_NAME
from receiver.seal import Sealer
from receiver.sink import RedisSink, connect


def create_app(settings: config.Settings | None = None) -> Flask:
    """Build the receiver; raise ConfigError with every fault. Redis is not called before the first callback."""
    settings = settings or config.load()
    log.guard_server_logs()
    metrics.prepare(settings.data)
    sink = RedisSink(connect(settings.redis_url), settings.dedupe_days)
    placing, counters = Placing(settings.routes, settings.reconcile_after[0]), metrics.PrometheusMetrics()
    pipeline = Pipeline(
        sink=sink,
        placing=placing,
        sealer=Sealer(settings.data_keys),
        metrics=counters,
        spool=NoSpool(),
    )
    app = Flask("ulak", static_folder=None)
    web.register(app, web.CallbackView(BY_NAME, settings.accounts, pipeline))
    orders.register(app, orders.AnnouncementView(BY_NAME, settings.accounts, placing, sink.expect, counters.expected))
    health.register(app, sink.ready, settings.metrics_token)
    return app
