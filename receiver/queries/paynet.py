"""
Paynet: ``v1/transaction/check``, which shows every transaction of one reference, and ``v1/transaction/detail``.

Source: the provider's pages on these calls, its result codes, error types and transaction types; its PHP client.
Auth: ``Authorization: Basic <secret key>``, the key as it is and not in base64; the caller's address is registered.
Limits: none named.
Lists: ``v1/transaction/list`` by days, paged by the number of rows read. An order with one sale is told as the list has
    it, where its rows have the names of the check; the provider's client reads others (xact_type, xact_time,
    xact_agent_reference). Every other reference is checked alone: of several rows the first decides the others' keys,
    and a refund needs its sale. A row without a reference is of no order, and is left out.
Quirks: HTTP 200 and code 0 say that the query worked; only ``is_succeed`` says that money moved. ``Data`` is a list, an
    object or spelt ``data``. The check page calls type 2 a reservation, all others a reversal: so it is one. xact_id
    is an encrypted text beside the plain ``id``. A refund names the refund alone, so its order is asked for next.
Fact keys: a sale or a capture has the confirmation's; a second one that would have the same adds its id. All else has
    ("transaction", reference, id, type, is_succeed), which is longer than any key of a callback.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from marshmallow import ValidationError

from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.errors import Quarantined
from receiver.event import Category, Kind, Moment, Statement
from receiver.message import Level, Notification
from receiver.providers.paynet import ERROR_TYPES, RESULT_CODES, ConfirmationSchema, Paynet
from receiver.schema import TURKEY, Text, moment

# How a list is read. More pages, or more orders to ask alone, and the caller has to ask about a shorter time.
PAGE, PAGES, ALONE = 200, 100, 1000
# transaction_type: what it says where it succeeded, and where not. None is a query of the provider's own.
KINDS: Mapping[str, tuple[Kind, Kind] | None] = {
    "1": (Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_FAILED),
    "2": (Kind.PAYMENT_VOIDED, Kind.PAYMENT_REFUND_FAILED),
    "3": (Kind.PAYMENT_AUTHORIZED, Kind.PAYMENT_FAILED),
    "4": (Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_UNKNOWN),  # the reservation stays as it was
    "5": (Kind.PAYMENT_VOIDED, Kind.PAYMENT_REFUND_FAILED),
    "6": (Kind.PAYMENT_VOIDED, Kind.PAYMENT_REFUND_FAILED),
    "7": None,
    "9": (Kind.PAYMENT_REFUNDED, Kind.PAYMENT_REFUND_FAILED),
}
LETTERS = {"S": "1", "R": "2", "PR": "3", "CR": "4", "RP": "5", "RC": "6", "CD": "9"}
BACK = frozenset({"2", "5", "6", "9"})
CATEGORIES = {Category.PROVIDER_ERROR: Trouble.API_FAULT, Category.MERCHANT_SETUP: Trouble.API_REFUSED}

_RANKS = {
    Kind.PAYMENT_FAILED: 1,
    Kind.PAYMENT_AUTHORIZED: 2,
    Kind.PAYMENT_SUCCEEDED: 3,
    Kind.PAYMENT_VOIDED: 4,
    Kind.PAYMENT_REFUND_FAILED: 4,
    Kind.PAYMENT_REFUNDED: 5,
}
_REFERENCE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,200}")
_COUNT = re.compile(r"[0-9]{1,7}", re.ASCII)
# What a row may call the merchant's reference; the last one only lists do.
_CHECKED = ("reference_no", "agent_reference")
_NAMES = (*_CHECKED, "xact_agent_reference")
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)
_PAYNET = Paynet()


class RowSchema(ConfirmationSchema):
    id = Text()
    type = Text(data_key="transaction_type", required=True, limit=20)
    agent_reference = Text(limit=128)


_SCHEMA = RowSchema()


@dataclass(frozen=True, slots=True)
class _Row:
    """One transaction; ``says`` is what the confirmation would have said of it, were it a sale."""

    type: str
    id: str | None
    kind: Kind
    says: Statement

    @property
    def at(self) -> datetime:
        return self.says.occurred.at if self.says.occurred else _NEVER


class PaynetQuery:
    name = "paynet"
    limits = Limits()
    by_order = True
    exact: frozenset[Kind] = frozenset({Kind.PAYMENT_SUCCEEDED})

    def ask(self, sought: Sought, account: Account) -> Conversation:
        asked = sought.refund_ref or sought.order_ref or sought.payment_ref
        if asked is None or not _REFERENCE.fullmatch(asked):
            return []  # nothing of theirs looks like this, so they cannot know it
        order = None if sought.refund_ref else sought.order_ref
        names = {"reference_no": asked} if order else {"xact_id": asked}
        answer = yield _call("detail" if sought.refund_ref else "check", names, account)
        rows = _rows(_listed(answer), sought.order_ref, account)
        if not rows:
            return []
        if not order and all(asked not in {row.id, row.says.payment_ref} for row in rows):
            raise QueryError(Trouble.OTHER_RECORD)
        if not order and {row.kind for row in rows} == {Kind.PAYMENT_REFUNDED}:
            # Whether a refund gives all back, only the sale can tell.
            order = rows[0].says.order_ref or ""
            answer = yield _call("check", {"reference_no": order}, account)
            rows = [*rows, *_rows(_listed(answer), order, account)]
        return _facts(_distinct(rows))

    def listed(self, since: datetime, until: datetime, account: Account) -> Conversation:
        orders: dict[str, list[dict[str, Any]]] = {}
        for row in (yield from _pages(since, until, account)):
            if reference := _named(row):
                orders.setdefault(reference, []).append(row)
        ours = {
            reference: _settled(rows, account)
            for reference, rows in orders.items()
            if any(at is None or since <= at.at < until for at in map(_at, rows))
        }
        if sum(facts is None for facts in ours.values()) > ALONE:
            raise QueryError(Trouble.API_LIMITED)
        told: list[Statement] = []
        for reference, facts in ours.items():
            if facts is None:
                checked = _listed((yield _call("check", {"reference_no": reference}, account)))
                if not checked:
                    raise QueryError(Trouble.API_UNREADABLE)  # the list knows it
                told += _facts(_distinct(_rows(checked, reference, account)))
            else:
                told += facts
        return [said for said in told if said.occurred is None or since <= said.occurred.at < until]


def _pages(since: datetime, until: datetime, account: Account) -> Generator[Call, Answered, list[dict[str, Any]]]:
    """
    Ask for all rows of the days of a time, page after page; one that comes on two pages is one.

    Whether the last day is among them is not documented, so one day more is asked for.
    """
    first, last = since.astimezone(TURKEY), (until - timedelta(microseconds=1)).astimezone(TURKEY) + timedelta(days=1)
    days = {"datab": f"{first:%Y-%m-%d}", "datbi": f"{last:%Y-%m-%d}", "show_unsucceed": True, "limit": PAGE}
    found: dict[frozenset[tuple[str, Any]], dict[str, Any]] = {}
    read = 0
    for _ in range(PAGES):
        page, more, total = _page((yield _call("list", {**days, "starting_after": read}, account)))
        known, read = len(found), read + len(page)
        found |= {_plain(row): row for row in page}
        if not more and read >= total:
            return list(found.values())
        if len(found) == known:
            raise QueryError(Trouble.API_UNREADABLE)  # a list cut short, or the same page for ever
    raise QueryError(Trouble.API_LIMITED)


def _page(answer: Answered) -> tuple[list[dict[str, Any]], bool, int]:
    """Return the rows of a page, whether there are more, and how many there are in all."""
    body = _opened(answer, paged=True)
    if body is None:
        return [], False, 0
    rows, more, total = body.get("Data", body.get("data")) or [], body.get("has_more"), body.get("total", "0")
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "is_succeed" in row for row in rows):
        raise QueryError(Trouble.API_UNREADABLE)
    if not isinstance(more, bool) or not isinstance(total, str) or not _COUNT.fullmatch(total):
        raise QueryError(Trouble.API_UNREADABLE)
    return rows, more, int(total)


def _plain(row: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    return frozenset((name, value) for name, value in row.items() if not isinstance(value, dict | list))


def _named(row: Mapping[str, Any]) -> str | None:
    """Return the merchant's reference in a row of a list; None where it has none."""
    told = [row[name] for name in _NAMES if row.get(name) is not None]
    if not all(isinstance(text, str) and (not text.strip() or _REFERENCE.fullmatch(text.strip())) for text in told):
        raise QueryError(Trouble.API_UNREADABLE)
    found = {text.strip() for text in told} - {""}
    if len(found) > 1:
        raise QueryError(Trouble.OTHER_RECORD)
    return next(iter(found), None)


