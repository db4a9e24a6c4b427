"""
Payguru mobile payment: asking for one transaction or subscription, or for all transactions since a day.

Source: the provider's pages on transaction and subscription services, references and samples. The search service is
    barely documented there: its paging, its columns and its numbers are those of a public exporter.
Auth: none but the provider's list of allowed addresses; HTTP 403 says that ours is not on it.
Limits: 1000 questions a day and 5 a second for each of the detail services; none is named for the search.
Lists: by the Turkish days on which transactions changed; each is told in its present state. The services on one
    transaction do not take an order, so an order is looked for in the list of all since it was begun.
Quirks: the same API refunds and cancels by GET, so ids must be digits before they come into a URL; the API can know
    nothing of another id, and is not asked. A transaction comes under ``transaction`` or, as the documentation has it,
    under ``subscription``. A missing reference is the text ``null``. Times are epoch milliseconds or Turkish time
    without a zone; ``transactionDate`` is the charge's, also of a refund. No currency is named: lira only.
    A subscription's present state is all that is said of it. Its last successful charge is old news, and must not
    prove that a subscription is active now.
"""

import re
from collections.abc import Generator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from marshmallow import ValidationError

from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.errors import Quarantined
from receiver.event import WEIGHTY, Kind, Moment, Statement
from receiver.message import Level, Notification
from receiver.providers.payguru import Payguru
from receiver.schema import TURKEY, moment

# The callback's own reading, so that callback and answer make one Statement with one fact key.
_PAYGURU = Payguru()
_DONE = ("SUCCESS", "0000")
# More than this many transactions since one day, and the worker has to ask about a shorter time.
PAGE, PAGES = 100, 100
_LISTS = ("transactions", "subscriptions", "transactionList")  # which one it is, is not documented
_REFUNDS = frozenset({Kind.PAYMENT_REFUNDED, Kind.PAYMENT_REFUND_PENDING})
_NONE = (None, "", "null")
# Of several transactions for one order, the last word has money that came, then money that goes back.
_RANKS = {Kind.PAYMENT_SUCCEEDED: 2, **dict.fromkeys(_REFUNDS, 1)}
# What a callback can name as the order.
_ORDER = re.compile(r"(?!null\Z|NULL\Z|\s)[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}(?<!\s)")
_ID = re.compile(r"[0-9]{1,30}", re.ASCII)


class PayguruQuery:
    name = "payguru"
    limits = Limits(per_day=1000, per_second=5)
    by_order = True
    exact: frozenset[Kind] = frozenset({Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_REFUNDED})

    def ask(self, sought: Sought, account: Account) -> Conversation:
        subscribing = sought.channel == "subscription"
        ref = sought.subscription_ref if subscribing else sought.payment_ref
        if ref is None and sought.order_ref and not subscribing:
            return (yield from self._of_order(sought.order_ref, sought.since, account))
        if ref is None or not _ID.fullmatch(ref):
            return []
        sent = _opened((yield _detail_call("subscription" if subscribing else "transaction", ref, account)))
        if sent is None or (record := _record(sent, subscribing=subscribing)) is None:
            return []
        if record.get("id") != ref:
            raise QueryError(Trouble.OTHER_RECORD)
        return [_subscription(record, account) if subscribing else _transaction(record, account)]

    def listed(self, since: datetime, until: datetime, account: Account) -> Conversation:
        found = yield from _search(since, until, account)
        return [_transaction(record, account) for record in found if _is_of(record, since, until)]

    def _of_order(self, order: str, since: datetime | None, account: Account) -> Conversation:
        if since is None or not _ORDER.fullmatch(order):
            return []
        found = yield from _search(since, None, account)
        told = [_transaction(record, account) for record in found if _may_be_of(record, order)]
        return sorted(told, key=lambda said: _RANKS.get(said.kind, 0))


def _search(
    since: datetime, until: datetime | None, account: Account
) -> Generator[Call, Answered, list[dict[str, Any]]]:
    """
    Ask for every transaction that changed on the Turkish day of *since* or later, up to the day after *until*.

    A record may come on two pages, because others change while we read; the later copy counts.
    """
    found: dict[str, dict[str, Any]] = {}
    for page in range(1, PAGES + 1):
        sent = _opened((yield _search_call(since, until, page, account)))
        records = [] if sent is None else _listed(sent)
        known = len(found)
        found |= {str(record.get("id")): record for record in records}
        if len(records) < PAGE:
            return list(found.values())
        if len(found) == known:
            raise QueryError(Trouble.API_UNREADABLE)  # the same page for ever
    raise QueryError(Trouble.API_LIMITED)


def _detail_call(what: str, ref: str, account: Account) -> Call:
    merchant, service = _own_id("merchant_id", account), _own_id("service_id", account)
    return Call("GET", f"{_base(account)}/{what}/detail/{merchant}/{service}/{ref}", {"Accept": "application/json"})


def _search_call(since: datetime, until: datetime | None, page: int, account: Account) -> Call:
    # Whether a day as the last one takes its own hours in is not documented, so it is the next one.
    days = [(">=", since), *([("<=", until + timedelta(days=1, microseconds=-1))] if until else [])]
    question = {
        "merchantId": int(_own_id("merchant_id", account)),
        "serviceId": int(_own_id("service_id", account)),
        "search": [
            {"column": "modifiedDate", "term": at.astimezone(TURKEY).date().isoformat(), "condition": condition}
            for condition, at in days
        ],
        "sort": [{"column": "id", "asc": True}],
        "limit": PAGE,
        "page": page,
    }
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    return Call("POST", f"{_base(account)}/transactions/search", headers, orjson.dumps(question))


