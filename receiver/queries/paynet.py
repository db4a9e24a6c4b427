"""
Paynet: ``v1/transaction/check``, which shows every transaction of one reference, and ``v1/transaction/detail``.

Source: the provider's pages on both calls, its result codes, error types and transaction types.
Auth: ``Authorization: Basic <secret key>``, the key as it is and not in base64; the caller's address is registered.
Limits: none named.
Quirks: HTTP 200 and code 0 say that the query worked; only ``is_succeed`` says that money moved. ``Data`` is a list, an
    object or spelt ``data``. The check page calls type 2 a reservation, all others a reversal: so it is one. xact_id
    is an encrypted text beside the plain ``id``. A refund names the refund alone, so its order is asked for next.
Fact keys: a sale or a capture has the confirmation's; a second one that would have the same adds its id. All else has
    ("transaction", reference, id, type, is_succeed), which is longer than any key of a callback.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import orjson
from marshmallow import ValidationError

from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.errors import Quarantined
from receiver.event import Category, Kind, Statement
from receiver.message import Level, Notification
from receiver.providers.paynet import ERROR_TYPES, RESULT_CODES, ConfirmationSchema, Paynet
from receiver.schema import Text

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
    exact: frozenset[Kind] = frozenset({Kind.PAYMENT_SUCCEEDED})

    def ask(self, sought: Sought, account: Account) -> Conversation:
        asked = sought.refund_ref or sought.order_ref or sought.payment_ref
        if asked is None or not _REFERENCE.fullmatch(asked):
            return []  # nothing of theirs looks like this, so they cannot know it
        order = None if sought.refund_ref else sought.order_ref
        names = {"reference_no": asked} if order else {"xact_id": asked}
        answer = yield _call("detail" if sought.refund_ref else "check", names, account)
        rows = _rows(answer, sought.order_ref, account)
        if not rows:
            return []
        if not order and all(asked not in {row.id, row.says.payment_ref} for row in rows):
            raise QueryError(Trouble.OTHER_RECORD)
        if not order and {row.kind for row in rows} == {Kind.PAYMENT_REFUNDED}:
            # Whether a refund gives all back, only the sale can tell.
            order = rows[0].says.order_ref or ""
            answer = yield _call("check", {"reference_no": order}, account)
            rows = [*rows, *_rows(answer, order, account)]
        return _facts(_distinct(rows))


def _call(name: str, names: Mapping[str, str], account: Account) -> Call:
    secret = account.api["secret_key"].value.decode("utf-8", "replace")
    headers = {"Authorization": f"Basic {secret}", "Content-Type": "application/json", "Accept": "application/json"}
    return Call("POST", f"{account.api['base_url'].rstrip('/')}/v1/transaction/{name}", headers, orjson.dumps(names))


def _listed(answer: Answered) -> Sequence[object]:
    """Return the rows of the answer; none where the API says that it knows of none."""
    if answer.status not in {200, 400, 404}:
        raise answer.refusal()
    body = answer.json()  # a 404 with a page in it is a wrong address, and unreadable
    worked = answer.status == 200
    code, kind = body.get("code" if worked else "result_code"), body.get("type")
    code, kind = code if isinstance(code, str) else "", kind if isinstance(kind, str) else ""
    if worked and code in {"0", "100"}:
        listed = [body[name] for name in ("Data", "data") if name in body]
        if len(listed) == 1 and (isinstance(listed[0], list | dict) or listed[0] is None):
            return listed[0] if isinstance(listed[0], list) else [listed[0]] if listed[0] else []
        raise QueryError(Trouble.API_UNREADABLE)
    category = RESULT_CODES.get(code) or ERROR_TYPES.get(kind)
    if category in CATEGORIES:
        raise QueryError(CATEGORIES[category])
    if code == "12" or kind == "no_data_error" or answer.status == 404:
        return []
    raise QueryError(Trouble.API_UNREADABLE)


def _rows(answer: Answered, order: str | None, account: Account) -> list[_Row]:
    """Read the rows of one answer; all are of the order that was asked for, or else of one."""
    rows = [row for listed in _listed(answer) if (row := _row(listed, account))]
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
