"""
The exact bytes of a callback, compressed and encrypted, for the day when somebody has to read them again.

Kept are method, Content-Type, query and body; never the path, which holds the token. Format: a byte that says
plain (0) or AES-GCM (1); for AES-GCM 4 bytes that name the key, a nonce of 12 bytes, then the sealed text. What the
bytes belong to (event id or digest) is authenticated beside them, so that they cannot be moved to another entry.
"""

import base64
import hashlib
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from receiver.message import CallbackRequest, Media

_PLAIN = b"\x00"
_AES_GCM = b"\x01"
_NAME = 4
_NONCE = 12
# zlib with a window of 4 KiB: a callback is shorter than that, and making the default one of 32 KiB took 31 us of 40.
_ZLIB = (1, zlib.DEFLATED, 12, 4)  # level, method, window bits, memory level


class Sealed(ValueError):
    """The bytes cannot be opened: their key is not among ``data_key``, or they were changed."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A kept callback: what is needed to put it through the provider's code once more."""

    method: str
    media: str
    query: bytes
    body: bytes


class Sealer:
    """Seals with the newest key and opens with any. Without a key (test accounts only) it only compresses."""

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._ciphers = {hashlib.sha256(key).digest()[:_NAME]: AESGCM(key) for key in keys}
        self._newest = next(iter(self._ciphers), None)

    def seal(self, request: CallbackRequest, belongs_to: str) -> bytes:
        media = request.media.value if request.media else ""
        text = b"\n".join((request.method.encode(), media.encode(), request.query, request.body))
        packer = zlib.compressobj(*_ZLIB)
        packed = packer.compress(text) + packer.flush()
        if self._newest is None:
            return _PLAIN + packed
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._newest].encrypt(nonce, packed, belongs_to.encode())
        return _AES_GCM + self._newest + nonce + sealed

    def open(self, kept: bytes, belongs_to: str) -> Opened:
        """Undo ``seal``; raise Sealed where that is not possible."""
        try:
            packed = kept[1:] if kept[:1] == _PLAIN else self._decrypt(kept[1:], belongs_to)
            method, media, query, body = zlib.decompress(packed).split(b"\n", 3)
            return Opened(method.decode(), Media(media.decode()).value if media else "", query, body)
        except (InvalidTag, KeyError, ValueError, zlib.error):
            raise Sealed("the kept bytes cannot be opened with any data_key of the configuration") from None

    def _decrypt(self, kept: bytes, belongs_to: str) -> bytes:
        name, nonce, sealed = kept[:_NAME], kept[_NAME : _NAME + _NONCE], kept[_NAME + _NONCE :]
        return self._ciphers[name].decrypt(nonce, sealed, belongs_to.encode())


def data_key(text: bytes) -> bytes:
    """Read a ``data_key`` of 32 bytes from hex or base64 text; raise ValueError with what to do otherwise."""
    for decode in (bytes.fromhex, lambda found: base64.b64decode(found, validate=True)):
        try:
            key = decode(text.decode("ascii").strip())
        except ValueError:
            continue
        if len(key) == 32:
            return key
    raise ValueError("must be 32 bytes as hex or base64; make one with `openssl rand -hex 32`")
