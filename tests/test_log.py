"""One line a callback, and only words of ours in it."""

import logging
from datetime import datetime

import pytest

from receiver import log
from receiver.message import Outcome
from tests.lines import Lines


def test_a_callback_is_one_line_of_json(logged: Lines) -> None:
    log.callback(log.Line("id-1", "paratika", "shop", "return", Outcome.ACCEPTED, events=["e1"]), 1.23456)
    (line,) = logged

    assert datetime.fromisoformat(line.pop("time")).tzinfo
    assert line == {
        "event": "callback",
        "level": "info",
        "request_id": "id-1",
        "ms": 1.23,
        "provider": "paratika",
        "account": "shop",
        "channel": "return",
        "outcome": "accepted",
        "event_id": "e1",
    }


def test_other_lines_are_json_too(logged: Lines) -> None:
    log.note("started", workers=2)
    (line,) = logged

    assert (line["event"], line["workers"]) == ("started", 2)


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome.ACCEPTED, "info"),
        (Outcome.DUPLICATE, "info"),
        (Outcome.HELD, "info"),
        (Outcome.QUARANTINED, "error"),
        (Outcome.UNAVAILABLE, "error"),
        (Outcome.REFUSED, "warning"),
        (Outcome.SPOOLED, "warning"),
    ],
)
def test_what_a_person_must_look_at_is_an_error(outcome: Outcome, level: str, logged: Lines) -> None:
    log.callback(log.Line("id-1", outcome=outcome), 1)

    assert logged[0]["level"] == level


def test_several_events_are_listed_and_what_is_empty_is_left_out(logged: Lines) -> None:
    log.callback(log.Line("id-1", outcome=Outcome.ACCEPTED, events=["a", "b"]), 1)
    log.callback(log.Line("id-2"), 1)

    assert logged[0]["event_id"] == ["a", "b"]
    assert logged[1] | {"time": ""} == {
        "time": "",
        "event": "callback",
        "level": "warning",
        "request_id": "id-2",
        "ms": 1,
        "outcome": "refused",
    }


@pytest.mark.parametrize("name", ["gunicorn.error", "ulak"])
def test_what_the_server_logs_names_no_address_and_no_request(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(name)
    before = list(logger.filters)
    log.guard_server_logs()
    log.guard_server_logs()
    try:
        assert len(logger.filters) <= len(before) + 1
        with caplog.at_level("INFO", logger=name):
            logger.error("Error handling request %s", "/callbacks/paynet/shop/refund/a-token?msisdn=5000000007")
            logger.warning("Invalid request from ip=%s: Invalid header: %s", "10.0.0.1", "a-token: 5000000007")
            logger.info("Listening at: %s", "http://127.0.0.1:8000")
    finally:
        logger.filters[:] = before
    told = [record.getMessage() for record in caplog.records]

    assert "a-token" not in repr(told)
    assert "5000000007" not in repr(told)
    assert told[0] == "Error handling request /callbacks/[hidden]"
    assert told[2] == "Listening at: http://127.0.0.1:8000"
