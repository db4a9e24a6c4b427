"""A merchant's identity at one provider, as the configuration names it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is kept: ``env:NAME`` or ``file:PATH``. Not a secret itself."""

    text: str


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret and the name it is known by: its reference in the configuration, which says nothing of its value."""

    key_id: str
    value: bytes = field(repr=False)
    parts: tuple[bytes, ...] = field(default=(), repr=False)  # where it was given in parts, each of them

    def __post_init__(self) -> None:
        # An empty key would make every hash computable by anyone, so it cannot even be built.
        if not self.value:
            raise ValueError("a secret must not be empty")


class Confirm(StrEnum):
    """When the provider's API is asked before an event is given out (EVENTS: Confirmation)."""

    NEVER = "never"
    UNPROVEN = "unproven"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Account:
    """Secrets are tuples, newest first; more than one only while rotating."""

    provider: str
    slug: str  # in our callback URL
    test: bool = False
    secrets: tuple[Secret, ...] = ()
    tokens: tuple[Secret, ...] = ()
    browser_tokens: tuple[Secret, ...] = ()
    expected_tokens: tuple[Secret, ...] = ()  # of a shop that announces its orders
    result_url: str | None = None
    result_secret: Secret | None = None
    relay: bool = False
    confirm: Confirm = Confirm.NEVER
    confirm_for: int = 24 * 3600  # seconds
    release_unconfirmed: bool = False
    clear_personal: bool = False
    custom: frozenset[str] = frozenset()
    pseudonym_key: bytes | None = field(default=None, repr=False)  # for customer.key
    options: Mapping[str, Any] = field(default_factory=dict)  # the provider's own settings, validated by its schema
    api: Mapping[str, Any] = field(default_factory=dict, repr=False)
