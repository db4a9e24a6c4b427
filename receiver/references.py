"""Secrets behind their references: found, checked, and never echoed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receiver.account import Reference, Secret
from receiver.seal import data_key

TOKEN_LENGTH = 20


class References:
    """Reads ``env:NAME`` and ``file:PATH``, and collects a fault for each that cannot be used."""

    def __init__(self, folder: Path, environ: Mapping[str, str], faults: list[str]) -> None:
        self._folder = folder
        self._environ = environ
        self._faults = faults

    def value(self, place: str, reference: Reference) -> bytes | None:
        """Return what the reference names, without a file's last line end; None and a fault where nothing is there."""
        scheme, _, name = reference.text.partition(":")
        if scheme == "env":
            value = self._environ.get(name, "").encode("utf-8", "surrogateescape")
            absent = f"environment variable {name} is not set or empty"
        else:
            path = self._folder / name
            absent = f"file {path} cannot be read or is empty"
            try:
                value = path.read_bytes().rstrip(b"\r\n")
            except (OSError, ValueError):  # ValueError: a NUL in the name
                value = b""
        if not value:
            self._faults.append(f"{place}: {absent}")
        return value or None

    def one(self, place: str, reference: Reference | None) -> Secret | None:
        value = self.value(place, reference) if reference else None
        return Secret(reference.text, value) if reference and value else None

    def resolved(self, place: str, value: object) -> object:
        """Return the secret behind a reference; anything else as it is."""
        return self.one(place, value) if isinstance(value, Reference) else value

    def secrets(self, place: str, entries: list[Any]) -> tuple[Secret, ...]:
        """Read a list of secrets; a table of references is one secret in parts, joined in the order of its schema."""
        found = []
        for number, entry in enumerate(entries):
            parts = list(entry.values()) if isinstance(entry, dict) else [entry]
            values = [self.value(f"{place} secrets[{number}]", part) for part in parts]
            known = tuple(value for value in values if value)
            if len(known) == len(parts):
                found.append(Secret(parts[0].text, b"".join(known), known))
        return tuple(found)

    def token(self, place: str, reference: Reference) -> Secret | None:
        """Read a token, which must be long enough not to be guessed and plain enough to stand in a URL."""
        secret = self.one(place, reference)
        if secret is None:
            return None
        if len(secret.value) < TOKEN_LENGTH:
            self._faults.append(
                f"{place}: is shorter than {TOKEN_LENGTH} characters; make one with `openssl rand -hex 20`"
            )
        elif not all(sign.isascii() and (sign.isalnum() or sign in "-._~") for sign in secret.value.decode("latin-1")):
            self._faults.append(f"{place}: may hold letters, digits, `-`, `.`, `_` and `~` only: it is part of a URL")
        return secret

    def tokens(self, place: str, references: tuple[Reference, ...]) -> tuple[Secret, ...]:
        found = (self.token(place, reference) for reference in references)
        return tuple(token for token in found if token)

    def data_keys(self, references: tuple[Reference, ...]) -> tuple[bytes, ...]:
        """Read the keys that encrypt what is kept, newest first."""
        keys = []
        for reference in references:
            value = self.value("data_key", reference)
            try:
                keys += [data_key(value)] if value else []
            except ValueError as exc:
                self._faults.append(f"data_key: {exc}")
        return tuple(keys)
