"""
What was paid at the played providers: ``POST /-/payments`` with a payment or a list of payments, as JSON.

``provider`` and ``reference`` name it: Paratika's merchantPaymentId, Paynet's reference_no, Payguru's txId, Zotlo's
transaction_id, PHS's id, HASO's transactionCode. ``at`` is an ISO time with an offset (now, where it is left out),
``order`` the shop's order where the reference is not that (else one is made up as ``ulak simulate`` does), ``amount``
text with two decimals (else that of ``ulak simulate``). A payment that is recorded again is replaced.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request
from marshmallow import Schema, fields, post_load, validate

from receiver.providers import BY_NAME
from receiver.schema import TURKEY
from workers.sandbox_api.words import behave_as, word_of

api = Blueprint("ledger", __name__)
_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Payment:
    """One payment; only its reference is known where it was not recorded."""

    provider: str
    reference: str
    at: datetime | None = None
    order: str = ""
    amount: str = ""

    @property
    def word(self) -> str:
        return word_of(self.reference, self.order)

    def amount_or(self, sample: str) -> str:
        """Return the amount that the API names: *sample* unless one was recorded, and another where that is asked."""
        amount = self.amount or sample
        if self.word != "differs":
            return amount
        return "0.01" if Decimal(amount) != Decimal("0.01") else "0.02"

    def at_or(self, sample: str, form: str, zone: tzinfo = TURKEY) -> str:
        return self.at.astimezone(zone).strftime(form) if self.at else sample

    def order_or(self, sample: str, reference: str) -> str:
        """Return the order; all references of a simulated callback have one suffix, so it can be told from ours."""
        return self.order or sample + self.reference.removeprefix(reference)


class PaymentSchema(Schema):
    provider = fields.String(required=True, validate=validate.OneOf(list(BY_NAME)))
    reference = fields.String(required=True, validate=validate.Length(1, 120))
    at = fields.AwareDateTime(load_default=lambda: datetime.now(UTC))
    order = fields.String(load_default="", validate=validate.Length(max=120))
    amount = fields.String(load_default="", validate=validate.Regexp(r"[0-9]{1,12}\.[0-9]{2}\Z"))

    @post_load
    def _build(self, data: dict[str, Any], **_kwargs: Any) -> Payment:
        return Payment(**data)


class Ledger:
    """The payments of one process; gone when it ends."""

    def __init__(self) -> None:
        self._payments: dict[tuple[str, str], Payment] = {}
        self._lock = threading.Lock()

    def record(self, payments: Iterable[Payment]) -> None:
        with self._lock:
            self._payments |= {(payment.provider, payment.reference): payment for payment in payments}

    def find(self, provider: str, reference: str) -> Payment:
        return self._payments.get((provider, reference), Payment(provider, reference))

    def between(self, provider: str, since: datetime, until: datetime) -> list[Payment]:
        """Return the payments from *since* up to and without *until*, in the order of their time."""
        with self._lock:
            ours = [one for one in self._payments.values() if one.provider == provider]
        found = [one for one in ours if one.at and since <= one.at < until]
        return sorted(found, key=lambda one: (one.at_or("", "%Y-%m-%dT%H:%M:%S.%f", UTC), one.reference))


@api.post("/-/payments")
def record() -> tuple[Response, int]:
    sent = request.get_json()
    payments: list[Payment] = PaymentSchema(many=True).load(sent if isinstance(sent, list) else [sent])
    _ledger().record(payments)
    return jsonify(recorded=len(payments)), 201


def asked(provider: str, reference: str, order: str = "") -> Payment:
    """Return the payment that is asked about, once its word let us answer; *order* is what the question names."""
    known = _ledger().find(provider, reference)
    payment = known if known.order else replace(known, order=order)
    behave_as(payment.reference, payment.order)
    return payment


def listed(provider: str, since: datetime = _FIRST, until: datetime = _LAST) -> list[Payment]:
    return _ledger().between(provider, since, until)


def sample(provider: str, name: str, scenario: str = "success") -> str:
    """Return a field of the callback that ``ulak simulate`` sends."""
    return BY_NAME[provider].scenarios[scenario].fields[name]


def _ledger() -> Ledger:
    found: Ledger = current_app.extensions["ledger"]
    return found
