"""
Reads ``vectors/*.json``: callbacks with where they come from and what they must become.

A file has ``defaults`` for all its vectors and named ``bases`` of fields; a vector takes a base, sets and drops fields,
or writes its query or body out. ``source`` is one of SOURCES; ``note`` says more.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlencode

from werkzeug.test import TestResponse

from receiver.account import Account
from tests.accounts import account_of, token_for
from tests.desk import FORM, JSON, Desk

SOURCES = {"seed", "provider docs", "computed by another tool", "self"}
FOLDER = Path(__file__).parent / "vectors"
# What the provider's hash covers, and where the hash is: written down here once more, on purpose.
SIGNED = {
    "paratika": ("merchantPaymentId", "customerId", "sessionToken", "responseCode", "random"),
    "payguru-phs": ("txid", "code", "order", "amount"),
}
PROOF = {"paratika": "sdSha512", "payguru-phs": "key"}


@dataclass(frozen=True)
class Vector:
    provider: str
    name: str
    source: str
    channel: str
    method: str
    note: str = ""
    query: bytes = b""
    body: bytes = b""
    content_type: str = ""
    token: str = ""
    account: dict[str, Any] = field(default_factory=dict)
    expect: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, Any] = field(default_factory=dict)
    quarantined: str = ""
    reply: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.provider}: {self.name}"

    @property
    def readable(self) -> bool:
        return not self.refused and not self.quarantined

    def sent(self, name: str) -> str:
        """Return the text of a field, however its name is spelt."""
        return {spelt.lower(): value for spelt, value in self.fields.items()}.get(name.lower(), "")

    def the_account(self) -> Account:
        return account_of(self.provider, **self.account)

    def desk(self) -> Desk:
        return Desk((self.the_account(),))

    def send(self, desk: Desk) -> TestResponse:
        return desk.send(
            self.provider,
            self.channel,
            token=self.token,
            method=self.method,
            query_string=self.query.decode("latin-1"),
            data=self.body,
            content_type=self.content_type or None,
        )

    def changed(self, **fields: str | None) -> Self:
        """Return the same callback with fields set to other text, or left out where None; names keep their spelling."""
        spelt = {name.lower(): name for name in self.fields}
        fields = {spelt.get(name.lower(), name): value for name, value in fields.items()}
        left = {name: value for name, value in {**self.fields, **fields}.items() if value is not None}
        query, body = _written(left, self.method, self.content_type, self.query)
        return replace(self, fields=left, query=query, body=body)


def _written(fields: dict[str, Any], method: str, content_type: str, query: bytes) -> tuple[bytes, bytes]:
    if method == "GET":
        return urlencode(fields).encode(), b""
    return query, json.dumps(_tree(fields)).encode() if content_type.startswith(JSON) else urlencode(fields).encode()


def _tree(fields: dict[str, Any]) -> dict[str, Any]:
    """Put a field with a dotted name into the objects that its name tells."""
    tree: dict[str, Any] = {}
    for name, value in fields.items():
        *path, last = name.split(".")
        place = tree
        for step in path:
            below = place.get(step) or {}
            place[step] = below
            place = below
        place[last] = value
    return tree


def _flat(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Turn it back: dotted names, values as text, and nothing for a null or an empty object."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{name}.")
        elif value is not None:
            yield path + name, value if isinstance(value, str) else json.dumps(value)


def _read(vector: dict[str, Any]) -> dict[str, str]:
    """Read a query or body that is written out; nothing, where it has no second form in UTF-8."""
    text = vector.get("query" if vector["method"] == "GET" else "body", "")
    try:
        if vector["method"] == "GET" or vector["content_type"].startswith(FORM):
            return dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
        found = json.loads(text, parse_int=str, parse_float=str)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return dict(_flat(found))


def _base(bases: dict[str, Any], name: str) -> dict[str, Any]:
    own = dict(bases[name])
    parent = own.pop("<", "")
    return {**(_base(bases, parent) if parent else {}), **own}


def _vector(provider: str, bases: dict[str, Any], written: dict[str, Any]) -> Vector:
    vector = dict(written)
    base, drop = vector.pop("base", ""), vector.pop("drop", [])
    changes = vector.pop("set", {})
    if "body_b64" in vector:
        vector["body"] = base64.b64decode(vector.pop("body_b64"))
    if base:
        fields = {name: value for name, value in {**_base(bases, base), **changes}.items() if name not in drop}
        vector["query"], vector["body"] = _written(fields, vector["method"], vector.get("content_type", ""), b"")
        fields = dict(_flat(_tree(fields)))
    else:
        fields = _read(vector)
    for name in ("query", "body"):
        if isinstance(vector.get(name), str):
            vector[name] = vector[name].encode()
    vector.setdefault("token", token_for(provider, vector["channel"]))
    return Vector(provider=provider, fields=fields, **vector)


@cache
def vectors() -> tuple[Vector, ...]:
    """Return every vector of every file."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        tree = json.loads(path.read_text("utf-8"))
        for written in tree["vectors"]:
            channel = written.get("channel") or tree["defaults"].get("channel")
            merged = {**tree["defaults"], **tree.get("channels", {}).get(channel, {}), **written}
            found.append(_vector(tree["provider"], tree.get("bases", {}), merged))
    return tuple(found)


def readable(*providers: str) -> list[Vector]:
    """Return the vectors that become an event, of all or of some providers."""
    return [vector for vector in vectors() if vector.readable and (not providers or vector.provider in providers)]
