"""The receiver's web side on a store in memory."""

from dataclasses import dataclass, field
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from receiver import web
from receiver.account import Account
from receiver.pipeline import NoSpool, Pipeline
from receiver.placing import Placing
from receiver.ports import EventSink, Target
from receiver.providers import BY_NAME
from receiver.routing import Route
from receiver.seal import Sealer
from tests.accounts import ACCOUNTS, token_for
from tests.memory import MemoryMetrics, MemorySink

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
EVENTS = Target("events", "events", "workers.jobs.on_event")


@dataclass
class Desk:
    """Takes callbacks for some accounts; what became of them is in ``sink`` and ``metrics``."""

    accounts: tuple[Account, ...] = tuple(ACCOUNTS.values())
    routes: tuple[Route, ...] = (Route(EVENTS),)
    sink: MemorySink = field(default_factory=MemorySink)
    metrics: MemoryMetrics = field(default_factory=MemoryMetrics)
    spool: EventSink = field(default_factory=NoSpool)
    sealer: Sealer = field(default_factory=Sealer)
    client: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        app = Flask("ulak", static_folder=None)
        known = {(account.provider, account.slug): account for account in self.accounts}
        pipeline = Pipeline(self.sink, Placing(self.routes, 120), self.sealer, self.metrics, self.spool)
        web.register(app, web.CallbackView(BY_NAME, known, pipeline))
        self.client = app.test_client()

    def send(self, provider: str, channel: str, **sent: Any) -> TestResponse:
        """Send one callback to the account ``shop`` of *provider*; *token* replaces the right one."""
        token = sent.pop("token", token_for(provider, channel))
        path = f"/callbacks/{provider}/shop/{channel}" + (f"/{token}" if token else "")
        sent.setdefault("method", "POST")
        return self.client.open(path, **sent)

    @property
    def says(self) -> dict[str, Any]:
        """The one event that was kept, as consumers get it."""
        (event,) = self.sink.events
        return event.to_wire()

    @property
    def outcome(self) -> str:
        return self.metrics.callbacks[-1][3]

    @property
    def reason(self) -> str:
        return self.metrics.callbacks[-1][4]
