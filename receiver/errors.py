"""
What can go wrong, drawn once.

ReceiverError
  ConfigError               at start-up only, never during a request; lists every fault
  Rejected                  the callback is wrong: answered 4xx, no event
    UnknownEndpoint         no such provider, account, channel or token: 404, all alike
    Malformed               cannot be read without guessing
    Unverified              authenticity is not proven
  Quarantined               authentic, but we cannot read it: kept, alerted, answered as stored
  Unavailable               our fault: 503, the provider must try again
  Stale                     what a decision rests on has changed since it was read: read it again
  Later                     the store does not know what a decision rests on, and passes the entry on to one that does

An error carries a reason word and never a payload, a secret or free text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a callback was not accepted: one word for the answer, the log, the metric and the documentation."""

    NOT_FOUND = "not_found"
    NO_PROVIDER = "no_provider"
    NO_ACCOUNT = "no_account"
    NO_CHANNEL = "no_channel"
    BAD_TOKEN = "bad_token"  # noqa: S105 - a reason word, not a secret
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_LARGE = "too_large"
    BAD_BODY = "bad_body"
    BAD_ENCODING = "bad_encoding"
    DUPLICATE_FIELD = "duplicate_field"
    NO_SIGNATURE = "no_signature"
    BAD_SIGNATURE = "bad_signature"
    AMBIGUOUS_SIGNATURE = "ambiguous_signature"
    WRONG_APP = "wrong_app"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    BAD_ANNOUNCEMENT = "bad_announcement"
    ALREADY_PAID = "already_paid"
    UNREADABLE_FIELD = "unreadable_field"
    CONFLICTING_FIELD = "conflicting_field"
    NORMALIZE_FAILED = "normalize_failed"
    REDIS_UNREACHABLE = "redis_unreachable"
    REDIS_FULL = "redis_full"
    REDIS_REFUSED = "redis_refused"
    REPLICAS_MISSING = "replicas_missing"
    SPOOL_FULL = "spool_full"
    SPOOL_BUSY = "spool_busy"
    SPOOL_REFUSED = "spool_refused"
    INTERNAL_ERROR = "internal_error"


# The spool itself is the trouble, and not only what it stands in for.
SPOOL_REASONS = frozenset({Reason.SPOOL_FULL, Reason.SPOOL_BUSY, Reason.SPOOL_REFUSED})


@dataclass(frozen=True, slots=True)
class ReasonText:
    """What a reason word means, and what the person who reads it can do."""

    status: int  # the HTTP status of the answer; 200 where the callback is kept in quarantine
    meaning: str
    remedy: str


