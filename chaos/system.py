"""The whole system on this machine: Redis behind two proxies, gunicorn, RQ workers, the played APIs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis

from chaos import consumer, processes
from chaos.parts import ROOT, ChaosError, Part, Web, until
from receiver import config
from receiver.event import Kind
from workers import local_redis, sandbox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from random import Random

    from chaos.processes import Process

BIN = Path(sys.executable).parent
# What gives money goes to workers that fork, as a shop's would; the rest to one that does not, for that is quicker.
_MONEY = ("payment.succeeded", "payment.authorized", "payment.refunded", "payment.partially_refunded")
_REST = tuple(kind.value for kind in Kind if kind not in _MONEY)
_ROUTES = (("orders", _MONEY), ("ledger", _MONEY[:1]), ("rest", _REST))
_ROUTE = """
[[routes]]
name = "{0}"
queue = "{0}"
job = "chaos.consumer.on_event"
kinds = {1}
min_trust = "claimed"
"""
# Its times are shortened, as those of the senders are.
_KEEPER = """
[keeper]
every = "1 s"
grace = "3 s"
lease = "5 s"
"""
_TICK = 0.1
_JSON = "rq.serializers.JSONSerializer"
SIDES = ("web", "work")  # a proxy for the receiver, one for everybody else
_OURS = ("ULAK_", "REDIS_URL", "PROMETHEUS_", "RQ_", "WEB_CONCURRENCY", "COV_", "GUNICORN_", "CHAOS_")


@dataclass
class System:
    """Started by ``with``; ended, whatever came of it, by its process ids."""

    seed: str
    pace: float = 1.0  # how long what lasts does last; a short run has less time
    web_workers: int = 3
    more_settings: str = ""
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ulak-chaos-")))
    parts: dict[str, Part] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)  # who starts and kills parts
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        processes.adopt()
        self.port, api = _free_port(), _free_port()
        (self.folder / "log").mkdir()
        (self.folder / "data").mkdir()
        self.shop = self.folder / "shop.db"
        consumer.create(self.shop)
        self.config = sandbox.write(self.folder, f"http://127.0.0.1:{api}")
        before, _, behind = self.config.read_text().partition("[[routes]]")
        accounts = before + behind[behind.index("[[accounts]]") :]
        routes = (_ROUTE.format(name, list(kinds)) for name, kinds in _ROUTES)
        self.config.write_text("".join((self.more_settings, accounts, *routes, _KEEPER)))
        self._start_all(api)
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()
        return self

    def _start_all(self, api: int) -> None:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        env = plain | {"PATH": f"{BIN}{os.pathsep}{plain.get('PATH', '')}", "PYTHONPATH": str(ROOT)}
        env |= {
            "ULAK_CONFIG": str(self.config),
            "ULAK_DATA": str(self.folder / "data"),
            consumer.DATABASE: str(self.shop),
        }
        urls = self._start_store(env)
        self._add("api", [sys.executable, "-m", "workers.sandbox_api", str(api)], env)
        self._add_web(env | {"REDIS_URL": urls["web"]})
        self._add_workers(env | {"REDIS_URL": urls["work"]})
        until(self.is_ready, f"the receiver is ready; see {self.folder / 'log'}")

    def _start_store(self, env: Mapping[str, str]) -> Mapping[str, str]:
        """Start Redis and the proxies before it; return the addresses for receiver and workers."""
        binary = local_redis.find_server()
        if binary is None:
            raise ChaosError(local_redis.MISSING)
        self.redis_socket = local_redis.socket_path(self.folder)
        url = local_redis.url(self.redis_socket)
        self.client = redis.Redis.from_url(url, socket_timeout=10)
        server = local_redis.server(binary, self.folder / "redis", self.redis_socket, None, {})
        self._add("redis", server.argv, env)
        if not local_redis.wait(url):
            raise ChaosError(f"Redis does not start; see {self.folder / 'log' / 'redis.log'}")
        urls = {}
        for side in SIDES:
            listen = self.redis_socket.with_name(f"{side}.sock")
            argv = [sys.executable, "-m", "chaos.proxy", str(listen), str(self.redis_socket), f"{self.seed} {side}"]
            self._add(f"proxy-{side}", argv, env, orders=True)
            until(listen.exists, f"the proxy {side} listens")
            urls[side] = local_redis.url(listen)
        return urls

    def _add(self, name: str, argv: Sequence[str], env: Mapping[str, str], *, orders: bool = False) -> None:
        part = Part(name, argv, dict(env), self.folder / "log" / f"{name}.log", orders=orders)
        part.start()
        self.parts[name] = part

    def _add_web(self, env: Mapping[str, str]) -> None:
        pids = self.folder / "gunicorn.pid"
        where = ("--bind", f"127.0.0.1:{self.port}", "--workers", str(self.web_workers), "--pid", str(pids))
        argv = script("gunicorn", "-c", "deploy/gunicorn.conf.py", *where, "wsgi:app")
        part = Web("web", argv, dict(env), self.folder / "log" / "web.log", pids=pids)
        part.start()
        self.parts["web"] = part

    def _add_workers(self, env: Mapping[str, str]) -> None:
        """Ulak's workers for orders and questions, one more for orders, RQ's own for the ledger, and a quick one."""
        own = [queue for queue in self.settings.queues if queue not in {"ledger", "rest"}]
        self._add("workers", script("ulak", "worker", *(word for queue in own for word in ("--queue", queue))), env)
        self._add("worker-orders", self.own_worker("orders"), env)
        self._add("worker-ledger", self.stock_worker(env["REDIS_URL"], "ledger"), env)
        self._add("worker-rest", self.stock_worker(env["REDIS_URL"], "rest", "-w", "workers.worker.Asker"), env)
        self._add("keeper", script("ulak", "keeper"), env)

    @staticmethod
    def own_worker(queue: str) -> list[str]:
        return [sys.executable, "-m", "workers.worker", queue]

    def stock_worker(self, url: str, queue: str, *more: str) -> list[str]:
        """Return how RQ's own worker is started, with the intervals that docs/operations.md wants."""
        intervals = ("--worker-ttl", "30", "--maintenance-interval", "15", "--job-monitoring-interval", "5")
        return script("rq", "worker", "-u", url, "-S", _JSON, "--with-scheduler", *intervals, *more, queue)

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def web(self) -> Web:
        found = self.parts["web"]
        assert isinstance(found, Web)
        return found

    @property
    def settings(self) -> config.Settings:
        return config.load({"ULAK_CONFIG": str(self.config)})

    def is_ready(self) -> bool:
        return self.readiness() == "ready"

    def readiness(self) -> str:
        """Return the word that ``/readyz`` says, or nothing where nobody answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return str(json.loads(connection.getresponse().read())["status"])
        except (OSError, ValueError, http.client.HTTPException):
            return ""
        finally:
            connection.close()

    def roles(self) -> dict[str, list[Process]]:
        return processes.roles(self.web.masters())

    def outcomes(self) -> dict[str, int]:
        """Count what the receiver's own log says became of callbacks; a killed process may not have told its last."""
        found = re.findall(rb'"outcome":"(accepted|duplicate|held|spooled|unavailable)"', self.web.log.read_bytes())
        return {f"logged {word.decode()}": count for word, count in sorted(Counter(found).items())}

    @property
    def spool(self) -> Path:
        return self.folder / "data" / "spool.db"

    def fault(self, side: str, order: str) -> None:
        """Give the proxy of one side an order."""
        self.parts[f"proxy-{side}"].order(order)

    def heal(self) -> None:
        for side in SIDES:
            self.fault(side, "none")

    def _keep(self) -> None:
        """Start again what has died, and let zombies go."""
        while not self._ended.wait(_TICK):
            with self.lock:
                for part in self.parts.values():
                    part.tick()
                processes.reap([part.process.pid for part in self.parts.values() if part.process])

    def lasting(self, dice: Random, least: float, most: float) -> float:
        """Draw how long something lasts, in seconds."""
        return dice.uniform(least, most) * self.pace

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._keeper.join()
        self.client.close()
        for part in self.parts.values():
            part.held = True
        everyone = [one.pid for one in processes.below(os.getpid())]
        processes.kill(everyone, signal.SIGCONT)
        processes.kill([part.process.pid for part in self.parts.values() if part.process], signal.SIGTERM)
        time.sleep(0.5)
        processes.kill([one.pid for one in reversed(processes.below(os.getpid()))])
        for part in self.parts.values():
            if part.process:
                if part.process.stdin:
                    with contextlib.suppress(OSError):
                        part.process.stdin.close()
                part.process.wait()
        processes.reap([])

    def forget(self) -> None:
        """Remove logs and data; a run that failed keeps them."""
        shutil.rmtree(self.folder, ignore_errors=True)


def script(name: str, *words: str) -> list[str]:
    return [sys.executable, str(BIN / name), *words]


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
