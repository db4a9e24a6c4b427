"""Calls to a provider's API, over real sockets, to servers that behave badly."""

import datetime as dt
import http.server
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from receiver.asking import Answered, Call, Conversation, QueryError, Trouble
from receiver.event import Kind, Statement
from workers import outgoing

pytestmark = pytest.mark.integration

Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


@contextmanager
def serving(answer: Answer, wrap: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve *answer* to every request on a port of its own; yield the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if wrap:
        server.socket = wrap.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'https' if wrap else 'http'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def says(status: int, body: bytes, **headers: str) -> Answer:
    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def trouble_of(address: str, read_timeout: float = 5.0) -> Trouble:
    with pytest.raises(QueryError) as caught:
        outgoing.transport(read_timeout)(Call("GET", f"{address}/secret-path", {"Authorization": "secret"}))

    assert "secret" not in str(caught.value)
    return caught.value.trouble


def test_an_answer_comes_with_status_and_bytes() -> None:
    with serving(says(404, b"{}")) as address:
        assert outgoing.transport()(Call("GET", address)) == Answered(404, b"{}")


def test_a_redirect_is_not_followed() -> None:
    with serving(says(200, b"inside")) as inside, serving(says(302, b"", Location=inside)) as address:
        assert outgoing.transport()(Call("GET", address)).status == 302


def test_an_answer_of_a_megabyte_and_more_is_not_read() -> None:
    with serving(says(200, b" " * (outgoing.LARGEST + 1))) as address:
        assert trouble_of(address) is Trouble.API_UNREADABLE


def test_nobody_there_is_no_answer() -> None:
    with serving(says(200, b"")) as address:
        pass

    assert trouble_of(address) is Trouble.NO_ANSWER


def test_a_server_that_hangs_is_no_answer() -> None:
    with serving(lambda _handler: time.sleep(1)) as address:
        assert trouble_of(address, 0.2) is Trouble.NO_ANSWER


def test_an_answer_that_breaks_off_is_no_answer() -> None:
    def cut(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")

    with serving(cut) as address:
        assert trouble_of(address) is Trouble.NO_ANSWER


def test_a_certificate_that_nobody_vouches_for_is_no_answer(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(days=1))
    certificate = made.sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    both = tmp_path / "both.pem"
    both.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)

    with serving(says(200, b"{}"), context) as address:
        assert trouble_of(address) is Trouble.NO_ANSWER


def test_a_conversation_is_held_to_its_end() -> None:
    statement = Statement(Kind.PAYMENT_SUCCEEDED, ("a",), "1")

    def conversation() -> Conversation:
        first = yield Call("GET", "one")
        second = yield Call("GET", first.body.decode())
        return [statement] if second.status == 200 else []

    def make(call: Call) -> Answered:
        return Answered(200, b"two") if call.url == "one" else Answered(200, call.url.encode())

    assert outgoing.ask(conversation(), make) == [statement]
