"""
Between Ulak and Redis: ``python -m chaos.proxy LISTEN UPSTREAM SEED``; both are unix sockets.

Orders come as lines on standard input: ``FAULT SHARE`` sets one (SHARE of a hundred pieces that come by meet it),
``none`` ends it. It speaks no Redis: it sees bytes that come and go.

    swallow   the request arrives, its answer and all that follow on this connection do not
    cut       the connection ends in the middle of a request
    tear      the connection ends in the middle of an answer
    delay     an answer comes late: up to a second and a half
"""

from __future__ import annotations

import asyncio
import random
import sys
from dataclasses import dataclass, field
from typing import Any

_LONGEST_DELAY = 1.5


@dataclass
class Faults:
    """What is to go wrong at the moment."""

    dice: random.Random
    name: str = "none"
    share: float = 0.0

    def strike(self, *names: str) -> bool:
        return self.name in names and self.dice.random() * 100 < self.share

    async def obey(self) -> None:
        """Take orders until whoever started us is gone."""
        orders = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while line := await orders.readline():
            self.name, _, share = line.decode().strip().partition(" ")
            self.share = float(share or 0)


class _End(asyncio.Protocol):
    """One end of a connection; what it gets goes to the other one."""

    transport: Any = None
    other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.other and self.other.transport:
            self.other.transport.close()

    def pass_on(self, data: bytes) -> None:
        if self.other:
            self.other.transport.write(data)

    def end_in(self, data: bytes, dice: random.Random) -> None:
        """Let a part of it through, and end."""
        self.pass_on(data[: dice.randrange(len(data))])
        self.transport.close()


@dataclass(eq=False)
class Beyond(_End):
    """Redis's end: answers."""

    faults: Faults
    is_silent: bool = False
    late: asyncio.Queue[bytes] | None = None  # once one answer is late, all behind it wait for their turn
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def data_received(self, data: bytes) -> None:
        if self.is_silent:
            return
        if self.faults.strike("swallow"):
            self.is_silent = True
        elif self.faults.strike("tear"):
            self.end_in(data, self.faults.dice)
        elif self.late is not None:
            self.late.put_nowait(data)
        elif self.faults.strike("delay"):
            self.late = asyncio.Queue()
            self.late.put_nowait(data)
            self.tasks.add(asyncio.create_task(self._deliver(self.late)))
        else:
            self.pass_on(data)

    async def _deliver(self, late: asyncio.Queue[bytes]) -> None:
        await asyncio.sleep(self.faults.dice.uniform(0, _LONGEST_DELAY))
        while not late.empty():
            self.pass_on(late.get_nowait())
        self.late = None


@dataclass(eq=False)
class Near(_End):
    """Ulak's end: requests."""

    faults: Faults
    upstream: str
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self.tasks.add(asyncio.create_task(self._connect()))

    async def _connect(self) -> None:
        try:
            loop = asyncio.get_running_loop()
            _, self.other = await loop.create_unix_connection(lambda: Beyond(self.faults), self.upstream)
        except OSError:
            self.transport.abort()
            return
        self.other.other = self
        if self.transport.is_closing():
            self.other.transport.close()
        else:
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self.faults.strike("cut"):
            self.end_in(data, self.faults.dice)
        else:
            self.pass_on(data)


async def main(listen: str, upstream: str, seed: str) -> None:
    faults = Faults(random.Random(seed))
    loop = asyncio.get_running_loop()
    async with await loop.create_unix_server(lambda: Near(faults, upstream), listen):
        await faults.obey()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
