"""The providers' hashes and our signed result, once more, in the standard library's words only."""

import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import quote_plus

from tests.accounts import RESULT_SECRET, SANDBOX


def expected(provider: str, values: Sequence[str]) -> str:
    """Return the hash that the provider would send for the values of its signed fields."""
    if provider == "paratika":
        return hashlib.sha512("|".join((*values, SANDBOX)).encode()).hexdigest()
    return hashlib.md5("".join(("XXX", "123", *values, "MERCHANTKEY", "SERVICEKEY")).encode()).hexdigest()  # noqa: S324


def result_location(result_url: str, provider: str, order: str, outcome: str, ts: str) -> str:
    """Return the address that a browser is sent to; the signature covers the exact query before ``&sig=``."""
    address, mark, own = result_url.partition("?")
    query = f"provider={provider}&account=shop&order={quote_plus(order)}&outcome={outcome}&ts={ts}"
    signed = own + "&" + query if mark else query
    signature = hmac.new(RESULT_SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
    return f"{address}?{signed}&sig={signature}"
