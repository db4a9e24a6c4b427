"""The thread of a web worker that drains the spool whenever there is something in it and nobody else does."""

import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

from receiver import log
from receiver.draining import Drained, Drainer
from receiver.errors import SPOOL_REASONS, Unavailable
from receiver.pipeline import place
from receiver.turn import NoTurn

_IDLE = 0.2  # seconds until it looks again
_AWAY = 1.0
_AGAIN = 5.0  # until what was refused is tried again
_SPELL = 1.0  # so long it keeps the lock at the most, for `ulak drain` wants it too
_REST = 0.5  # times what a batch took: it shares a processor with the callbacks that come meanwhile
_SILENT = 60.0
_PATIENCE = 5.0


class Duty:
    """
    Drains until ``end``.

    A process that forks is not a web worker but the parent of some, so the thread ends there before the fork and begins
    anew in the child.
    """

    def __init__(self, drainer: Drainer) -> None:
        self._drainer = drainer
        self._turn = drainer.turn(patience=0)
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._from_start = 0.0
        self._silent_until = 0.0
        me = weakref.ref(self)
        os.register_at_fork(before=lambda: _told(me, Duty.end), after_in_child=lambda: _told(me, Duty.start))

    def start(self) -> None:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(self._ended,), name="ulak-drain", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join(_PATIENCE)

    def _run(self, ended: threading.Event) -> None:
        pause = _IDLE
        while not ended.wait(pause):
            try:
                pause = self._spell(ended)
            except NoTurn:
                pause = _AWAY
            except Unavailable as exc:
                self._complain(exc)
                pause = _AWAY
            except Exception as exc:  # noqa: BLE001 - a thread that ends would leave the spool to nobody
                with suppress(Exception):
                    log.note("fault", level="error", detail=place(exc))
                pause = _AWAY

    def _spell(self, ended: threading.Event) -> float:
        """Drain for a while; return how long to wait."""
        if time.monotonic() >= self._from_start:
            self._drainer.begin()
            self._from_start = time.monotonic() + _AGAIN
        if not self._drainer.is_due():
            return _IDLE
        drained, until = Drained(), time.monotonic() + _SPELL
        try:
            with self._turn.taken():
                self._drainer.run(drained, lambda: ended.is_set() or time.monotonic() > until, _REST)
        finally:
            _tell(drained)
        return _IDLE / 10

    def _complain(self, exc: Unavailable) -> None:
        """Say what is wrong with the spool's file, once a minute; of Redis the breaker tells."""
        if exc.reason in SPOOL_REASONS and time.monotonic() >= self._silent_until:
            self._silent_until = time.monotonic() + _SILENT
            with suppress(Exception):
                log.note("spool_fault", level="error", reason=exc.reason, detail=exc.detail)


def _tell(drained: Drained) -> None:
    with suppress(Exception):
        if drained.gone:
            log.note("drained", new=drained.new, known=drained.known)
        for row, reason in drained.parked.items():
            log.note("parked", level="error", row=row, detail=reason)


def _told(me: "weakref.ref[Duty]", what: Callable[[Duty], None]) -> None:
    one = me()
    if one is not None:
        what(one)
