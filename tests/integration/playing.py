"""The providers' APIs, played over HTTP in this very process, so that a test can look at what was asked."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from werkzeug.serving import make_server

from workers.sandbox_api import create_api


@dataclass
class Played:
    """Where it listens, and how often each HTTP status was answered."""

    address: str
    statuses: Counter[int] = field(default_factory=Counter)


@contextmanager
def played() -> Iterator[Played]:
    api = create_api()
    server = make_server("127.0.0.1", 0, api)
    found = Played(f"http://127.0.0.1:{server.server_port}")

    @api.after_request
    def count(response: Any) -> Any:
        found.statuses[response.status_code] += 1
        return response

    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
