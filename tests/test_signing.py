"""The one comparison: on bytes, for every secret, and never any error but its own."""

import hashlib
import hmac

import pytest

from receiver.account import Secret
from receiver.errors import Reason, Unverified
from receiver.signing import hex_digest, hex_hmac_sha256, match

NEW, OLD = Secret("env:NEW", b"new"), Secret("env:OLD", b"old")


def same(secret: Secret) -> bytes:
    return secret.value


def test_the_secret_that_fits_is_named() -> None:
    assert match((NEW, OLD), "old", same) == (OLD, b"old")
    assert match((NEW, OLD), "new", same) == (NEW, b"new")


@pytest.mark.parametrize("given", ["", None, 0, False, [], {}, b"new", 7])
def test_what_is_no_text_is_no_signature(given: object) -> None:
    with pytest.raises(Unverified) as caught:
        match((NEW,), given, same)
    assert caught.value.reason is Reason.NO_SIGNATURE


@pytest.mark.parametrize(
    "given", ["é", "NEW", "new ", "newnew", "ne", "\x00", "\ud800", "=" * 9999, "v1,new", "\uff4eew"]
)
def test_what_fits_no_secret_is_a_bad_signature(given: str) -> None:
    with pytest.raises(Unverified) as caught:
        match((NEW, OLD), given, same)
    assert caught.value.reason is Reason.BAD_SIGNATURE


def test_without_a_secret_nothing_fits() -> None:
    with pytest.raises(Unverified):
        match((), "x", same)


def test_a_secret_cannot_be_empty_and_does_not_show_its_value() -> None:
    with pytest.raises(ValueError, match="empty"):
        Secret("env:EMPTY", b"")

    assert "new" not in repr(NEW)


def test_digests_are_those_of_the_standard_library() -> None:
    assert hex_digest("md5", b"x") == hashlib.md5(b"x").hexdigest().encode()  # noqa: S324
    assert hex_digest("sha512", b"x") == hashlib.sha512(b"x").hexdigest().encode()
    assert hex_hmac_sha256(b"key", b"text") == hmac.new(b"key", b"text", "sha256").hexdigest()


def test_an_error_says_the_reason_and_nothing_of_what_was_given() -> None:
    with pytest.raises(Unverified) as caught:
        match((NEW,), "given-by-somebody", same)

    assert str(caught.value) == "bad_signature"
    assert caught.value.args == ("bad_signature",)
