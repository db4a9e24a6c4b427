"""What is proven is kept, whatever happens behind the proof; what is not proven never is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.account import Account, Confirm
from receiver.errors import Quarantined, Reason, Unavailable
from receiver.event import Event, Kind, Statement
from receiver.log import Line
from receiver.message import OK_TEXT, CallbackRequest, Level, Media, Notification, Outcome, Reply
from receiver.pipeline import Endpoint, NoSpool, Pipeline
from receiver.placing import Placing, holds
from receiver.ports import Channel, EventSink, SettingsSchemas, Settled, Target, Token
from receiver.routing import Route
from receiver.schema import Amount, CallbackSchema, SettingsSchema, Text
from receiver.seal import Sealer
from tests.accounts import account_of
from tests.facts import event_of
from tests.lines import Lines
from tests.memory import MemoryMetrics, MemorySink
from tests.samples import readable

CARD = "4111111111111111"


class Fields(CallbackSchema):
    order = Text(required=True)
    amount = Amount()


class Trying:
    """A provider whose behaviour a test chooses; its callbacks are ``order=…&order=…``, a notification an order."""

    name = "trying"
    title = "for tests"
    adds_commission = False
    retries_for = 0
    channels: Mapping[str, Channel] = {}
    settings = SettingsSchemas(SettingsSchema(), SettingsSchema(), frozenset(), frozenset())
    scenarios: Mapping[str, Any] = {}

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def verify(self, request: CallbackRequest, account: Account, token_id: str) -> Sequence[Notification]:
        orders = request.body.decode().split("&")
        return [Notification({"order": order.partition("=")[2], "zz": "1"}, Level.ROUTE, "key") for order in orders]

    def normalize(self, fields: Mapping[str, Any], note: Notification, channel: str, account: Account) -> Statement:
        if self.error:
            raise self.error
        return Statement(Kind.PAYMENT_SUCCEEDED, (fields["order"],), "3", order_ref=fields["order"])

    def reply(self, settled: Settled, request: CallbackRequest, account: Account) -> Reply:
        return replace(OK_TEXT, body=settled.outcome.encode())

    def sign(self, scenario: Any, account: Account, now: datetime) -> CallbackRequest:
        raise NotImplementedError


CHANNEL = Channel("x", ("POST",), (Media.FORM,), Token.NONE, Fields(), ("order",))


def run(
    body: bytes,
    *,
    provider: Trying | None = None,
    sink: MemorySink | None = None,
    spool: EventSink | None = None,
    account: Account | None = None,
) -> tuple[Reply, Line, MemorySink, MemoryMetrics]:
    sink, metrics, line = sink or MemorySink(), MemoryMetrics(), Line("request-1")
    routes = (Route(Target("a", "a", "a.b")), Route(Target("b", "b", "a.b"), kinds=("notice.*",)))
    pipeline = Pipeline(sink, Placing(routes, 120), Sealer(), metrics, spool or NoSpool())
    request = CallbackRequest("x", "POST", b"", body, Media.FORM, datetime(2026, 11, 22, tzinfo=UTC), "request-1")
    endpoint = Endpoint(provider or Trying(), account or Account("trying", "shop"), CHANNEL)
    return pipeline.handle(request, endpoint, line), line, sink, metrics


def test_an_event_is_kept_with_its_routes_and_its_exact_bytes() -> None:
    reply, line, sink, metrics = run(b"order=A")
    (entry,) = sink.entries.values()

    assert reply.body == b"accepted"
    assert (line.outcome, line.key_id, line.events) == (Outcome.ACCEPTED, "key", [entry.event.id])
    assert [target.route for target in entry.routes] == ["a"]
    assert Sealer().open(entry.request, entry.event.id).body == b"order=A"
    assert metrics.kinds == [("trying", "shop", "payment.succeeded")]
    assert metrics.strangers == {"trying": 1}


def test_several_notifications_of_one_callback_are_deduplicated_alone() -> None:
    sink = MemorySink()
    run(b"order=A", sink=sink)
    reply, line, _, metrics = run(b"order=A&order=B", sink=sink)

    assert reply.body == b"accepted"
    assert len(line.events) == 2
    assert [event.says.order_ref for event in sink.events] == ["A", "B"]
    assert len(metrics.kinds) == 1
    assert run(b"order=A&order=B", sink=sink)[0].body == b"duplicate"


@pytest.mark.parametrize(
    "error", [ValueError(CARD), KeyError(CARD), RecursionError(CARD), ZeroDivisionError(), TypeError(CARD)]
)
def test_a_fault_of_ours_quarantines_what_is_proven_and_tells_the_place_only(error: Exception) -> None:
    reply, line, sink, _ = run(b"order=A", provider=Trying(error))
    (kept,) = sink.quarantined.values()

    assert reply.body == b"quarantined"
    assert (line.outcome, line.reason, kept.reason) == (Outcome.QUARANTINED, "normalize_failed", "normalize_failed")
    assert line.detail.startswith(f"{type(error).__name__} at test_pipeline.py:")
    assert CARD not in repr(line)
    assert Sealer().open(kept.request, kept.digest).body == b"order=A"


def test_a_provider_may_quarantine_by_its_own_reason() -> None:
    _, line, sink, _ = run(b"order=A", provider=Trying(Quarantined(Reason.CONFLICTING_FIELD)))

    assert line.reason == "conflicting_field"
    assert sink.events == []


def test_a_value_that_does_not_fit_is_named_by_its_field_only() -> None:
    for body in (b"order=", b"order=" + CARD.encode() + b"\x00"):
        _, line, sink, _ = run(body)
        assert (line.reason, line.detail, len(sink.quarantined)) == ("unreadable_field", "order", 1)
        assert CARD not in repr(line)


def test_one_unreadable_notification_keeps_the_whole_callback_and_no_event() -> None:
    _, line, sink, _ = run(b"order=A&order=")

    assert line.outcome is Outcome.QUARANTINED
    assert (sink.events, len(sink.quarantined)) == ([], 1)


AWAY = Unavailable(Reason.REDIS_FULL, "OOM")


@pytest.mark.parametrize("body", [b"order=A", b"order="], ids=["readable", "unreadable"])
def test_while_redis_is_away_the_spool_keeps_it(body: bytes) -> None:
    spool = MemorySink()
    reply, line, sink, _ = run(body, sink=MemorySink(AWAY), spool=spool)

    assert (sink.kept, spool.kept) == (0, 1)
    assert reply.body == (b"spooled" if spool.entries else b"quarantined")
    assert line.outcome in {Outcome.SPOOLED, Outcome.QUARANTINED}


@pytest.mark.parametrize("body", [b"order=A", b"order="], ids=["readable", "unreadable"])
@pytest.mark.parametrize("spool", [NoSpool(), MemorySink(Unavailable(Reason.REDIS_UNREACHABLE))], ids=["none", "away"])
def test_where_nothing_can_keep_it_the_reason_is_that_of_redis(body: bytes, spool: EventSink) -> None:
    with pytest.raises(Unavailable) as caught:
        run(body, sink=MemorySink(AWAY), spool=spool)

    assert (caught.value.reason, caught.value.detail) == (Reason.REDIS_FULL, "OOM")


def test_where_there_is_no_spool_a_refusal_is_dropped_in_silence() -> None:
    NoSpool().refuse("a", "b", "c", "bad_token", "request-1")


BOTH = ("status", "amount")


@pytest.mark.parametrize(
    ("expected", "confirm", "event"),
    [
        (False, Confirm.NEVER, event_of(level=Level.ROUTE, covers=())),
        (True, Confirm.UNPROVEN, event_of(level=Level.ROUTE, covers=())),
        (True, Confirm.UNPROVEN, event_of(covers=("status",))),
        (True, Confirm.UNPROVEN, event_of(covers=("amount",))),
        (False, Confirm.UNPROVEN, event_of(covers=BOTH)),
        (True, Confirm.UNPROVEN, event_of(covers=BOTH, amount=None)),
        (True, Confirm.ALWAYS, event_of(covers=BOTH)),
        (False, Confirm.UNPROVEN, event_of(level=Level.CONFIRMED, covers=())),
        (False, Confirm.ALWAYS, event_of(level=Level.CONFIRMED, covers=())),
        (False, Confirm.UNPROVEN, event_of(Kind.PAYMENT_PENDING, covers=())),
        (False, Confirm.ALWAYS, event_of(Kind.PAYMENT_FAILED, covers=())),
        (False, Confirm.UNPROVEN, event_of(Kind.PAYMENT_UNKNOWN, covers=())),
        (True, Confirm.UNPROVEN, event_of(Kind.PAYMENT_AUTHORIZED, covers=("status",))),
        (True, Confirm.UNPROVEN, event_of(Kind.PAYMENT_REFUNDED, covers=())),
        (True, Confirm.UNPROVEN, event_of(Kind.SUBSCRIPTION_ACTIVATED, covers=(), amount=None)),
        (False, Confirm.UNPROVEN, event_of(Kind.SUBSCRIPTION_ACTIVATED, covers=("status",), amount=None)),
        (False, Confirm.UNPROVEN, event_of(Kind.SUBSCRIPTION_CANCELED, covers=(), amount=None)),
        (True, Confirm.UNPROVEN, event_of(Kind.INSTALLMENT_PAID, covers=("status",))),
        (False, Confirm.UNPROVEN, event_of(Kind.NOTICE_RECEIVED, covers=())),
    ],
)
def test_a_fact_waits_for_the_api_until_status_and_amount_are_covered(
    expected: bool,  # noqa: FBT001
    confirm: Confirm,
    event: Event,
) -> None:
    assert holds(event, account_of("paratika", confirm=confirm)) is expected


@pytest.mark.parametrize("provider", ["payguru", "payguru-phs", "paratika", "paynet"])
def test_a_success_that_is_not_proven_whole_is_held_where_it_can_be_asked(provider: str) -> None:
    vector = next(vector for vector in readable(provider) if vector.expect.get("type") == "payment.succeeded")
    held = replace(vector, account={**vector.account, "confirm": Confirm.UNPROVEN})
    desk = held.desk()
    answers = [held.send(desk), held.send(desk)]
    (entry,) = desk.sink.entries.values()

    assert entry.hold
    assert [callback[3] for callback in desk.metrics.callbacks] == ["held", "duplicate"]
    assert {answer.status_code for answer in answers} <= {200, 303}
    if provider == "paratika":
        assert all("outcome=pending" in answer.headers["Location"] for answer in answers)


def test_a_log_line_names_the_key_and_the_event(logged: Lines) -> None:
    vector = readable("paratika")[0]
    desk = vector.desk()
    vector.send(desk)
    (line,) = logged

    assert line["event_id"] == desk.sink.events[0].id
    assert {
        "provider": "paratika",
        "account": "shop",
        "channel": "return",
        "outcome": "accepted",
    }.items() <= line.items()
    assert line["key_id"] == "env:PARATIKA"
