"""
The way of a callback: verify, parse, normalize, accept; the provider words the reply.

Everything before ``accept`` is pure. What is proven is never lost again: an authentic callback that we cannot read, or
that our own code fails on, goes to quarantine and is answered as stored.
"""

import hashlib
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from marshmallow import ValidationError

from receiver import redact
from receiver.account import Account
from receiver.errors import SPOOL_REASONS, Quarantined, Reason, Unavailable, Unverified
from receiver.event import Event, Statement, Trust
from receiver.expecting import Expectation
from receiver.failpoints import reach
from receiver.log import Line
from receiver.message import CallbackRequest, Notification, Outcome, Reply
from receiver.placing import Placing, Sealed
from receiver.ports import Channel, Entry, EventSink, Metrics, Provider, Receipt, Settled, Unreadable
from receiver.seal import Sealer

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a callback arrived; the token, where the channel has one, is compared, and ``order`` is what it proved."""

    provider: Provider
    account: Account
    channel: Channel
    token_id: str = ""
    order: str = ""


class NoSpool:
    """Stands where a spool would: for those who are not asked again by anybody but themselves."""

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        del provider, account, order_ref
        raise Unavailable(Reason.REDIS_UNREACHABLE)

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        del entries
        raise Unavailable(Reason.REDIS_UNREACHABLE)

    def quarantine(self, unreadable: Unreadable) -> None:
        del unreadable
        raise Unavailable(Reason.REDIS_UNREACHABLE)

    def refuse(self, provider: str, account: str, channel: str, reason: str, request_id: str) -> None:
        """A refusal is no fact, so nothing needs to be spooled."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Takes proven callbacks to the sink, or to the spool while the sink is away."""

    sink: EventSink
    placing: Placing
    sealer: Sealer
    metrics: Metrics
    spool: EventSink

    def handle(self, request: CallbackRequest, endpoint: Endpoint, line: Line) -> Reply:
        """Return the provider's success reply; raise Rejected or Unavailable where there is none."""
        provider, account = endpoint.provider, endpoint.account
        try:
            notes = provider.verify(request, account, endpoint.token_id)
            events = [self._read(note, request, endpoint, line) for note in notes]
        except Quarantined as exc:
            settled = self._quarantine(exc, request, endpoint, line)
        else:
            settled = self._accept(events, request, endpoint, line)
            line.events = [event.id for event in events]
        line.outcome = settled.outcome
        return provider.reply(settled, request, account)

    def _read(self, note: Notification, request: CallbackRequest, endpoint: Endpoint, line: Line) -> Event:
        """Parse, normalize, and say whose the statement is."""
        provider, account, channel = endpoint.provider, endpoint.account, endpoint.channel
        line.key_id = note.key_id
        try:
            fields = channel.schema.load(note.fields)
            says = provider.normalize(fields, note, channel.name, account)
        except ValidationError as exc:
            line.detail = ",".join(sorted(map(str, exc.messages_dict)))
            raise Quarantined(Reason.UNREADABLE_FIELD) from None
        except Quarantined:
            raise
        except Exception as exc:  # noqa: BLE001 - proven, so it must be kept whatever our code does
            line.detail = place(exc)
            raise Quarantined(Reason.NORMALIZE_FAILED) from None
        self._count_strangers(note.fields, endpoint)
        return Event(
            provider=provider.name,
            account=account.slug,
            channel=channel.name,
            test=account.test,
            received_at=request.received_at,
            trust=Trust(note.level, note.covers),
            says=_of_order(says, endpoint.order),
            custom=redact.pass_through(note.fields, account),
            raw=redact.raw_copy(note.fields, channel.kept),
        )

    def _accept(self, events: Sequence[Event], request: CallbackRequest, endpoint: Endpoint, line: Line) -> Settled:
        items = [Sealed(event, self.sealer.seal(request, event.id)) for event in events]
        whose = (endpoint.provider, endpoint.account, request.source)
        receipts, away = self._kept(lambda store: self.placing.accept(store, items, *whose))
        released = all(receipt.released for receipt in receipts)
        if away is not None:
            # Whether they are new is known when they are drained, and counted there.
            line.reason, line.detail = away.reason.value, away.detail
            return Settled(Outcome.SPOOLED, events, released)
        for event, receipt in zip(events, receipts, strict=True):
            if receipt.new:
                self.metrics.event(event.provider, event.account, event.says.kind)
        if not any(receipt.new for receipt in receipts):
            return Settled(Outcome.DUPLICATE, events, released)
        return Settled(Outcome.ACCEPTED if released else Outcome.HELD, events, released)

    def _kept(self, keep: Callable[[EventSink], Kept]) -> tuple[Kept, Unavailable | None]:
        """Let the sink keep it, else the spool, and say why not the sink; raise Unavailable where neither can."""
        reach("accept.before")
        try:
            kept = keep(self.sink)
        except Unavailable as away:
            try:
                return keep(self.spool), away
            except Unavailable as worse:
                # A spool that fails too is the trouble: for Redis's it is there. Without one, it is Redis.
                told = worse if worse.reason in SPOOL_REASONS else away
                raise Unavailable(told.reason, told.detail or away.detail) from None
        reach("accept.after")
        return kept, None

    def _quarantine(self, exc: Quarantined, request: CallbackRequest, endpoint: Endpoint, line: Line) -> Settled:
        reason = exc.reason
        digest = hashlib.sha256(request.query + b"\n" + request.body).hexdigest()
        names = endpoint.provider.name, endpoint.account.slug
        sealed = self.sealer.seal(request, digest)
        ask = self.placing.doubted(exc.payment_ref, request, endpoint.provider, endpoint.account)
        proven = endpoint.token_id, endpoint.order
        unreadable = Unreadable(*names, reason.value, digest, request, sealed, ask, *proven)
        self._kept(lambda store: store.quarantine(unreadable))
        line.reason = reason.value
        return Settled(Outcome.QUARANTINED)

    def _count_strangers(self, sent: Mapping[str, Any], endpoint: Endpoint) -> None:
        """Count fields that nobody accounts for: the provider has changed something."""
        channel = endpoint.channel
        if channel.any_name:
            return
        strangers = sent.keys() - channel.known - endpoint.account.custom  # custom: the merchant's own names
        if strangers:
            self.metrics.unaccounted(endpoint.provider.name, len(strangers))


def _of_order(says: Statement, order: str) -> Statement:
    """
    Give a statement the *order* that the token in the address proved; one that names another order is forged.

    The fact key stays as the provider's table has it: the same claim under the fixed token is the same fact.
    """
    if not order or says.order_ref == order:
        return says
    if says.order_ref:
        raise Unverified(Reason.BAD_SIGNATURE)
    return replace(says, order_ref=order)


def place(exc: Exception) -> str:
    """Name the error's class and the line of code: never its text, which may repeat what was sent."""
    frame = traceback.extract_tb(exc.__traceback__)[-1]
    return f"{type(exc).__name__} at {frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}"
