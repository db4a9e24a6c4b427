"""
What a provider's own codes mean: its living list, fetched by a worker at most once a day, kept with its age.

The texts are the provider's, cleaned and cut where the list is read (``receiver.schema.Note``). They are for people, in
a log line and for ``ulak explain``; nothing is decided by them.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
import redis

from receiver.account import Account
from receiver.asking import CODE, QueryError, Trouble
from receiver.queries import CODES
from workers.questions import Questions

EVERY = timedelta(days=1)
OLD = timedelta(days=7)
AGAIN = 3600  # seconds; after a list that could not be had, and for a worker that died while it asked
LARGEST = 5000  # codes
_KEY = "ulak:codes:"

_log = logging.getLogger("ulak.codes")


class State(StrEnum):
    """How good a list is."""

    FRESH = "fresh"
    OLD = "old"  # older than a week, or the last try to get a new one failed; still used
    NONE = "none"  # could not be had, or nobody tried yet


_BEST_FIRST = tuple(State)


@dataclass(frozen=True, slots=True)
class CodeList:
    """``trouble`` is why the last try failed; empty where it did not, or where there was none."""

    state: State
    fetched_at: datetime | None = None
    trouble: str = ""
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class CodeText:
    code: str
    text: str
    state: State
    fetched_at: datetime


def kept(client: redis.Redis, provider: str, slug: str, now: datetime | None = None) -> CodeList:
    """Return the list as it lies in Redis."""
    stored: Any = client.get(f"{_KEY}{provider}:{slug}")
    return _read(stored, now or datetime.now(UTC))


def text_of(client: redis.Redis, provider: str, slug: str, code: str) -> CodeText | None:
    """Return what the provider says that a code means; None where no list has it."""
    return text_in(kept(client, provider, slug), code) if provider in CODES else None


def text_in(found: CodeList, code: str) -> CodeText | None:
    name = code.strip().upper()
    text = found.texts.get(name)
    return CodeText(name, text, found.state, found.fetched_at) if text and found.fetched_at else None


def told(client: redis.Redis, account: Account, exc: QueryError) -> str:
    """Return the words of a log line: the trouble, and where the provider gave a code, that and what it means."""
    if exc.code is None:
        return exc.trouble
    text = text_of(client, account.provider, account.slug, exc.code)
    return f"{exc.trouble} {exc.code}" + (f" ({text.text})" if text else "")


def refresh(questions: Questions, client: redis.Redis, account: Account, now: datetime | None = None) -> None:
    """
    Fetch the list where the provider has one, once a day; whatever goes wrong is noted and never raised.

    It costs one small command where somebody was here before: of all workers one asks, and after a failure nobody for
    an hour.
    """
    if account.provider not in CODES:
        return
    key = f"{_KEY}{account.provider}:{account.slug}"
    if not client.set(f"{key}:asked", b"1", nx=True, ex=AGAIN):
        return
    at = now or datetime.now(UTC)
    try:
        found = CodeList(State.FRESH, at, texts=_fit(questions.codes(account)))
        client.expire(f"{key}:asked", EVERY)
    except QueryError as exc:
        found = replace(kept(client, account.provider, account.slug, at), trouble=exc.trouble.value)
    told_at = found.fetched_at.isoformat() if found.fetched_at else None
    client.set(key, orjson.dumps({"fetched_at": told_at, "trouble": found.trouble, "codes": found.texts}))
    level = logging.WARNING if found.trouble else logging.INFO
    _log.log(level, "codes %s/%s: %s", account.provider, account.slug, found.trouble or State.FRESH)


@dataclass(frozen=True, slots=True)
class Explained:
    """What is told of a code to somebody at the command line; ``text`` is None where the list does not have it."""

    provider: str
    account: str
    code: str
    known: CodeList
    text: CodeText | None

    def lines(self) -> list[str]:
        known, whose = self.known, f"{self.provider}/{self.account}"
        if known.fetched_at is None:
            why = known.trouble or "no worker has asked yet"
            return [f"ulak: there is no list of the codes of {whose}: {why}"]
        what = [f"{self.text.code} ({self.provider})", f"  {self.text.text}"] if self.text else []
        missing = "" if self.text else f"ulak: {self.code} is not in the "
        why = f", {known.trouble} at the last try" if known.trouble else ""
        last = f"{missing}list of {whose}: {known.state.value}, of {known.fetched_at:%Y-%m-%d %H:%M} UTC{why}"
        return [*what, last if missing else f"  {last}"]

    def to_wire(self) -> dict[str, Any]:
        return {
            "provider": self.provider,
            "account": self.account,
            "code": self.code,
            "text": self.text.text if self.text else None,
            "state": self.known.state,
            "fetched_at": self.known.fetched_at,
            "trouble": self.known.trouble or None,
        }


def explain(client: redis.Redis, provider: str, slugs: Iterable[str], code: str) -> Explained:
    """Look a code up in the lists of these accounts: the first that has it is told of, else the best there is."""
    lists = [(slug, kept(client, provider, slug)) for slug in slugs]
    told_by = [Explained(provider, slug, code, known, text_in(known, code)) for slug, known in lists]
    return min(told_by, key=lambda one: (one.text is None, _BEST_FIRST.index(one.known.state)))


def _fit(listed: Mapping[str, str]) -> dict[str, str]:
    """Leave out what is no code or has no text; a list with nothing in it says nothing, and replaces no good one."""
    texts = {code.upper(): text for code, text in listed.items() if text and CODE.fullmatch(code.upper())}
    if not 0 < len(texts) <= LARGEST:
        raise QueryError(Trouble.API_UNREADABLE)
    return texts


def _read(stored: bytes | None, now: datetime) -> CodeList:
    if stored is None:
        return CodeList(State.NONE)
    wire = orjson.loads(stored)
    if wire["fetched_at"] is None:
        return CodeList(State.NONE, trouble=wire["trouble"])
    at = datetime.fromisoformat(wire["fetched_at"])
    state = State.OLD if wire["trouble"] or now - at > OLD else State.FRESH
    return CodeList(state, at, wire["trouble"], wire["codes"])
