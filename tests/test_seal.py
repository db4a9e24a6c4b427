"""What is kept can be opened by who has the key, where it belongs, and by nobody else."""

import base64
import zlib
from datetime import UTC, datetime

import pytest

from receiver.message import CallbackRequest, Media
from receiver.seal import Opened, Sealed, Sealer, data_key

KEY, OTHER = b"k" * 32, b"o" * 32
POST = CallbackRequest(
    "return", "POST", b"a=1", b"b=\n2&\xff\x00", Media.FORM, datetime(2026, 11, 22, tzinfo=UTC), "id"
)
GET = CallbackRequest("notify", "GET", b"a=1&b=2", b"", None, datetime(2026, 11, 22, tzinfo=UTC), "id")


@pytest.mark.parametrize("keys", [(), (KEY,)], ids=["plain", "encrypted"])
def test_a_callback_comes_out_as_it_went_in(keys: tuple[bytes, ...]) -> None:
    sealer = Sealer(keys)

    assert sealer.open(sealer.seal(POST, "x"), "x") == Opened("POST", Media.FORM.value, POST.query, POST.body)
    assert sealer.open(sealer.seal(GET, "x"), "x") == Opened("GET", "", GET.query, b"")


def test_sealed_bytes_show_nothing_and_are_never_twice_the_same() -> None:
    sealer = Sealer((KEY,))
    first, second = sealer.seal(POST, "x"), sealer.seal(POST, "x")

    assert first != second
    assert POST.query not in first
    assert zlib.compress(b"POST")[:2] not in first[:20]


def test_an_old_key_still_opens_while_the_newest_seals() -> None:
    old = Sealer((OTHER,)).seal(POST, "x")
    both = Sealer((KEY, OTHER))

    assert both.open(old, "x").body == POST.body
    assert both.open(both.seal(POST, "x"), "x") == Sealer((KEY,)).open(both.seal(POST, "x"), "x")
    with pytest.raises(Sealed):
        Sealer((KEY,)).open(old, "x")


def test_sealed_bytes_cannot_be_moved_to_another_entry() -> None:
    sealer = Sealer((KEY,))

    with pytest.raises(Sealed):
        sealer.open(sealer.seal(POST, "x"), "y")


def test_changed_bytes_cannot_be_opened() -> None:
    sealer = Sealer((KEY,))
    sealed = sealer.seal(POST, "x")
    for at in range(1, len(sealed)):
        with pytest.raises(Sealed):
            sealer.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], "x")


@pytest.mark.parametrize(
    "kept",
    [
        *(b"", b"\x00", b"\x01", b"\x02", b"\x00junk", b"\x01" + b"x" * 40),
        *(b"\x00" + zlib.compress(b"POST"), b"\x00" + zlib.compress(b"POST\ntext/plain\n\n")),
        b"\x00" + zlib.compress(b"\xff\n\n\n"),
    ],
    ids=repr,
)
def test_what_was_never_sealed_cannot_be_opened(kept: bytes) -> None:
    with pytest.raises(Sealed):
        Sealer((KEY,)).open(kept, "x")


@pytest.mark.parametrize("text", [KEY.hex().encode(), base64.b64encode(KEY), KEY.hex().upper().encode() + b"\n"])
def test_a_data_key_is_32_bytes_in_hex_or_base64(text: bytes) -> None:
    assert data_key(text) == KEY


@pytest.mark.parametrize(
    "text", [b"", b"short", KEY, KEY.hex().encode()[:-2], b"\xff" * 32, base64.b64encode(KEY[:16])]
)
def test_another_data_key_is_refused_without_repeating_it(text: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes as hex or base64") as caught:
        data_key(text)
    assert KEY.decode() not in str(caught.value)
