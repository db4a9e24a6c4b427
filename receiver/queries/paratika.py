"""
Paratika and its family: QUERYTRANSACTION, which lists every record of one order.

Source: the provider's Java SDK (request and answer models, status words), its API v2 guide, public integrations.
Auth: three form fields, MERCHANT, MERCHANTUSER and MERCHANTPASSWORD; nothing is signed.
Limits: none named. A list ends at 1000 records, and one that says it holds less than there is, is no answer.
Quirks: the outer responseCode 00 only says that the query worked. A refunded sale still says AP: its refunds are
    records of their own. pgTranReturnCode says success in several ways (00, 000, VPB-0000) and is not read. For pay
    links one integrator got approved records only: an empty list means "not known", never "failed". ``timeCreated`` is
    UTC for some and Turkish time for others: taken as Turkish, and marked as assumed.
Fact keys: the first approved sale or capture has (order,), as the callback; a later one adds its pgTranId. All else has
    (order, pgTranId, transactionType, transactionStatus). No callback has such a key: its third part is a number.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from marshmallow import ValidationError

from receiver import redact
from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.errors import Quarantined
from receiver.event import Card, Category, Customer, Failure, Kind, Method, Moment, Statement
from receiver.money import Money
from receiver.providers.paratika import BANK_CODES, BRANDS, GROUPS
from receiver.schema import Amount, CallbackSchema, Installments, Loose, Note, Text, moment, money

_ATTEMPT = {
    **dict.fromkeys(("IP", "MR", "WFA", "WLA"), Kind.PAYMENT_PENDING),
    **dict.fromkeys(("FA", "RJ", "AFA"), Kind.PAYMENT_FAILED),
    **dict.fromkeys(("VD", "AVD"), Kind.PAYMENT_VOIDED),
    "CA": Kind.PAYMENT_CANCELED,
    "ARND": Kind.PAYMENT_REFUNDED,
}
_TAKEN_BACK = {
    **dict.fromkeys(("IP", "MR", "WFA", "WLA"), Kind.PAYMENT_REFUND_PENDING),
    **dict.fromkeys(("FA", "RJ", "AFA", "CA"), Kind.PAYMENT_REFUND_FAILED),
}
# A capture that fails leaves the reservation as it was, so nothing of the kind is said: unknown.
_CAPTURE = {status: kind for status, kind in _ATTEMPT.items() if status not in {"FA", "RJ", "AFA", "CA"}}
# What transactionStatus says, by transactionType; for refunds the sums decide whether all was given back.
KINDS: Mapping[str, Mapping[str, Kind]] = {
    "SALE": {**_ATTEMPT, "AP": Kind.PAYMENT_SUCCEEDED},
    "PREAUTH": {**_ATTEMPT, "AP": Kind.PAYMENT_AUTHORIZED, "PA": Kind.PAYMENT_SUCCEEDED},
    "POSTAUTH": {**_CAPTURE, "AP": Kind.PAYMENT_SUCCEEDED, "PA": Kind.PAYMENT_SUCCEEDED},
    "REFUND": {**_TAKEN_BACK, "AP": Kind.PAYMENT_REFUNDED},
    "PTREFUND": {**_TAKEN_BACK, "AP": Kind.PAYMENT_PARTIALLY_REFUNDED},
    "VOID": {**_TAKEN_BACK, "AP": Kind.PAYMENT_VOIDED, "VD": Kind.PAYMENT_VOIDED},
}
BACK = frozenset({"REFUND", "PTREFUND", "VOID"})
NO_PAYMENT = frozenset({"QUERYPOINTS", "QUERYCAMPAIGNONLINE"})
# Why the query itself is refused: nothing is known; a person must mend it; the fault is theirs.
NOT_FOUND = frozenset({"10030", "10034"})
REFUSALS = {**dict.fromkeys("RAC", Trouble.API_REFUSED), "X": Trouble.API_FAULT}

_ATTEMPTS = frozenset({Kind.PAYMENT_PENDING, Kind.PAYMENT_FAILED, Kind.PAYMENT_CANCELED})
_OVER = frozenset({Kind.PAYMENT_VOIDED, Kind.PAYMENT_PARTIALLY_REFUNDED, Kind.PAYMENT_REFUNDED})
_APPROVED = frozenset({Kind.PAYMENT_SUCCEEDED, Kind.PAYMENT_AUTHORIZED})
_RANKS = {
    **dict.fromkeys(_ATTEMPTS, 1),
    Kind.PAYMENT_AUTHORIZED: 2,
    Kind.PAYMENT_SUCCEEDED: 3,
    **dict.fromkeys(_TAKEN_BACK.values(), 4),
    **dict.fromkeys(_OVER, 5),
    Kind.PAYMENT_VOIDED: 4,
}
_REFERENCE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff|]{1,128}")
_COUNT = re.compile(r"[0-9]{1,6}", re.ASCII)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class RecordSchema(CallbackSchema):
    payment_id = Text(data_key="pgTranId", limit=128)
    own_id = Text(data_key="transactionId", limit=128)
    order = Text(data_key="merchantPaymentId", limit=128)
    bank_order = Text(data_key="pgOrderId", limit=128)
    type = Text(data_key="transactionType", required=True, limit=40)
    status = Text(data_key="transactionStatus", required=True, limit=20)
    amount = Amount()
    currency = Text()
    iso = Loose(data_key="timeCreatedISO")
    created = Loose(data_key="timeCreated")
    code = Text(data_key="errorCode")
    bank = Text(data_key="pgTranErrorCode")
    text = Note(data_key="pgTranErrorText")
    last4 = Loose(data_key="panLast4")
    installments = Installments()
    customer = Text(data_key="customerId", limit=128)


_SCHEMA = RecordSchema()


@dataclass(frozen=True, slots=True)
class _Record:
    fields: Mapping[str, Any]
    kind: Kind
    amount: Money | None
    at: Moment | None

    @property
    def id(self) -> str | None:
        found: str | None = self.fields["payment_id"] or self.fields["own_id"]
        return found

    @property
    def says(self) -> tuple[str, str]:
        return (self.fields["type"], self.fields["status"])

    @property
    def rank(self) -> int:
        """Where it comes in the story. A payment's own record that says VD is a sale of its own, over by now."""
        rank = _RANKS.get(self.kind, 0)
        return rank if self.fields["type"] in BACK else min(rank, 3)


