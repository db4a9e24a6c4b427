"""How often a provider may be asked: counted in Redis, so that all workers share one budget."""

from datetime import UTC, datetime
from typing import Any

import redis

from receiver.asking import Limits

_KEY = "ulak:budget:"
_DAY = 24 * 3600


class Budget:
    """Counts questions a day and a second for each account of a provider."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def take(self, provider: str, account: str, limits: Limits, now: datetime | None = None) -> bool:
        """Count one question; say whether it may be asked. A refused one costs a second's place, never the day's."""
        at = now or datetime.now(UTC)
        whose = f"{_KEY}{provider}:{account}:"
        if limits.per_second and self._count(f"{whose}{int(at.timestamp())}", 5) > limits.per_second:
            return False
        return not limits.per_day or self._count(f"{whose}{at:%Y%m%d}", 2 * _DAY) <= limits.per_day

    def _count(self, key: str, lives: int) -> int:
        with self._client.pipeline(transaction=True) as pipe:
            pipe.incr(key)
            pipe.expire(key, lives)
            counted: Any = pipe.execute()[0]
        return int(counted)
