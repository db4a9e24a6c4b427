"""Real processes for the tests: started here, polled until they answer, stopped by their own process id."""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import orjson
import redis

from workers import local_redis

from .consumer import GOT

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
JSON = "rq.serializers.JSONSerializer"
_OURS = ("ULAK_", "REDIS_URL", "PROMETHEUS_", "RQ_", "WEB_CONCURRENCY", "COV_", "GUNICORN_")


def until(check: Callable[[], T], what: str, within: float = 15.0) -> T:
    """Return the first true answer of *check*; fail with *what* was waited for."""
    end = time.monotonic() + within
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {what}")
        time.sleep(0.02)


def environment(**more: str) -> dict[str, str]:
    """Return our environment without anything that would steer Ulak, and the consumer of the tests importable."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return plain | {"PATH": f"{BIN}{os.pathsep}{plain.get('PATH', '')}", "PYTHONPATH": str(HERE)} | more


def end(process: subprocess.Popen[bytes], patience: float = 10.0) -> int:
    """Ask one process to end, kill it where it does not, and return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    if process.poll() is None:
        process.kill()
    return process.wait(patience)


def alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(pid: int) -> list[int]:
    """Return the process ids below *pid*, children first."""
    try:
        found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return found + [below for child in found for below in descendants(child)]


