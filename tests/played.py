"""The APIs that can list, played: what each lists, what it knows of one payment, and how a test talks with it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from receiver.account import Account
from receiver.asking import Answered, Call, Conversation, QueryError, Sought, Trouble
from receiver.event import Kind, Statement
from receiver.queries import LISTS, QUERIES
from tests.test_queries_card import DETAIL, PARATIKA, PAYNET, ZOTLO, record, row
from tests.test_queries_card import SECRETS as CARD_SECRETS
from tests.test_queries_other import CHARGE, MOBILE
from tests.test_queries_other import GOOD as DONE
from tests.test_queries_other import SECRETS as OTHER_SECRETS

SECRETS = (*CARD_SECRETS, *OTHER_SECRETS)
Play = Callable[[Call], object]


def talk(conversation: Conversation, play: Play, status: int = 200) -> tuple[list[Call], Sequence[Statement]]:
    """Hold a conversation with a played API, which answers with objects or bytes."""
    calls = []
    try:
        call = next(conversation)
        while True:
            calls.append(call)
            body = play(call)
            call = conversation.send(Answered(status, body if isinstance(body, bytes) else json.dumps(body).encode()))
    except StopIteration as done:
        return calls, done.value


def trouble(conversation: Conversation, play: Play, status: int = 200) -> Trouble:
    with pytest.raises(QueryError) as caught:
        talk(conversation, play, status)
    assert not any(secret in str(caught.value) + repr(caught.value) for secret in SECRETS)
    return caught.value.trouble


def sent(call: Call) -> dict[str, Any]:
    """Return what a call asks with: its query, its form or its JSON."""
    if not call.body:
        return dict(parse_qsl(urlsplit(call.url).query))
    found: dict[str, Any] = json.loads(call.body) if call.body.startswith(b"{") else dict(parse_qsl(call.body.decode()))
    return found


# The played APIs: what they list, and what they know of one payment.


def paratika(listed: Sequence[Mapping[str, object]], known: Sequence[Mapping[str, object]] | None = None) -> Play:
    def orders(one: Mapping[str, object]) -> set[object]:
        return {one.get("merchantPaymentId") or str(one.get("pgOrderId")).removeprefix("10000000-")}

    def play(call: Call) -> object:
        asked = sent(call)
        if order := asked.get("MERCHANTPAYMENTID"):
            page = total = [one for one in (listed if known is None else known) if order in orders(one)]
        else:
            start, limit = int(asked["OFFSET"]), int(asked["LIMIT"])
            page, total = list(listed[start : start + limit]), list(listed)
        counts = {"transactionCount": len(page), "totalTransactionCount": len(total)}
        return {"responseCode": "00", "responseMsg": "Approved", **counts, "transactionList": page}

    return play


def paynet(listed: Sequence[Mapping[str, object]], known: Sequence[Mapping[str, object]] | None = None) -> Play:
    def play(call: Call) -> object:
        asked = sent(call)
        if order := asked.get("reference_no"):
            found = [one for one in (listed if known is None else known) if one["agent_reference"] == order]
            return {"object_name": "transaction", "code": 0, "message": "ok", "Data": found}
        start, limit = asked["starting_after"], asked["limit"]
        page = list(listed[start : start + limit])
        more = start + limit < len(listed)
        counts = {"total": len(listed), "total_count": len(page), "has_more": more}
        return {"object_name": "transaction_list", "code": 0, **counts, "Data": page}

    return play


def zotlo(listed: Sequence[Mapping[str, object]], known: Sequence[Mapping[str, object]] | None = None) -> Play:
    def play(call: Call) -> object:
        asked = sent(call)
        meta = {"requestId": "x", "httpStatus": 200}
        if ref := asked.get("transactionId"):
            found = [one for one in (listed if known is None else known) if one["transaction_id"] == ref]
            return {
                "meta": meta,
                "result": {"transaction": found[0], "transactionLog": {"code": "00"}} if found else [],
            }
        after, limit = asked.get("after", "c0")[1:], int(asked["limit"])
        if not after.isdecimal():
            return {"meta": meta | {"httpStatus": 400, "errorCode": 400001}, "result": []}
        start = int(after)
        later = f"c{start + limit}" if start + limit < len(listed) else None
        paging = {"cursors": {"previous": None, "next": later}}
        return {"meta": meta, "result": {"data": list(listed[start : start + limit]), "paging": paging}}

    return play


def payguru(listed: Sequence[Mapping[str, object]], known: Sequence[Mapping[str, object]] | None = None) -> Play:
    def play(call: Call) -> object:
        if not call.body:
            ref = call.url.rpartition("/")[2]
            found = [one for one in (listed if known is None else known) if str(one["id"]) == ref]
            return {"response": DONE, "transaction": found[0] if found else None}
        asked = sent(call)
        start = (asked["page"] - 1) * asked["limit"]
        return {"response": DONE, "transactions": list(listed[start : start + asked["limit"]])}

    return play


@dataclass(frozen=True)
class Player:
    """One provider's played API, and a day on which all its samples happened."""

    account: Account
    play: Callable[..., Play]
    day: str
    some: Callable[[int], dict[str, Any]]  # a record of a payment of its own
    page: int

    def hours(self, start: float = 0, end: float = 24) -> tuple[datetime, datetime]:
        day = datetime.fromisoformat(f"{self.day}T00:00:00+03:00")
        return day + timedelta(hours=start), day + timedelta(hours=end)

    def listed(self, start: float = 0, end: float = 24) -> Conversation:
        return LISTS[self.account.provider].listed(*self.hours(start, end), self.account)

    def ask(self, order_ref: str | None = None, payment_ref: str | None = None) -> Conversation:
        sought = Sought("", Kind.PAYMENT_PENDING, order_ref, payment_ref)
        return QUERIES[self.account.provider].ask(sought, self.account)


def sold(number: int) -> dict[str, Any]:
    return record("SALE AP", f"P{number}", merchantPaymentId=f"O-{number}", pgOrderId=f"O-{number}")


def paid(number: int) -> dict[str, Any]:
    return row("1", 1) | {"id": number, "xact_id": f"xk_{number}", "agent_reference": f"O-{number}"}


def bought(number: int) -> dict[str, Any]:
    return DETAIL | {"transaction_id": f"T-{number}"}


def charged(number: int) -> dict[str, Any]:
    return {**CHARGE, "id": number, "status": 3, "error": None, "referenceCode": f"O-{number}"}


PLAYERS = {
    "paratika": Player(PARATIKA, paratika, "2018-10-12", sold, 200),
    "paynet": Player(PAYNET, paynet, "2026-11-20", paid, 200),
    "zotlo": Player(ZOTLO, zotlo, "2024-12-25", bought, 100),
    "payguru": Player(MOBILE, payguru, "2017-12-13", charged, 100),
}


def some(name: str, number: int) -> list[dict[str, Any]]:
    return [PLAYERS[name].some(one) for one in range(1, number + 1)]
