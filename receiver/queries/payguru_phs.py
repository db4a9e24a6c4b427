"""
Payguru PHS (cash payment and bank transfer): a short-lived token first, then one transaction by its id.

Source: the provider's pages on token, transaction, status codes and response codes.
Auth: ``key`` = hex MD5 of merchant id, our server's address and the merchant key, joined without any border; it buys a
    token, tied to that address, whose braces are part of it. The answer to it is never kept: how long it is valid is
    not stated. The key stands in the URL, as documented, so this call shows its URL without the query.
Limits: none named. One question is two calls.
Quirks: ``status`` of the answer is text, ``000`` is good, and 404 there means an unknown page or transaction. The fact
    key is the digest that the notice has proven. It is computed here by the notice's documented formula from the API's
    own fields, with the amount as it is written there (two decimals) and under the newest secret. A notice that was
    hashed over another spelling (``1.0``), or under an older secret, therefore has another fact key. ``user_name`` and
    the like are personal and never read. ``TL`` is the lira; another currency is told as it is, for it contradicts.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from marshmallow import ValidationError

from receiver import signing
from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, Limits, QueryError, Sought, Trouble
from receiver.errors import Quarantined
from receiver.event import Kind, Statement
from receiver.message import Level, Notification
from receiver.providers.payguru_phs import COVERS, SIGNED, PayguruPhs
from receiver.schema import money

# The notice's own reading, so that notice and answer make one Statement.
_PHS = PayguruPhs()
_GOOD = "000"
_UNKNOWN = frozenset({"404", "ERR_006"})
# 001 authorization, 002 address, 004 merchant, 005 service, 009 service not enabled, 015 and 016 token, 020 access.
_REFUSED = frozenset({"ERR_001", "ERR_002", "ERR_004", "ERR_005", "ERR_009", "ERR_015", "ERR_016", "ERR_020"})
_FAULTS = frozenset({"500", "ERR_010"})
_ID = re.compile(r"[0-9]{1,30}", re.ASCII)
# It goes into a header: nothing that could end one.
_TOKEN = re.compile(r"\{[!-z]{1,100}\}", re.ASCII)


class _TokenCall(Call):
    """A call with a secret in its query, which therefore stays out of the repr."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Call(method={self.method!r}, url={self.url.partition('?')[0]!r})"


class PayguruPhsQuery:
    name = "payguru-phs"
    limits = Limits()
    by_order = False
    exact: frozenset[Kind] = frozenset()

    def ask(self, sought: Sought, account: Account) -> Conversation:
        ref = sought.payment_ref
        if ref is None or not _ID.fullmatch(ref):
            return []
        bought = _opened((yield _token_call(account)))
        token = bought.get("token") if bought else None
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            raise QueryError(Trouble.API_UNREADABLE)
        headers = {"merchant": account.options["merchant_id"], "token": token, "Accept": "application/json"}
        url = f"{_base(account)}/transaction/get?{urlencode({'id': ref})}"
        sent = _opened((yield Call("GET", url, headers)))
        if sent is None:
            return []
        record = sent.get("transaction")
        if not isinstance(record, dict):
            raise QueryError(Trouble.API_UNREADABLE)
        _compare(record, sought, account)
        return [_statement(record, account)]


def _base(account: Account) -> str:
    return f"{str(account.api['base_url']).rstrip('/')}/phs"


def _token_call(account: Account) -> Call:
    merchant = account.options["merchant_id"]
    # The first part of the account's secret is the merchant key, the second one the service key.
    text = f"{merchant}{account.api['server_ip']}".encode() + account.secrets[0].parts[0]
    query = urlencode({"merchant": merchant, "key": signing.hex_digest("md5", text).decode()})
    return _TokenCall("GET", f"{_base(account)}/getToken?{query}", {"Accept": "application/json"})


def _opened(answered: Answered) -> dict[str, Any] | None:
    """Return the object answered, None where PHS knows nothing of it; raise QueryError for what is no answer."""
    if answered.status not in {200, 404}:
        raise answered.refusal()
    sent = answered.json()
    status = sent.get("status")
    if not isinstance(status, str):
        raise QueryError(Trouble.API_UNREADABLE)
    if status in _UNKNOWN:
        return None
    if status in _REFUSED:
        raise QueryError(Trouble.API_REFUSED)
    if status in _FAULTS:
        raise QueryError(Trouble.API_FAULT)
    if status != _GOOD or answered.status != 200:
        raise QueryError(Trouble.API_UNREADABLE)
    return sent


def _compare(record: Mapping[str, Any], sought: Sought, account: Account) -> None:
    """Make sure that it is the payment that was asked about: of our merchant and service, and for the same order."""
    expected = (
        ("id", sought.payment_ref),
        ("service_code", account.options["service_code"]),
        ("merchant", account.options["merchant_id"] if record.get("merchant") is not None else None),
        ("order_refno", sought.order_ref),
    )
    if any(record.get(name) != value for name, value in expected if value is not None):
        raise QueryError(Trouble.OTHER_RECORD)


def _statement(record: Mapping[str, Any], account: Account) -> Statement:
    fields = {
        "txid": record.get("id"),
        "code": record.get("code"),
        "order": record.get("order_refno"),
        "amount": record.get("amount"),
        "status": record.get("status"),
        "transaction_date": record.get("transaction_date"),
    }
    currency = record.get("currency")
    if not account.secrets or not isinstance(currency, str):
        raise QueryError(Trouble.API_UNREADABLE)
    try:
        loaded = _PHS.channels["notify"].schema.load(fields)
        parts = (account.options["service_code"], account.options["merchant_id"], *(fields[name] for name in SIGNED))
        digest = signing.hex_digest("md5", "".join(parts).encode() + account.secrets[0].value).decode()
        note = Notification(fields, Level.CONFIRMED, account.secrets[0].key_id, frozenset(SIGNED), COVERS, digest)
        said = _PHS.normalize(loaded, note, "notify", account)
        return replace(said, amount=money(loaded["amount"], currency))
    except (ValidationError, Quarantined):
        raise QueryError(Trouble.API_UNREADABLE) from None