def _at(row: Mapping[str, Any]) -> Moment | None:
    texts = [text for text in (row.get("xact_time"), row.get("xact_date")) if isinstance(text, str)]
    return next((at for text in texts if (at := moment(text))), None)


def _settled(listed: Sequence[dict[str, Any]], account: Account) -> list[Statement] | None:
    """Say what became of an order whose rows in a list tell all there is to say: one sale, beside failed attempts."""
    if not all("transaction_type" in row and any(row.get(name) for name in _CHECKED) for row in listed):
        return None
    rows = _distinct([row for one in listed if (row := _row(one, account))])
    told = [row for row in rows if row.kind is not Kind.PAYMENT_FAILED]
    # Without the bank's codes two sales would have one key, and the list may have the second one alone.
    sold = [row.type == "1" and row.kind is Kind.PAYMENT_SUCCEEDED and None not in row.says.fact_key for row in told]
    return [] if not rows else _facts(rows) if sold == [True] else None


def _call(name: str, names: Mapping[str, object], account: Account) -> Call:
    secret = account.api["secret_key"].value.decode("utf-8", "replace")
    headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json", "Accept": "application/json"}
    return Call("POST", f"{account.api['base_url'].rstrip('/')}/v1/transaction/{name}", headers, orjson.dumps(names))


