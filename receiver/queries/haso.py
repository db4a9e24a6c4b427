"""
HASO (Hemen Al Sonra Öde): asking for the payment plan of a transaction, for a refund, and for the list of error codes.

Source: the provider's pages 5.5, 5.8, 5.10 and 5.17.
Auth: ``requestToken`` = base64 of HMAC-SHA256 over the inputs and then the salt, joined without any border. Which key
    is meant is on no page that was read; as with a service of the same wording, it is a merchant key beside the salt.
Limits: none named.
Quirks: not documented, and assumed here: that requests are urlencoded forms; the names inside ``Data``, so the plan is
    the one list under ``Payments`` or ``PaymentPlan``, and an instalment has ``paymentCode``, ``amount``, ``status``
    (or ``paymentStatus``) and ``paymentDate``, in any case; the token of CheckRefund (merchantId, refundId, ipAddress,
    salt), and what a good answer of it holds. An answer in another form is unreadable, never a guess. Amounts are
    *text*, a hundred times the lira: a JSON number might be lira, and is refused. A plan means that the credit is
    approved and HASO pays the shop, not that the shopper has paid an instalment. With some instalments canceled, the
    order may have been changed or partly refunded: pending, for a person to look at. ``paymentDate`` is taken for the
    day an instalment is due. The plan may name no order. Then the Statement has none, and the callback's order remains
    a claim: a shopper can post any order together with the code of another, cheaper transaction.
"""

import base64
import re
from collections.abc import Generator, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from marshmallow import Schema, ValidationError

from receiver import signing
from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.errors import Malformed
from receiver.event import Installment, Kind, Method, Statement, Why
from receiver.message import Literal, respelled
from receiver.money import Money
from receiver.providers.haso import INSTALLMENTS, REFUND_MADE_BEFORE, REFUND_NOT_FOUND
from receiver.schema import CallbackSchema, Loose, Note, Text

_PLANS = frozenset({"payments", "paymentplan"})
_SPELLING = {
    name.lower(): name
    for name in ("paymentCode", "amount", "status", "paymentDate", "transactionCode", "merchantOid", "refundId")
} | {"paymentstatus": "status"}
_CANCELED = "4"
_CODE = re.compile(r"[A-Z]{1,4}[0-9]{1,6}\b", re.ASCII)


class _Named(CallbackSchema):
    """Whose record it is, where the answer says so."""

    transaction_code = Text(data_key="transactionCode", limit=64)
    merchant_oid = Text(data_key="merchantOid", limit=64)
    refund_id = Text(data_key="refundId", limit=64)


class _Instalment(_Named):
    code = Text(data_key="paymentCode", required=True, limit=64)
    amount = Text(required=True, pattern=r"[0-9]{1,12}")
    status = Text(required=True, pattern="[0-4]")
    date = Loose(data_key="paymentDate")


class _ErrorCode(CallbackSchema):
    code = Text(data_key="errorCode", required=True, limit=64)
    message = Note()


class HasoQuery:
    name = "haso"
    limits = Limits()
    by_order = False
    exact: frozenset[Kind] = frozenset()

    def ask(self, sought: Sought, account: Account) -> Conversation:
        """Ask for the plan of ``payment_ref``; without one there is nothing to ask by, and nothing known."""
        if sought.payment_ref is None:
            return []
        inputs = {"merchantOid": sought.order_ref or "", "transactionCode": sought.payment_ref}
        answered = yield _call("/Index/GetPaymentsOfTransaction", inputs, account)
        found, codes = _opened(answered)
        if codes:
            # What HASO refuses with is not documented, so no refusal is taken for "there is no such transaction".
            raise QueryError(Trouble.API_REFUSED, max(codes))
        plan = [_loaded(_Instalment(), entry) for entry in _plan(found)]
        order = _order_of([_loaded(_Named(), found), *plan], sought)
        if len({entry["code"] for entry in plan}) != len(plan):
            raise QueryError(Trouble.API_UNREADABLE)
        return [*(_instalment(entry, sought.payment_ref, order) for entry in plan), *_payment(plan, sought, order)]

    def check_refund(self, refund_id: str, account: Account) -> Conversation:
        """
        Ask for the refund that the shop gave this id; an empty list where HASO knows of none.

        Only the documented code for a refund that was made says so. Any other good answer means that it is known, and
        not how far it is: pending.
        """
        found, codes = _opened((yield _call("/RequestV2/CheckRefund", {"refundId": refund_id}, account)))
        if codes == {REFUND_NOT_FOUND}:
            return []
        if codes not in (frozenset(), {REFUND_MADE_BEFORE}):
            raise QueryError(Trouble.API_REFUSED, max(codes))
        named = _loaded(_Named(), found)
        if named["refund_id"] not in {None, refund_id}:
            raise QueryError(Trouble.OTHER_RECORD)
        state = "refunded" if codes else "found"
        return [
            Statement(
                kind=Kind.PAYMENT_REFUNDED if codes else Kind.PAYMENT_REFUND_PENDING,
                fact_key=("refund", refund_id, state),
                status_code=REFUND_MADE_BEFORE if codes else state,
                order_ref=named["merchant_oid"],
                payment_ref=named["transaction_code"],
                refund_ref=refund_id,
                method=Method.CREDIT,
            )
        ]

    def error_codes(self, account: Account) -> Generator[Call, Answered, dict[str, str]]:
        """Ask for HASO's living list of error codes and what they mean."""
        found, codes = _opened((yield _call("/Index/GetErrorCodes", {}, account)))
        if codes:
            raise QueryError(Trouble.API_REFUSED, max(codes))
        listed = found.get("ErrorCodes")
        entries = [_loaded(_ErrorCode(), entry) for entry in listed] if isinstance(listed, list) else []
        meanings = {str(entry["code"]): str(entry["message"] or "") for entry in entries}
        if not isinstance(listed, list) or len(meanings) != len(entries):
            raise QueryError(Trouble.API_UNREADABLE)
        return meanings


