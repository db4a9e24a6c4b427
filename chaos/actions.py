"""What may be done to the system while callbacks come in; the tables are in ``chaos.kills`` and ``chaos.lasting``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from chaos.system import System


@dataclass(frozen=True)
class Done:
    """What an action did: how many processes were killed, and a word for the log."""

    kills: int
    told: str = ""


@dataclass(frozen=True)
class Action:
    name: str
    weight: int  # how often it is chosen, among those of its table
    act: Callable[[System, Random], Done]


NOBODY = Done(0, "nobody there")
