"""What the spool gives back is what it was given, and nothing in it is in clear that is not in clear in Redis."""

import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from receiver import spool
from receiver.account import Confirm
from receiver.errors import Later, Reason, Unavailable
from receiver.message import CallbackRequest, Media
from receiver.ports import Ask, Entry, State, Target, Unreadable
from receiver.providers import BY_NAME
from receiver.rows import SpoolFile
from receiver.seal import Sealer
from receiver.spool import Spool
from tests.desk import Desk
from tests.facts import NOW, event_of
from tests.lines import Lines
from tests.memory import MemorySink
from tests.samples import readable, vectors

SHOPPER = "5321234567"
AWAY = MemorySink(Unavailable(Reason.REDIS_UNREACHABLE, "TimeoutError"))
ASK = Ask("watch", 120, 3600, b'{"order":"\xc3\xb6"}', claimed=True)
WHOLE = Entry(
    event_of(),
    (Target("orders", "orders", "shop.tasks.paid"), Target("ledger", "l", "shop.tasks.booked")),
    b"\x01sealed",
    hold=True,
    state=State("state", "callback"),
    ended=("a", "b"),
    told=("c",),
    ask=ASK,
    judge=True,
)


@pytest.fixture
def file(tmp_path: Path) -> SpoolFile:
    return SpoolFile(tmp_path, 1 << 20)


def shown(answer: TestResponse) -> tuple[int, str, str]:
    """Return an answer without the request's id; a signed result ends in the time and its signature."""
    address = answer.headers.get("Location", "").partition("&ts=")[0]
    return answer.status_code, re.sub(r"[0-9a-f]{32}", "", answer.text), address


def back(file: SpoolFile) -> Entry | Unreadable:
    (row,) = file.next(0, 10)
    return spool.read(row)


class TestAnEntry:
    def test_comes_back_whole(self, file: SpoolFile) -> None:
        """A new field of an entry that the spool leaves out would be lost on every callback that goes this way."""
        # A claim rests on what was read in Redis, so there is none before it is drained.
        assert [one.name for one in fields(Entry) if getattr(WHOLE, one.name) == one.default] == ["claim"]
        Spool(file).accept([WHOLE])
        found = back(file)

        assert isinstance(found, Entry)
        assert found.event.to_json() == WHOLE.event.to_json()
        assert found.event.id == WHOLE.event.id
        assert replace(found, event=WHOLE.event) == WHOLE

    @pytest.mark.parametrize("provider", BY_NAME)
    def test_of_any_provider_comes_back_byte_for_byte(self, provider: str, file: SpoolFile) -> None:
        entries: dict[str, Entry] = {}
        for vector in readable(provider):
            desk = vector.desk()
            vector.send(desk)
            entries = desk.sink.entries | entries
        Spool(file).accept(list(entries.values()))
        rows = file.next(0, 1000)

        assert len(rows) == len(entries) > 5
        for row, entry in zip(rows, entries.values(), strict=True):
            found = spool.read(row)
            assert isinstance(found, Entry)
            assert (found.event.id, found.event.to_json()) == (entry.event.id, entry.event.to_json())
            assert (found.routes, found.request, found.ask) == (entry.routes, entry.request, entry.ask)

    def test_is_released_for_a_browser_where_it_waits_for_no_confirmation(self, file: SpoolFile) -> None:
        sink, held = Spool(file), replace(WHOLE, event=event_of(fact_key=("2",)))
        free = replace(WHOLE, hold=False)

        assert [(one.new, one.released) for one in sink.accept([free, held])] == [(True, True), (True, False)]
        assert [(one.new, one.released) for one in sink.accept([held, free])] == [(False, False), (False, True)]

    def test_that_cannot_be_read_says_so_by_an_error_of_three_kinds(self, file: SpoolFile) -> None:
        Spool(file).accept([WHOLE])
        (row,) = file.next(0, 1)
        for head in (b"", b"{}", b"[]", row.head.replace(b'"claimed"', b'"another"'), row.head.replace(b"paym", b"x")):
            with pytest.raises((LookupError, TypeError, ValueError)):
                spool.read(replace(row, head=head))