def _call(path: str, inputs: Mapping[str, str], account: Account) -> Call:
    """Make a call whose token is over merchantId, *inputs* in their order, ipAddress and the salt."""
    merchant, address = account.options["merchant_id"], account.api.get("ip_address") or ""
    text = "".join((merchant, *inputs.values(), address)).encode() + account.api["salt"].value
    mac = bytes.fromhex(signing.hex_hmac_sha256(account.api["hmac_key"].value, text))
    # The address is optional: where it is not sent, nothing stands for it in the token.
    own = {"ipAddress": address} if address else {}
    form = {"merchantId": merchant, **inputs, **own, "requestToken": base64.b64encode(mac).decode()}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    return Call("POST", str(account.api["base_url"]).rstrip("/") + path, headers, urlencode(form).encode())


def _opened(answered: Answered) -> tuple[dict[str, Any], frozenset[str]]:
    """Return Data, or the codes in Errors (``?`` for one without a code); raise QueryError for what is no answer."""
    if answered.status != 200:
        raise answered.refusal()
    sent = answered.json()
    success, errors, found = sent.get("Success"), sent.get("Errors") or [], sent.get("Data")
    if not isinstance(errors, list) or not all(isinstance(error, str) for error in errors):
        raise QueryError(Trouble.API_UNREADABLE)
    codes = frozenset(code[0] if (code := _CODE.match(error.strip())) else "?" for error in errors)
    if success is False and codes:
        return (found if isinstance(found, dict) else {}), codes
    if success is not True or codes or not isinstance(found, dict):
        raise QueryError(Trouble.API_UNREADABLE)
    return found, codes


def _loaded(schema: Schema, entry: object) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise QueryError(Trouble.API_UNREADABLE)
    try:
        return dict(schema.load(respelled(entry, _SPELLING)))
    except (ValidationError, Malformed):
        raise QueryError(Trouble.API_UNREADABLE) from None


def _plan(found: Mapping[str, Any]) -> list[Any]:
    lists = [value for name, value in found.items() if name.lower() in _PLANS]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise QueryError(Trouble.API_UNREADABLE)
    # A number instead of the documented text may be lira, a hundredth of it.
    entries = [entry for entry in lists[0] if isinstance(entry, dict)]
    amounts = [value for entry in entries for name, value in entry.items() if name.lower() == "amount"]
    if any(isinstance(amount, Literal) for amount in amounts):
        raise QueryError(Trouble.API_UNREADABLE)
    return lists[0]


def _order_of(named: list[dict[str, Any]], sought: Sought) -> str | None:
    """Return the order that the answer names, if any, once it is sure that all of it is about what was asked."""
    codes = {entry["transaction_code"] for entry in named} - {None}
    orders = {entry["merchant_oid"] for entry in named} - {None}
    if codes - {sought.payment_ref} or len(orders) > 1 or (sought.order_ref and orders - {sought.order_ref}):
        raise QueryError(Trouble.OTHER_RECORD)
    return next(iter(orders), None)


def _instalment(entry: Mapping[str, Any], code: str, order: str | None) -> Statement:
    return Statement(
        kind=INSTALLMENTS[entry["status"]],
        fact_key=(code, entry["status"], entry["code"]),
        status_code=entry["status"],
        order_ref=order,
        payment_ref=code,
        amount=Money(int(entry["amount"]), "TRY"),
        method=Method.CREDIT,
        installment=Installment(entry["code"], due=_day(entry["date"])),
    )


def _payment(plan: list[dict[str, Any]], sought: Sought, order: str | None) -> list[Statement]:
    """Say what the plan means for the payment; nothing where it has no instalment."""
    if not plan:
        return []
    canceled = sum(entry["status"] == _CANCELED for entry in plan)
    total = sum(int(entry["amount"]) for entry in plan)
    kind, state = Kind.PAYMENT_SUCCEEDED, "succeeded"
    if canceled:
        whole = canceled == len(plan)
        kind, state = (Kind.PAYMENT_CANCELED, "canceled") if whole else (Kind.PAYMENT_PENDING, "partly_canceled")
    elif not total:
        raise QueryError(Trouble.API_UNREADABLE)
    # What was lowered is not said, so a payment under review has no amount.
    amount = None if state == "partly_canceled" else Money(total, "TRY")
    return [
        Statement(
            kind=kind,
            fact_key=(sought.payment_ref, state),
            status_code=state,
            order_ref=order,
            payment_ref=sought.payment_ref,
            reason=Why.OTHER_PENDING if state == "partly_canceled" else None,
            amount=amount,
            method=Method.CREDIT,
        )
    ]


def _day(text: str | None) -> str | None:
    try:
        return date.fromisoformat((text or "")[:10]).isoformat()
    except ValueError:
        return None
