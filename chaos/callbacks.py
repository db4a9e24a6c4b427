"""
What is sent: signed callbacks of every provider, each with the facts it states and its sender's habits.

The ids of the facts come from the provider's own tables, read here in memory; what is proven here is that each of them
arrives, once, and nothing else does.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING

from marshmallow import ValidationError

from receiver import simulate
from receiver.errors import Quarantined
from receiver.event import fact_id
from receiver.providers import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from random import Random

    from receiver.account import Account
    from receiver.config import Settings
    from receiver.message import CallbackRequest
    from receiver.ports import Channel, Provider, Scenario

PLAIN, ASKED = "shop-tr", "shop-asked"
# Of a thousand callbacks so many go to an account that asks, are forged, or are authentic and cannot be read.
SHARES = {"asked": 100, "forged": 30, "unreadable": 20}
# What the played API agrees with; HASO's callback only says that there is something to ask about.
AGREED = (
    *(("paratika", "success"), ("payguru", "success"), ("payguru-phs", "success")),
    *(("paynet", "success"), ("zotlo", "success"), ("haso", "callback")),
)
# Authentic, and not to be read without guessing.
UNREADABLE = (
    ("paynet", "success", {"amount": "unreadable"}),
    ("zotlo", "success", {"parameters.price": "unreadable"}),
)
# A field that proves something; where nothing is signed, the token of the address is changed.
FORGED = {"paratika": ("success", "responseCode"), "payguru-phs": ("success", "amount")}
_FORGED_TOKENS = (("payguru", "success"), ("paynet", "success"), ("zotlo", "success"), ("haso", "callback"))

COMPRESSED = 300.0  # how much faster time passes for those who send again


@dataclass(frozen=True)
class Habit:
    """After which pauses, in seconds, a sender comes again until it hears a success; and the bytes it takes for one."""

    again: tuple[float, ...]
    success: frozenset[bytes] = frozenset()  # empty: any page or redirect, as for a browser


# Only Zotlo says when it comes again: after 10 min, three times 30 min, 1 h. Of the others we suppose three tries.
_SUPPOSED = (1.0, 5.0, 15.0)
_OK, _OK_JSON = frozenset({b"OK"}), frozenset({b'{"ok":true}'})
HABITS: Mapping[str, Habit] = {
    "payguru": Habit(_SUPPOSED, _OK),
    "payguru-phs": Habit(_SUPPOSED, _OK | {b"NOT ACCEPTED"}),
    "paynet": Habit(_SUPPOSED, _OK_JSON),
    "zotlo": Habit(tuple(pause / COMPRESSED for pause in (600, 1800, 1800, 1800, 3600)), _OK_JSON),
    "haso": Habit(_SUPPOSED, _OK),
}
_GIVES_UP, _RELOADS = Habit(()), Habit((2.0,))


@dataclass(frozen=True)
class Callback:
    """One callback, and what must be there once it was answered with success."""

    number: int
    label: str
    path: str
    request: CallbackRequest = field(repr=False)
    habit: Habit
    ids: tuple[str, ...] = ()
    digest: str = ""  # of one that goes to quarantine
    forged: bool = False
    asks: bool = False  # the provider's API will tell more than the callback did
    repeats: int = 0  # how often it comes again although it was answered with success

    def succeeds(self, status: int, body: bytes) -> bool:
        return status < 400 and (not self.habit.success or (status == 200 and body in self.habit.success))


@dataclass(frozen=True)
class Making:
    """Makes callbacks without end, the same ones from the same seed."""

    settings: Settings
    dice: Random
    # Nine digits, as `ulak simulate` appends, none of which the played APIs take for a word.
    numbers: Iterator[int] = field(default_factory=lambda: count(100_000_000))

    def __iter__(self) -> Iterator[Callback]:
        while True:
            yield self._next()

    def one_of_each(self) -> Iterator[Callback]:
        """Return every scenario of every provider once, and everything else that is sent."""
        for provider in BY_NAME.values():
            for name in provider.scenarios:
                yield self._callback(provider, PLAIN, name)
        for name, scenario in AGREED:
            yield self._callback(BY_NAME[name], ASKED, scenario)
        for number in range(len(UNREADABLE)):
            yield self._unreadable(number)
        for number in range(len(FORGED) + len(_FORGED_TOKENS)):
            yield self._forged(number)

    def _next(self) -> Callback:
        at = self.dice.randrange(1000)
        if at < SHARES["asked"]:
            name, scenario = self.dice.choice(AGREED)
            made = self._callback(BY_NAME[name], ASKED, scenario)
        elif at < SHARES["asked"] + SHARES["forged"]:
            return self._forged(self.dice.randrange(len(FORGED) + len(_FORGED_TOKENS)))
        elif at < sum(SHARES.values()):
            made = self._unreadable(self.dice.randrange(len(UNREADABLE)))
        else:
            provider = self.dice.choice(tuple(BY_NAME.values()))
            made = self._callback(provider, PLAIN, self.dice.choice(tuple(provider.scenarios)))
        return replace(made, repeats=self.dice.choice((0, 0, 1, 2, 3, 6)))

    def _callback(self, provider: Provider, slug: str, name: str, changes: Mapping[str, str] | None = None) -> Callback:
        account = self.settings.accounts[provider.name, slug]
        scenario, number = provider.scenarios[name], next(self.numbers)
        fields = {
            key: f"{value}{number}" if key in scenario.unique else value for key, value in scenario.fields.items()
        }
        channel = provider.channels[scenario.channel]
        request = provider.sign(_with(scenario, fields, changes), account, datetime.now(UTC))
        ids = _ids(provider, account, channel, request)
        digest = "" if ids else hashlib.sha256(request.query + b"\n" + request.body).hexdigest()
        label = f"{provider.name}/{slug} {name}"
        asks = channel.asks_at_once and slug == ASKED
        path = simulate.path(account, channel)
        return Callback(number, label, path, request, self._habit(provider, channel), ids, digest, asks=asks)

    def _habit(self, provider: Provider, channel: Channel) -> Habit:
        if channel.browser:
            return self.dice.choice((_GIVES_UP, _RELOADS))
        return HABITS[provider.name]

    def _unreadable(self, number: int) -> Callback:
        name, scenario, changes = UNREADABLE[number]
        return self._callback(BY_NAME[name], PLAIN, scenario, changes)

    def _forged(self, number: int) -> Callback:
        """Change a callback after it was signed; nobody sends a forgery again."""
        signed = [(name, scenario, spoilt) for name, (scenario, spoilt) in FORGED.items()]
        name, scenario, spoilt = (signed + [(*one, "") for one in _FORGED_TOKENS])[number]
        made = self._callback(BY_NAME[name], PLAIN, scenario)
        if spoilt:
            made = replace(made, request=simulate.tampered(made.request, spoilt))
        else:
            made = replace(made, path=made.path[:-1] + ("0" if made.path[-1] != "0" else "1"))
        return replace(made, label=f"forged {made.label}", ids=(), digest="", forged=True, habit=_GIVES_UP)


def _with(scenario: Scenario, fields: Mapping[str, str], changes: Mapping[str, str] | None) -> Scenario:
    return replace(scenario, fields={**fields, **(changes or {})})


def _ids(provider: Provider, account: Account, channel: Channel, request: CallbackRequest) -> tuple[str, ...]:
    """Return the ids of the facts that an authentic callback states; none where it cannot be read."""
    token = account.browser_tokens if channel.browser else account.tokens
    try:
        notes = provider.verify(request, account, token[0].key_id if token else "")
        says = [provider.normalize(channel.schema.load(note.fields), note, channel.name, account) for note in notes]
    except (Quarantined, ValidationError):
        return ()
    return tuple(fact_id(provider.name, account.slug, one.fact_key) for one in says)
