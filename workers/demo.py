"""What ``ulak up`` shows: sandbox callbacks going in over HTTP, events coming out at the workers."""

import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import redis

from receiver import simulate, tables
from receiver.account import Account
from receiver.config import Settings
from receiver.message import CallbackRequest
from receiver.ports import Channel
from receiver.providers import BY_NAME
from workers import expect
from workers.jobs import RECEIVED

_ARRIVE_WITHIN = 30.0
_QUIET = 2.0  # seconds without an event


@dataclass(slots=True)
class Show:
    """Sends, and prints each event when a worker has it."""

    settings: Settings
    client: redis.Redis
    base: str
    say: Callable[[str], object]
    _after: str = "0"
    _source: random.Random = field(default_factory=random.SystemRandom)

    def __post_init__(self) -> None:
        newest: Any = self.client.xrevrange(RECEIVED, count=1)
        self._after = newest[0][0].decode() if newest else "0"

    def arrivals(self, wait: float) -> list[dict[str, Any]]:
        """Print and return what the workers have got since the last call; wait at most *wait* s for the first."""
        try:
            found: Any = self.client.xread({RECEIVED: self._after}, block=max(1, int(wait * 1000)))
        except redis.exceptions.RedisError:
            time.sleep(wait)
            return []
        events = []
        for entry, raw in found[0][1] if found else []:
            self._after = entry.decode()
            events.append(orjson.loads(raw[b"event"]))
            self.say(tables.event_line(events[-1]))
        return events

    def send(self, stopped: Callable[[], bool]) -> None:
        """Send one callback for every kind of event that a provider can cause, a copy, and a forgery."""
        self.say("\nsending signed sandbox callbacks of every provider; the workers get:\n")
        self.say(tables.event_heading())
        sent = 0
        proven = None
        for account, channel, request, signed in self._callbacks():
            simulate.send(self.base, simulate.path(account, channel), request)
            sent += 1
            if signed:
                proven = proven or (account, channel, request, max(signed))
        got = self._await(sent, stopped)
        self.say(f"\n{sent} callbacks sent, {got} events received by workers")
        if proven:
            account, channel, request, signed_field = proven
            where = simulate.path(account, channel)
            again = simulate.send(self.base, where, request)
            forged = simulate.send(self.base, where, simulate.tampered(request, signed_field))
            self.say(f"the first {account.provider} callback once more: {again.status}, and no second event")
            self.say(f"the same with one character of {signed_field} changed: {forged.status}, and no event")

    def ask(self, stopped: Callable[[], bool]) -> None:
        """Send callbacks of accounts that are confirmed, and one that the provider's API contradicts."""
        asked = self._asked()
        self.say("\nof these accounts nothing is told as paid until the provider's API (played here too) was asked:\n")
        self.say(tables.event_heading())
        sent = 0
        for account in asked:
            provider = BY_NAME[account.provider]
            scenario = next(iter(provider.scenarios.values()))  # what goes well comes first
            changes: list[dict[str, str]] = [{}]
            if account is asked[0]:
                # The word in the reference makes the played API name another amount.
                changes.append({scenario.unique[0]: f"ORDER-differs-{self._source.randrange(10**6)}"})
            for change in changes:
                request = provider.sign(simulate.fresh(scenario, change, self._source), account, datetime.now(UTC))
                where = simulate.path(account, provider.channels[scenario.channel])
                simulate.send(self.base, where, request)
                sent += 1
        self._await(sent, stopped)
        while not stopped() and self.arrivals(_QUIET):  # an answer may tell more than one fact
            pass

    def heal(self, stopped: Callable[[], bool]) -> None:
        """Announce an order and send no callback at all: it is found by asking."""
        account = next((account for account in self._asked() if account.expected_tokens), None)
        if account is None:
            return
        order, amount = f"ORDER-{self._source.randrange(10**6):06}", "11.76"
        self.say(
            f"\n{order} over {amount} TRY is announced at {account.provider}/{account.slug}, and its callback lost:\n"
        )
        self.say(tables.event_heading())
        names = ("provider", "account", "order_ref", "amount", "currency")
        sent = dict(zip(names, (account.provider, account.slug, order, amount, "TRY"), strict=True))
        expect.announce(expect.opened(self.settings), sent)
        self._await(1, stopped, order)

    def _asked(self) -> list[Account]:
        return [account for account in self.settings.accounts.values() if account.test and account.api]

    def _await(self, count: int, stopped: Callable[[], bool], order: str = "") -> int:
        """Wait for *count* events, of this *order* where one is named, and return how many came."""
        until = time.monotonic() + _ARRIVE_WITHIN
        got = 0
        while got < count and time.monotonic() < until and not stopped():
            got += sum(not order or event["data"]["order_ref"] == order for event in self.arrivals(0.2))
        return got

    def _callbacks(self) -> Iterator[tuple[Account, Channel, CallbackRequest, frozenset[str]]]:
        for account in self.settings.accounts.values():
            provider = BY_NAME[account.provider]
            if not account.test or account.api:
                continue
            shown: set[tuple[str, str]] = set()
            for scenario in provider.scenarios.values():
                channel = provider.channels[scenario.channel]
                request = provider.sign(simulate.fresh(scenario, {}, self._source), account, datetime.now(UTC))
                note = provider.verify(request, account, "")[0]
                kind = provider.normalize(channel.schema.load(note.fields), note, channel.name, account).kind
                if (channel.name, kind) not in shown:
                    shown.add((channel.name, kind))
                    yield account, channel, request, note.signed

    def how_to_go_on(self, env: Mapping[str, str]) -> None:
        """Print three commands to try, and how stock RQ looks at the same queue."""
        self.say("\ntry, from another terminal:\n")
        for name, scenario in (("paratika", "success"), ("payguru", "not-confirmed"), ("paynet", "success")):
            found = [account for (provider, _), account in self.settings.accounts.items() if provider == name]
            provider = BY_NAME[name]
            if found:
                made = simulate.fresh(provider.scenarios[scenario], {}, self._source)
                request = provider.sign(made, found[0], datetime.now(UTC))
                where = simulate.path(found[0], provider.channels[made.channel])
                self.say(f"  {simulate.as_curl(self.base, where, request)}\n")
        self.say(f"  .venv/bin/rq info --url '{env['REDIS_URL']}'")
        self.say(f"  ULAK_CONFIG={env['ULAK_CONFIG']} REDIS_URL='{env['REDIS_URL']}' .venv/bin/ulak events tail\n")
        self.say("events are shown as they arrive; Ctrl-C stops everything\n")
