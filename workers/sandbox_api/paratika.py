"""Paratika's QUERYTRANSACTION: the records of one order, or all of a time."""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from receiver.schema import TURKEY
from workers.sandbox_api.credentials import SECRET
from workers.sandbox_api.ledger import Payment, asked, listed, sample

api = Blueprint("paratika", __name__)
OURS = {"MERCHANT": "1", "MERCHANTUSER": "sandbox", "MERCHANTPASSWORD": SECRET}
_STATUSES = {"declined": "FA", "pending": "IP"}
# What took the money back: the type of its record, and how much.
_BACK = {"partial": ("PTREFUND", "1.00"), "refunded": ("REFUND", ""), "voided": ("VOID", "")}
_MONTH = timedelta(days=30)  # what is listed where no date is named


@api.post("/paratika")
def query() -> Response:
    sent = request.form
    if any(sent.get(name) != value for name, value in OURS.items()):
        return jsonify(responseCode="99", responseMsg="Declined", errorCode="ERR10020")
    # Both ids of a payment that are not the order have it behind a letter.
    order = sent.get("MERCHANTPAYMENTID") or sent.get("PGTRANID", "")[2:]
    if order:
        records = page = _records(asked("paratika", order))
    else:
        until = _time("ENDDATE", datetime.now(UTC))
        payments = listed("paratika", _time("STARTDATE", until - _MONTH), until)
        records = [record for payment in payments for record in _records(payment)]
        offset, limit = int(sent.get("OFFSET", "0")), int(sent.get("LIMIT", "1000"))
        page = records[offset : offset + limit]
    return jsonify(
        responseCode="00",
        responseMsg="Approved",
        transactionCount=len(page),
        totalTransactionCount=len(records),
        transactionList=page,
    )


def _time(name: str, default: datetime) -> datetime:
    text = request.form.get(name)
    return datetime.strptime(text, "%d-%m-%Y %H:%M").replace(tzinfo=TURKEY) if text else default


def _records(payment: Payment) -> list[dict[str, Any]]:
    word, amount = payment.word, payment.amount_or(sample("paratika", "amount"))
    if word == "nothing":
        return []
    order = "someone-else" if word == "other" else payment.reference
    sale = {
        "merchantPaymentId": order,
        "pgOrderId": order,
        "pgTranId": f"P-{payment.reference}",
        "transactionType": "SALE",
        "transactionStatus": _STATUSES.get(word, "AP"),
        "amount": amount,
        "currency": "TRY",
        "timeCreated": payment.at_or("2017-01-12 14:13:13.000000", "%Y-%m-%d %H:%M:%S.%f")[:-3],
    }
    if word not in _BACK:
        return [sale]
    kind, part = _BACK[word]
    return [sale, sale | {"pgTranId": f"R-{payment.reference}", "transactionType": kind, "amount": part or amount}]
