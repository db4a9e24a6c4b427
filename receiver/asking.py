"""
Asking a provider's API: the words for it. No I/O here.

A query is a conversation: a generator that yields each Call, is sent what was Answered, and returns what it learned. So
the knowledge of an API is pure and can be tested byte by byte; workers do the HTTP (time-outs, TLS, limits, budgets).
"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from receiver.account import Account
from receiver.errors import Malformed, ReceiverError
from receiver.event import Kind, Statement
from receiver.message import decode_json


class Trouble(StrEnum):
    """Why an answer of an API is no answer. The same word is in the log, the metric and the documentation."""

    NO_ANSWER = "no_answer"  # time-out, refused connection, bad certificate
    API_REFUSED = "api_refused"  # credentials, address list, permissions: a person must mend it
    API_LIMITED = "api_limited"  # too many questions
    API_FAULT = "api_fault"  # a fault at the provider
    API_UNREADABLE = "api_unreadable"  # not what the documentation says: HTML, wrong type, too large, redirect
    OTHER_RECORD = "other_record"  # the record of another payment


# What each means, and what the person who reads it can do.
TROUBLES: Mapping[Trouble, tuple[str, str]] = {
    Trouble.NO_ANSWER: (
        "nobody answered: time-out, refused connection, certificate",
        "check `base_url`, the network and the provider's state",
    ),
    Trouble.API_REFUSED: (
        "wrong credentials, or our address is not on the provider's list",
        "mend `[accounts.api]`, or give the provider this machine's address",
    ),
    Trouble.API_LIMITED: (
        "too many questions, by the provider's answer or by the limit we keep (Payguru: 1000 a day, 5 a second)",
        "nothing: asking later helps, and workers do",
    ),
    Trouble.API_FAULT: ("a fault at the provider", "nothing: asking later helps, and workers do"),
    Trouble.API_UNREADABLE: (
        "the answer is not what the documentation says",
        "report it with the line; nothing was given out",
    ),
    Trouble.OTHER_RECORD: ("the record of another payment", "look at this payment in the provider's panel"),
}

CODE = re.compile(r"[A-Z0-9_-]{1,16}", re.ASCII)


class QueryError(ReceiverError):
    """
    The API gave no answer that can be used; carries a reason word and never what was sent or received.

    *code* is the provider's own word for its refusal, where it has the form of a code; anything else is left out.
    """

    def __init__(self, trouble: Trouble, code: str | None = None) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble
        self.code = code if code and CODE.fullmatch(code) else None


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request to a provider's API. Headers and body may hold secrets, so they stay out of the repr."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


_STATUSES = {401: Trouble.API_REFUSED, 403: Trouble.API_REFUSED, 429: Trouble.API_LIMITED}


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, cut off by the worker where it is too large (then it never comes here)."""

    status: int
    body: bytes = field(repr=False)

    def refusal(self) -> QueryError:
        """Return what a status means that the provider's documentation gives no meaning of its own."""
        fault = Trouble.API_FAULT if 500 <= self.status <= 599 else Trouble.API_UNREADABLE
        return QueryError(_STATUSES.get(self.status, fault))

    def json(self) -> dict[str, Any]:
        """Read a JSON object; numbers with a fraction stay text, so that no float ever holds money."""
        try:
            return decode_json(self.body, "utf-8")
        except Malformed:
            raise QueryError(Trouble.API_UNREADABLE) from None


@dataclass(frozen=True, slots=True)
class Sought:
    """What is asked about, in the event's words; which of the references are known depends on the callback."""

    channel: str
    kind: Kind
    order_ref: str | None = None
    payment_ref: str | None = None
    refund_ref: str | None = None
    subscription_ref: str | None = None
    since: datetime | None = None  # aware; nothing of it happened earlier, for APIs that are asked by time


Conversation = Generator[Call, Answered, Sequence[Statement]]


@dataclass(frozen=True, slots=True)
class Limits:
    """How often the provider may be asked with one account; 0 where it names no limit."""

    per_day: int = 0
    per_second: int = 0


class Query(Protocol):
    """What we know of one provider's query API. Stateless, no I/O, no clock."""

    @property
    def name(self) -> str: ...
    @property
    def limits(self) -> Limits: ...
    @property
    def by_order(self) -> bool:
        """Say whether the API finds a payment by the merchant's order alone."""

    @property
    def exact(self) -> frozenset[Kind]:
        """Kinds whose statements have the very fact key of the callback, so that two facts cannot be confused."""

    def ask(self, sought: Sought, account: Account) -> Conversation:
        """
        Ask for the facts about one payment or subscription.

        Return every fact that the API states, each as the Statement that the matching callback would have made (same
        fact key, kinds, references), the present state last; an empty list where the API knows nothing of it. Raise
        QueryError for whatever is no answer.
        """


class Listing(Protocol):
    """An API that can list what happened in a time: for reconciliation, and to learn of many payments by few calls."""

    def listed(self, since: datetime, until: datetime, account: Account) -> Conversation:
        """
        Ask for every fact of the time from *since* up to and without *until*; both are aware.

        Return statements like those of ``Query.ask``, of all payments; raise QueryError where the list is no answer or
        not complete.
        """


class Coded(Protocol):
    """An API that can list its own codes, so that people are told what a code means."""

    def error_codes(self, account: Account) -> Generator[Call, Answered, Mapping[str, str]]:
        """Ask for every code and its text, cleaned of what may be a person; raise QueryError for what is no answer."""
