"""
The usual pipeline for a Paratika return: check the hash, fit the schema, ``SET NX``, ``Queue.enqueue``.

It is what is commonly written for this work, with redis-py and RQ as they come and without logs or metrics. It is here
to be measured, not to be copied: a process that dies between the marker and the job loses the payment, a lost reply of
Redis can enqueue it twice, and repeated form fields silently become the first.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

from flask import Flask, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields
from redis import Redis
from rq import Queue

MARKER_SECONDS = 30 * 24 * 3600
SECRET = os.environ["PARATIKA_SECRET"]

app = Flask(__name__)
connection = Redis.from_url(os.environ["REDIS_URL"])
queue = Queue("events", connection=connection)


class Return(Schema):
    merchant_payment_id = fields.String(data_key="merchantPaymentId", required=True)
    api_merchant_id = fields.String(data_key="apiMerchantId")
    payment_system = fields.String(data_key="paymentSystem")
    payment_system_type = fields.String(data_key="paymentSystemType")
    payment_system_eft_code = fields.String(data_key="paymentSystemEftCode")
    pg_tran_date = fields.String(data_key="pgTranDate")
    pg_tran_id = fields.String(data_key="pgTranId")
    pg_tran_ref_id = fields.String(data_key="pgTranRefId")
    pg_tran_appr_code = fields.String(data_key="pgTranApprCode")
    pg_order_id = fields.String(data_key="pgOrderId")
    customer_id = fields.String(data_key="customerId", load_default="")
    amount = fields.Decimal()
    currency = fields.String(load_default="TRY")
    installment = fields.Integer()
    session_token = fields.String(data_key="sessionToken", required=True)
    random = fields.String(required=True)
    response_code = fields.String(data_key="responseCode", required=True)
    response_msg = fields.String(data_key="responseMsg", required=True)
    error_code = fields.String(data_key="errorCode")
    error_msg = fields.String(data_key="errorMsg")
    pg_tran_error_code = fields.String(data_key="pgTranErrorCode")
    pg_tran_error_text = fields.String(data_key="pgTranErrorText")


schema = Return(unknown=EXCLUDE)


def is_authentic(form: dict[str, str]) -> bool:
    signed = ("merchantPaymentId", "customerId", "sessionToken", "responseCode", "random")
    text = "|".join([*(form.get(name, "") for name in signed), SECRET])
    expected = hashlib.sha512(text.encode()).hexdigest()
    return hmac.compare_digest(expected.encode(), form.get("sdSha512", "").encode())


def to_event(payment: dict[str, Any], form: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "payment.succeeded" if payment["response_code"] == "00" else "payment.failed",
        "provider": "paratika",
        "order_ref": payment["merchant_payment_id"],
        "payment_ref": payment.get("pg_tran_id"),
        "status": {"code": payment["response_code"], "text": payment["response_msg"]},
        "amount": {"value": str(payment.get("amount")), "currency": payment["currency"]},
        "customer": payment["customer_id"],
        "installments": payment.get("installment"),
        "occurred_at": payment.get("pg_tran_date"),
        "raw": form,
    }


def handle(event: dict[str, Any]) -> None:
    """Do nothing: no worker runs during a measurement."""


@app.post("/callbacks/paratika/<account>/return")
def accept(account: str) -> tuple[str, int]:
    form = request.form.to_dict()
    if not is_authentic(form):
        return "bad signature", 403
    try:
        payment = schema.load(form)
    except ValidationError:
        return "bad request", 400
    marker = f"seen:paratika:{account}:{payment['merchant_payment_id']}"
    if connection.set(marker, "1", nx=True, ex=MARKER_SECONDS):
        queue.enqueue("bench.naive.handle", to_event(payment, form))
    return "OK", 200
