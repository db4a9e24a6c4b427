"""Payguru PHS: a token, and the transaction that may be asked about with it."""

import hashlib
from typing import Any

from flask import Blueprint, Response, jsonify, request

from workers.sandbox_api.credentials import PHS_MERCHANT_KEY, SECRET
from workers.sandbox_api.ledger import Payment, asked, sample

api = Blueprint("payguru-phs", __name__)
MERCHANT, SERVICE_CODE, ADDRESS = "123", "XXX", "127.0.0.1"
_STATUSES = {"declined": 8, "pending": 1, "refunded": 6}


def _md5(*parts: str) -> str:
    return hashlib.md5("".join(parts).encode(), usedforsecurity=False).hexdigest()


# The braces belong to it. It never changes, so that it outlives the process.
_TOKEN = f"{{{_md5(SECRET, 'token').upper()}}}"


@api.route("/payguru-phs/phs/getToken", methods=["GET", "POST"])
def token() -> Response:
    if request.values.get("merchant") != MERCHANT:
        return jsonify(status="ERR_004", message="Invalid Merchant")
    if request.values.get("key") != _md5(MERCHANT, ADDRESS, PHS_MERCHANT_KEY):
        return jsonify(status="ERR_001", message="Invalid Authorization")
    return jsonify(status="000", message="Success", token=_TOKEN)


@api.route("/payguru-phs/phs/transaction/get", methods=["GET", "POST"])
def get() -> Response:
    given = request.headers.get("token", "")
    if (request.headers.get("merchant"), given) != (MERCHANT, _TOKEN):
        code, message = ("ERR_016", "Invalid Token") if given else ("ERR_015", "Empty Token")
        return jsonify(status=code, message=message)
    payment = asked("payguru-phs", request.values.get("id", ""))
    if payment.word == "nothing" or not payment.reference.isdecimal():
        return jsonify(status="ERR_006", message="Invalid Transaction")
    return jsonify(status="000", message="Success", transaction=_record(payment))


def _record(payment: Payment) -> dict[str, Any]:
    name = "payguru-phs"
    return {
        "id": 1 if payment.word == "other" else int(payment.reference),
        "merchant": int(MERCHANT),
        "service_code": SERVICE_CODE,
        "code": sample(name, "code"),
        "order_refno": payment.order_or(sample(name, "order"), sample(name, "txid")),
        "amount": payment.amount_or(sample(name, "amount")),
        "currency": "TL",
        "status": _STATUSES.get(payment.word, 3),
        "transaction_date": payment.at_or(sample(name, "transaction_date"), "%Y-%m-%d %H:%M:%S"),
    }
