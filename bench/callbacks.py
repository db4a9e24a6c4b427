"""Prepared HTTP requests: signed Paratika returns, no two alike, in the form that ``load.c`` reads."""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/callbacks/paratika/bench/return"

CONTENT_TYPE = "application/x-www-form-urlencoded"

# The number of the callback that only asks whether an app is up.
PROBE = 99_999_999

# The provider's own test key, printed in its public samples.
SECRET = "qw3rty4iopa77fgh"

# The provider's published 3D sample, less the fields that `fields` fills in.
SAMPLE = {
    "apiMerchantId": "700100000",
    "paymentSystem": "ISBANK TEST",
    "paymentSystemType": "ISBANK",
    "paymentSystemEftCode": "0064",
    "pgTranDate": "20170112 14:13:13",
    "customerId": "Customer-u1Q4G1oG",
    "amount": "11.76",
    "installment": "1",
    "responseCode": "00",
    "responseMsg": "Approved",
}


def _sha512(text: str) -> str:
    return hashlib.sha512(text.encode()).hexdigest()


def fields(order: str, session: str, random: str, number: int) -> dict[str, str]:
    """Return one signed return; *number* only makes the ids at the bank distinct."""
    code, message, customer = (SAMPLE[name] for name in ("responseCode", "responseMsg", "customerId"))
    return {
        "merchantPaymentId": order,
        "pgTranId": f"17012ONNI{number:08d}",
        "pgTranRefId": f"{701200000000 + number}",
        "pgOrderId": order,
        **SAMPLE,
        "sessionToken": session,
        "random": random,
        "SD_SHA512": _sha512(f"{session}{order}{code}{message}{random}{SECRET}"),
        "sdSha512": _sha512(f"{order}|{customer}|{session}|{code}|{random}|{SECRET}"),
    }


def body(number: int) -> bytes:
    form = fields(
        order=f"PaymentId-{number:012d}",
        session=f"VYD7AXJ6C446GIN55V6KKOB677VRTOZHG5HTSMP3{number:08d}",
        random=f"tp{number:08x}",
        number=number,
    )
    return urlencode(form).encode()


def request(number: int) -> bytes:
    content = body(number)
    head = (
        f"POST {PATH} HTTP/1.1\r\n"
        "Host: callbacks.example\r\n"
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
        "Accept: text/html,application/xhtml+xml\r\n"
        "Accept-Language: tr-TR,tr;q=0.8,en;q=0.5\r\n"
        f"Content-Type: {CONTENT_TYPE}\r\n"
        f"Content-Length: {len(content)}\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    return head.encode() + content


def write(path: Path, first: int, count: int) -> None:
    """Write *count* requests to *path*, numbered from *first* so that two files need not share any."""
    with path.open("wb") as file:
        for number in range(first, first + count):
            prepared = request(number)
            file.write(struct.pack("<I", len(prepared)) + prepared)
