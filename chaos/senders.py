"""The providers: they send, send again as they are used to, and remember what they were told."""

from __future__ import annotations

import heapq
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from receiver import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chaos.callbacks import Callback

_THREADS = 32
_SHORTEST_REPEAT_PAUSE = 0.3
_SLOW = 1.0
_PATIENCE = 60.0


@dataclass
class Sent:
    """One callback in its sender's memory."""

    callback: Callback
    tries: int = 0
    successes: int = 0

    @property
    def is_answered(self) -> bool:
        return self.successes > 0


@dataclass
class Ledger:
    """What the senders know. None of it comes from the system under test."""

    sent: list[Sent] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  # answers that no sender should ever get
    slow: list[tuple[float, float, int]] = field(default_factory=list)  # when, how long, which status
    begun: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def answered(self) -> int:
        """How many callbacks were sent and answered, however; those that nobody answered are not counted."""
        return sum(number for answer, number in self.answers.items() if answer.isdecimal())

    def note(self, one: Sent, status: int, body: bytes, seconds: float) -> bool:
        """Note an answer; say whether the sender is content."""
        callback = one.callback
        succeeds = callback.succeeds(status, body)
        with self.lock:
            self.answers[str(status)] += 1
            self.seconds.append(seconds)
            if seconds > _SLOW:
                self.slow.append((round(time.monotonic() - self.begun, 1), round(seconds, 2), status))
            one.successes += succeeds and not callback.forged
            # A callback in order may be put off; it is never refused, and a forged one never taken.
            if status < 400 if callback.forged else not (succeeds or status == 503):
                self.strange.append(f"{callback.label} {callback.number}: {status} {body[:60]!r}")
        return succeeds

    def percentile(self, share: float) -> float:
        found = sorted(self.seconds)
        return found[min(len(found) - 1, int(len(found) * share))] if found else 0.0


class Senders:
    """Many threads that send what is due."""

    def __init__(self, base: Callable[[], str], ledger: Ledger) -> None:
        self._base, self._ledger = base, ledger
        self._due: list[tuple[float, int, Sent]] = []
        self._order = 0
        self._busy = 0
        self._stopping = False
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def send(self, callback: Callback) -> None:
        one = Sent(callback)
        self._ledger.sent.append(one)
        self._put(one, 0.0)

    def send_all(
        self, callbacks: Iterator[Callback], rate: float, goes_on: Callable[[], bool], may_go: Callable[[], bool]
    ) -> None:
        """Send new callbacks at *rate* a second as long as *goes_on* says so; wait while *may_go* says no."""
        while goes_on():
            due = time.monotonic() + 1.0
            if may_go():
                for callback in islice(callbacks, int(rate)):
                    self.send(callback)
                    time.sleep(1 / rate / 2)
            time.sleep(max(0.0, due - time.monotonic()))

    def _put(self, one: Sent, pause: float) -> None:
        with self._changed:
            self._order += 1
            heapq.heappush(self._due, (time.monotonic() + pause, self._order, one))
            self._changed.notify()

    def _take(self) -> Sent | None:
        with self._changed:
            while not self._stopping:
                pause = self._due[0][0] - time.monotonic() if self._due else None
                if pause is not None and pause <= 0:
                    self._busy += 1
                    return heapq.heappop(self._due)[2]
                self._changed.wait(pause)
            return None

    def _work(self) -> None:
        while (one := self._take()) is not None:
            try:
                self._try(one)
            finally:
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _try(self, one: Sent) -> None:
        callback, begun = one.callback, time.monotonic()
        one.tries += 1
        try:
            answer = simulate.send(self._base(), callback.path, callback.request)
        except OSError as exc:
            content = False
            with self._ledger.lock:
                self._ledger.answers[type(exc).__name__] += 1
        else:
            content = self._ledger.note(one, answer.status, answer.body, time.monotonic() - begun)
        pause = self._next_pause(one, content)
        if pause is not None:
            self._put(one, pause)

    @staticmethod
    def _next_pause(one: Sent, content: bool) -> float | None:  # noqa: FBT001 - said by name just above
        """Return when it comes again: because nobody said yes, or though somebody did."""
        callback = one.callback
        if content or one.is_answered:
            # The number of the callback spreads them, and is the same in a replay.
            pause = _SHORTEST_REPEAT_PAUSE + callback.number % 30 / 10
            return pause if one.successes <= callback.repeats else None
        return callback.habit.again[one.tries - 1] if one.tries <= len(callback.habit.again) else None

    def finish(self) -> bool:
        """Wait until nobody has anything to send; say whether that came to pass. Then the threads end."""
        until = time.monotonic() + _PATIENCE
        with self._changed:
            while (self._due or self._busy) and time.monotonic() < until:
                self._changed.wait(0.5)
            done = not self._due and not self._busy
            self._stopping = True
            self._changed.notify_all()
        return done
