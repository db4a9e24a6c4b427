"""
Zotlo: ``v1/transaction/detail``, the record of one payment.

Source: the provider's pages on payment details, payment exports, refunds and error handling, old and new; its PHP SDK.
Auth: the headers AccessKey and AccessSecret.
Limits: none named.
Lists: ``v1/reports/activity/transaction`` by days, each page with the cursor of the next. Its rows do not say whether
    a payment failed, and only some of their names are documented: they say which payments there are, and each of these
    is asked for. A refund is found by the day of its purchase only, for that is what the report goes by.
Quirks: ``isSandbox`` is required by the new page and unknown to the old one: always sent. The record has the payment
    post's names, but for ``subscriptionId``, where 0 is none. A refund is told in the payment's own record, whose
    ``status`` stays that of the purchase; of several partial refunds it tells one. A refusal may come with HTTP 200.
    Payments that failed are told nowhere else: by ``transactionLog.code``, of whose words only a few are documented.
    A subscription cannot be asked by its own number, so its last payment is asked for.
Fact keys: the post's, for the post's own code makes the statement. A failed payment, which no post tells, has
    (transaction_id, status, "failed", code).
"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode

from marshmallow import ValidationError

from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.errors import Quarantined
from receiver.event import Category, Failure, Kind, Statement
from receiver.message import Level, Notification
from receiver.providers.zotlo import EnvelopeSchema, Zotlo
from receiver.schema import TURKEY, moment

# How a list is read. More pages, or more payments to ask for, and the caller has to ask about a shorter time.
PAGE, PAGES, ALONE = 100, 100, 1000
# meta.errorCode: None says that nothing is known of what was asked for.
ERRORS: Mapping[str, Trouble | None] = {
    "401002": Trouble.API_REFUSED,
    "404001": Trouble.API_REFUSED,  # no such endpoint: base_url must be mended
    "400008": None,
    "400009": None,
    "500000": Trouble.API_FAULT,
}
# The documented words of transactionLog.code for a payment that failed.
DECLINES: Mapping[str, Category] = {
    "INSUFFICIENT_FUNDS": Category.INSUFFICIENT_FUNDS,
    "EXPIRED_CARD": Category.CARD_DATA,
    "SCA_REQUIRED": Category.THREEDS,
    "DO_NOT_HONOR": Category.BANK_DECLINE,
}
# The word of a payment that succeeded is on no page. None of these can mean a refusal; others are not understood.
APPROVALS = frozenset("NONE 0 00 000 200 OK SUCCESS SUCCESSFUL SUCCEEDED APPROVED PAID".split()) | {""}
# Names of the post that the record has too. What the merchant and the shopper put in is left where it is.
NAMES = (
    *("transaction_id", "status", "price", "currency", "purchase_date", "expire_date", "subscription_id"),
    *("package_id", "subscriber_id", "credit_card", "provider_name", "provider_status"),
)
REFUND_NAMES = ("refund_price", "refund_date", "refund_reason")
_TRUTHS = {"1": True, "true": True, "0": False, "false": False, "": None}
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", re.ASCII)
_CURSOR = re.compile(r"[\x20-\x7e]{1,500}", re.ASCII)
_NOTHING = re.compile(r"0*(\.0*)?", re.ASCII)
_ZOTLO = Zotlo()
_SCHEMA = EnvelopeSchema()


class ZotloQuery:
    name = "zotlo"
    limits = Limits()
    by_order = False
    exact: frozenset[Kind] = frozenset(
        {
            Kind.PAYMENT_SUCCEEDED,
            Kind.PAYMENT_REFUNDED,
            Kind.PAYMENT_PARTIALLY_REFUNDED,
            Kind.PAYMENT_CHARGED_BACK,
            Kind.SUBSCRIPTION_TRIAL_STARTED,
        }
    )

    def ask(self, sought: Sought, account: Account) -> Conversation:
        asked = sought.payment_ref
        if asked is None or not _REFERENCE.fullmatch(asked):
            return []  # no transaction of theirs is called so
        sandbox = "true" if account.api["sandbox"] else "false"
        query = f"transactionId={quote(asked, safe='')}&isSandbox={sandbox}"
        result = _found(_opened((yield _call(f"transaction/detail?{query}", account))))
        if result is None:
            return []
        _check(result["transaction"], sought, account)
        return _facts(result, account)

    def listed(self, since: datetime, until: datetime, account: Account) -> Conversation:
        refs = yield from _pages(since, until, account)
        if len(refs) > ALONE:
            raise QueryError(Trouble.API_LIMITED)
        told: list[Statement] = []
        for ref in refs:
            told += yield from self.ask(Sought("webhook", Kind.PAYMENT_SUCCEEDED, payment_ref=ref), account)
        return [said for said in told if said.occurred is None or since <= said.occurred.at < until]


def _call(path: str, account: Account, headers: Mapping[str, str] = MappingProxyType({})) -> Call:
    keys = {
        "AccessKey": account.api["access_key"].value.decode("utf-8", "replace"),
        "AccessSecret": account.api["access_secret"].value.decode("utf-8", "replace"),
        "Content-Type": "application/json",
        "Language": "en",
    }
    return Call("GET", f"{account.api['base_url'].rstrip('/')}/v1/{path}", {**keys, **headers})


def _pages(since: datetime, until: datetime, account: Account) -> Generator[Call, Answered, Sequence[str]]:
    """
    Ask which payments were made on the days of a time, page after page.

    By which zone a day is meant is not documented: asked for are those of UTC and of Turkish time.
    """
    last = (until - timedelta(microseconds=1)).astimezone(TURKEY)
    days = {"limit": PAGE, "start_date": f"{since.astimezone(UTC):%Y-%m-%d}", "end_date": f"{last:%Y-%m-%d}"}
    found: dict[str, None] = {}
    cursors = [""]
    for _ in range(PAGES):
        query = urlencode({**days, "after": cursors[-1]} if cursors[-1] else days)
        app = {"ApplicationId": account.options["app_id"]}
        rows, cursor = _page((yield _call(f"reports/activity/transaction?{query}", account, app)))
        found |= dict.fromkeys(ref for row in rows if (ref := _ref(row, account)) and not _is_later(row, until))
        if not cursor:
            return list(found)
        if cursor in cursors:
            raise QueryError(Trouble.API_UNREADABLE)  # the same pages for ever
        cursors.append(cursor)
    raise QueryError(Trouble.API_LIMITED)


def _page(answer: Answered) -> tuple[Sequence[Mapping[str, Any]], str]:
    """Return the rows of a page and the cursor of the next one, empty where there is none."""
    result = _opened(answer)
    if result == []:
        return [], ""
    rows = result.get("data") if isinstance(result, dict) else None
    if not isinstance(result, dict) or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise QueryError(Trouble.API_UNREADABLE)
    try:
        cursor = result["paging"]["cursors"]["next"] or ""
    except (KeyError, TypeError):
        if len(rows) < PAGE:
            return rows, ""
        raise QueryError(Trouble.API_UNREADABLE) from None  # whether there is more, nobody can tell
    if not isinstance(cursor, str) or (cursor and not _CURSOR.fullmatch(cursor)):
        raise QueryError(Trouble.API_UNREADABLE)
    return rows, cursor


def _ref(row: Mapping[str, Any], account: Account) -> str:
    """Return the number of a payment in a list, under the details' name for it or spelt as the report's own names."""
    refs = {row[name] for name in ("transaction_id", "transactionId") if isinstance(row.get(name), str)}
    ref = refs.pop().strip() if len(refs) == 1 else ""
    if not _REFERENCE.fullmatch(ref):
        raise QueryError(Trouble.API_UNREADABLE)
    apps = [row[name] for name in ("app_id", "appId") if row.get(name) is not None]
    if any(str(app).strip() != account.options["app_id"] for app in apps):
        raise QueryError(Trouble.OTHER_RECORD)
    return ref


def _is_later(row: Mapping[str, Any], until: datetime) -> bool:
    text = row.get("purchase_date")
    at = moment(text, UTC) if isinstance(text, str) else None
    return at is not None and at.at >= until


def _opened(answer: Answered) -> dict[str, Any] | list[Any] | None:
    """Return the result of the answer; None where the API says that it knows of none."""
    fault = answer.refusal().trouble
    if answer.status not in {200, 400, 500}:
        raise answer.refusal()
    try:
        body = answer.json()
    except QueryError:
        raise QueryError(fault) from None
    meta, result = body.get("meta"), body.get("result")
    if not isinstance(meta, dict):
        raise QueryError(fault)
    code = meta.get("errorCode")
    if code is not None:
        trouble = ERRORS.get(code, fault) if isinstance(code, str) else fault
        if trouble:
            raise QueryError(trouble)
        return None
    if answer.status != 200 or meta.get("httpStatus") != "200" or not isinstance(result, dict | list):
        raise QueryError(fault)
    return result


def _found(result: object) -> Mapping[str, Any] | None:
    if not result or (isinstance(result, dict) and "transaction" in result and not result["transaction"]):
        return None
    if not isinstance(result, dict) or not isinstance(result.get("transaction"), dict):
        raise QueryError(Trouble.API_UNREADABLE)
    return result


def _check(record: Mapping[str, Any], sought: Sought, account: Account) -> None:
    """Refuse the record of another transaction, subscription or application."""
    if not isinstance(record.get("transaction_id"), str):
        raise QueryError(Trouble.API_UNREADABLE)
    app, ours = record.get("app_id"), sought.subscription_ref
    names = [record.get(name) for name in ("subscriptionId", "subscription_id", "original_transaction_id")]
    if (
        record["transaction_id"].strip() != sought.payment_ref
        or (app is not None and str(app).strip() != account.options["app_id"])
        or (ours is not None and any(names) and ours not in names)
    ):
        raise QueryError(Trouble.OTHER_RECORD)


def _facts(result: Mapping[str, Any], account: Account) -> Sequence[Statement]:
    """Say what the record states: the purchase, or that it failed, and what was given back of it."""
    record = dict(result["transaction"])
    subscription = record.get("subscriptionId", record.get("subscription_id"))
    record["subscription_id"] = None if subscription == "0" else subscription
    bought = _said("TransactionInsert", {name: record.get(name) for name in NAMES}, account)
    if bought.kind is not Kind.SUBSCRIPTION_TRIAL_STARTED and bought.amount is None:
        raise QueryError(Trouble.API_UNREADABLE)
    refunded, code = _refunded(record), _declined(result.get("transactionLog"))
    if code:
        if refunded:
            raise QueryError(Trouble.API_UNREADABLE)
        fact, category = (bought.payment_ref, bought.status_code, "failed", code), DECLINES.get(code)
        kind = Kind.PAYMENT_FAILED if category else Kind.PAYMENT_UNKNOWN
        return (replace(bought, kind=kind, fact_key=fact, failure=Failure(category or Category.UNKNOWN, code)),)
    if not refunded:
        return (bought,)
    back = _said("TransactionRefund", {name: record.get(name) for name in (*NAMES, *REFUND_NAMES)}, account)
    if back.refund and bought.amount and not 0 < back.refund.minor <= bought.amount.minor:
        raise QueryError(Trouble.API_UNREADABLE)
    return (bought, back)


def _said(kind: str, fields: Mapping[str, Any], account: Account) -> Statement:
    """Make the statement that the post of this kind would have made."""
    post = {"queue.type": kind, **{f"parameters.{name}": value for name, value in fields.items()}}
    try:
        return _ZOTLO.normalize(_SCHEMA.load(post), Notification(post, Level.CONFIRMED, "api"), "webhook", account)
    except (ValidationError, Quarantined):
        raise QueryError(Trouble.API_UNREADABLE) from None


def _refunded(record: Mapping[str, Any]) -> bool:
    """Tell whether money went back. The documented sample has no ``is_refund``; where it is there, it must agree."""
    said, price, date = (record.get(name) for name in ("is_refund", "refund_price", "refund_date"))
    flag = "" if said is None else str(said).strip().lower()
    signs = (price is not None and not _NOTHING.fullmatch(str(price).strip()), bool(date))
    if (
        flag not in _TRUTHS
        or (_TRUTHS[flag] is False and any(signs))
        or (_TRUTHS[flag] is None and len(set(signs)) > 1)
    ):
        raise QueryError(Trouble.API_UNREADABLE)
    return bool(_TRUTHS[flag]) or all(signs)


def _declined(log: object) -> str | None:
    """Return the word of a payment that failed, or that we do not understand."""
    entries = log if isinstance(log, list) else [log]
    codes = [str(entry.get("code")).strip().upper() for entry in entries if isinstance(entry, dict)]
    return next((code for code in codes if code not in APPROVALS), None)
