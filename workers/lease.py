"""
One keeper a system: a key in Redis that ends by itself unless whoever wrote it renews it.

The clock is Redis's own. Whatever the keeper writes, it writes by scripts that look at the lease first, in the same
step, so a keeper that was stopped in the middle of its work and goes on after its lease does no harm.
"""

import os
import secrets
import socket
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

import redis

LEASE = "ulak:keeper"

# Every script here compares the token. Returns 2 for a lease that is new, 1 for one renewed, 0 where another has it.
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return holder and 1 or 2
"""
_DROP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""
_NO_LEASE = "NOLEASE"
_FENCE = f"""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return redis.error_reply('{_NO_LEASE} another keeper may act') end
"""


class LostError(Exception):
    """The lease is another keeper's, or nobody's; nothing was written."""


class Held(IntEnum):
    """Who has the lease after we tried."""

    BY_ANOTHER = 0
    STILL = 1
    NEWLY = 2


class Lease:
    """Ours for *seconds* after each ``hold``."""

    def __init__(self, client: redis.Redis, seconds: float) -> None:
        # Who reads the key learns where the keeper runs; the digits make it one of its kind.
        self.token = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
        self._client = client
        self._milliseconds = int(seconds * 1000)
        self._scripts: dict[str, Any] = {}

    def hold(self) -> Held:
        """Take the lease where nobody has it, renew it where we have it."""
        return Held(self._call(_HOLD, [], [self._milliseconds]))

    def drop(self) -> None:
        """Let another take it at once; one that is another's stays."""
        self._call(_DROP, [], [])

    def write(self, script: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """
        Run a script that writes; its own keys and arguments begin at the second. Raise LostError without the lease.

        Nothing is written then, for the lease is looked at in the same step.
        """
        try:
            return self._call(_FENCE + script, keys, args)
        except redis.exceptions.ResponseError as exc:
            if _NO_LEASE in str(exc):
                raise LostError from None
            raise

    def _call(self, text: str, keys: Sequence[str], args: Sequence[Any]) -> Any:
        if text not in self._scripts:
            self._scripts[text] = self._client.register_script(text)
        return self._scripts[text](keys=[LEASE, *keys], args=[self.token, *args])