REASONS: Mapping[Reason, ReasonText] = {
    Reason.NOT_FOUND: ReasonText(
        404,
        "No callback is expected at this address.",
        "Compare the URL in the provider's panel with `ulak providers`; the log line says which part is wrong.",
    ),
    Reason.NO_PROVIDER: ReasonText(
        404, "The first part of the URL names no provider.", "Use a provider name from `ulak providers`."
    ),
    Reason.NO_ACCOUNT: ReasonText(
        404,
        "The configuration has no account with this provider and slug.",
        "Add the account to the configuration file, or mend the slug in the URL.",
    ),
    Reason.NO_CHANNEL: ReasonText(
        404, "The provider has no channel of this name.", "Use a channel from `ulak providers`."
    ),
    Reason.BAD_TOKEN: ReasonText(
        404,
        "The token at the end of the URL is missing, wrong, or not wanted here.",
        "Put the account's token (browser_token on a browser channel) at the end of the URL in the provider's panel.",
    ),
    Reason.METHOD_NOT_ALLOWED: ReasonText(
        405, "The provider does not call this channel with this HTTP method.", "See the Allow header of the answer."
    ),
    Reason.UNSUPPORTED_MEDIA_TYPE: ReasonText(
        415,
        "The Content-Type, its charset or a Content-Encoding is not one that the provider sends here.",
        "Send the media type that `ulak providers` names, as UTF-8, uncompressed.",
    ),
    Reason.TOO_LARGE: ReasonText(
        413, "The body is larger than 64 KiB.", "No provider sends that much: check who is calling."
    ),
    Reason.BAD_BODY: ReasonText(
        400,
        "The body is not complete, or is no JSON object or form as announced.",
        "If the provider itself sent it, keep the request id and ask the provider; nothing was stored.",
    ),
    Reason.BAD_ENCODING: ReasonText(
        400,
        "A name or a value is not text in the announced charset.",
        "If the provider itself sent it, keep the request id and ask the provider; nothing was stored.",
    ),
    Reason.DUPLICATE_FIELD: ReasonText(
        400,
        "A field came twice, or both in the query and in the body.",
        "Take parameters out of the URL in the provider's panel; which copy is true cannot be guessed.",
    ),
    Reason.NO_SIGNATURE: ReasonText(
        403,
        "The provider's hash is missing.",
        "Nothing to do for an early error of a payment page; otherwise ask the provider to switch the hash on.",
    ),
    Reason.BAD_SIGNATURE: ReasonText(
        403,
        "The provider's hash, or the token of one order, does not fit the fields under any secret of the account.",
        "Compare the secret with the provider's panel; if it is right, the callback was forged or changed on its way.",
    ),
    Reason.AMBIGUOUS_SIGNATURE: ReasonText(
        403,
        "A signed value holds the sign that separates the values in the hash, so the hash proves no single reading.",
        "Do not use `|` in order numbers and customer numbers.",
    ),
    Reason.WRONG_APP: ReasonText(
        403,
        "The callback names another application than the account's app_id.",
        "Compare app_id with the provider's panel, and the URL that the other application was given.",
    ),
    Reason.UNAUTHORIZED: ReasonText(
        401,
        "The bearer token is missing or is not this account's.",
        "Send `Authorization: Bearer` and the account's expected_token.",
    ),
    Reason.FORBIDDEN: ReasonText(
        403,
        "Metrics are for this machine, or for who has the token.",
        "Ask from this machine and past the proxy, or send `Authorization: Bearer` and the metrics_token.",
    ),
    Reason.BAD_ANNOUNCEMENT: ReasonText(
        400,
        "An announced order lacks a field, has one that is not known, or one of a wrong form.",
        "Mend what `fields` of the answer names; docs/events.md lists the fields under Expected payments.",
    ),
    Reason.ALREADY_PAID: ReasonText(
        409,
        "The announced order is paid already, so another amount or currency was not taken.",
        "Do not send the shopper to pay again; a further payment needs an order_ref of its own.",
    ),
    Reason.UNREADABLE_FIELD: ReasonText(
        200,
        "Authentic, but a field is missing or has a form that is not known (amount, currency, number, flag).",
        "Kept in ulak:quarantine; look at it with `ulak events tail --quarantine` and ask the provider what changed.",
    ),
    Reason.CONFLICTING_FIELD: ReasonText(
        200,
        "Authentic address, but one field came with two different values, or under two spellings that differ.",
        "Kept in ulak:quarantine; with [accounts.api] Payguru is asked by itself, else look in the provider's panel.",
    ),
    Reason.NORMALIZE_FAILED: ReasonText(
        200,
        "Authentic and readable, but our own code failed on it.",
        "Kept in ulak:quarantine; please report the log line of this request id, which names the place in the code.",
    ),
    Reason.REDIS_UNREACHABLE: ReasonText(
        503,
        "Redis did not answer in time. Callbacks go to the spool meanwhile; an announced order has to come again.",
        "Check REDIS_URL and the Redis server.",
    ),
    Reason.REDIS_FULL: ReasonText(
        503,
        "Redis is nearly full, and nothing is written to it. Callbacks go to the spool meanwhile.",
        "Give Redis more memory or let the workers catch up.",
    ),
    Reason.REDIS_REFUSED: ReasonText(
        503,
        "Redis answered with an error (read-only, loading, out of memory, a key of a foreign type). Callbacks go to "
        "the spool meanwhile.",
        "The log line of this request id carries Redis's error word; mend it there.",
    ),
    Reason.REPLICAS_MISSING: ReasonText(
        503,
        "Too few replicas said in time that they have it (wait_replicas), so it does not count as kept. Callbacks go "
        "to the spool meanwhile.",
        "Look at the replicas: INFO replication on the master. What was written there is a duplicate when it comes "
        "again.",
    ),
    Reason.SPOOL_FULL: ReasonText(
        503,
        "Redis is away, and the spool has reached spool_max or the disk is nearly full.",
        "Bring Redis back; make room on the disk, or raise spool_max. Whether the provider comes again is in "
        "docs/providers.md.",
    ),
    Reason.SPOOL_BUSY: ReasonText(
        503,
        "Redis is away, and the spool was busy for half a second: the disk is slow, or somebody has its file open.",
        "Look at the disk of ULAK_DATA; leave spool.db alone while Ulak runs.",
    ),
    Reason.SPOOL_REFUSED: ReasonText(
        503,
        "Redis is away, and the spool's file could not be written: no permission, a fault of the disk, a broken file.",
        "The log line of this request id has the error's name; mend it, or move spool.db away and drain it by hand.",
    ),
    Reason.INTERNAL_ERROR: ReasonText(
        503,
        "Our own code failed before the callback was proven.",
        "Please report the log line of this request id, which names the place in the code.",
    ),
}


class ReceiverError(Exception):
    """The root of every error that this package raises on purpose."""


class ConfigError(ReceiverError):
    """The configuration cannot be used; ``faults`` has one full sentence a fault, each with its place."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


class _Reasoned(ReceiverError):
    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Rejected(_Reasoned):
    """The callback is wrong; answer 4xx, keep no event."""


class UnknownEndpoint(Rejected):
    """No such provider, account, channel or token."""


class Malformed(Rejected):
    """The callback cannot be read without guessing."""


class Unverified(Rejected):
    """Authenticity is not proven."""


class Quarantined(_Reasoned):
    """Authentic, but unreadable: keep it and alert. Where it names a payment, the provider's API may be asked."""

    def __init__(self, reason: Reason, payment_ref: str | None = None) -> None:
        super().__init__(reason)
        self.payment_ref = payment_ref


class Unavailable(_Reasoned):
    """Our own fault; the provider must try again. ``detail`` is an error word, never a payload."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


class Stale(ReceiverError):
    """What a decision rests on has changed since it was read, and nothing was written: read again, decide again."""


class Later(ReceiverError):
    """The store does not know what a decision rests on, and will pass the entry on to one that does."""
