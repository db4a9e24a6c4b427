"""
The providers' query APIs, played on this machine: ``python -m workers.sandbox_api PORT``. For `ulak up` and tests only.

It speaks each API as documented, with the credentials of the sandbox configuration, and keeps no state: what it says
of a payment is in the payment's own reference. A word in the reference, or its digits where only digits are allowed,
chooses the answer; without one the API agrees with the samples of ``ulak simulate``.
"""

import sys
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, abort, jsonify, request

from receiver.providers import BY_NAME

# Word in a reference, digits at its end that mean the same, and what the API then does.
WORDS: Mapping[str, str] = {
    "differs": "000900001",  # another amount
    "nothing": "000900002",  # no record
    "declined": "000900003",  # a negative record
    "fault": "000900004",  # HTTP 500
    "limited": "000900005",  # HTTP 429
    "html": "000900006",  # a page instead of JSON
    "other": "000900007",  # the record of another payment
    "partial": "000900008",  # a partial refund after the sale
}
SECRET = "sandbox-api-secret"  # noqa: S105 - made up, and known to everyone


def create_api() -> Flask:
    """Build the WSGI application."""
    api = Flask("sandbox_api", static_folder=None)
    api.add_url_rule("/paratika", view_func=_paratika, methods=["POST"])
    api.add_url_rule("/paynet/v1/transaction/<name>", view_func=_paynet, methods=["POST"])
    api.add_url_rule("/payguru/MicroPayment/<what>/detail/<merchant>/<service>/<ref>", view_func=_payguru)
    api.add_url_rule("/payguru-phs/phs/getToken", view_func=_phs_token)
    api.add_url_rule("/payguru-phs/phs/transaction/get", view_func=_phs)
    api.add_url_rule("/zotlo/v1/transaction/detail", view_func=_zotlo)
    api.add_url_rule("/haso/Index/GetPaymentsOfTransaction", view_func=_haso, methods=["POST"])
    return api


def _chosen(reference: str) -> str:
    """Return the word in *reference*; answer at once where it asks for an answer that is none."""
    found = next((word for word, digits in WORDS.items() if word in reference or reference.endswith(digits)), "")
    if found == "fault":
        abort(500)
    if found == "limited":
        abort(429)
    if found == "html":
        abort(Response("<html><body>maintenance</body></html>", 200, content_type="text/html"))
    return found


def _sample(provider: str, name: str) -> str:
    return BY_NAME[provider].scenarios["success"].fields[name]


def _less(amount: str) -> str:
    return "0.01" if amount != "0.01" else "0.02"


def _paratika() -> Response:
    sent = request.form
    if sent.get("MERCHANTPASSWORD") != SECRET:
        return jsonify(responseCode="99", responseMsg="Declined", errorCode="ERR10020")
    order = sent.get("MERCHANTPAYMENTID", "")
    word = _chosen(order)
    amount = _sample("paratika", "amount")
    record: dict[str, Any] = {
        "merchantPaymentId": "someone-else" if word == "other" else order,
        "pgOrderId": "someone-else" if word == "other" else order,
        "pgTranId": "SANDBOX-1",
        "transactionType": "SALE",
        "transactionStatus": "FA" if word == "declined" else "AP",
        "amount": _less(amount) if word == "differs" else amount,
        "currency": "TRY",
        "timeCreated": "2017-01-12 14:13:13.000",
    }
    records = [] if word == "nothing" else [record]
    if word == "partial":
        records.append(record | {"pgTranId": "SANDBOX-2", "transactionType": "PTREFUND", "amount": "1.00"})
    return jsonify(
        responseCode="00",
        responseMsg="Approved",
        transactionCount=len(records),
        totalTransactionCount=len(records),
        transactionList=records,
    )


def _paynet(name: str) -> Response:
    if request.headers.get("Authorization") != f"Basic {SECRET}":
        return _refused()
    sent = request.get_json(silent=True) or {}
    reference = str(sent.get("reference_no") or sent.get("xact_id") or "")
    word = _chosen(reference)
    amount = _sample("paynet", "amount")
    if word == "nothing":
        return jsonify(object_name=name, code=12, message="no data", Data=[])
    row: dict[str, Any] = {
        "xact_id": "SANDBOX-1",
        "xact_date": "2026-11-20T10:15:00",
        "transaction_type": 1,
        "reference_no": "someone-else" if word == "other" else reference,
        "agent_reference": "someone-else" if word == "other" else reference,
        "amount": float(_less(amount) if word == "differs" else amount),
        "currency": "TRY",
        "authorization_code": "123456",
        # `ulak simulate` gives all references of a callback one suffix; see _phs.
        "order_id": _sample("paynet", "order_id") + reference.removeprefix(_sample("paynet", "referance_no")),
        "is_succeed": word != "declined",
    }
    rows = [row]
    if word == "partial":
        rows.append(row | {"xact_id": "SANDBOX-2", "transaction_type": 9, "amount": 1.0})
    return jsonify(object_name=name, code=0, message="ok", Data=rows)


