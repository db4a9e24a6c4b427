"""
The same system on a master with two replicas under the eyes of three sentinels, and what may happen to those.

Trials here are reported apart: what survives a failover is a promise of its own (``wait_replicas``).
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chaos.actions import Action, Done
from chaos.parts import until
from chaos.system import SIDES, System
from receiver import connection
from tests.integration.sentinels import Cluster, cluster

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from random import Random

    from tests.integration.sentinels import Node

_REPLICAS = 2
_SETTINGS = "wait_replicas = 1\n"
_SETTLED_WITHIN = 60.0


@dataclass
class Replicated(System):
    """Without proxies, for the sentinels name addresses; and without RQ's own command, which knows no sentinels."""

    more_settings: str = _SETTINGS
    cluster: Cluster = field(init=False)
    _running: AbstractContextManager[Cluster] = field(init=False)

    def _start_store(self, env: Mapping[str, str]) -> Mapping[str, str]:
        del env
        folder = self.folder / "redis"
        folder.mkdir()
        self._running = cluster(folder, _REPLICAS, "min-replicas-to-write 1", "min-replicas-max-lag 2")
        self.cluster = self._running.__enter__()
        self.client = connection.client(self.cluster.url, patience=5, socket_timeout=10)
        return dict.fromkeys(SIDES, self.cluster.url)

    def stock_worker(self, url: str, queue: str, *more: str) -> list[str]:
        del url, more
        return self.own_worker(queue)

    def heal(self) -> None:
        """Nothing stands between."""

    def __exit__(self, *why: object) -> None:
        super().__exit__(*why)
        self._running.__exit__(None, None, None)


def _of(system: System) -> Cluster:
    assert isinstance(system, Replicated)
    return system.cluster


def _settled(found: Cluster) -> None:
    until(lambda: found.agreed() and found.settled(), "the cluster is whole again", _SETTLED_WITHIN)


def _kill_master(system: System, dice: Random) -> Done:
    """Kill it, and start it again as the replica that it is by then."""
    found, away = _of(system), system.lasting(dice, 1, 4)
    old = found.master
    old.kill()
    new = found.failed_over(old)
    time.sleep(away)
    old.start()
    _settled(found)
    return Done(1, f"{old.port} gave over to {new.port}")


def _hang_master(system: System, dice: Random) -> Done:
    """Let it stand still until another is master, and go on as if nothing had been."""
    found, away = _of(system), system.lasting(dice, 0, 2)
    old = found.master
    old.pause()
    new = found.failed_over(old)
    time.sleep(away)
    old.signal(signal.SIGCONT)
    _settled(found)
    return Done(0, f"{old.port} gave over to {new.port}")


def _kill_one(nodes: list[Node], found: Cluster, away: float) -> Done:
    one = nodes[0]
    one.kill()
    time.sleep(away)
    one.start()
    _settled(found)
    return Done(1, f"{one.port}, for {away:.1f} s")


def _kill_replica(system: System, dice: Random) -> Done:
    found = _of(system)
    master, replicas = found.master, list(found.nodes)
    dice.shuffle(replicas)
    return _kill_one([one for one in replicas if one is not master], found, system.lasting(dice, 1, 4))


def _kill_sentinel(system: System, dice: Random) -> Done:
    found = _of(system)
    return _kill_one([dice.choice(found.sentinels)], found, system.lasting(dice, 1, 4))


FAILOVERS = (
    Action("kill the master", 3, _kill_master),
    Action("let the master hang", 3, _hang_master),
    Action("kill a replica", 2, _kill_replica),
    Action("kill a sentinel", 1, _kill_sentinel),
)
