"""
What the providers' lists said lately, kept in this process: one list answers for many payments at once.

Only what is found counts. A list is older than the question, so it proves neither that there is no payment nor that one
is still open; a payment of which we learned after the list began waits for the next list, some seconds.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from receiver.account import Account
from receiver.asking import QueryError, Sought, Trouble
from receiver.event import Statement
from receiver.schema import TURKEY

KEPT = 20.0  # seconds for which what is found in a list is an answer
GAP = 5.0  # seconds between two lists at least; the first pause of a question that waits is as long
WORK = 4  # a list is left alone for so many times as long as it took, so that a worker does other things too
PAUSE = 60.0  # seconds after a list that was no answer
REACH = timedelta(days=3)  # no list begins earlier, or it would be long
BACK = timedelta(days=1)  # how far back, where the question does not say
AHEAD = timedelta(hours=1)  # the provider's clock may be before ours
LARGEST = 20_000  # statements in memory, of all lists; some 30 MB
_WAITING = 10_000

Fetch = Callable[[datetime, datetime, Account], list[Statement]]
Enough = Callable[[Sequence[Statement]], bool]
_Whose = tuple[str, str]


@dataclass(slots=True)
class _List:
    """``began`` and ``ended`` are the clock's; ``trouble`` is why there is no list."""

    since: datetime
    began: float
    ended: float
    trouble: Trouble | None = None
    size: int = 0
    by_payment: dict[str, list[Statement]] = field(default_factory=dict)
    by_order: dict[str, list[Statement]] = field(default_factory=dict)

    @property
    def rests_until(self) -> float:
        return self.ended + (PAUSE if self.trouble else max(GAP, WORK * (self.ended - self.began)))

    def take(self, found: Sequence[Statement]) -> None:
        self.size = len(found)
        for one in found:
            for ref, index in ((one.payment_ref, self.by_payment), (one.order_ref, self.by_order)):
                if ref is not None:
                    index.setdefault(ref, []).append(one)

    def of(self, sought: Sought) -> list[Statement]:
        if sought.payment_ref is not None:
            return self.by_payment.get(sought.payment_ref, [])
        return self.by_order.get(sought.order_ref or "", [])


class Recent:
    """The last list of each account. For one thread; *clock* counts seconds."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lists: dict[_Whose, _List] = {}
        self._waiting: OrderedDict[tuple[str, ...], float] = OrderedDict()  # since when a question waits for a list

    def find(self, sought: Sought, account: Account, enough: Enough) -> list[Statement] | None:
        """
        Return what a list states where that is *enough*, else nothing; None where no list can be had at present.

        Raise QueryError ``api_limited`` where a newer list is to be waited for.
        """
        now, whose = self._clock(), (account.provider, account.slug)
        today = datetime.now(UTC)
        since = _day_of(max(sought.since or today - BACK, today - REACH))
        question = (*whose, sought.payment_ref or "", sought.order_ref or "")
        self._forget(now)
        known = self._lists.get(whose)
        usable = known if known and not known.trouble and known.since <= since else None
        found = _if_enough(usable, sought, enough) if usable else []
        if found or (usable and usable.began > self._waiting.get(question, now)):
            # Found; or not in a list that began after we knew of it.
            self._waiting.pop(question, None)
            return found
        if known and now < known.rests_until:
            if known.trouble:
                return None
            self._wait(question, now)
            raise QueryError(Trouble.API_LIMITED)
        self._waiting.pop(question, None)
        fetched = self._fetched(since, account)
        return None if fetched.trouble else _if_enough(fetched, sought, enough)

    def _fetched(self, since: datetime, account: Account) -> _List:
        whose = (account.provider, account.slug)
        self._lists.pop(whose, None)
        fetched = _List(since, self._clock(), 0.0)
        try:
            found = self._fetch(since, datetime.now(UTC) + AHEAD, account)
        except QueryError as exc:
            found, fetched.trouble = [], exc.trouble
        if len(found) > LARGEST:
            found, fetched.trouble = [], Trouble.API_LIMITED
        fetched.take(found)
        fetched.ended = self._clock()
        while self._lists and sum(known.size for known in self._lists.values()) + fetched.size > LARGEST:
            del self._lists[next(iter(self._lists))]
        self._lists[whose] = fetched
        return fetched

    def _forget(self, now: float) -> None:
        for whose, known in list(self._lists.items()):
            if now > max(known.ended + KEPT, known.rests_until):
                del self._lists[whose]

    def _wait(self, question: tuple[str, ...], now: float) -> None:
        self._waiting.setdefault(question, now)
        if len(self._waiting) > _WAITING:
            self._waiting.popitem(last=False)


def _if_enough(known: _List, sought: Sought, enough: Enough) -> list[Statement]:
    found = known.of(sought)
    return list(found) if found and enough(found) else []


def _day_of(since: datetime) -> datetime:
    """Begin at midnight, so that the questions of one day share a list; the API that is asked so counts in days."""
    return since.astimezone(TURKEY).replace(hour=0, minute=0, second=0, microsecond=0)
