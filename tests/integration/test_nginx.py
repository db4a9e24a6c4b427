"""deploy/nginx.conf before a real receiver: slow clients and many connections. Needs nginx, else it is left out."""

import contextlib
import http.client
import os
import re
import shutil
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from receiver import config, simulate
from receiver.providers import BY_NAME

from .harness import ROOT, Receiver, background, environment, free_port, until

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
pytestmark = [pytest.mark.integration, pytest.mark.skipif(NGINX is None, reason="there is no nginx here")]

SLOW, MANY = 300, 400
PATIENCE = "2s"  # in place of the file's ten seconds
MAIN = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/ulak.conf;
}}
"""


def write_certificate(folder: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "fullchain.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))


@dataclass(frozen=True)
class Front:
    """nginx, and the callback that is sent through it."""

    port: int
    trust: ssl.SSLContext
    log: Path
    path: str
    body: bytes

    def connect(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return self.trust.wrap_socket(plain, server_hostname="localhost")

    def head(self, length: int) -> bytes:
        lines = (f"POST {self.path} HTTP/1.1", "Host: localhost", "Content-Type: application/json")
        return "\r\n".join((*lines, f"Content-Length: {length}", "", "")).encode()

    def send(self) -> tuple[int, float]:
        """Send the callback as its provider does; return the status, and how long it took from the connection on."""
        begun = time.monotonic()
        connection = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=self.trust)
        try:
            connection.request("POST", self.path, self.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, time.monotonic() - begun
        finally:
            connection.close()


@pytest.fixture
def front(receiver: Receiver, tmp_path: Path) -> Iterator[Front]:
    write_certificate(tmp_path)
    port = free_port()
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    for old, new in (
        (r"listen 443 ssl;", f"listen 127.0.0.1:{port} ssl backlog=1024;"),
        (r"listen \[::\]:443 ssl;", ""),
        (r"server 127\.0\.0\.1:8000;", f"server 127.0.0.1:{receiver.port};"),
        (r"/etc/ssl/ulak/fullchain.pem", f"{tmp_path}/fullchain.pem"),
        (r"/etc/ssl/ulak/[a-z]+key.pem", f"{tmp_path}/key.pem"),
        (r"/var/log/nginx/", f"{tmp_path}/"),
        (r"(client_header_timeout|client_body_timeout) 10s", rf"\1 {PATIENCE}"),
    ):
        assert re.search(old, text), old
        text = re.sub(old, new, text)
    (tmp_path / "ulak.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(MAIN.format(user=user, folder=tmp_path))
    settings = config.load({"ULAK_CONFIG": str(receiver.config)})
    provider, account = BY_NAME["zotlo"], settings.accounts["zotlo", "shop-tr"]
    request = provider.sign(provider.scenarios["success"], account, datetime.now(UTC))
    path = simulate.path(account, provider.channels["webhook"])
    trust = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
    log = tmp_path / "ulak.log"
    argv = [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"), "-g", "daemon off;"]
    with background(argv, environment(), tmp_path / "nginx.out"):
        found = Front(port, trust, log, path, request.body)

        def ready() -> bool:
            with contextlib.suppress(OSError):
                return found.send()[0] == 200
            return False

        until(ready, f"nginx answers; see {tmp_path / 'nginx.out'}")
        yield found


class TestNginx:
    def test_keeps_slow_clients_away_from_the_receiver_and_gives_them_up(self, front: Front) -> None:
        """Two workers of gunicorn would be held by the first two of them."""
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(front.connect()) for _ in range(SLOW)]
            for number, connection in enumerate(slow):
                begun = front.head(len(front.body)) + front.body[:10]
                connection.sendall(begun[: 20 if number % 2 else len(begun)])  # in the head, or in the body
            answers = [front.send() for _ in range(20)]

            assert [status for status, _ in answers] == [200] * 20
            assert max(seconds for _, seconds in answers) < 2
            for connection in slow:
                connection.settimeout(20)
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(1000).partition(b"\r\n")[0] in {b"", b"HTTP/1.1 408 Request Time-out"}

    def test_serves_many_connections_at_once(self, front: Front) -> None:
        with contextlib.ExitStack() as stack:
            for connection in [stack.enter_context(front.connect()) for _ in range(MANY)]:
                connection.sendall(front.head(len(front.body))[:30])
            with ThreadPoolExecutor(64) as senders:
                answers = list(senders.map(lambda _: front.send(), range(MANY)))

        assert Counter(status for status, _ in answers) == {200: MANY}

    def test_writes_no_token_into_its_log(self, front: Front) -> None:
        assert front.send()[0] == 200
        until(front.log.exists, "a log")
        token = front.path.rpartition("/")[2]

        assert "POST 200" in front.log.read_text()
        assert not [path for path in front.log.parent.glob("*.log") if token in path.read_text("utf-8", "replace")]
