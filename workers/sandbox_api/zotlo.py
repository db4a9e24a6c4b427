"""Zotlo's payment details, and its report of all payments."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, Response, abort, jsonify, request

from workers.sandbox_api.credentials import SECRET
from workers.sandbox_api.ledger import Payment, asked, listed, sample

api = Blueprint("zotlo", __name__)
_TIME = "%Y-%m-%d %H:%M:%S"
# Zotlo tells of no payment that is still under way.
_UNTOLD = frozenset({"nothing", "pending"})
_MOST = 100


def _allowed() -> bool:
    return all(request.headers.get(name) == SECRET for name in ("AccessKey", "AccessSecret"))


@api.get("/zotlo/v1/transaction/detail")
def detail() -> tuple[Response, int]:
    if not _allowed():
        return _error(401002)
    payment = asked("zotlo", request.args.get("transactionId", ""))
    if payment.word in _UNTOLD:
        return _error(400009)
    log = {"code": "INSUFFICIENT_FUNDS"} if payment.word == "declined" else {}
    return _result({"transaction": _record(payment), "transactionLog": log})


@api.get("/zotlo/v1/reports/activity/transaction")
def report() -> tuple[Response, int]:
    if not _allowed():
        return _error(401002)
    since, last = (request.args.get(name) for name in ("start_date", "end_date"))
    try:
        start = _day(since) if since else datetime.min.replace(tzinfo=UTC)
        end = _day(last) + timedelta(days=1) if last else datetime.now(UTC)
        limit = min(int(request.args.get("limit", "25")), _MOST)
        at = int(request.args.get("after", "page-0").removeprefix("page-"))
    except ValueError:
        abort(400)
    # That a payment failed stands in no record: the report only says that there was one.
    records = [_record(one) for one in listed("zotlo", start, end) if one.word not in _UNTOLD]
    later = f"page-{at + limit}" if at + limit < len(records) else None
    earlier = f"page-{max(0, at - limit)}" if at else None
    paging = {"cursors": {"previous": earlier, "next": later}}
    return _result({"data": records[at : at + limit], "paging": paging})


def _day(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time(), UTC)


def _record(payment: Payment) -> dict[str, Any]:
    names = ("status", "currency", "package_id", "original_transaction_id")
    price, bought = sample("zotlo", "parameters.price"), sample("zotlo", "parameters.purchase_date")
    record: dict[str, Any] = {name: sample("zotlo", f"parameters.{name}") for name in names} | {
        "transaction_id": "someone-else" if payment.word == "other" else payment.reference,
        "payment_type": "subscription",
        "price": payment.amount_or(price),
        "purchase_date": payment.at_or(bought, _TIME, UTC),
        "subscriptionId": sample("zotlo", "parameters.subscription_id"),
    }
    back = {"partial": "1.00", "refunded": record["price"]}.get(payment.word)
    return record | ({"refund_price": back, "refund_date": record["purchase_date"]} if back else {})


def _result(result: dict[str, Any]) -> tuple[Response, int]:
    return jsonify(meta={"requestId": "x", "httpStatus": 200}, result=result), 200


def _error(code: int) -> tuple[Response, int]:
    return jsonify(meta={"requestId": "x", "httpStatus": 400, "errorCode": code}, result=[]), 400