def _opened(answer: Answered, *, paged: bool = False) -> dict[str, Any] | None:
    """Return the answer where the query worked, None where the API says that it knows of none."""
    if answer.status not in {200, 400, 404}:
        raise answer.refusal()
    body = answer.json()  # a 404 with a page in it is a wrong address, and unreadable
    worked = answer.status == 200
    code, kind = body.get("code" if worked else "result_code"), body.get("type")
    if worked and paged and code is None:
        return body  # the provider's client knows no code in a list
    code, kind = code if isinstance(code, str) else "", kind if isinstance(kind, str) else ""
    if worked and code in {"0", "100"}:
        return body
    category = RESULT_CODES.get(code) or ERROR_TYPES.get(kind)
    if category in CATEGORIES:
        raise QueryError(CATEGORIES[category])
    if code == "12" or kind == "no_data_error" or answer.status == 404:
        return None
    raise QueryError(Trouble.API_UNREADABLE)


def _listed(answer: Answered) -> Sequence[object]:
    """Return the rows of the answer; none where the API says that it knows of none."""
    body = _opened(answer)
    if body is None:
        return []
    listed = [body[name] for name in ("Data", "data") if name in body]
    if len(listed) == 1 and (isinstance(listed[0], list | dict) or listed[0] is None):
        return listed[0] if isinstance(listed[0], list) else [listed[0]] if listed[0] else []
    raise QueryError(Trouble.API_UNREADABLE)


def _rows(listed: Sequence[object], order: str | None, account: Account) -> list[_Row]:
    """Read the rows of one answer; all are of the order that was asked for, or else of one."""
    rows = [row for one in listed if (row := _row(one, account))]
    references = {row.says.order_ref for row in rows}
    if references - {order} if order else len(references) > 1:
        raise QueryError(Trouble.OTHER_RECORD)
    return rows


