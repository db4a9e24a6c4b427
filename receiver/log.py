"""One structured line a callback, as JSON on standard output. Nothing secret and nobody's data is ever in it."""

import logging
import re
import sys
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from receiver.message import Outcome


@dataclass(slots=True)
class Line:
    """What is known of a callback while it is handled; names come from the configuration, words from our enums."""

    request_id: str
    provider: str = ""
    account: str = ""
    channel: str = ""
    outcome: Outcome = Outcome.REFUSED
    reason: str = ""
    detail: str = ""  # field names of our own schemas, an error's class and place
    key_id: str = ""
    events: list[str] = field(default_factory=list)


def configure() -> None:
    """Write JSON lines straight to standard output; a reader of containers and of files alike finds them there."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_dumps),
        ],
        logger_factory=structlog.BytesLoggerFactory(file=sys.stdout.buffer),
        wrapper_class=structlog.make_filtering_bound_logger("info"),
        cache_logger_on_first_use=True,
    )


def _dumps(value: object, **_kwargs: object) -> bytes:
    return orjson.dumps(value)


_INVALID = "Invalid request"
_ADDRESS = re.compile(r"/callbacks\S*", re.IGNORECASE)

_logger = structlog.get_logger()
_ALARMING = {Outcome.QUARANTINED: "error", Outcome.UNAVAILABLE: "error", Outcome.REFUSED: "warning"}


def callback(line: Line, milliseconds: float) -> None:
    """Write the line: an error for what a person must look at, a warning for what was refused."""
    known: dict[str, Any] = {
        name: value
        for name, value in (
            ("provider", line.provider),
            ("account", line.account),
            ("channel", line.channel),
            ("outcome", line.outcome.value),
            ("reason", line.reason),
            ("detail", line.detail),
            ("key_id", line.key_id),
            ("event_id", line.events[0] if len(line.events) == 1 else line.events),
        )
        if value
    }
    write = getattr(_logger, _ALARMING.get(line.outcome, "info"))
    write("callback", request_id=line.request_id, ms=round(milliseconds, 2), **known)


class _Discreet(logging.Filter):
    """Takes addresses and requests out of what the server itself logs: they hold tokens and people's numbers."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if text.startswith(_INVALID):
            # Behind the second colon gunicorn prints the request's own bytes.
            text = ": ".join(text.split(": ")[:2])
        record.msg, record.args = _ADDRESS.sub("/callbacks/[hidden]", text), ()
        return True


def guard_server_logs() -> None:
    """Clean gunicorn's error log and Flask's own, which print the address of a request that failed."""
    guard = _Discreet()
    for name in ("gunicorn.error", "ulak"):
        logger = logging.getLogger(name)
        if not any(isinstance(found, _Discreet) for found in logger.filters):
            logger.addFilter(guard)


def note(event: str, **known: object) -> None:
    """Write any other line of the receiver's own life."""
    _logger.info(event, **known)
