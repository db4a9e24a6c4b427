"""Payguru mobile payment: the details of a transaction or a subscription, and the search."""

import operator
import threading
import time
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from workers.sandbox_api.ledger import Payment, asked, listed, sample

api = Blueprint("payguru", __name__)
MERCHANT, SERVICE = "1", "1234"
LIMITS = {1: 5, 24 * 3600: 1000}  # questions in so many seconds, for each detail service
_TRANSACTION = {"declined": 4, "pending": 1, "refunded": 6}
_SUBSCRIPTION = {"declined": "suspend", "pending": "unknown", "voided": "cancelled"}
_CONDITIONS = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt, "=": operator.eq}
_HEAD = {"result": "SUCCESS", "resultCode": "0000", "resultDescription": "SUCCESS", "resultDetail": None}


class Counts:
    """How often each detail service was asked, in this second and on this day."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], tuple[int, int]] = {}
        self._lock = threading.Lock()

    def take(self, service: str, now: float) -> bool:
        """Count a question at *now*, seconds since 1970; say whether it is within the limits."""
        with self._lock:
            for length, most in LIMITS.items():
                this = int(now) // length
                window, count = self._counts.get((service, length), (this, 0))
                self._counts[service, length] = (this, count + 1 if window == this else 1)
                if self._counts[service, length][1] > most:
                    return False  # a question that came too fast is not one of the day's
        return True


@api.get("/payguru/MicroPayment/<any(transaction, subscription):what>/detail/<merchant>/<service>/<ref>")
def detail(what: str, merchant: str, service: str, ref: str) -> tuple[Response, int]:
    if (merchant, service) != (MERCHANT, SERVICE):
        return _failed(403, "not allowed")
    counts: Counts = current_app.extensions["counts"]
    if not counts.take(what, time.time()):
        return _failed(429, "too many requests")
    payment = asked("payguru", ref)
    if not ref.isdecimal():
        return _failed(400, "bad id")
    if payment.word == "nothing":
        return jsonify(response=_HEAD, **{what: None}), 200
    return jsonify(response=_HEAD, **{what: _record(payment, subscribing=what == "subscription")}), 200


@api.post("/payguru/MicroPayment/transactions/search")
def search() -> tuple[Response, int]:
    sent = request.get_json()
    if (str(sent.get("merchantId")), str(sent.get("serviceId"))) != (MERCHANT, SERVICE):
        return _failed(403, "not allowed")
    payments = [payment for payment in listed("payguru") if payment.word != "nothing"]
    records = [_record(payment) | {"modifiedDate": _time(payment)} for payment in payments]
    try:
        for wanted in sent.get("search", []):
            compare, column, term = _CONDITIONS[wanted["condition"]], wanted["column"], wanted["term"]
            records = [one for one in records if compare(one[column], type(one[column])(term))]
        for order in reversed(sent.get("sort", [])):
            records.sort(key=operator.itemgetter(order["column"]), reverse=not order["asc"])
        limit, page = int(sent.get("limit", 10)), int(sent.get("page", 1))
    except (KeyError, TypeError, ValueError):
        return _failed(400, "bad search")
    return jsonify(response=_HEAD, transactions=records[(page - 1) * limit : page * limit]), 200


def _record(payment: Payment, *, subscribing: bool = False) -> dict[str, Any]:
    word, order = payment.word, payment.order_or(sample("payguru", "order"), sample("payguru", "txId"))
    if subscribing:
        # Of a simulated cycle the order has no suffix.
        order = payment.order or sample("payguru", "order")
    return {
        "id": 1 if word == "other" else int(payment.reference),
        "service": int(SERVICE),
        "status": _SUBSCRIPTION.get(word, "active") if subscribing else _TRANSACTION.get(word, 3),
        "operator": 1,
        "amount": float(payment.amount_or(sample("payguru", "amount"))),
        "referenceCode": order,
        "transactionDate": _time(payment),
        "subscriptionId": None,
    }


def _time(payment: Payment) -> str:
    return payment.at_or("2026-11-20T10:15:00", "%Y-%m-%dT%H:%M:%S")


def _failed(status: int, why: str) -> tuple[Response, int]:
    # The table of result codes is empty in the documentation.
    return jsonify(response={"result": "FAILED", "resultDescription": why, "resultDetail": why}), status
