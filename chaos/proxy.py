"""
Between Ulak and Redis: ``python -m chaos.proxy LISTEN UPSTREAM SEED``; both are unix sockets.

Orders come as lines on standard input: ``FAULT SHARE`` sets one for the connections that are used from now on (SHARE of
a hundred commands meet it), ``none`` ends it. It speaks no Redis: it sees bytes that come and go.

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

_CHUNK = 1 << 16
_LONGEST_DELAY = 1.5


@dataclass
class Proxy:
    upstream: str
    dice: random.Random
    fault: str = "none"
    share: float = 0.0
    pairs: set[asyncio.Task[None]] = field(default_factory=set)

    def strikes(self, *faults: str) -> bool:
        return self.fault in faults and self.dice.random() * 100 < self.share

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        try:
            above, beyond = await asyncio.open_unix_connection(self.upstream)
        except OSError:
            writer.transport.abort()
            return
        ways = [asyncio.create_task(self._requests(reader, beyond)), asyncio.create_task(self._answers(above, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, beyond):
                end.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, beyond: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(_CHUNK):
            if self.strikes("cut"):
                beyond.write(chunk[: self.dice.randrange(len(chunk))])
                await beyond.drain()
                return
            beyond.write(chunk)
            await beyond.drain()

    async def _answers(self, above: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await above.read(_CHUNK):
            if self.strikes("swallow"):
                while await above.read(_CHUNK):  # until somebody loses patience
                    pass
                return
            if self.strikes("tear"):
                writer.write(chunk[: self.dice.randrange(len(chunk))])
                await writer.drain()
                return
            if self.strikes("delay"):
                await asyncio.sleep(self.dice.uniform(0, _LONGEST_DELAY))
            writer.write(chunk)
            await writer.drain()

    async def obey(self) -> None:
        """Take orders until whoever started us is gone."""
        loop = asyncio.get_running_loop()
        orders = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        while line := await orders.readline():
            self.fault, _, share = line.decode().strip().partition(" ")
            self.share = float(share or 0)


async def main(listen: str, upstream: str, seed: str) -> None:
    proxy = Proxy(upstream, random.Random(seed))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await proxy.serve(reader, writer)
        except OSError:
            writer.transport.abort()

    async with await asyncio.start_unix_server(serve, listen):
        await proxy.obey()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
