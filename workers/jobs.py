"""The consumer that stands where the merchant's own will: it logs an event and keeps it to be looked at."""

import logging
from typing import Any

import orjson
from rq import get_current_job

RECEIVED = "ulak:received"
_KEPT = 10_000

_log = logging.getLogger("ulak.jobs")


def on_event(event: dict[str, Any]) -> None:
    """
    Take one event, as any consumer's function does.

    Written to the log are ids and words of ours, no amounts and no people; the event itself goes to the capped stream
    ``ulak:received``, which ``ulak up`` shows.
    """
    _log.info("event %s %s from %s", event["type"], event["id"], event["source"])
    job = get_current_job()
    if job is not None:
        job.connection.xadd(RECEIVED, {"event": orjson.dumps(event), "job": job.id}, maxlen=_KEPT, approximate=True)
