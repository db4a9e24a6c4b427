"""What keeps card numbers and people out of events: masks, keyed names and the redacted copy of what was sent."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from receiver import signing
from receiver.account import Account

# A run of 13 digits or more, with at most two signs between them: a card number has 13 to 19 (ISO/IEC 7812).
_RUN = re.compile(r"(?<![0-9])[0-9](?:[ .-]{0,2}[0-9]){12,}", re.ASCII)
_CARD_LENGTHS = range(13, 20)
# A Turkish mobile number: 10 digits that begin with 5, with or without 0, 90 or +90.
_PHONE = re.compile(r"(?<![0-9])(?:\+?90|0)?5[0-9]{9}(?![0-9])", re.ASCII)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)
# A Turkish identity number: 11 digits that do not begin with 0, the last two of them made from the others.
_IDENTITY = re.compile(r"(?<![0-9])[1-9][0-9]{10}(?![0-9])", re.ASCII)
_SHORTEST = 6
_LIMIT = 500


def scrub(text: str) -> str:
    """
    Take out what looks like a full card number, a Turkish mobile or identity number, or an e-mail address.

    A run of digits as long as a card number is one if it passes the Luhn check; a longer run, if any 16 of its digits
    do, for a card number may stand right beside its expiry date.
    """
    if len(text) < _SHORTEST:
        return text
    text = _RUN.sub(lambda found: "[card]" if _has_card(found[0]) else found[0], text)
    text = _IDENTITY.sub(
        lambda found: "[identity]" if _is_identity(found[0]) else found[0], _PHONE.sub("[phone]", text)
    )
    return _EMAIL.sub("[email]", text) if "@" in text else text


def _is_identity(number: str) -> bool:
    digits = [int(sign) for sign in number]
    tenth = (7 * sum(digits[0:9:2]) - sum(digits[1:8:2])) % 10
    return digits[9] == tenth and digits[10] == sum(digits[:10]) % 10


def _has_card(run: str) -> bool:
    digits = [int(sign) for sign in run if sign.isdigit()]
    if len(digits) in _CARD_LENGTHS:
        return _luhn(digits)
    return any(_luhn(digits[start : start + 16]) for start in range(len(digits) - 15))


def _luhn(digits: Sequence[int]) -> bool:
    doubled = (digit if place % 2 == 0 else digit * 2 - 9 * (digit > 4) for place, digit in enumerate(reversed(digits)))
    return sum(doubled) % 10 == 0


def raw_copy(fields: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """
    Copy the named fields, and no other, for the event's ``raw``.

    A list of names to keep rather than to drop: a field that the provider adds tomorrow may hold a name or a card.
    """
    copy = {}
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            copy[name] = scrub(value)[:_LIMIT]
        elif isinstance(value, bool):
            copy[name] = "true" if value else "false"
    return copy


def pass_through(fields: Mapping[str, Any], account: Account) -> dict[str, str]:
    """Return the merchant's own keys that the account allows (``custom``)."""
    if not account.custom:
        return {}
    return {
        name: scrub(value)[:_LIMIT]
        for name, value in fields.items()
        if name in account.custom and isinstance(value, str) and value
    }


def phone(number: str | None, account: Account) -> str | None:
    """Mask all but the last two digits, unless the account shows personal data in clear."""
    if number is None or account.clear_personal:
        return number
    return "*" * max(len(number) - 2, 4) + number[-2:]


def email(address: str | None, account: Account) -> str | None:
    """Mask an address but for the first letters and the last label, unless the account shows personal data in clear."""
    if address is None or account.clear_personal:
        return address
    name, _, domain = address.partition("@")
    return f"{name[:1]}***@{domain[:1]}***.{domain.rpartition('.')[2]}"


def pseudonym(subscriber: str | None, account: Account) -> str | None:
    """
    Return a stable name for a subscriber, an HMAC under a key made from ``data_key``.

    None without a key, and for a number that the provider has masked itself: many people would share one name.
    """
    if not subscriber or account.pseudonym_key is None or "*" in subscriber or "XX" in subscriber.upper():
        return None
    return signing.hex_hmac_sha256(account.pseudonym_key, subscriber.strip().lower().encode())