class TestAnUnreadableCallback:
    KEPT = Unreadable(
        "payguru",
        "shop",
        "conflicting_field",
        "0f" * 32,
        CallbackRequest("transaction", "", b"", b"", None, NOW, "request-1", "iso-8859-9"),
        b"\x01sealed",
        ASK,
        "env:TOKEN",
        "ORDER-1",
    )

    def test_comes_back_whole_but_for_what_is_sealed(self, file: SpoolFile) -> None:
        assert all(getattr(self.KEPT, one.name) for one in fields(Unreadable))
        sent = CallbackRequest(
            "transaction", "POST", b"a=1", b"b=2", Media.FORM, NOW, "request-1", "iso-8859-9", "203.0.113.9"
        )
        for _ in range(2):
            Spool(file).quarantine(replace(self.KEPT, callback=sent))

        assert back(file) == self.KEPT


class TestTheSpool:
    def test_does_not_know_what_was_announced(self, file: SpoolFile) -> None:
        with pytest.raises(Later):
            Spool(file).expected("paratika", "shop", "ORDER-1")

    def test_is_ready_where_a_row_could_be_written_and_keeps_none(self, file: SpoolFile) -> None:
        sink = Spool(file)
        sink.ready()

        assert file.path.exists()
        assert file.next(0, 1) == []

    def test_drops_a_refusal_in_silence(self, file: SpoolFile) -> None:
        Spool(file).refuse("a", "b", "c", "bad_token", "request-1")

        assert not file.path.exists()

    def test_has_nothing_in_clear_that_redis_has_not(self, file: SpoolFile) -> None:
        """The shopper's number is sent in the query; the event has it masked, the sealed bytes have it encrypted."""
        desk = Desk(sink=AWAY, spool=Spool(file), sealer=Sealer([b"k" * 32]))
        for more in ("", "&status=4"):  # the second cannot be read, and goes to quarantine
            query = f"txId=77&status=3&order=M-77&amount=12.00&msisdn={SHOPPER}&zz=stranger{more}"
            assert desk.send("payguru", "transaction", method="GET", query_string=query).status_code == 200
        first, second = file.next(0, 10)

        assert isinstance(spool.read(first), Entry)
        assert isinstance(spool.read(second), Unreadable)
        written = b"".join(path.read_bytes() for path in file.folder.iterdir())
        for secret in (SHOPPER, "stranger", "route-token-0123456789", "msisdn=", "zz="):
            assert secret.encode() not in written, secret


class TestAnswers:
    @pytest.mark.parametrize("provider", BY_NAME)
    def test_to_a_spooled_callback_are_those_to_a_stored_one(self, provider: str, file: SpoolFile) -> None:
        for vector in (one for one in vectors() if one.provider == provider):
            desk, away = vector.desk(), replace(vector.desk(), sink=AWAY, spool=Spool(file))
            stored, spooled = vector.send(desk), vector.send(away)
            assert shown(spooled) == shown(stored), vector
            assert away.outcome == {"accepted": "spooled"}.get(desk.outcome, desk.outcome), vector

    def test_to_a_browser_are_pending_where_the_fact_waits_for_confirmation(self, tmp_path: Path) -> None:
        vector = next(one for one in readable("paratika") if one.expect.get("type") == "payment.succeeded")
        held = replace(vector, account={**vector.account, "confirm": Confirm.UNPROVEN})
        outcomes = []
        for number, one in enumerate((vector, held)):
            desk = replace(one.desk(), sink=AWAY, spool=Spool(SpoolFile(tmp_path / str(number), 1 << 20)))
            outcomes += ["outcome=succeeded" in one.send(desk).headers["Location"] for _ in range(2)]

        assert outcomes == [True, True, False, False]

    def test_are_503_with_the_spools_own_trouble_where_that_fails_too(self, tmp_path: Path, logged: Lines) -> None:
        (tmp_path / "file").write_text("")
        desk = Desk(sink=AWAY, spool=Spool(SpoolFile(tmp_path / "file", 1 << 20)))
        vector = readable("payguru")[0]
        answer = vector.send(desk)
        (line,) = logged

        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
        assert answer.json["error"] == "spool_refused"  # type: ignore[index]
        assert (line["outcome"], line["reason"], line["detail"]) == ("unavailable", "spool_refused", "FileExistsError")

    def test_leave_a_line_that_says_why_it_was_spooled(self, file: SpoolFile, logged: Lines) -> None:
        desk = Desk(sink=AWAY, spool=Spool(file))
        readable("payguru")[0].send(desk)
        (line,) = logged

        assert (line["outcome"], line["reason"], line["detail"]) == ("spooled", "redis_unreachable", "TimeoutError")
        assert line["level"] == "warning"
        assert desk.metrics.callbacks[0][3:] == ("spooled", "redis_unreachable")
        assert desk.metrics.kinds == []  # counted when it is drained
