"""One master, its replicas and three sentinels, all real: started here, killed and stopped by their own process ids."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import redis

from workers import local_redis

from .harness import end, environment, free_port, until

NAME = "ulak-test"
DOWN_AFTER = 1000  # milliseconds
_SENTINELS = 3
_DURABLE = ("appendonly yes", "appendfsync always", 'save ""', "maxmemory-policy noeviction")


@dataclass
class Node:
    """One server or sentinel, told by a file, which it rewrites."""

    folder: Path
    settings: Sequence[str]
    sentinel: bool = False
    port: int = field(default_factory=free_port)
    password: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        return self.folder / f"{self.port}.conf"

    def start(self) -> None:
        """Start it, or start it again with what it has written into its file since."""
        binary = local_redis.find_server()
        assert binary, local_redis.MISSING
        if not self.file.exists():
            own = (f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", *self.settings)
            self.file.write_text("\n".join(own) + "\n")
        argv = [binary, str(self.file), *(["--sentinel"] if self.sentinel else [])]
        with (self.folder / f"{self.port}.log").open("ab") as out:
            self.process = subprocess.Popen(argv, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        where = f"redis://:{quote(self.password)}@127.0.0.1:{self.port}"
        assert local_redis.wait(where), (self.folder / f"{self.port}.log").read_text()

    def client(self) -> redis.Redis:
        return redis.Redis("127.0.0.1", self.port, socket_timeout=5)

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)
        assert self.process
        stat = Path(f"/proc/{self.process.pid}/stat")
        until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", "it stands still")

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> None:
        if self.process:
            end(self.process)

    def role(self) -> str:
        with contextlib.suppress(redis.exceptions.RedisError), self.client() as client:
            return str(client.info("replication").get("role"))
        return ""


@dataclass
class Cluster:
    """Data nodes under the eyes of sentinels that are quick to judge."""

    folder: Path
    nodes: list[Node]
    sentinels: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{NAME}/0"

    def start(self) -> None:
        for node in self.nodes:
            node.start()
        watch = (
            f"sentinel monitor {NAME} 127.0.0.1 {self.nodes[0].port} 2",
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}",
            f"sentinel failover-timeout {NAME} 6000",
        )
        for number in range(_SENTINELS):
            own = self.folder / f"sentinel-{number}"
            own.mkdir()
            self.sentinels.append(Node(own, watch, sentinel=True))
            self.sentinels[-1].start()
        until(self.settled, "every sentinel knows the others and the replicas", within=30)

    def settled(self) -> bool:
        """Say whether every sentinel sees its fellows and living replicas, and the master sees these too."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                known = client.sentinel_master(NAME)
                alive = [one for one in client.sentinel_slaves(NAME) if not one["is_sdown"]]
            if known["num-other-sentinels"] < _SENTINELS - 1 or len(alive) < self.running - 1:
                return False
        with self.master.client() as client:
            found = client.info("replication")
        return all(found.get(f"slave{number}", {}).get("state") == "online" for number in range(self.running - 1))

    @property
    def running(self) -> int:
        return sum(node.process is not None and node.process.poll() is None for node in self.nodes)

    @property
    def master(self) -> Node:
        """The node that every sentinel names."""
        ports = until(self.agreed, "the sentinels agree", within=30)
        return next(node for node in self.nodes if node.port in ports)

    def agreed(self) -> set[int]:
        """Return the one port that all sentinels name, or nothing."""
        named = set()
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                named.add(int(client.sentinel_get_master_addr_by_name(NAME)[1]))
        return named if len(named) == 1 else set()

    def failed_over(self, old: Node) -> Node:
        """Wait until another node than *old* is master, in its own eyes too."""

        def new() -> Node | None:
            ports = self.agreed()
            found = next((node for node in self.nodes if node.port in ports and node is not old), None)
            return found if found and found.role() == "master" else None

        made = until(new, "a new master", within=30)
        assert made
        return made

    def stop(self) -> None:
        for node in (*self.sentinels, *self.nodes):
            node.stop()


@contextlib.contextmanager
def cluster(folder: Path, replicas: int = 1, *more: str) -> Iterator[Cluster]:
    """Run them while the block runs; *more* are settings of each data node."""
    folders = [folder / f"node-{number}" for number in range(replicas + 1)]
    for one in folders:
        one.mkdir()
    nodes = [Node(one, (*_DURABLE, *more)) for one in folders]
    for node in nodes[1:]:
        node.settings = (*node.settings, f"replicaof 127.0.0.1 {nodes[0].port}")
    found = Cluster(folder, nodes)
    try:
        found.start()
        yield found
    finally:
        found.stop()
