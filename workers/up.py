"""``ulak up``: a whole system on this machine, for development."""

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from receiver import config, connection
from receiver.errors import ConfigError
from workers import demo, local_redis, sandbox
from workers.supervisor import Child, Supervisor

_READY_WITHIN = 15.0
_PATIENCE = 10.0


class UpError(Exception):
    """The system cannot be started; each argument is one sentence."""


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def worker_child(queue: str, number: int, env: Mapping[str, str], log: Path | None, *, burst: bool = False) -> Child:
    argv = [sys.executable, "-m", "workers.worker", queue, *(["--burst"] if burst else [])]
    return Child(f"worker-{queue}-{number}", argv, env, log, restart=not burst)


def keeper_child(env: Mapping[str, str], log: Path | None) -> Child:
    return Child("keeper", [sys.executable, "-m", "workers.keeper"], env, log)


@dataclass(slots=True)
class System:
    """Redis (unless REDIS_URL names one), gunicorn, a worker for each queue; without a configuration, a sandbox."""

    bind: str
    demo: bool
    say: Callable[[str], object]
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    supervisor: Supervisor = field(default_factory=Supervisor)
    _own: Path | None = None  # a temporary folder that goes when we go

    def run(self) -> None:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.supervisor.signals())
            stack.callback(self._stop)
            settings = self._prepare()
            self._start_redis(settings)
            settings = config.load(self.env)
            base = self._start_web(settings)
            for queue in settings.queues:
                self.supervisor.start(worker_child(queue, 0, self.env, self._log("worker")))
            self.supervisor.start(keeper_child(self.env, self._log("keeper")))
            self._wait_until_ready(base)
            self.say(f"ulak is up at {base} (logs in {self._log('web').parent})")
            client = connection.client(settings.redis_url)
            stack.callback(client.close)
            show = demo.Show(settings, client, base, self.say)
            if self.demo:
                show.send(lambda: self.supervisor.stopping)
                if self._own:  # a configuration of one's own may name the providers' real APIs
                    show.ask(lambda: self.supervisor.stopping)
                    show.heal(lambda: self.supervisor.stopping)
            show.how_to_go_on(self.env)
            while not self.supervisor.stopping:
                self.supervisor.tick()
                self._check_alive()
                show.arrivals(0.2)
        self.say("stopped")

    def _prepare(self) -> config.Settings:
        """Choose the configuration; a sandbox of our own where none is named and none lies here."""
        if "ULAK_CONFIG" not in self.env and not config.locate(self.env).exists():
            self._own = Path(tempfile.mkdtemp(prefix="ulak-"))
            port = _free_port()
            written = sandbox.write(self._own, f"http://127.0.0.1:{port}")
            self.env |= {"ULAK_CONFIG": str(written), "ULAK_DATA": str(self._own)}
            argv = [sys.executable, "-m", "workers.sandbox_api", str(port)]
            self.supervisor.start(Child("sandbox-api", argv, self.env, self._log("sandbox-api")))
            self.say("no ulak.toml here: starting with sandbox accounts in a temporary folder")
        try:
            settings = config.load(self.env)
        except ConfigError as exc:
            raise UpError(*exc.faults) from None
        self.env["ULAK_DATA"] = str(settings.data)
        settings.data.mkdir(parents=True, exist_ok=True)
        return settings

    def _start_redis(self, settings: config.Settings) -> None:
        if self.env.get("REDIS_URL"):
            if not local_redis.wait(settings.redis_url, 2.0):
                raise UpError("the Redis that REDIS_URL names does not answer; start it, or unset REDIS_URL")
            return
        binary = local_redis.find_server()
        if binary is None:
            raise UpError(local_redis.MISSING)
        folder = settings.data / "redis"
        socket_at = local_redis.socket_path(folder)
        self.supervisor.start(local_redis.server(binary, folder, socket_at, self._log("redis"), self.env))
        self.env["REDIS_URL"] = local_redis.url(socket_at)
        if not local_redis.wait(self.env["REDIS_URL"]):
            raise UpError(f"Redis does not start; its log is {self._log('redis')}")

    def _start_web(self, settings: config.Settings) -> str:
        host, port = self._address()
        root = Path(config.__file__).resolve().parent.parent
        settings_file = root / "deploy" / "gunicorn.conf.py"
        options = ["-c", str(settings_file)] if settings_file.exists() else ["--no-control-socket"]
        argv = [
            sys.executable,
            "-m",
            "gunicorn",
            *options,
            "--bind",
            f"{host}:{port}",
            "--chdir",
            str(root),
            "wsgi:app",
        ]
        # --chdir moves gunicorn to the checkout, so what was meant from here must be absolute.
        env = self.env | {
            "ULAK_CONFIG": str(config.locate(self.env).absolute()),
            "ULAK_DATA": str(settings.data.absolute()),
        }
        self.supervisor.start(Child("web", argv, env, self._log("web")))
        return f"http://{host}:{port}"

    def _address(self) -> tuple[str, int]:
        host, _, port = (self.bind or "127.0.0.1:8000").rpartition(":")
        if not host or not port.isdecimal():
            raise UpError(f"--bind {self.bind!r} must be HOST:PORT")
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, int(port)))
            except OSError as exc:
                if self.bind:
                    raise UpError(f"cannot listen on {self.bind}: {exc.strerror}") from None
                trial.bind((host, 0))
            return host, trial.getsockname()[1]

    def _wait_until_ready(self, base: str) -> None:
        until = time.monotonic() + _READY_WITHIN
        while time.monotonic() < until and not self.supervisor.stopping:
            try:
                with urllib.request.urlopen(f"{base}/readyz", timeout=2):  # noqa: S310 - our own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        if not self.supervisor.stopping:
            raise UpError(f"the receiver does not get ready; its log is {self._log('web')}")

    def _check_alive(self) -> None:
        for child in self.supervisor.children:
            if child.ended is not None:
                self.say(f"{child.name} ended with {child.ended} and is started again; log: {child.log}")
                child.ended = None

    def _log(self, name: str) -> Path:
        folder = Path(self.env["ULAK_DATA"]) / "log"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    def _stop(self) -> None:
        self.supervisor.stop(_PATIENCE)
        address = self.env.get("REDIS_URL", "")
        for child in self.supervisor.children:
            if child.name == "redis" and "ulak-redis-" in address:
                shutil.rmtree(Path(address.removeprefix("unix://").partition("?")[0]).parent, ignore_errors=True)
        if self._own:
            shutil.rmtree(self._own, ignore_errors=True)