def _payguru(what: str, merchant: str, service: str, ref: str) -> Response:
    del merchant
    word = _chosen(ref)
    head = {"result": "SUCCESS", "resultCode": "0000", "resultDescription": "SUCCESS", "resultDetail": None}
    if word == "nothing":
        return jsonify(response=head, **{what: None})
    amount = _sample("payguru", "amount")
    status: Any = 4 if word == "declined" else 3
    if what == "subscription":
        status = "suspend" if word == "declined" else "active"
    record = {
        "id": 1 if word == "other" else int(ref),
        "service": int(service) if service.isdecimal() else service,
        "status": status,
        "operator": 1,
        "amount": float(_less(amount) if word == "differs" else amount),
        # `ulak simulate` gives all references of a callback one suffix; see _phs.
        "referenceCode": _sample("payguru", "order") + ref.removeprefix(_sample("payguru", "txId")),
        "transactionDate": "2026-11-20T10:15:00",
        "subscriptionId": None,
    }
    # The provider's own pages name the transaction so in one place.
    return jsonify(response=head, **{"subscription" if what == "subscription" else "transaction": record})


def _phs_token() -> Response:
    # The sample of the provider's own page; the braces belong to it.
    return jsonify({"status": "000", "message": "Success", "token": "{3E53E639-5173-D1B6-9368-68FCBCF72342}"})


def _phs() -> Response:
    if not request.headers.get("token", "").startswith("{"):
        return jsonify(status="ERR_016", message="Invalid Token")
    ref = request.args.get("id", "")
    word = _chosen(ref)
    if word == "nothing":
        return jsonify(status="ERR_006", message="Invalid Transaction")
    fields = BY_NAME["payguru-phs"].scenarios["success"].fields
    record = {
        "id": 1 if word == "other" else int(ref),
        "service_code": "XXX",
        "code": fields["code"],
        # `ulak simulate` gives both references one suffix, and so the order can be told from the id.
        "order_refno": fields["order"] + ref.removeprefix(fields["txid"]),
        "amount": _less(fields["amount"]) if word == "differs" else fields["amount"],
        "currency": "TL",
        "status": 8 if word == "declined" else 3,
        "transaction_date": fields["transaction_date"],
    }
    return jsonify(status="000", message="Success", transaction=record)


def _zotlo() -> Response:
    if request.headers.get("AccessSecret") != SECRET:
        return _zotlo_error(401002)
    ref = request.args.get("transactionId", "")
    word = _chosen(ref)
    fields = BY_NAME["zotlo"].scenarios["success"].fields
    if word == "nothing":
        return _zotlo_error(400009)
    price = fields["parameters.price"]
    record = {
        "transaction_id": "someone-else" if word == "other" else ref,
        "payment_type": "subscription",
        "status": "something_new" if word == "declined" else fields["parameters.status"],
        "price": _less(price) if word == "differs" else price,
        "currency": fields["parameters.currency"],
        "purchase_date": fields["parameters.purchase_date"],
        "subscriptionId": fields["parameters.subscription_id"],
    }
    return jsonify(meta={"requestId": "x", "httpStatus": 200}, result={"transaction": record, "transactionLog": {}})


def _zotlo_error(code: int) -> Response:
    body = jsonify(meta={"requestId": "x", "httpStatus": 400, "errorCode": code}, result=[])
    return Response(body.get_data(), 400, content_type="application/json")


def _haso() -> Response:
    sent = request.form or request.get_json(silent=True) or {}
    code = str(sent.get("transactionCode") or sent.get("merchantOid") or "")
    word = _chosen(code + str(sent.get("merchantOid") or ""))
    if word == "nothing" or not sent.get("requestToken"):
        return jsonify(Success=False, Errors=["not found"], Data=None)
    state = 4 if word == "declined" else 0
    plan = [
        {"paymentCode": f"{code}-{number}", "amount": "25000", "paymentStatus": state, "paymentDate": day}
        for number, day in ((1, "2026-12-01"), (2, "2027-01-01"))
    ]
    return jsonify(Success=True, Errors=[], Data={"Payments": plan})


def _refused() -> Response:
    body = jsonify(type="authorization_error", code=401, result_code=7)
    return Response(body.get_data(), 401, content_type="application/json")


def main(argv: list[str]) -> None:
    from werkzeug.serving import run_simple  # noqa: PLC0415 - only the command needs a server

    run_simple("127.0.0.1", int(argv[0]), create_api(), threaded=True)


if __name__ == "__main__":
    main(sys.argv[1:])
