"""The application: a configuration becomes a WSGI callable."""

from flask import Flask

from receiver import config, health, log, metrics, web
from receiver.pipeline import NoSpool, Pipeline
from receiver.providers import BY_NAME
from receiver.seal import Sealer
from receiver.sink import RedisSink, connect


def create_app(settings: config.Settings | None = None) -> Flask:
    """Build the receiver; raise ConfigError with every fault. Redis is not called before the first callback."""
    settings = settings or config.load()
    log.guard_server_logs()
    metrics.prepare(settings.data)
    sink = RedisSink(connect(settings.redis_url), settings.dedupe_days)
    pipeline = Pipeline(
        sink=sink,
        routes=settings.routes,
        sealer=Sealer(settings.data_keys),
        metrics=metrics.PrometheusMetrics(),
        spool=NoSpool(),
    )
    app = Flask("ulak", static_folder=None)
    web.register(app, web.CallbackView(BY_NAME, settings.accounts, pipeline))
    health.register(app, sink.ready, settings.metrics_token)
    return app
