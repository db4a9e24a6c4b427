"""
A shopper's browser: the token in the address that it calls, and the answer that it gets.

The answer is the signed way back to the shop, or a page that says nothing it should not.
"""

import base64
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlencode

from marshmallow import ValidationError

from receiver import signing
from receiver.account import Account, Secret
from receiver.errors import Reason, Unverified
from receiver.event import Event, Kind
from receiver.message import Outcome, Reply
from receiver.ports import Settled
from receiver.schema import Text

# The same rules as for an order in a callback, or the two could never be equal.
_ORDER = Text(required=True, limit=128)
_LONGEST = 800  # base64 of 128 characters of four bytes each, a dot and the HMAC
# With a blank: what result_secret signs is a query and has none, so one key used for both is still two proofs.
_ORDER_PREFIX = "browser order:"

_HEADERS = (("Cache-Control", "no-store"), ("Referrer-Policy", "no-referrer"))
# `payment.succeeded` is missing on purpose: it counts only once it is accepted for release.
_OUTCOMES = {Kind.PAYMENT_FAILED: "failed", Kind.PAYMENT_CANCELED: "failed", Kind.PAYMENT_EXPIRED: "failed"}

_PAGE = """<!doctype html>
<html lang="tr">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>Ödeme / Payment</title>
<style>
body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto 0;padding:0 1rem}}
small{{color:#555}}
</style>
<p>{turkish}</p>
<p lang="en">{english}</p>
<p><small>{reference}</small></p>
</html>
"""
_RECEIVED = (
    "Ödeme sayfasından yanıt alındı. Sonucu satıcınız bildirecek; bu sayfayı kapatabilirsiniz.",
    "The answer of the payment page has been received. The shop will tell you the result; you may close this page.",
)
_REFUSED = (
    "Ödeme sayfasından gelen yanıt doğrulanamadı. Ödemenizin durumunu satıcınızdan öğrenebilirsiniz.",
    "The answer of the payment page could not be verified. Please ask the shop for the state of your payment.",
)
_TRY_AGAIN = (
    "Şu anda yanıtı kaydedemiyoruz. Lütfen bu sayfayı birazdan yenileyin.",
    "The answer cannot be recorded at the moment. Please reload this page shortly.",
)


def order_token(secret: bytes, order: str) -> str:
    """
    Return a browser token that is good for one *order* only: ``<base64url of the order>.<HMAC>``.

    *secret* is the account's browser_token; docs/configuration.md has the formula. Raise ValueError where no callback
    could name such an order.
    """
    if not secret:
        raise ValueError("a secret must not be empty")
    try:
        if _ORDER.deserialize(order) == order:
            return _token(secret, order)
    except (ValidationError, UnicodeEncodeError):
        pass
    raise ValueError("an order has 1 to 128 characters, no control characters and no blanks around it")


def proven(tokens: Sequence[Secret], given: str) -> tuple[Secret, str]:
    """
    Return which of the account's browser tokens *given* is or was made with, and the order that it proves.

    The order is empty where it is the fixed token. Raise Unverified where it is neither.
    """
    try:
        return signing.match(tokens, given, lambda known: known.value)[0], ""
    except Unverified:
        order = _order_in(given)
    # The whole token is compared, for base64 can be written in several ways and only ours may pass.
    return signing.match(tokens, given, lambda known: _token(known.value, order).encode())[0], order


def _token(secret: bytes, order: str) -> str:
    encoded = base64.urlsafe_b64encode(order.encode()).decode().rstrip("=")
    return f"{encoded}.{signing.hex_hmac_sha256(secret, (_ORDER_PREFIX + order).encode())}"


def _order_in(given: str) -> str:
    encoded, _, _ = given[:_LONGEST].partition(".")
    try:
        raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        return str(_ORDER.deserialize(raw.decode()))
    except (ValueError, ValidationError):  # binascii's and the codec's errors are ValueErrors
        raise Unverified(Reason.BAD_SIGNATURE) from None


def settled(done: Settled, account: Account, now: datetime, request_id: str, *, relay: bool) -> Reply:
    """
    Answer a stored callback (DESIGN 1.2).

    303 to ``result_url`` with a signed outcome; 307 where *relay* says that the shop must go on with what was posted,
    so that the browser posts it once more; the neutral page where the account names no address.
    """
    if account.result_url is None or account.result_secret is None:
        return page(200, _RECEIVED, request_id)
    if relay:
        return Reply(307, headers=(*_HEADERS, ("Location", account.result_url)))
    event = done.events[0] if done.events else None
    address, _, query = account.result_url.partition("?")
    signed = "&".join(
        filter(
            None,
            (
                query,
                urlencode(
                    {
                        "provider": account.provider,
                        "account": account.slug,
                        "order": (event.says.order_ref if event else None) or "",
                        "outcome": _outcome(done, event),
                        "ts": str(int(now.timestamp())),
                    }
                ),
            ),
        )
    )
    signature = signing.hex_hmac_sha256(account.result_secret.value, signed.encode())
    return Reply(303, headers=(*_HEADERS, ("Location", f"{address}?{signed}&sig={signature}")))


def _outcome(done: Settled, event: Event | None) -> str:
    if event is None or done.outcome is Outcome.QUARANTINED:
        return "pending"
    if event.says.kind is Kind.PAYMENT_SUCCEEDED:
        return "succeeded" if done.released else "pending"
    return _OUTCOMES.get(event.says.kind, "pending")


def refused(status: int, reason: str, request_id: str) -> Reply:
    """The neutral page for a callback that was not accepted."""
    return page(status, _TRY_AGAIN if status == 503 else _REFUSED, f"{reason} · {request_id}")


def page(status: int, words: tuple[str, str], reference: str) -> Reply:
    """Only our own words and ids are on it, so there is nothing to escape."""
    turkish, english = words
    body = _PAGE.format(turkish=turkish, english=english, reference=reference)
    return Reply(status, body.encode(), "text/html; charset=utf-8", _HEADERS)
