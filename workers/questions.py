"""
The one way to ask the providers' APIs: within their budgets, and within what unproven callbacks may cost a merchant.

Where a provider counts questions by the day and can also list its payments, a list is looked at first as soon as a part
of the day's budget is gone: one list answers many. What it does not answer is asked for by itself, within the budget.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial

import redis

from receiver.account import Account
from receiver.asking import Answered, Call, Listing, Query, QueryError, Sought, Trouble
from receiver.confirming import AGREEING
from receiver.event import Statement
from receiver.queries import CODES, LISTS, QUERIES
from receiver.watching import OPEN
from workers import budget, outgoing
from workers.budget import Budget, Rule
from workers.outgoing import Learned
from workers.recent import Enough, Recent

LISTS_FROM = 0.1  # the spent part of a day's budget from which on lists come first; below it, answers come at once
# Seconds that a conversation waits for its place where it has begun: giving up would waste what was asked so far.
PATIENCE = 5.0
_NAP = 0.05
# No fault of who asks, unlike a refusal, which may be the answer to a made-up reference.
_NOBODY_ANSWERED = frozenset({Trouble.NO_ANSWER, Trouble.API_FAULT, Trouble.API_LIMITED})


@dataclass(frozen=True, slots=True)
class Asker:
    """
    Who made us ask. What a browser merely claimed is limited; traffic that is proven is never counted for that.

    ``source`` is a digest of the client's address, never the address; empty where it is not known.
    """

    verified: bool = True
    source: str = ""


PROVEN = Asker()


class Questions:
    """Asks for one worker process, in one thread; connections and the last lists are kept while it lives."""

    def __init__(
        self,
        client: redis.Redis,
        make: outgoing.Transport | None = None,
        *,
        queries: Mapping[str, Query] = QUERIES,
        lists: Mapping[str, Listing] = LISTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = Budget(client)
        self._make = make or _transport()
        self._queries = queries
        self._lists = lists
        self._recent = Recent(self.listed, clock)

    def ask(
        self, sought: Sought, account: Account, asker: Asker = PROVEN, enough: Enough | None = None
    ) -> list[Statement]:
        """
        Return what the API states about one payment or subscription; raise QueryError where that cannot be had now.

        ``api_limited`` may be our own limits' word: asking later helps. *enough* says whether what an older list states
        settles the matter; where it does not, the payment itself is asked for. Who compares with a fact should give
        that comparison, so that no list alone ever says that they differ.
        """
        whose = budget.merchant(account)
        settles = enough or partial(_settles, sought)
        if asker.verified:
            return self._ask(sought, account, whose, settles, verified=True)
        order = sought.order_ref or sought.payment_ref
        of_order = (budget.of_order(whose, order),) if order else ()
        _take(self._budget, (*budget.of_claim(whose, asker.source), *of_order))
        try:
            return self._ask(sought, account, whose, settles, verified=False)
        except QueryError as exc:
            if exc.trouble in _NOBODY_ANSWERED:
                # An hour without the provider must not cost an honest order its places of the day.
                for rule in of_order:
                    self._budget.give_back(rule)
            raise

    def _ask(self, sought: Sought, account: Account, whose: str, enough: Enough, *, verified: bool) -> list[Statement]:
        query = self._queries[account.provider]
        if self._lists_first(sought, query, whose):
            found = self._recent.find(sought, account, enough)
            if found or (found is not None and sought.payment_ref is None):
                return found
        make = _Counting(self._budget, budget.of_call(whose, query.limits, verified=verified), self._make)
        return list(outgoing.ask(query.ask(sought, account), make))

    def listed(self, since: datetime, until: datetime, account: Account) -> list[Statement]:
        """
        Return every fact of that time, of a provider in LISTS; raise QueryError where it cannot be had whole.

        Documented day budgets are those of the questions about one payment, and lists are not counted in them.
        """
        return list(self._asked_whole(self._lists[account.provider].listed(since, until, account), account))

    def codes(self, account: Account) -> Mapping[str, str]:
        """Return the provider's own list of codes, of a provider in CODES; raise QueryError where it cannot be had."""
        return self._asked_whole(CODES[account.provider].error_codes(account), account)

    def _asked_whole(self, conversation: Generator[Call, Answered, Learned], account: Account) -> Learned:
        most = self._queries[account.provider].limits.per_second
        rules = (budget.a_second(budget.merchant(account), most),) if most else ()
        return outgoing.ask(conversation, _Counting(self._budget, rules, self._make, patient=True))

    def _lists_first(self, sought: Sought, query: Query, whose: str) -> bool:
        """
        Say whether to look in a list: of payments, where a provider counts by the day and a part of that is spent.

        An order alone is always looked for there: where single payments are counted by the day, they are asked for by
        their own id.
        """
        most = query.limits.per_day
        of_subscription = "subscription" in {sought.channel, sought.kind.partition(".")[0]}
        if not most or of_subscription or query.name not in self._lists:
            return False
        if sought.payment_ref is None:
            return sought.order_ref is not None
        return self._budget.spent(budget.a_day(whose, most)) >= most * LISTS_FROM


class _Counting:
    """
    A transport that takes a place in the budget before each call, for some questions take several.

    A question that finds no place is asked later. Once begun it waits, for giving up would waste what it has cost.
    """

    def __init__(
        self, counts: Budget, rules: Sequence[Rule], make: outgoing.Transport, *, patient: bool = False
    ) -> None:
        self._budget = counts
        self._rules = rules
        self._make = make
        self._patient = patient
        self.made = 0

    def __call__(self, call: Call) -> Answered:
        _take(self._budget, self._rules, PATIENCE if self._patient or self.made else 0.0)
        self.made += 1
        return self._make(call)


def _take(counts: Budget, rules: Sequence[Rule], patience: float = 0.0) -> None:
    """Count one under all *rules*, or raise QueryError; for a place in this second it waits as long as *patience*."""
    until = time.monotonic() + patience
    while (refused := counts.take(rules)) is not None:
        if refused.span > patience or time.monotonic() > until:
            raise QueryError(Trouble.API_LIMITED)
        time.sleep(_NAP)


def _settles(sought: Sought, found: Sequence[Statement]) -> bool:
    """
    Say whether a list answers: with the state that was claimed or a later one, or with any that is not open.

    A record without the subscription that we know of may have lost more of its columns, and is not relied on.
    """
    agreeing = AGREEING.get(sought.kind)
    return any(
        (one.kind in agreeing if agreeing else one.kind not in OPEN)
        and sought.subscription_ref in {None, one.subscription_ref}
        for one in found
    )


@cache
def _transport() -> outgoing.Transport:
    """Keep connections, and the list of certificate authorities, while the process lives."""
    return outgoing.transport()
