"""What keeps card numbers and people out of events: masks, keyed names and the redacted copy of what was sent."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from receiver import signing
from receiver.account import Account

# 13 to 19 digits, in one run or in groups: the length of a card number (ISO/IEC 7812).
_CARD = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])", re.ASCII)
_CARD_MARK = "[card]"
_LIMIT = 500


def scrub(text: str) -> str:
    """Take out what looks like a full card number: 13 to 19 digits that pass the Luhn check."""
    return _CARD.sub(lambda found: _CARD_MARK if _luhn(found[0]) else found[0], text)


def _luhn(text: str) -> bool:
    total = 0
    for place, digit in enumerate(int(sign) for sign in reversed(text) if sign.isdigit()):
        total += digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4)
    return total % 10 == 0


def scrubbed(text: str | None) -> str | None:
    return scrub(text) if text else None


def raw_copy(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """
    Copy the named fields, and no other, for the event's ``raw``.

    A list of names to keep rather than to drop: a field that the provider adds tomorrow may hold a name or a card.
    """
    copy = {}
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            copy[name] = scrub(value[:_LIMIT])
        elif isinstance(value, bool):
            copy[name] = "true" if value else "false"
    return copy


def pass_through(fields: Mapping[str, Any], account: Account) -> dict[str, str]:
    """Return the merchant's own keys that the account allows (``custom``)."""
    if not account.custom:
        return {}
    return {
        name: scrub(value[:_LIMIT])
        for name, value in fields.items()
        if name in account.custom and isinstance(value, str) and value
    }


def phone(number: str | None, account: Account) -> str | None:
    """Mask all but the last two digits, unless the account shows personal data in clear."""
    if number is None or account.clear_personal:
        return number
    return "*" * max(len(number) - 2, 4) + number[-2:]


def pseudonym(subscriber: str | None, account: Account) -> str | None:
    """
    Return a stable name for a subscriber, an HMAC under a key made from ``data_key``.

    None without a key, and for a number that the provider has masked itself: many people would share one name.
    """
    if subscriber is None or account.pseudonym_key is None or not subscriber.isalnum() or "X" in subscriber.upper():
        return None
    return signing.hex_hmac_sha256(account.pseudonym_key, subscriber.encode())
