"""
Keeps requests off a store that is away: once it has failed, a thread watches it, and nobody else tries it.

The state is one process's own, and the thread is started at the first failure, so after any fork.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ParamSpec, Protocol, TypeVar

from receiver import log
from receiver.errors import Reason, Unavailable
from receiver.expecting import Expectation
from receiver.ports import Entry, EventSink, Receipt, Unreadable

_FIRST_PAUSE = 0.1  # seconds until the store is tried again; then twice as long each time
_LONGEST_PAUSE = 1.0  # and at once this long where it failed a moment after it had come back
_STEADY = 10.0

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


class ProbedSink(EventSink, Protocol):
    """A store that can be asked whether it would take a callback."""

    def probe(self) -> None:
        """Raise Unavailable unless a callback could be kept now; writes as one would be."""


class Breaker:
    """``receiver.ports.EventSink`` before another one. ``away`` says what is wrong with that, None while nothing is."""

    def __init__(self, sink: ProbedSink) -> None:
        self.away: Unavailable | None = None
        self._sink = sink
        self._lock = threading.Lock()
        self._watched = False
        self._back = -_STEADY  # when the store came back for the last time

    def call(self, call: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Answer:
        """Call the store, if it is not away; raise Unavailable at once if it is, and see to it where it fails."""
        away = self.away
        if away is not None:
            raise Unavailable(away.reason, away.detail)
        try:
            return call(*args, **kwargs)
        except Unavailable as exc:
            self._failed(exc)
            raise

    def guarding(self, call: Callable[Given, Answer]) -> Callable[Given, Answer]:
        """Return *call*, another way to the store, behind this breaker."""

        def guarded(*args: Given.args, **kwargs: Given.kwargs) -> Answer:
            return self.call(call, *args, **kwargs)

        return guarded

    def expected(self, provider: str, account: str, order_ref: str) -> Expectation | None:
        return self.call(self._sink.expected, provider, account, order_ref)

    def accept(self, entries: Sequence[Entry]) -> Sequence[Receipt]:
        return self.call(self._sink.accept, entries)

    def quarantine(self, unreadable: Unreadable) -> None:
        self.call(self._sink.quarantine, unreadable)

    def refuse(self, provider: str, account: str, channel: str, reason: str, request_id: str) -> None:
        """Note a refusal where that is possible; it is no fact, and the metrics count it."""
        with suppress(Unavailable):
            self.call(self._sink.refuse, provider, account, channel, reason, request_id)

    def _failed(self, exc: Unavailable) -> None:
        """Begin to watch, unless it said no to this one entry only: then it still takes what a probe writes."""
        if exc.reason is Reason.REDIS_REFUSED:
            try:
                self._sink.probe()
            except Unavailable as worse:
                exc = worse
            else:
                return
        with self._lock:
            if self._watched:
                return
            pause = _FIRST_PAUSE if time.monotonic() - self._back > _STEADY else _LONGEST_PAUSE
            threading.Thread(target=self._watch, args=(pause,), name="ulak-breaker", daemon=True).start()
            self._watched, self.away = True, exc
        _tell("redis_away", level="error", reason=exc.reason, detail=exc.detail)

    def _watch(self, pause: float) -> None:
        begun = time.monotonic()
        while True:
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            try:
                self._sink.probe()
            except Unavailable as exc:
                self.away = exc
            except Exception as exc:  # noqa: BLE001 - a thread that ends would leave the store away for ever
                _tell("fault", level="error", detail=type(exc).__name__)
            else:
                break
        with self._lock:
            self.away, self._watched, self._back = None, False, time.monotonic()
        _tell("redis_back", seconds=round(time.monotonic() - begun, 1))


def _tell(event: str, **known: object) -> None:
    with suppress(Exception):  # a full disk or a closed output must not change what becomes of a callback
        log.note(event, **known)
