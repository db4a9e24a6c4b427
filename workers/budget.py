"""
How often a provider may be asked: counted in Redis, so that all workers share one budget.

A Rule limits a span that moves with the clock: its slots are counted each for itself and forgotten one by one, so it
does not matter when a provider begins its day or its second, which no page says. The clock is Redis's, one for all.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson
import redis

from receiver import signing
from receiver.account import Account, Secret
from receiver.asking import Limits

_KEY = "ulak:budget:"
_CUT = 24  # hex digits; 96 bits tell merchants and orders apart

# What a flood of unproven callbacks may make us ask. An order is asked at most 5 times after a browser's return, and
# the shopper may come back with it twice; many shoppers of a mobile network have one address; an account that sells
# more than this is asked as well, only later.
ORDER_A_DAY = 12
SOURCE_AN_HOUR = 60
ACCOUNT_AN_HOUR = 600
CLAIMED_PART = 4  # the part of a provider's own day budget that is theirs: a quarter


@dataclass(frozen=True, slots=True)
class Rule:
    """At most *limit* in any *slots* slots of *width* seconds, which are counted under *key*."""

    key: str
    limit: int
    width: float
    slots: int

    @property
    def span(self) -> float:
        return self.width * self.slots


def merchant(account: Account) -> str:
    """
    Name whom the provider counts: two slugs with the same credentials are one merchant and share a budget.

    Keyed where the configuration has a ``data_key``, so that nobody who reads Redis can try passwords on it.
    """
    parts = sorted((name, _plain(value)) for name, value in account.api.items())
    text = orjson.dumps([account.provider, parts])
    return f"{account.provider}:{signing.hex_hmac_sha256(account.pseudonym_key or b'budget', text)[:_CUT]}"


def _plain(value: object) -> str:
    # As hex, for a secret is bytes of any kind. An address means the same with a slash at its end and without.
    return value.value.hex() if isinstance(value, Secret) else str(value).rstrip("/")


def a_second(whose: str, limit: int) -> Rule:
    """Eleven tenths: wherever a second begins, it lies within eleven of them."""
    return Rule(f"{_KEY}{whose}:second", limit, 0.1, 11)


def a_day(whose: str, limit: int, word: str = "day") -> Rule:
    """Twenty-four whole hours: a day of any time zone that begins at a whole hour is such a span."""
    return Rule(f"{_KEY}{whose}:{word}", limit, 3600, 24)


def _an_hour(whose: str, limit: int, word: str) -> Rule:
    return Rule(f"{_KEY}{whose}:{word}", limit, 300, 12)


def of_call(whose: str, limits: Limits, *, verified: bool) -> tuple[Rule, ...]:
    """Return the rules for one call of a question: the provider's own, and for unproven ones their part of the day."""
    wanted = (
        a_second(whose, limits.per_second),
        a_day(whose, limits.per_day),
        *(() if verified else (a_day(whose, math.ceil(limits.per_day / CLAIMED_PART), "day-claimed"),)),
    )
    return tuple(rule for rule in wanted if rule.limit)


def of_claim(whose: str, source: str) -> tuple[Rule, ...]:
    """Return the rules for one question that an unproven callback raised; an unknown source has none of its own."""
    source_rule = (_an_hour(whose, SOURCE_AN_HOUR, f"source:{_digest(source)}"),) if source else ()
    return (_an_hour(whose, ACCOUNT_AN_HOUR, "claimed"), *source_rule)


def of_order(whose: str, order: str) -> Rule:
    """Return the rule for the questions about one order that unproven callbacks raised."""
    return a_day(whose, ORDER_A_DAY, f"order:{_digest(order)}")


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_CUT]


# KEYS: a hash for each rule, slot -> count. ARGV: the time in seconds, "" for Redis's own; then for each rule: limit,
# width, slots. Returns 0 once it has counted one under every key, or the place of the first rule that says no and
# counted nowhere. It is one step for Redis, so two workers never both take the last place.
_TAKE = """
local at = tonumber(ARGV[1])
if not at then
  local time = redis.call('TIME')
  at = time[1] + time[2] / 1000000
end
local slot, old = {}, {}
for i, key in ipairs(KEYS) do
  local limit, width, slots = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local sum = 0
  slot[i], old[i] = math.floor(at / width), {}
  local counts = redis.call('HGETALL', key)
  for j = 1, #counts, 2 do
    if tonumber(counts[j]) > slot[i] - slots then
      sum = sum + tonumber(counts[j + 1])
    else
      table.insert(old[i], counts[j])
    end
  end
  if sum >= limit then return i end
end
for i, key in ipairs(KEYS) do
  if #old[i] > 0 then redis.call('HDEL', key, unpack(old[i])) end
  redis.call('HINCRBY', key, string.format('%d', slot[i]), 1)
  redis.call('PEXPIRE', key, math.ceil(ARGV[3 * i] * (ARGV[3 * i + 1] + 1) * 1000))
end
return 0
"""


class Budget:
    """Counts under rules. *now*, where given, stands for Redis's clock."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._take = client.register_script(_TAKE)

    def take(self, rules: Sequence[Rule], now: datetime | None = None) -> Rule | None:
        """Count one under all *rules* and return None; or count nothing and return the first rule that says no."""
        if not rules:
            return None
        numbers = [number for rule in rules for number in (rule.limit, rule.width, rule.slots)]
        args = [now.timestamp() if now else "", *numbers]
        place: Any = self._take(keys=[rule.key for rule in rules], args=args)
        return rules[place - 1] if place else None

    def give_back(self, rule: Rule) -> None:
        """Count one less, where what was counted came to nothing."""
        with self._client.pipeline(transaction=True) as pipe:
            pipe.hincrby(rule.key, str(math.floor(time.time() / rule.width)), -1)
            pipe.expire(rule.key, math.ceil(rule.span + rule.width))
            pipe.execute()

    def spent(self, rule: Rule, now: datetime | None = None) -> int:
        """Return how much of *rule* is counted."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(rule.key)
            pipe.time()
            answered: Any = pipe.execute()
        counts: Mapping[bytes, bytes] = answered[0]
        oldest = math.floor((now.timestamp() if now else answered[1][0]) / rule.width) - rule.slots
        return sum(int(count) for slot, count in counts.items() if int(slot) > oldest)
