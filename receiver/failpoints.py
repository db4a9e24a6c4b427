"""
Places where a test lets a process die: ``ULAK_FAILPOINT=spool.after_commit`` kills it with SIGKILL when it gets there.

``spool.after_commit:3`` does so at the third time, counted in each process for itself. The variable is read once, at
the import; without it ``reach`` does nothing. Never set it where callbacks matter.
"""

import os
import signal
from collections.abc import Callable

# What has been done when a process dies at the point; nothing of it may be lost, and nothing come twice.
POINTS = {
    "accept.before": "the callback is proven and read, and the store has not been asked",
    "redis.sent": "a command is on its way to Redis, and its answer has not been read",
    "accept.after": "the store has it, and the provider has no answer",
    "spool.before_commit": "the row is written in the spool's transaction",
    "spool.after_commit": "the row is in the spool, and the provider has no answer",
    "drain.before_accept": "rows have been read from the spool",
    "drain.after_accept": "Redis has them, and they are still in the spool",
    "drain.before_commit": "they are deleted in the spool's transaction",
    "drain.after_commit": "they are gone from the spool",
}


def _pass(point: str) -> None:
    """Go on: no point is armed."""


def _armed(wanted: str) -> Callable[[str], None]:
    point, _, number = wanted.partition(":")
    if point not in POINTS or not (number or "1").isdecimal():
        raise ValueError(f"ULAK_FAILPOINT must be one of {', '.join(POINTS)}, with :N behind it for the N-th time")
    left = int(number or "1")

    def reach(at: str) -> None:
        nonlocal left
        if at == point:
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return reach


_named = os.environ.get("ULAK_FAILPOINT", "")
reach: Callable[[str], None] = _armed(_named) if _named else _pass
