"""Bodies that are too long, too slow, cut off, or where none should be."""

import io
from typing import Any

import pytest

from tests.desk import FORM, Desk
from tests.samples import readable

PAID = readable("paratika")[0]


def test_a_body_past_64_kib_is_413_by_its_length(desk: Desk) -> None:
    for size, status in ((64 * 1024, 403), (64 * 1024 + 1, 413), (3 * 1024 * 1024, 413)):
        answer = desk.send("paratika", "return", data=b"a" * size, content_type=FORM)
        assert (size, answer.status_code) == (size, status)


@pytest.mark.parametrize("length", ["65537", "99999999999999999999", "9" * 5000])
def test_a_length_that_is_only_said_is_413_too(length: str, desk: Desk) -> None:
    answer = desk.send("paratika", "return", data=b"a", content_type=FORM, environ_overrides={"CONTENT_LENGTH": length})

    assert answer.status_code == 413


class Endless(io.RawIOBase):
    """A body in chunks that never ends; counts what was taken."""

    taken = 0

    def read(self, size: int = -1, /) -> bytes:
        assert size > 0
        self.taken += size
        return b"a" * size


def chunked(stream: Any) -> dict[str, Any]:
    return {
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "",
    }


def test_a_body_without_a_length_is_413_while_it_is_read(desk: Desk) -> None:
    stream = Endless()
    answer = desk.send("paratika", "return", content_type=FORM, environ_overrides=chunked(stream))

    assert answer.status_code == 413
    assert stream.taken < 2 * 1024 * 1024


def test_a_body_in_chunks_is_read_to_its_end(desk: Desk) -> None:
    answer = desk.send("paratika", "return", content_type=FORM, environ_overrides=chunked(io.BytesIO(PAID.body)))

    assert answer.status_code == 303


class Socket:
    """What gunicorn puts beside the request: a client that sends too slowly."""

    timeout: float | None = None

    def gettimeout(self) -> float | None:
        return self.timeout

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds


class Stalled(io.RawIOBase):
    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    def read(self, size: int = -1, /) -> bytes:
        assert 0 < (self.socket.timeout or 0) < 15, f"{size} bytes would be waited for"
        raise TimeoutError


def test_a_client_that_stalls_is_given_up(desk: Desk) -> None:
    socket = Socket()
    overrides = chunked(Stalled(socket)) | {"gunicorn.socket": socket}
    answer = desk.send("paratika", "return", content_type=FORM, environ_overrides=overrides)

    assert (answer.status_code, desk.reason, socket.timeout) == (400, "bad_body", None)


class Drop(io.RawIOBase):
    """A body that comes in drops."""

    def __init__(self, body: bytes) -> None:
        self.rest = io.BytesIO(body)

    def read(self, size: int = -1, /) -> bytes:
        return self.rest.read(min(size, 7))


def test_a_body_that_comes_in_drops_is_read_whole(desk: Desk) -> None:
    for overrides in (chunked(Drop(PAID.body)), {"wsgi.input": Drop(PAID.body), "CONTENT_LENGTH": str(len(PAID.body))}):
        assert desk.send("paratika", "return", content_type=FORM, environ_overrides=overrides).status_code == 303


class Broken(io.RawIOBase):
    def read(self, size: int = -1, /) -> bytes:
        raise OSError(f"cut off before {size}")


def test_a_body_that_breaks_off_is_400(desk: Desk) -> None:
    longer = {"CONTENT_LENGTH": str(len(PAID.body) + 1)}
    for overrides in (longer, chunked(Broken())):
        answer = desk.send("paratika", "return", data=PAID.body, content_type=FORM, environ_overrides=overrides)
        assert (answer.status_code, desk.reason) == (400, "bad_body")
    assert desk.sink.kept == 0


def test_a_get_with_a_body_is_400(desk: Desk) -> None:
    vector = readable("payguru")[0]
    answer = desk.send("payguru", "transaction", method="GET", query_string=vector.query.decode(), data=b"status=3")

    assert (answer.status_code, desk.reason) == (400, "bad_body")


def test_a_name_in_query_and_body_is_400(desk: Desk) -> None:
    answer = desk.send("paratika", "return", query_string="responseCode=00", data=PAID.body, content_type=FORM)

    assert (answer.status_code, desk.reason) == (400, "duplicate_field")
    assert desk.send("paratika", "return", query_string="x=1", data=PAID.body, content_type=FORM).status_code == 303


def test_the_query_of_a_post_is_not_read_as_its_body(desk: Desk) -> None:
    answer = desk.send("paratika", "return", query_string=PAID.body.decode(), content_type=FORM)

    assert (answer.status_code, desk.reason) == (403, "no_signature")
