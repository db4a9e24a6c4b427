"""HASO: the payment plan of a transaction, a refund, and the list of error codes."""

import base64
import hashlib
import hmac
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, jsonify, request

from workers.sandbox_api.credentials import HASO_KEY, HASO_SALT
from workers.sandbox_api.ledger import Payment, asked, sample
from workers.sandbox_api.words import behave_as, word_of

api = Blueprint("haso", __name__)
MERCHANT = "1000"
# The state of the first instalment, and that of the second.
_STATES = {
    "paid": (1, 1),
    "partly": (2, 2),
    "overdue": (3, 3),
    "partial": (0, 4),
    **dict.fromkeys(("declined", "refunded", "voided"), (4, 4)),
}
_REFUNDS = {"refunded": "H307", "nothing": "H308"}
# The three that are documented, and one that ``ulak simulate`` sends.
_CODES = {
    "H307": "a refund with this number was made before",
    "H308": "there is no such refund",
    "RS100": "done",
    "SANDBOX": "a failure of the sandbox",
}


@api.post("/haso/Index/GetPaymentsOfTransaction")
def plan() -> Response:
    if not _allowed("merchantOid", "transactionCode"):
        return _refused("wrong token")
    payment = asked("haso", request.form.get("transactionCode", ""), request.form.get("merchantOid", ""))
    if payment.word == "nothing":
        return _refused("not found")
    data: dict[str, Any] = {"Payments": _plan(payment)}
    if payment.word == "other":
        data["transactionCode"] = "someone-else"
    return jsonify(Success=True, Errors=[], Data=data)


@api.post("/haso/RequestV2/CheckRefund")
def check_refund() -> Response:
    refund = request.form.get("refundId", "")
    if not _allowed("refundId"):
        return _refused("wrong token")
    behave_as(refund)
    word = word_of(refund)
    if word in _REFUNDS:
        return _refused(f"{_REFUNDS[word]} {_CODES[_REFUNDS[word]]}")
    return jsonify(Success=True, Errors=[], Data={"refundId": "someone-else" if word == "other" else refund})


@api.post("/haso/Index/GetErrorCodes")
def error_codes() -> Response:
    if not _allowed():
        return _refused("wrong token")
    codes = [] if word_of("") == "nothing" else [{"errorCode": code, "message": _CODES[code]} for code in _CODES]
    return jsonify(Success=True, Errors=[], Data={"ErrorCodes": codes})


def _allowed(*inputs: str) -> bool:
    """Say whether the token is right: over the merchant, *inputs* in their order, the address and the salt."""
    sent = request.form
    text = "".join(sent.get(name, "") for name in ("merchantId", *inputs, "ipAddress")) + HASO_SALT
    mac = base64.b64encode(hmac.new(HASO_KEY.encode(), text.encode(), hashlib.sha256).digest()).decode()
    return (sent.get("merchantId"), sent.get("requestToken")) == (MERCHANT, mac)


def _plan(payment: Payment) -> list[dict[str, Any]]:
    if payment.word == "pending":
        return []
    # In hundredths of the lira, as the sample's own orderAmount is.
    lira = Decimal(sample("haso", "orderAmount", "ok")) / 100
    total = int(Decimal(payment.amount_or(f"{lira:.2f}")) * 100)
    amounts = (total // 2, total - total // 2)
    parts = zip(amounts, _STATES.get(payment.word, (0, 0)), ("2026-12-01", "2027-01-01"), strict=True)
    return [
        {
            "paymentCode": f"{payment.reference}-{number}",
            "amount": str(amount),
            "paymentStatus": state,
            "paymentDate": day,
        }
        for number, (amount, state, day) in enumerate(parts, 1)
    ]


def _refused(why: str) -> Response:
    # Which words or codes HASO refuses a request with is not documented, so the played API has words without a code.
    return jsonify(Success=False, Errors=[why], Data=None)
