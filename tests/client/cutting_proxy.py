"""A TCP proxy that mistreats connections at random, the same way again for the same seed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum

from tests.client.http_server import HOST

_READ_BYTES = 16 * 1024
_SOON_SECS = 0.02


class Fate(Enum):
    """What happens to a connection once it has carried so many bytes."""

    CUT = "both ends are reset"
    CLOSE = "the client sees a clean end, in the middle of whatever it was"
    SWALLOW = "what the server says is lost from there on, and soon after the connection is reset"
    HALF_CLOSE = "the server sees the end of the client's input, and soon after the connection is reset"
    DELAY = "everything is late, and it lives on"
    STALL = "nothing comes or goes any more, and nobody is told"


BRISK = tuple(fate for fate in Fate if fate is not Fate.STALL)
"""Those that a client notices at once; for reads, which wait long before they take silence for a failure."""


class CuttingProxy:
    """Forwards to a port; while `mischief` is on, each connection meets its fate after some bytes."""

    def __init__(self, port: int, seed: int, fates: Sequence[Fate], *, most_bytes: int) -> None:
        self._target = port
        self._random = random.Random(seed)
        self._fates = fates
        self._most = self._random.choice([max(3_000, most_bytes // part) for part in (30, 10, 1)])
        self._tasks: set[asyncio.Task[None]] = set()
        self.mischief: bool = True
        self.fates: list[Fate] = []
        """Of the connections that met theirs."""
        self.port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        finally:
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        except OSError:
            writer.transport.abort()
            return
        fate = self._random.choice(self._fates)
        budget = self._random.randrange(200, self._most)
        left = [budget]
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._copy(reader, far_writer, fate, left, is_answer=False))
                tasks.create_task(self._copy(far_reader, writer, fate, left, is_answer=True))
        except* (_Met, OSError):
            pass
        finally:
            if fate is not Fate.CLOSE:
                writer.transport.abort()
            writer.close()
            far_writer.transport.abort()

    async def _copy(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        fate: Fate,
        left: list[int],
        *,
        is_answer: bool,
    ) -> None:
        while data := await source.read(_READ_BYTES):
            if self.mischief:
                left[0] -= len(data)
            if left[0] > 0 or not self.mischief:
                target.write(data)
                await target.drain()
                continue
            if left[0] + len(data) > 0:
                self.fates.append(fate)
            if fate is Fate.STALL:
                continue
            if fate is Fate.DELAY:
                await asyncio.sleep(0.002)
                target.write(data)
            elif fate is Fate.SWALLOW:
                if is_answer:
                    await asyncio.sleep(_SOON_SECS)
                    raise _Met
                target.write(data)
            elif fate is Fate.HALF_CLOSE and not is_answer:
                target.write(data[: len(data) // 2])
                target.write_eof()
                await asyncio.sleep(_SOON_SECS)  # the server may still say what it likes
                raise _Met
            else:
                target.write(data[: len(data) // 2])
                if fate is Fate.CLOSE:
                    await target.drain()
                raise _Met
        raise _Met

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Met(Exception):
    """The connection is over."""


@asynccontextmanager
async def cutting(
    port: int, seed: int, fates: Sequence[Fate] = BRISK, *, most_bytes: int = 300_000
) -> AsyncIterator[CuttingProxy]:
    """A proxy for the port, whose connections carry at most so many bytes, or a tenth or a thirtieth of it."""
    proxy = CuttingProxy(port, seed, fates, most_bytes=most_bytes)
    server = await asyncio.start_server(proxy.serve, HOST, 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.aclose()
        await server.wait_closed()