def _row(row: object, account: Account) -> _Row | None:
    if not isinstance(row, dict):
        raise QueryError(Trouble.API_UNREADABLE)
    try:
        fields: dict[str, Any] = _SCHEMA.load({**row, "card_number": row.get("card_no")})
        # Both names are the merchant's reference; the confirmation's own code sees to it that they agree.
        fields["reference"] = fields["reference"] or fields["agent_reference"]
        if fields["agent_reference"] not in {None, fields["reference"]}:
            raise QueryError(Trouble.OTHER_RECORD)
        note = Notification({"is_succeed": row["is_succeed"]}, Level.CONFIRMED, "api")
        says = _PAYNET.normalize(fields, note, "confirmation", account)
    except (ValidationError, Quarantined):
        raise QueryError(Trouble.API_UNREADABLE) from None
    kind = LETTERS.get(fields["type"], fields["type"])
    kinds = KINDS.get(kind, (Kind.PAYMENT_UNKNOWN, Kind.PAYMENT_UNKNOWN))
    if kinds is None:
        return None
    moved = bool(fields["is_succeed"])
    if moved and (says.amount is None or not (fields["id"] or fields["xact_id"])):
        raise QueryError(Trouble.API_UNREADABLE)
    return _Row(kind, fields["id"] or fields["xact_id"], kinds[0] if moved else kinds[1], says)


def _distinct(rows: Sequence[_Row]) -> list[_Row]:
    """Return each transaction once, by time; two that contradict each other are no answer."""
    found: dict[object, _Row] = {}
    for place, row in enumerate(rows):
        same = found.setdefault(row.id or place, row)
        if (same.type, same.kind, same.says.amount) != (row.type, row.kind, row.says.amount):
            raise QueryError(Trouble.API_UNREADABLE)
    return sorted(found.values(), key=lambda row: (_RANKS.get(row.kind, 0), row.at, row.id or ""))


def _facts(rows: Sequence[_Row]) -> list[Statement]:
    """Say what the rows state, the present state last; an approval leaves out the failed attempts beside it."""
    takings = [row.says for row in rows if row.kind is Kind.PAYMENT_SUCCEEDED]
    refunds = [row.says for row in rows if row.kind is Kind.PAYMENT_REFUNDED]
    if refunds and len({says.amount.currency for says in (*takings, *refunds) if says.amount}) != 1:
        raise QueryError(Trouble.API_UNREADABLE)
    if any(row.kind in {Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_AUTHORIZED} for row in rows):
        rows = [row for row in rows if row.kind is not Kind.PAYMENT_FAILED]
    left = sum(says.amount.minor for says in takings if says.amount)
    facts: dict[tuple[str | None, ...], Statement] = {}
    for row in rows:
        says = row.says if row.type == "1" or row.kind is Kind.PAYMENT_SUCCEEDED else _other(row, takings)
        if says.refund:
            if not takings:
                raise QueryError(Trouble.API_UNREADABLE)  # all or a part of it: nobody can tell
            left -= says.refund.minor
            says = replace(says, kind=Kind.PAYMENT_PARTIALLY_REFUNDED if left > 0 else Kind.PAYMENT_REFUNDED)
        if says.fact_key in facts:
            says = replace(says, fact_key=(*says.fact_key, row.id))
        facts[says.fact_key] = says
    return list(facts.values())


def _other(row: _Row, takings: Sequence[Statement]) -> Statement:
    """Say what is no sale: a reservation, what takes back (of the sale, where there is just one), an unlisted type."""
    says, back = row.says, row.type in BACK
    sale = takings[0] if back and len(takings) == 1 else None
    return replace(
        says,
        kind=row.kind,
        fact_key=("transaction", says.order_ref, row.id, row.type, says.fact_key[-1]),
        status_code=row.type,
        payment_ref=(sale.payment_ref if sale else None) if back else says.payment_ref,
        refund_ref=says.payment_ref if back else None,
        # Without the sale its amount is not known: what was reversed may have been a reservation.
        amount=(sale.amount if sale else None) if back else says.amount,
        refund=says.amount if row.kind is Kind.PAYMENT_REFUNDED else None,
    )
