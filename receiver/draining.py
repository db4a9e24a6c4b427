"""
From the spool to the store: rows in their order, many a call, through the accept script that would have taken them.

A row is deleted only after the store's answer, so whatever dies in between, it is sent again and is a duplicate there.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from receiver import spool
from receiver.breaker import ProbedSink
from receiver.errors import Reason, Unavailable
from receiver.event import Event
from receiver.failpoints import reach
from receiver.pipeline import place
from receiver.placing import Placing
from receiver.ports import Entry, Provider, Receipt, Unreadable
from receiver.rows import Row, SpoolFile, State, now
from receiver.turn import Turn

BATCH = 50  # rows a call: some milliseconds of Redis's time, which callbacks that come meanwhile have to wait for
TRIES = 5  # a row that the store refuses for its own sake is parked after so many
_MARGIN = 3600  # seconds; a fact's mark may have been set a little before its row was
_SECOND = 1_000_000  # in a row's own microseconds

_Item = tuple[Row, Entry | Unreadable]


@dataclass(slots=True)
class Drained:
    """
    What became of rows.

    ``known`` had reached the store in another way, ``refused`` stay to be tried again, ``parked`` has ids and reasons.
    """

    new: int = 0
    known: int = 0
    refused: int = 0
    parked: dict[str, str] = field(default_factory=dict)

    @property
    def gone(self) -> int:
        return self.new + self.known


def _never() -> bool:
    return False


def _uncounted(event: Event) -> None:
    """Who drains by hand counts nothing: the counters are the web workers' own."""


class Drainer:
    """Drains one file. ``after`` is the last row that was handled; *on_new* is told of each event that was new."""

    def __init__(
        self,
        file: SpoolFile,
        sink: ProbedSink,
        placing: Placing,
        providers: Mapping[str, Provider],
        dedupe_days: int,
        on_new: Callable[[Event], None] = _uncounted,
    ) -> None:
        self.after = 0
        self._file = file
        self._sink = sink
        self._placing = placing
        self._providers = providers
        self._known_for = (dedupe_days * 24 * 3600 - _MARGIN) * _SECOND if dedupe_days else 0
        self._on_new = on_new
        self._size = BATCH

    def turn(self, patience: float) -> Turn:
        """Return the lock of those who drain: one at a time."""
        return Turn(self._file.folder / "drain.lock", patience)

    def since(self) -> int:
        """Return when rows begin whose facts are still known; what is older might come twice, so a person decides."""
        return now() - self._known_for if self._known_for else 0

    def state(self) -> State:
        return self._file.state(self.since())

    def begin(self, *, old: bool = False) -> None:
        """Start with the first row again, which *old* ones are where they are wanted."""
        self.after = 0 if old else self.since() - 1

    def is_due(self) -> bool:
        return bool(self._file.next(self.after, 1))

    def run(self, drained: Drained, enough: Callable[[], bool] = _never, rest: float = 0.0) -> None:
        """
        Drain from where it stands to the end, or until it is *enough*; raise Unavailable where that is in vain.

        What becomes of rows is counted into *drained*. After each batch it rests for *rest* times the batch's own time,
        so that others get theirs.
        """
        self._sink.probe()
        try:
            while not enough() and (rows := self._file.next(self.after, self._size)):
                begun = time.monotonic()
                for group in self._groups(rows, drained):
                    self._send(group, drained)
                self.after = rows[-1].at
                self._size = min(BATCH, 2 * self._size)
                time.sleep(rest * (time.monotonic() - begun))
        except Unavailable:
            self._size = max(1, self._size // 2)  # were there too many for the time-out?
            raise

    def _groups(self, rows: Sequence[Row], drained: Drained) -> Iterator[list[_Item]]:
        """
        Put together what one call may take: events, as long as none has to know what became of one before it.

        A second payment of one announced order has to.
        """
        group: list[_Item] = []
        orders: set[tuple[str, str, str | None]] = set()
        for row in rows:
            try:
                kept = spool.read(row)
            except (LookupError, TypeError, ValueError) as exc:
                self._refuse(row, place(exc), drained)
                continue
            order = _order(kept)
            if group and (isinstance(kept, Unreadable) or isinstance(group[0][1], Unreadable) or order in orders):
                yield group
                group, orders = [], set()
            group.append((row, kept))
            orders |= {order} if order else set()
        if group:
            yield group

    def _send(self, group: list[_Item], drained: Drained) -> None:
        """Give a group to the store and forget its rows; what is refused together is tried one by one."""
        reach("drain.before_accept")
        try:
            receipts = self._accepted([kept for _, kept in group])
        except Unavailable as exc:
            if exc.reason is not Reason.REDIS_REFUSED:
                raise
            self._sink.probe()  # raises where it was not for the rows' own sake
            reason = exc.detail or exc.reason
        except Exception as exc:  # noqa: BLE001 - one row that our code fails on must not stop the others
            reason = place(exc)
        else:
            reach("drain.after_accept")
            self._file.remove([row for row, _ in group])
            self._count(group, receipts, drained)
            return
        if len(group) == 1:
            self._refuse(group[0][0], reason, drained)
            return
        for item in group:
            self._send([item], drained)

    def _accepted(self, kept: Sequence[Entry | Unreadable]) -> Sequence[Receipt]:
        entries = [one for one in kept if isinstance(one, Entry)]
        if entries:
            return self._placing.accept_kept(self._sink, entries, self._providers)
        for one in kept:
            if isinstance(one, Unreadable):
                self._sink.quarantine(one)
        return [Receipt(new=True, released=False) for _ in kept]

    def _count(self, group: Sequence[_Item], receipts: Sequence[Receipt], drained: Drained) -> None:
        for (_, kept), receipt in zip(group, receipts, strict=True):
            drained.new += receipt.new
            drained.known += not receipt.new
            if receipt.new and isinstance(kept, Entry):
                self._on_new(kept.event)

    def _refuse(self, row: Row, reason: str, drained: Drained) -> None:
        if self._file.refused(row, reason, TRIES):
            drained.parked[row.id] = reason
        else:
            drained.refused += 1


def _order(kept: Entry | Unreadable) -> tuple[str, str, str | None] | None:
    if isinstance(kept, Unreadable) or not kept.judge:
        return None
    return kept.event.provider, kept.event.account, kept.event.says.order_ref
