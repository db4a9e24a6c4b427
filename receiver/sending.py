"""One run of ``ulak simulate``: which callbacks, how many, how fast."""

import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from receiver import simulate
from receiver.account import Account
from receiver.config import Settings
from receiver.message import CallbackRequest
from receiver.ports import Channel, Provider, Scenario
from receiver.providers import BY_NAME


@dataclass(frozen=True, slots=True)
class Sending:
    """A plan without a mistake in it."""

    provider: Provider
    account: Account
    channel: Channel
    name: str
    scenario: Scenario
    base: str
    changes: Mapping[str, str] = field(default_factory=dict)
    count: int = 1
    rate: float | None = None
    duplicate: int = 0
    tamper: str | None = None

    @classmethod
    def plan(cls, settings: Settings, provider: str, scenario: str, options: Mapping[str, Any]) -> Self:
        """Look everything up; raise LookupError with a sentence that lists what there is."""
        known = _provider(provider)
        found = known.scenarios.get(scenario)
        if found is None:
            raise LookupError(f"{provider} has no scenario {scenario!r}; there are {', '.join(known.scenarios)}")
        changes = {}
        for change in options["changes"]:
            name, sign, value = change.partition("=")
            if not sign:
                raise LookupError(f"--set {change!r} must be FIELD=VALUE")
            changes[name] = value
        return cls(
            provider=known,
            account=account_of(settings, provider, options["slug"]),
            channel=known.channels[found.channel],
            name=scenario,
            scenario=found,
            base=options["base"],
            changes=changes,
            count=options["count"],
            rate=options["rate"],
            duplicate=options["duplicate"],
            tamper=options["tamper"],
        )

    @property
    def total(self) -> int:
        return self.count * (self.duplicate + 1)

    def requests(self) -> Iterator[tuple[str, CallbackRequest]]:
        """Yield each callback, and the reference that tells it from the others."""
        source = random.SystemRandom()
        for _ in range(self.count):
            scenario = simulate.fresh(self.scenario, self.changes, source)
            request = self.provider.sign(scenario, self.account, datetime.now(UTC))
            if self.tamper:
                request = simulate.tampered(request, self.tamper)
            for _ in range(self.duplicate + 1):
                yield next((scenario.fields[name] for name in scenario.unique), "-"), request

    def curls(self) -> Iterator[str]:
        where = simulate.path(self.account, self.channel)
        return (simulate.as_curl(self.base, where, request) for _, request in self.requests())

    def run(self) -> Iterator[dict[str, Any]]:
        """Send, and yield what came back; raise OSError where nobody answers."""
        where = simulate.path(self.account, self.channel)
        begun = time.monotonic()
        for number, (reference, request) in enumerate(self.requests()):
            if self.rate:
                time.sleep(max(0.0, begun + number / self.rate - time.monotonic()))
            answer = simulate.send(self.base, where, request)
            yield {
                "status": answer.status,
                "provider": self.provider.name,
                "scenario": self.name,
                "order": reference,
                "answer": answer.location or _short(answer.body),
            }


def callback_path(settings: Settings, provider: str, channel: str, slug: str | None, order: str | None) -> str:
    """Return the path of one channel with its secret token; raise LookupError or ValueError with a sentence."""
    known = _provider(provider)
    found = known.channels.get(channel)
    if found is None:
        raise LookupError(f"{provider} has no channel {channel!r}; there are {', '.join(known.channels)}")
    return simulate.path(account_of(settings, provider, slug), found, order)


def _provider(name: str) -> Provider:
    known = BY_NAME.get(name)
    if known is None:
        raise LookupError(f"no provider is called {name!r}; there are {', '.join(BY_NAME)}")
    return known


def account_of(settings: Settings, provider: str, slug: str | None) -> Account:
    """Return the account, which needs no *slug* where there is but one; raise LookupError with a sentence."""
    _provider(provider)
    slugs = [known for name, known in settings.accounts if name == provider]
    if slug is None and len(slugs) == 1:
        slug = slugs[0]
    account = settings.accounts.get((provider, slug or ""))
    if account is None:
        there = ", ".join(slugs) or "none"
        raise LookupError(f"name the account with --account; the configuration has for {provider}: {there}")
    return account


def _short(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return "page" if text.startswith("<!doctype") else text[:100]
