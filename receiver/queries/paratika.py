"""
Paratika and its family: QUERYTRANSACTION, which lists every record of one order.

Source: the provider's Java SDK (request and answer models, status words), its API v2 guide, public integrations.
Auth: three form fields, MERCHANT, MERCHANTUSER and MERCHANTPASSWORD; nothing is signed.
Limits: none named. A list ends at 1000 records, and one that says it holds less than there is, is no answer.
Lists: the same call with a time instead of an id. An order with one approved sale is told as the list has it, and the
    sale is the order's first, since a paid order is refused any other (ERR10048, ERR10107, ERR10143). Every other order
    is asked alone: what the list was cut off from decides what its records mean.
Quirks: the outer responseCode 00 only says that the query worked. A refunded sale still says AP: its refunds are
    records of their own. pgTranReturnCode says success in several ways (00, 000, VPB-0000) and is not read. For pay
    links one integrator got approved records only: an empty list means "not known", never "failed". ``timeCreated`` is
    UTC for some and Turkish time for others: taken as Turkish, and marked as assumed.
Fact keys: the first approved sale or capture has (order,), as the callback; a later one adds its pgTranId. All else has
    (order, pgTranId, transactionType, transactionStatus). No callback has such a key: its third part is a number.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from receiver.schema import TURKEY, Amount, CallbackSchema, Installments, Loose, Note, Text, moment, money

# How a list is read. More pages, or more orders to ask alone, and the caller has to ask about a shorter time.
PAGE, PAGES, ALONE = 200, 100, 1000

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
_BANK_PREFIX = re.compile(r"[0-9]{6,}-", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,6}", re.ASCII)
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)

Fields = Mapping[str, Any]
Asked = Generator[Call, Answered, list[Fields]]


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
    fields: Fields
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
    by_order = True
    exact: frozenset[Kind] = frozenset({Kind.PAYMENT_SUCCEEDED})

    def ask(self, sought: Sought, account: Account) -> Conversation:
        reference = sought.order_ref or sought.payment_ref
        if reference is None or not _REFERENCE.fullmatch(reference):
            return []  # no order and no pgTranId looks like this, so nothing can be known of it
        found = yield from _whole({"MERCHANTPAYMENTID" if sought.order_ref else "PGTRANID": reference}, account)
        if not found:
            return []
        order = sought.order_ref or _order_of(found, reference)
        return _facts(order, _distinct(_owned(found, order, account), account), account)

    def listed(self, since: datetime, until: datetime, account: Account) -> Conversation:
        orders: dict[str | None, list[Fields]] = {}
        for fields in (yield from _pages(since, until, account)):
            orders.setdefault(fields["order"] or fields["bank_order"], []).append(fields)
        read = {name: _distinct(found, account) for name, found in orders.items()}
        ours = {
            name: records
            for name, records in read.items()
            if any(record.at is None or since <= record.at.at < until for record in records)
        }
        if sum(not _settled(records) for records in ours.values()) > ALONE:
            raise QueryError(Trouble.API_LIMITED)
        told: dict[tuple[str | None, ...], Statement] = {}
        for name, records in ours.items():
            if _settled(records):
                facts: Sequence[Statement] = _facts(str(name), records, account)
            else:
                facts = yield from _alone(name or "", records, account)
            told |= {said.fact_key: said for said in facts if said.fact_key not in told}
        return [said for said in told.values() if said.occurred is None or since <= said.occurred.at < until]


def _call(asked: Mapping[str, str], account: Account) -> Call:
    form = {
        "ACTION": "QUERYTRANSACTION",
        "MERCHANT": account.api["merchant"],
        "MERCHANTUSER": account.api["user"],
        "MERCHANTPASSWORD": account.api["password"].value.decode("utf-8", "replace"),
        **asked,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return Call("POST", account.api["base_url"], headers, urlencode(form).encode())


def _whole(asked: Mapping[str, str], account: Account) -> Asked:
    """Ask for all records of one order; a refund may be among those that are missing, so a part is no answer."""
    listed, total = _page((yield _call(asked, account)), account)
    if total is not None and total > len(listed):
        raise QueryError(Trouble.API_UNREADABLE)
    return [_load(record) for record in listed]


def _pages(since: datetime, until: datetime, account: Account) -> Asked:
    """
    Ask for all records of a time, page after page; one that comes on two pages is one.

    The zone of STARTDATE and ENDDATE is not documented: asked for is what lies between by UTC or by Turkish time.
    """
    first, last = since.astimezone(UTC), (until + timedelta(minutes=1)).astimezone(TURKEY)
    span = {"STARTDATE": f"{first:%d-%m-%Y %H:%M}", "ENDDATE": f"{last:%d-%m-%Y %H:%M}", "LIMIT": str(PAGE)}
    found: dict[frozenset[tuple[str, Any]], Fields] = {}
    read, total = 0, 0
    for _ in range(PAGES):
        page, said = _page((yield _call({**span, "OFFSET": str(read)}, account)), account)
        known, read, total = len(found), read + len(page), max(total, said or 0)
        found |= {frozenset(fields.items()): fields for fields in map(_load, page)}
        if read >= total and (said is not None or len(page) < PAGE):
            return list(found.values())
        if len(found) == known:
            raise QueryError(Trouble.API_UNREADABLE)  # a list cut short, or the same page for ever
    raise QueryError(Trouble.API_LIMITED)


def _settled(records: Sequence[_Record]) -> bool:
    """Say whether a list tells all there is to say of an order: it is named, and has one sale beside attempts."""
    told = [record.says for record in records if record.kind not in _ATTEMPTS]
    return told == [("SALE", "AP")] and all(record.fields["order"] for record in records)


def _alone(name: str, records: Sequence[_Record], account: Account) -> Conversation:
    """
    Ask for one order of a list; where only the bank's order is named, that is how the order may be called.

    What Paratika knows under no such order is left out where it is a mere attempt; money without an order is no answer.
    """
    listed, ids = [record.fields for record in records], {record.id for record in records} - {None}
    named = any(record.fields["order"] for record in records)
    spelt = (name, name.removeprefix(f"{account.api['merchant']}-"), _BANK_PREFIX.sub("", name, count=1))
    for order in filter(None, dict.fromkeys(spelt[:1] if named else spelt)):
        found = yield from _whole({"MERCHANTPAYMENTID": order}, account)
        if named or any((fields["payment_id"] or fields["own_id"]) in ids for fields in found):
            return _facts(order, _distinct([*listed, *_owned(found, order, account)], account), account)
    if all(record.kind in _ATTEMPTS for record in records):
        return []
    raise QueryError(Trouble.API_UNREADABLE)


def _page(answer: Answered, account: Account) -> tuple[Sequence[object], int | None]:
    """Return the records of an answer, and how many there are in all; none where the API says that it knows of none."""
    if answer.status != 200:
        raise answer.refusal()
    body = answer.json()
    if body.get("responseCode") != "00":
        return _refused(body, BRANDS[account.options["brand"]]), None
    shown, total = body.get("transactionCount"), body.get("totalTransactionCount")
    counts = [count for count in (shown, total) if count is not None]
    listed = [] if body.get("transactionList") is None and "0" in counts else body.get("transactionList")
    if not isinstance(listed, list) or not all(isinstance(count, str) and _COUNT.fullmatch(count) for count in counts):
        raise QueryError(Trouble.API_UNREADABLE)
    if shown is not None and int(shown) > len(listed):
        raise QueryError(Trouble.API_UNREADABLE)
    return listed, None if total is None else int(total)


def _refused(body: Fields, codes: Mapping[str, str]) -> Sequence[object]:
    code = body.get("errorCode")
    number = code.strip().upper().removeprefix("ERR") if isinstance(code, str) else ""
    if number in NOT_FOUND:
        return []
    if body.get("responseCode") == "98":
        raise QueryError(Trouble.API_FAULT)
    raise QueryError(REFUSALS.get(codes.get(number, ""), Trouble.API_UNREADABLE))


def _load(record: object) -> Fields:
    if not isinstance(record, dict):
        raise QueryError(Trouble.API_UNREADABLE)
    try:
        fields: Fields = _SCHEMA.load({**record, "installments": record.get("installmentCount")})
    except ValidationError:
        raise QueryError(Trouble.API_UNREADABLE) from None
    return fields


def _order_of(listed: Sequence[Fields], payment_id: str) -> str:
    """Return the order of a list that was asked by pgTranId; pgOrderId may have a prefix, so it cannot tell."""
    if all(fields["payment_id"] != payment_id for fields in listed):
        raise QueryError(Trouble.OTHER_RECORD)
    orders = {fields["order"] for fields in listed}
    order = orders.pop()
    if orders or order is None:
        raise QueryError(Trouble.API_UNREADABLE)
    return str(order)


def _owned(found: Sequence[Fields], order: str, account: Account) -> Sequence[Fields]:
    if not all(_belongs(fields, order, account.api["merchant"]) for fields in found):
        raise QueryError(Trouble.OTHER_RECORD)
    return found


def _belongs(fields: Fields, order: str, merchant: str) -> bool:
    """Tell whether a record is of this order. pgOrderId is the order, with or without the merchant's number first."""
    if fields["order"] is not None:
        return bool(fields["order"] == order)
    named, prefix = fields["bank_order"], (fields["bank_order"] or "").removesuffix(f"-{order}")
    if named in {None, order}:
        return True
    return bool(prefix != named and (prefix == merchant or (prefix.isdecimal() and len(prefix) >= 6)))


def _distinct(listed: Sequence[Fields], account: Account) -> list[_Record]:
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


def _record(fields: Fields, account: Account) -> _Record:
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


def _failure(fields: Fields, kind: Kind, account: Account) -> Failure | None:
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
