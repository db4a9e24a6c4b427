"""The one comparison of a given proof with an expected one: on bytes, in constant time."""

import hashlib
import hmac
from collections.abc import Callable, Iterable

from receiver.account import Secret
from receiver.errors import Reason, Unverified


def match(secrets: Iterable[Secret], given: object, expected: Callable[[Secret], bytes]) -> tuple[Secret, bytes]:
    """
    Return the secret under which *given* is right, and the expected bytes.

    Raise Unverified ``no_signature`` where nothing was given, ``bad_signature`` where it fits no secret. Text is
    compared as bytes, because ``hmac.compare_digest`` raises TypeError on text that is not ASCII.
    """
    if not isinstance(given, str) or not given:
        raise Unverified(Reason.NO_SIGNATURE)
    claim = given.encode("utf-8", "surrogatepass")
    for secret in secrets:
        wanted = expected(secret)
        if hmac.compare_digest(claim, wanted):
            return secret, wanted
    raise Unverified(Reason.BAD_SIGNATURE)


def hex_digest(algorithm: str, text: bytes) -> bytes:
    """Lower-case hex of a plain hash. The providers chose MD5 and SHA-512 of key and text; we only check them."""
    return hashlib.new(algorithm, text, usedforsecurity=False).hexdigest().encode()


def hex_hmac_sha256(key: bytes, text: bytes) -> str:
    """Lower-case hex HMAC-SHA256, for what we sign ourselves."""
    return hmac.new(key, text, hashlib.sha256).hexdigest()
