"""Paynet's transaction check, detail and list."""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Any

from flask import Blueprint, Response, jsonify, request

from receiver.schema import TURKEY
from workers.sandbox_api.credentials import SECRET
from workers.sandbox_api.ledger import Payment, asked, listed, sample

api = Blueprint("paynet", __name__)
# What took the money back: transaction_type, and how much.
_BACK = {"partial": (9, "1.00"), "refunded": (9, ""), "voided": (2, "")}
# Paynet tells of no payment that is still under way.
_UNTOLD = frozenset({"nothing", "pending"})


@api.post("/paynet/v1/transaction/<any(check, detail, list):name>")
def transaction(name: str) -> tuple[Response, int]:
    if request.headers.get("Authorization") != f"Basic {SECRET}":
        return jsonify(type="authorization_error", code=401, result_code=7), 401
    sent = request.get_json(silent=True) or {}
    if name == "list":
        return _list(sent)
    number = str(sent.get("xact_id") or "")
    payment = asked("paynet", str(sent.get("reference_no") or "") or _reference(number))
    rows = _rows(payment)
    if name == "detail" and number and rows:
        rows = rows[:1] if rows[0]["xact_id"] == number else [_back(rows[0], payment)]
    if not rows:
        return jsonify(object_name=name, code=12, message="no data", Data=[]), 200
    return jsonify(object_name=name, code=0, message="ok", Data=rows), 200


def _list(sent: Mapping[str, Any]) -> tuple[Response, int]:
    try:
        since, last = (date.fromisoformat(str(sent.get(name))) for name in ("datab", "datbi"))
        start, limit = (int(sent.get(name) or default) for name, default in (("starting_after", 0), ("limit", 10)))
    except ValueError:
        return jsonify(type="invalid_request_error", code=400, result_code=11), 400
    days = (datetime.combine(day, time(), TURKEY) for day in (since, last + timedelta(days=1)))
    rows = [row for payment in listed("paynet", *days) for row in _rows(payment)]
    shown = [row for row in rows if row["is_succeed"] or sent.get("show_unsucceed")]
    page = shown[start : start + limit]
    body = jsonify(
        object_name="transaction_list",
        code=0,
        message="ok",
        total=len(shown),
        total_count=len(page),
        limit=limit,
        starting_after=start,
        has_more=len(shown) > start + limit,
        Data=page,
    )
    return body, 200


def _rows(payment: Payment) -> list[dict[str, Any]]:
    word = payment.word
    if word in _UNTOLD:
        return []
    named = "someone-else" if word == "other" else payment.reference
    sale = {
        "xact_id": f"S-{payment.reference}",
        "xact_date": payment.at_or("2026-11-20T10:15:00", "%Y-%m-%dT%H:%M:%S"),
        "transaction_type": 1,
        "reference_no": named,
        "agent_reference": named,
        "amount": float(payment.amount_or(sample("paynet", "amount"))),
        "currency": "TRY",
        "authorization_code": "123456",
        # `ulak simulate` gives all references of a callback one suffix.
        "order_id": sample("paynet", "order_id") + payment.reference.removeprefix(sample("paynet", "referance_no")),
        "is_succeed": word != "declined",
    }
    return [sale, _back(sale, payment)] if word in _BACK else [sale]


def _back(sale: Mapping[str, Any], payment: Payment) -> dict[str, Any]:
    """Return the transaction that took money back: what the word says, or all where somebody has its number."""
    kind, part = _BACK.get(payment.word, (9, ""))
    number = _swapped(payment.reference, sample("paynet", "referance_no"), _refund())
    return {**sale, "xact_id": number, "transaction_type": kind, "amount": float(part) if part else sale["amount"]}


def _reference(number: str) -> str:
    """Return the reference that a transaction's number stands for; that of a sale has two signs before it."""
    return number[2:] if number.startswith("S-") else _swapped(number, _refund(), sample("paynet", "referance_no"))


def _refund() -> str:
    return sample("paynet", "xact_id", "refund")


def _swapped(text: str, sample_of_one: str, sample_of_other: str) -> str:
    """Return the one reference for the other, as ``ulak simulate`` names them; any other text stands for itself."""
    return sample_of_other + text.removeprefix(sample_of_one) if text.startswith(sample_of_one) else text
