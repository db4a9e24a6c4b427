"""Every check there is, in the order in which they are told."""

from collections.abc import Sequence
from typing import Any

from workers.doctor import flow, machine, setup, store, work
from workers.doctor.checking import Check

TABLES: tuple[Sequence[Check[Any]], ...] = (
    setup.CONFIG,
    store.CONTACT,
    store.CHECKS,
    work.CHECKS,
    flow.CHECKS,
    setup.CHECKS,
    machine.CHECKS,
)
EVERY: tuple[Check[Any], ...] = tuple(check for table in TABLES for check in table)
