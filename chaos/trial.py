"""One trial: a system is started, disturbed while callbacks come in, healed, and judged."""

from __future__ import annotations

import random
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from chaos import settling
from chaos.callbacks import Making
from chaos.consumer import Shop
from chaos.failover import FAILOVERS, Replicated
from chaos.kills import KILLS
from chaos.lasting import LASTING
from chaos.report import Line, Result
from chaos.senders import Ledger, Senders
from chaos.system import System
from chaos.verdict import Kept, Verdict, compare

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaos.actions import Action

CALM = 4.0  # seconds at the beginning, in which no job may run twice
MOST_WAITING = 500  # jobs; senders wait while there are more
PATIENCE = 150.0  # seconds without any change; a lost job is back within two minutes
_SHORT_PACE = 0.4


@dataclass(frozen=True)
class Plan:
    """How one trial goes."""

    seed: str
    seconds: float
    rate: float  # new callbacks a second; most of them come more than once
    pause: float  # seconds between two kills, on average
    keep: bool = False
    failover: bool = False
    short: bool = False  # every action once, in the order of the tables, and no longer than that takes


@dataclass
class Trial:
    """One system, from its start to the verdict."""

    plan: Plan
    ledger: Ledger = field(default_factory=Ledger)
    log: list[Line] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _begun: float = 0.0
    _drivers: list[threading.Thread] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> Result:
        kind = Replicated if self.plan.failover else System
        with kind(self.plan.seed, _SHORT_PACE if self.plan.short else 1.0) as system:
            calm_until = time.time() + CALM
            self._disturb(system)
            took, left = settling.settle(system, PATIENCE, say)
            verdict = self._judge(system, calm_until)
        if verdict.is_good and not left and not self.plan.keep:
            system.forget()
        return Result(
            self.plan.seed, self.plan.failover, verdict, self.ledger, self.log, took, left, str(system.folder)
        )

    def _disturb(self, system: System) -> None:
        """Let callbacks come, and everything else happen, until time or the list of actions is over."""
        making = Making(system.settings, random.Random(f"{self.plan.seed} callbacks"))
        senders = Senders(lambda: system.base, self.ledger)
        self._begun = self.ledger.begun = time.monotonic()
        for callback in making.one_of_each():
            senders.send(callback)
        for table, pause in ((KILLS, 1), (FAILOVERS if self.plan.failover else LASTING, 2)):
            argv = (system, table, self.plan.pause * pause)
            self._drivers.append(threading.Thread(target=self._drive, args=argv, daemon=True))
            self._drivers[-1].start()
        may_go = lambda: settling.backlog(system) < MOST_WAITING  # noqa: E731
        senders.send_all(iter(making), self.plan.rate, self._goes_on, may_go)
        self._stopping.set()
        for driver in self._drivers:
            driver.join()
        if not senders.finish():
            self.broken.append("the senders did not come to an end")

    def _goes_on(self) -> bool:
        if self.plan.short:
            return any(driver.is_alive() for driver in self._drivers)
        return time.monotonic() - self._begun < self.plan.seconds

    def _drive(self, system: System, table: Sequence[Action], pause: float) -> None:
        """Do one thing after the other, as the seed says: each once, and then by weight."""
        dice = random.Random(f"{self.plan.seed} {table[0].name}")
        once = list(table)
        if not self.plan.short:
            dice.shuffle(once)
        self._stopping.wait(CALM)
        for action in chain(once, () if self.plan.short else _weighted(table, dice)):
            if self._stopping.wait(dice.expovariate(1 / pause)):
                return
            at = time.monotonic() - self._begun
            try:
                done = action.act(system, dice)
            except Exception as exc:  # noqa: BLE001 - told with the verdict; a run that stops disturbing proves nothing
                self.broken.append(f"{action.name}: {exc!r}")
                return
            self.log.append(Line(at, action.name, done.kills, done.told))
            say(f"{at:7.1f}  {action.name:<32} {done.told}")

    def _judge(self, system: System, calm_until: float) -> Verdict:
        verdict = compare(self.ledger, Kept.read(system.client), Shop.read(system.shop, calm_until))
        verdict.broken = self.broken
        verdict.counts |= system.outcomes()
        return verdict


def _weighted(table: Sequence[Action], dice: random.Random) -> Iterator[Action]:
    while True:
        yield dice.choices(table, [action.weight for action in table])[0]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
