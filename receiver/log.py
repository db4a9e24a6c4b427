"""One structured line a request, as JSON on standard output. Nothing secret and nobody's data is ever in it."""

import logging
import re
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from receiver.message import Outcome


@dataclass(slots=True)
class Line:
    """What is known of a request while it is handled; names come from the configuration, words from our enums."""

    request_id: str
    provider: str = ""
    account: str = ""
    channel: str = ""
    outcome: str = Outcome.REFUSED
    reason: str = ""
    detail: str = ""  # field names of our own schemas, an error's class and place
    key_id: str = ""
    events: list[str] = field(default_factory=list)


_INVALID = "Invalid request"
_ADDRESS = re.compile(r"/callbacks\S*", re.IGNORECASE)

_LEVELS: dict[str, str] = {
    Outcome.QUARANTINED: "error",
    Outcome.UNAVAILABLE: "error",
    Outcome.REFUSED: "warning",
    Outcome.SPOOLED: "warning",
}


def callback(line: Line, milliseconds: float) -> None:
    _line("callback", line, milliseconds)


def announcement(line: Line, milliseconds: float) -> None:
    _line("expected", line, milliseconds)


def _line(event: str, line: Line, milliseconds: float) -> None:
    """Write the line: an error for what a person must look at, a warning for what was refused."""
    known: dict[str, Any] = {
        "level": _LEVELS.get(line.outcome, "info"),
        "event": event,
        "request_id": line.request_id,
        "ms": round(milliseconds, 2),
        "provider": line.provider,
        "account": line.account,
        "channel": line.channel,
        "outcome": line.outcome,
        "reason": line.reason,
        "detail": line.detail,
        "key_id": line.key_id,
        "event_id": line.events[0] if len(line.events) == 1 else line.events,
    }
    _write({name: value for name, value in known.items() if value})


def note(event: str, **known: object) -> None:
    """Write any other line of the receiver's own life."""
    _write({"level": "info", "event": event, **known})


def _write(line: dict[str, Any]) -> None:
    """Put one JSON object on standard output in one piece, so that lines of several workers do not mix."""
    line["time"] = datetime.now(UTC)
    out = sys.stdout.buffer
    out.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))
    out.flush()


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
