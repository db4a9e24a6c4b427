"""gunicorn's settings for Ulak. Bind and number of workers may be given on the command line or in WEB_CONCURRENCY."""

import os
import sys
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

# Providers open a connection a callback: the sync class answers them fastest, and a killed worker loses one at most.
worker_class = "sync"
# A worker waits for Redis a third of its time, so more workers than cores pay.
workers = int(os.environ.get("WEB_CONCURRENCY") or max(2, min(2 * (os.cpu_count() or 1), 8)))
backlog = 2048
# A handler is done within about a second; a worker that is not is held by a slow client, which is nginx's to keep out.
timeout = 10
graceful_timeout = 20
# A Payguru notice is one long GET: percent-encoded Turkish and the shopper's own query behind it.
limit_request_line = 8190
limit_request_fields = 60
limit_request_field_size = 8190
# A request header must not name the mount point: with SCRIPT_NAME in it gunicorn answers 500 on its own.
forwarder_headers = ""
# Two instances of one user would share its path, and nobody here talks to it.
control_socket_disable = True
# The receiver writes a line a callback itself; the path of a callback holds a token.
accesslog = None
errorlog = "-"
loglevel = os.environ.get("ULAK_LOGLEVEL", "warning")


class logger_class(Logger):  # noqa: N801 - the name of gunicorn's setting
    """An access log without token and query also where a worker was aborted and no application tidied up."""

    def atoms(self, resp: Any, req: Any, environ: Any, request_time: Any) -> Any:
        if not environ.get("ulak.discreet"):
            environ = {**environ, "PATH_INFO": "/-", "RAW_URI": "/-", "QUERY_STRING": ""}
            environ.pop("HTTP_REFERER", None)
        return super().atoms(resp, req, environ, request_time)


def _metrics_folder() -> Path:
    from receiver import config  # noqa: PLC0415 - gunicorn reads this file before the application's folder is importable

    return Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR") or config.data_folder(os.environ) / "metrics")


def on_starting(server: Any) -> None:
    """Tell a faulty configuration once, not once a worker. Begin with empty counters: the processes of old are gone."""
    del server
    from receiver import config  # noqa: PLC0415 - see above
    from receiver.errors import ConfigError  # noqa: PLC0415

    try:
        config.load()
    except ConfigError as exc:
        sys.stderr.writelines(f"ulak: {fault}\n" for fault in exc.faults)
        sys.exit(1)
    for counted in _metrics_folder().glob("*.db"):
        counted.unlink(missing_ok=True)


def child_exit(server: Any, worker: Any) -> None:
    """Tell the metrics that a worker is gone, so that its live gauges go with it."""
    del server
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(_metrics_folder()))
    from prometheus_client import multiprocess  # noqa: PLC0415 - after the folder is known

    multiprocess.mark_process_dead(worker.pid)