class ParatikaQuery:
    name = "paratika"
    limits = Limits()
    exact: frozenset[Kind] = frozenset({Kind.PAYMENT_SUCCEEDED})

    def ask(self, sought: Sought, account: Account) -> Conversation:
        reference = sought.order_ref or sought.payment_ref
        if reference is None or not _REFERENCE.fullmatch(reference):
            return []  # no order and no pgTranId looks like this, so nothing can be known of it
        form = {
            "ACTION": "QUERYTRANSACTION",
            "MERCHANT": account.api["merchant"],
            "MERCHANTUSER": account.api["user"],
            "MERCHANTPASSWORD": account.api["password"].value.decode("utf-8", "replace"),
            "MERCHANTPAYMENTID" if sought.order_ref else "PGTRANID": reference,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        answer = yield Call("POST", account.api["base_url"], headers, urlencode(form).encode())
        listed = [_load(record) for record in _listed(answer, account)]
        if not listed:
            return []
        order = sought.order_ref or _order_of(listed, reference)
        if not all(_belongs(fields, order, account.api["merchant"]) for fields in listed):
            raise QueryError(Trouble.OTHER_RECORD)
        return _facts(order, _distinct(listed, account), account)


def _listed(answer: Answered, account: Account) -> Sequence[object]:
    """Return all records of the list; none where the API says that it knows of none."""
    if answer.status != 200:
        raise answer.refusal()
    body = answer.json()
    if body.get("responseCode") != "00":
        return _refused(body, BRANDS[account.options["brand"]])
    counts = [body[name] for name in ("transactionCount", "totalTransactionCount") if body.get(name) is not None]
    listed = [] if body.get("transactionList") is None and "0" in counts else body.get("transactionList")
    if not isinstance(listed, list) or not all(isinstance(count, str) and _COUNT.fullmatch(count) for count in counts):
        raise QueryError(Trouble.API_UNREADABLE)
    if any(int(count) > len(listed) for count in counts):
        raise QueryError(Trouble.API_UNREADABLE)  # a refund may be among the records that are missing
    return listed


def _refused(body: Mapping[str, Any], codes: Mapping[str, str]) -> Sequence[object]:
    code = body.get("errorCode")
    number = code.strip().upper().removeprefix("ERR") if isinstance(code, str) else ""
    if number in NOT_FOUND:
        return []
    if body.get("responseCode") == "98":
        raise QueryError(Trouble.API_FAULT)
    raise QueryError(REFUSALS.get(codes.get(number, ""), Trouble.API_UNREADABLE))


def _load(record: object) -> Mapping[str, Any]:
    if not isinstance(record, dict):
        raise QueryError(Trouble.API_UNREADABLE)
    try:
        fields: Mapping[str, Any] = _SCHEMA.load({**record, "installments": record.get("installmentCount")})
    except ValidationError:
        raise QueryError(Trouble.API_UNREADABLE) from None
    return fields


def _order_of(listed: Sequence[Mapping[str, Any]], payment_id: str) -> str:
    """Return the order of a list that was asked by pgTranId; pgOrderId may have a prefix, so it cannot tell."""
    if all(fields["payment_id"] != payment_id for fields in listed):
        raise QueryError(Trouble.OTHER_RECORD)
    orders = {fields["order"] for fields in listed}
    order = orders.pop()
    if orders or order is None:
        raise QueryError(Trouble.API_UNREADABLE)
    return str(order)


def _belongs(fields: Mapping[str, Any], order: str, merchant: str) -> bool:
    """Tell whether a record is of this order. pgOrderId is the order, with or without the merchant's number first."""
    if fields["order"] is not None:
        return bool(fields["order"] == order)
    named, prefix = fields["bank_order"], (fields["bank_order"] or "").removesuffix(f"-{order}")
    if named in {None, order}:
        return True
    return bool(prefix != named and (prefix == merchant or (prefix.isdecimal() and len(prefix) >= 6)))


def _distinct(listed: Sequence[Mapping[str, Any]], account: Account) -> list[_Record]:
    """Return each record once, by time (without one: last), whatever the list's own order is."""
    found: dict[tuple[str | None, ...], _Record] = {}
    for fields in listed:
        if fields["type"] not in NO_PAYMENT:
            record = _record(fields, account)
            same = found.setdefault((record.id, *record.says), record)
            if record.id and same.amount != record.amount:
                raise QueryError(Trouble.API_UNREADABLE)
    records = sorted(found.values(), key=lambda record: (record.at.at if record.at else _NEVER, record.id or ""))
    if any(record.says in {("POSTAUTH", "AP"), ("POSTAUTH", "PA")} for record in records):
        # The capture has a record of its own; the reservation that it closed would tell the same money again.
        records = [record for record in records if record.says != ("PREAUTH", "PA")]
    return records


def _record(fields: Mapping[str, Any], account: Account) -> _Record:
    kind = KINDS.get(fields["type"], {}).get(fields["status"], Kind.PAYMENT_UNKNOWN)
    try:
        amount = money(fields["amount"], fields["currency"] or account.options["currency"])
    except Quarantined:
        raise QueryError(Trouble.API_UNREADABLE) from None
    if kind in _APPROVED and not (fields["payment_id"] and fields["amount"]):
        raise QueryError(Trouble.API_UNREADABLE)
    return _Record(fields, kind, amount, moment(fields["iso"]) or moment(fields["created"]))


def _facts(order: str, records: Sequence[_Record], account: Account) -> list[Statement]:
    """Say what the records state, in the order of the story; an approval leaves out the attempts beside it."""
    sold = [record for record in records if record.kind is Kind.PAYMENT_SUCCEEDED]
    # A sale that was voided later was the order's first when it was told, and stays that.
    first = next((record for record in records if record in sold or record.says == ("SALE", "VD")), None)
    sale = sold[0] if len(sold) == 1 else None
    if any(record.kind in _APPROVED for record in records):
        records = [record for record in records if record.kind not in _ATTEMPTS]
    returned = 0
    facts: dict[tuple[str | None, ...], Statement] = {}
    for record in sorted(records, key=lambda record: record.rank):
        kind = record.kind
        if record.says in {("REFUND", "AP"), ("PTREFUND", "AP")} and sale and sale.amount and record.amount:
            if record.amount.currency != sale.amount.currency:
                raise QueryError(Trouble.API_UNREADABLE)
            returned += record.amount.minor
            whole = returned >= sale.amount.minor
            kind = Kind.PAYMENT_REFUNDED if whole else Kind.PAYMENT_PARTIALLY_REFUNDED
        fact: tuple[str | None, ...] = (order, record.id, *record.says)
        if kind is Kind.PAYMENT_SUCCEEDED:
            fact = (order,) if record is first else (order, record.id)
        facts.setdefault(fact, _statement(record, kind, fact, sale, account))
    return list(facts.values())


def _statement(
    record: _Record, kind: Kind, fact: tuple[str | None, ...], sale: _Record | None, account: Account
) -> Statement:
    fields, back = record.fields, record.fields["type"] in BACK
    paid = sale if back else record
    last4 = fields["last4"] or ""
    return Statement(
        kind=kind,
        fact_key=fact,
        status_code=fields["status"],
        status_text=fields["type"],
        order_ref=fact[0],
        payment_ref=paid.fields["payment_id"] if paid else None,
        refund_ref=fields["payment_id"] if back else None,
        # What was taken back by itself, or only reserved, must not prove that this amount was paid.
        amount=paid.amount if paid and (kind not in _OVER or back or record.says == ("SALE", "VD")) else None,
        refund=record.amount if kind in _OVER and kind is not Kind.PAYMENT_VOIDED else None,
        failure=_failure(fields, kind, account),
        method=Method.CARD,
        card=Card(last4 if len(last4) == 4 and last4.isdecimal() else None, None, fields["installments"]),
        customer=Customer(ref=fields["customer"]),
        occurred=record.at,
    )


def _failure(fields: Mapping[str, Any], kind: Kind, account: Account) -> Failure | None:
    """Say why, by the tables of the callback; the status has said already that it failed."""
    if kind is Kind.PAYMENT_CANCELED:
        return Failure(Category.CUSTOMER_CANCELED, fields["status"])
    if kind not in {Kind.PAYMENT_FAILED, Kind.PAYMENT_REFUND_FAILED}:
        return None
    number, bank = (fields["code"] or "").upper().removeprefix("ERR"), (fields["bank"] or "").removeprefix("ISO-")
    group = BRANDS[account.options["brand"]].get(number) or (
        BANK_CODES.get(number[3:]) if number[:3] == "200" else None
    )
    if group in {None, "B"}:
        group = BANK_CODES.get(bank, group if number else "B")
    category = GROUPS[group][1] if group else Category.UNKNOWN
    return Failure(category, redact.scrub(fields["code"] or fields["bank"] or fields["status"]), fields["text"])