def _base(account: Account) -> str:
    return f"{str(account.api['base_url']).rstrip('/')}/MicroPayment"


def _own_id(name: str, account: Account) -> str:
    """Return a setting that comes into the URL; one that is no number would be refused, or would bend the path."""
    value = str(account.api[name])
    if not re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        raise QueryError(Trouble.API_REFUSED)
    return value


def _opened(answered: Answered) -> dict[str, Any] | None:
    """Return the object answered, None where the API knows nothing; raise QueryError for what is no answer."""
    if answered.status == 204:
        return None
    if answered.status not in {200, 404}:
        raise answered.refusal()
    sent = answered.json()
    response = sent.get("response")
    if isinstance(response, dict):
        outcome = (response.get("result"), response.get("resultCode"))
        # Only the API itself can say that there is no such record: a bare 404 page means a wrong address.
        if answered.status == 404 and outcome[0] == "FAILED":
            return None
        if answered.status == 200 and outcome == _DONE:
            return sent
    # The table of result codes is empty in the documentation, so a failure that HTTP does not explain stays open.
    raise QueryError(Trouble.API_UNREADABLE)


def _record(sent: Mapping[str, Any], *, subscribing: bool) -> dict[str, Any] | None:
    """Find the record; None where the API names it and has none."""
    names = ("subscription",) if subscribing else ("transaction", "subscription")
    if not any(name in sent for name in names):
        raise QueryError(Trouble.API_UNREADABLE)
    return _object(next((sent[name] for name in names if sent.get(name) is not None), None))


def _object(value: object) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    raise QueryError(Trouble.API_UNREADABLE)


def _listed(sent: Mapping[str, Any]) -> list[dict[str, Any]]:
    lists = [sent[name] for name in _LISTS if isinstance(sent.get(name), list)]
    if len(lists) != 1 or not all(isinstance(record, dict) for record in lists[0]):
        raise QueryError(Trouble.API_UNREADABLE)
    return list(lists[0])


def _may_be_of(record: Mapping[str, Any], order: str) -> bool:
    named = record.get("referenceCode")
    return named is not None and (not isinstance(named, str) or named.strip() == order)


def _is_of(record: Mapping[str, Any], since: datetime, until: datetime) -> bool:
    """Say whether a record changed in the time; of one that does not say when, whether its charge was not later."""
    if changed := _time(record.get("modifiedDate")):
        return since <= changed.at < until
    charged = _time(record.get("transactionDate"))
    return charged is None or charged.at < until


def _transaction(record: Mapping[str, Any], account: Account) -> Statement:
    fields = {
        "txId": record.get("id"),
        "subsId": record.get("subscriptionId"),
        "amount": record.get("amount"),
        "error": record.get("error"),
        "errorDesc": record.get("errorDetail"),
    }
    said = _said("transaction", record, fields, account)
    if said.kind in WEIGHTY and said.amount is None:
        raise QueryError(Trouble.API_UNREADABLE)
    return replace(said, occurred=None if said.kind in _REFUNDS else _time(record.get("transactionDate")))


def _subscription(record: Mapping[str, Any], account: Account) -> Statement:
    """Say the present state; the transaction that it goes with is the last one, for an active one the last paid."""
    status = record.get("status")
    paid, last = _object(record.get("lastSuccessfulTransaction")), _object(record.get("lastTransaction"))
    active = isinstance(status, str) and status.strip().lower() == "active"
    charge = ((paid or last) if active else last) or {}
    if charge.get("subscriptionId") not in (*_NONE, record["id"]):
        raise QueryError(Trouble.OTHER_RECORD)
    said = _said("subscription", record, {"subsId": record["id"], "txId": charge.get("id")}, account)
    if said.kind is Kind.SUBSCRIPTION_CANCELED:
        return replace(said, occurred=_time(record.get("cancellationDate")))
    return replace(said, occurred=_time(charge.get("transactionDate")) if active else None)


def _said(channel: str, record: Mapping[str, Any], fields: dict[str, Any], account: Account) -> Statement:
    """Say it as the callback would have, once it is sure that the record is of our service."""
    service = record.get("service")
    if not isinstance(service, str):
        raise QueryError(Trouble.API_UNREADABLE)
    if service != account.api["service_id"]:
        raise QueryError(Trouble.OTHER_RECORD)
    shared = {"status": record.get("status"), "order": record.get("referenceCode"), "msisdn": record.get("msisdn")}
    given = {**fields, **shared, "service": service}
    ids = (fields["txId"], fields["subsId"])
    if not all(one in _NONE or (isinstance(one, str) and _ID.fullmatch(one)) for one in ids):
        raise QueryError(Trouble.API_UNREADABLE)
    try:
        loaded = _PAYGURU.channels[channel].schema.load(given)
        return _PAYGURU.normalize(loaded, Notification(given, Level.CONFIRMED, "api"), channel, account)
    except (ValidationError, Quarantined):
        raise QueryError(Trouble.API_UNREADABLE) from None


def _time(value: object) -> Moment | None:
    return moment(value) if isinstance(value, str) else None