@contextlib.contextmanager
def ended(pids: Sequence[int]) -> Iterator[None]:
    """End these processes when the block ends, whoever their parent is by then."""
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def background(
    argv: Sequence[str], env: Mapping[str, str], log: Path, cwd: Path = ROOT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own while the block runs."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with ended(descendants(process.pid)):
            end(process)


@dataclass
class RedisServer:
    """A real server on a unix socket that keeps what it has answered for."""

    folder: Path
    options: Sequence[str] = ()
    socket: Path = field(init=False)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.socket = local_redis.socket_path(self.folder)

    @property
    def url(self) -> str:
        return local_redis.url(self.socket)

    def start(self) -> None:
        binary = local_redis.find_server()
        assert binary, local_redis.MISSING
        child = local_redis.server(binary, self.folder, self.socket, None, {})
        with (self.folder / "redis.log").open("ab") as out:
            self.process = subprocess.Popen(
                [*child.argv, *self.options], env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        assert local_redis.wait(self.url), (self.folder / "redis.log").read_text()

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def pause(self) -> None:
        """Stop it in the middle of whatever it does; its sockets stay open. Returns when it stands."""
        self.signal(signal.SIGSTOP)
        assert self.process
        stat = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "Redis stands still")

    def resume(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process:
            end(self.process)
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.folder and self.socket.parent.exists():
            self.socket.parent.rmdir()

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=10)

    def ulak(self, config: Path, **more: str) -> dict[str, str]:
        """Return the environment of every Ulak process that works on this Redis."""
        return environment(ULAK_CONFIG=str(config), ULAK_DATA=str(config.parent), REDIS_URL=self.url, **more)


@dataclass(frozen=True)
class Response:
    """What came back over HTTP, and how long that took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return orjson.loads(self.body)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        port: int = trial.getsockname()[1]
        return port


def call(
    port: int,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    method: str | None = None,
    *,
    chunked: bool = False,
) -> Response:
    """Send one request on a connection of its own; form is what a body is unless *headers* say otherwise."""
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    try:
        connection.request(
            method or ("GET" if body is None else "POST"),
            path,
            body=iter([body]) if chunked and body is not None else body,
            headers=sent | dict(headers or {}),
            encode_chunked=chunked,
        )
        answer = connection.getresponse()
        read = answer.read()
    finally:
        connection.close()
    return Response(answer.status, dict(answer.getheaders()), read, time.monotonic() - begun)


def speak(port: int, raw: bytes, *, half_close: bool = False, within: float = 20.0) -> bytes:
    """Send bytes as they are and return all that comes back; a connection closed on us gives what came until then."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=within) as stream:
        with contextlib.suppress(ConnectionError):
            stream.sendall(raw)
            if half_close:
                stream.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while piece := stream.recv(65536):
                answer += piece
    return answer


@dataclass
class Receiver:
    """A real gunicorn with two workers."""

    port: int
    config: Path
    env: Mapping[str, str]
    log: Path
    access_log: Path
    process: subprocess.Popen[bytes]

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def secret(self, name: str) -> str:
        """Return one of the sandbox's secrets by its file's name."""
        return (self.config.parent / name).read_text()

    def post(self, path: str, body: bytes, **headers: str) -> Response:
        return call(self.port, path, body, {name.replace("_", "-"): value for name, value in headers.items()})

    def get(self, path: str, **headers: str) -> Response:
        return call(self.port, path, None, {name.replace("_", "-"): value for name, value in headers.items()})

    def lines(self) -> list[dict[str, Any]]:
        """Return the structured lines of the log; what gunicorn itself says is no JSON."""
        return [orjson.loads(line) for line in self.log.read_bytes().splitlines() if line.startswith(b"{")]

    def line(self, answer: Response) -> dict[str, Any]:
        """Return the one line of the log about *answer*."""
        wanted = answer.headers["X-Request-Id"]

        def find() -> list[dict[str, Any]]:
            return [line for line in self.lines() if line.get("request_id") == wanted]

        (line,) = until(find, f"a log line of {wanted}")
        return line


def is_told(receiver: Receiver, code: int, **said: str) -> None:
    """Wait until both workers say so: each asks once a second at most, and knows of a failure by its own."""
    with ThreadPoolExecutor(8) as senders:

        def agreed() -> bool:
            answers = list(senders.map(lambda _: receiver.get("/readyz"), range(16)))
            return all((one.status, one.json()) == (code, said) for one in answers)

        until(agreed, f"/readyz says {said}")


def gunicorn(port: int, *more: str) -> list[str]:
    conf = str(ROOT / "deploy" / "gunicorn.conf.py")
    bind = f"127.0.0.1:{port}"
    return [sys.executable, "-m", "gunicorn", "-c", conf, "--bind", bind, "--workers", "2", *more, "wsgi:app"]


@contextlib.contextmanager
def receiving(config: Path, env: Mapping[str, str], *more: str) -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    port = free_port()
    log, access = config.parent / "web.log", config.parent / "access.log"
    with background(gunicorn(port, "--access-logfile", str(access), *more), env, log) as process:
        receiver = Receiver(port, config, env, log, access, process)

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(OSError):
                return receiver.get("/readyz").status == 200
            return False

        until(ready, f"the receiver is ready; see {log}")
        yield receiver


def ulak(*words: str, env: Mapping[str, str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    return subprocess.run(
        [BIN / "ulak", *words],
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rq(*words: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run RQ's own, untouched command to its end."""
    return subprocess.run(
        [BIN / "rq", *words],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def stock_worker(server: RedisServer, queue: str, *more: str) -> list[str]:
    return [str(BIN / "rq"), "worker", "-u", server.url, "-S", JSON, *more, queue]


def run_stock_worker(server: RedisServer, queue: str) -> str:
    """Let a stock worker empty *queue*, and return what it logged."""
    done = rq(*stock_worker(server, queue, "--burst")[1:], env=environment())
    assert done.returncode == 0, done.stderr

    return done.stdout + done.stderr


def got(client: redis.Redis) -> list[dict[str, Any]]:
    """Return what the jobs of consumer.py have written, in order."""
    found: Any = client.lrange(GOT, 0, -1)
    return [orjson.loads(one) for one in found]


def worker_pid(client: redis.Redis) -> int:
    """Return the process id of the one worker that RQ knows."""
    (name,) = list(client.smembers("rq:workers"))
    return int(client.hget(name, "pid") or 0)


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """Give a folder with a short path, which must be empty again when the block ends."""
    with tempfile.TemporaryDirectory(prefix="ulak-t-") as name:
        yield Path(name)
