"""What can be wrong with the flow of events: readers that fall behind, facts that wait, accounts that fell silent."""

from collections.abc import Iterator, Mapping, Sequence

from workers.doctor.checking import Check, Severity
from workers.doctor.facts import Flow
from workers.doctor.work import span

BEHIND = 600  # seconds
ENOUGH = 20  # calls, from which on the longest pause between two of them says something
UNUSUAL = 3  # times the longest pause
LEAST = 3600.0  # seconds; no shorter silence is told
WINDOW = 24 * 3600.0  # seconds that must be seen before nothing at all means anything
NEAR = 0.8  # of a day's budget


def _groups(flow: Flow) -> Iterator[str]:
    for group in flow.groups:
        if group.behind > BEHIND:
            yield f"{group.name} on {group.stream} is {span(group.behind)} behind"


def _forgotten(flow: Flow) -> Iterator[str]:
    yield from _counted(flow.held_forgotten, "held, and no question is asked about it", "held, and nobody asks")


def _long(flow: Flow) -> Iterator[str]:
    yield from _counted(flow.held_long, "waits longer than confirm_for", "wait longer than confirm_for")


def _quarantined(flow: Flow) -> Iterator[str]:
    yield from _counted(flow.quarantined, "callback that was not tried again", "callbacks that were not tried again")


def _counted(counts: Mapping[str, int], one: str, many: str) -> Iterator[str]:
    for name, count in counts.items():
        if count:
            yield f"{name}: {count} {one if count == 1 else many}"


def _silent(flow: Flow) -> Iterator[str]:
    for account, heard in flow.heard.items():
        if heard.calls >= ENOUGH and heard.silent > max(UNUSUAL * heard.longest, LEAST):
            yield (
                f"{account} has not called for {span(heard.silent)}; the longest pause between its last {heard.calls} "
                f"calls was {span(heard.longest)}{_refusals(heard.refused)}"
            )


def _unheard(flow: Flow) -> Iterator[str]:
    if not flow.whole and flow.seen < WINDOW:
        return
    for account, heard in flow.heard.items():
        if not heard.calls:
            since = f"in the last {span(flow.seen)}" if flow.seen else "yet"
            yield f"{account} has not called {since}{_refusals(heard.refused)}"


def _refusals(count: int) -> str:
    return f"; {count} callbacks were refused meanwhile" if count else ""


def _budgets(flow: Flow) -> Iterator[str]:
    for one in flow.spendings:
        if one.needed > one.per_day or one.spent >= NEAR * one.per_day:
            yield (
                f"{', '.join(one.accounts)}: {one.needed} payments a day need asking, "
                f"{one.spent} of {one.per_day} questions are spent"
            )


CHECKS: Sequence[Check[Flow]] = (
    Check(
        "held_forgotten",
        Severity.FAULT,
        "A fact is held, and its question is gone.",
        _forgotten,
        "Without a question to the provider's API a held fact is never given out.",
        "The keeper asks anew within minutes: see that one runs, and look at its log.",
    ),
    Check(
        "held_long",
        Severity.WARNING,
        "A fact is held for longer than `confirm_for`.",
        _long,
        "The provider's API gives no answer, so what was paid is not told as paid.",
        "The worker's log says why, one line a question; `ulak explain WORD` tells what to do.",
    ),
    Check(
        "quarantined",
        Severity.WARNING,
        "A callback lies in quarantine.",
        _quarantined,
        "It is authentic, and no event came of it: it may be a payment that nobody knows of.",
        "Look with `ulak events tail --quarantine`; after an upgrade, `ulak quarantine retry`.",
    ),
    Check(
        "group_behind",
        Severity.WARNING,
        "A consumer group is more than 10 min behind its stream.",
        _groups,
        "This reader falls behind or stands still, and nothing is trimmed that it has not acknowledged.",
        "Start its worker again, or take the group away: `XGROUP DESTROY` with the stream and its name.",
    ),
    Check(
        "account_silent",
        Severity.WARNING,
        "A live account has not heard from its provider for unusually long.",
        _silent,
        "Callbacks may go astray: a changed address, a closed port, a block at the provider.",
        "Look in the provider's panel for payments that are missing here, or compare with `ulak reconcile`.",
    ),
    Check(
        "account_unheard",
        Severity.WARNING,
        "A live account has not heard from its provider at all.",
        _unheard,
        "Nothing has come from this provider in all that is kept; a new account has this too.",
        "Compare the address in the provider's panel with `ulak url`, and look at `ulak events tail --refused`.",
    ),
    Check(
        "budget_short",
        Severity.WARNING,
        "What needs asking is more than a day's budget, or 80 % of it are spent.",
        _budgets,
        "What finds no place in the day's budget is asked later, unless one list answers for many at once.",
        "Ask the provider for a larger budget, or hold less: the account's `confirm`.",
    ),
)
