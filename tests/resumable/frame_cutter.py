"""A TCP proxy that breaks connections in the middle of an event stream, at places that a test names."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FrameCutter:
    """Forwards to a port. After `frames` frames that begin with an id a connection is reset, in the middle of the next.

    `times` connections meet that, and the others are left alone.
    """

    def __init__(self, port: int, frames: int, times: int) -> None:
        self._target = port
        self._frames = frames
        self.left: int = times
        """How many connections are still to be cut."""
        self.port: int = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far_writer: asyncio.StreamWriter | None = None
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._ask(reader, far_writer))
                tasks.create_task(self._answer(far_reader, writer))
        except* (_Over, OSError):
            pass
        except* asyncio.CancelledError:
            pass  # the test is over; asyncio's streams would report a task that ends so
        finally:
            self._tasks.discard(task)
            for one in (writer, far_writer):
                if one is not None:
                    one.transport.abort()

    async def _ask(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
        raise _Over

    async def _answer(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        frames, before = 0, b""
        while data := await source.read(65_536):
            for found in re.finditer(b"\ndata:", before + data):
                if frames == self._frames and self.left > 0:
                    self.left -= 1
                    target.write(data[: max(0, found.end() - len(before))])
                    await target.drain()
                    raise _Over
                frames += 1
            target.write(data)
            await target.drain()
            before = (before + data)[-len("data:") :]  # in which the beginning of a line may be, but not a whole one
        raise _Over

    async def aclose(self) -> None:
        """End all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Over(Exception):
    """The connection is over."""


@asynccontextmanager
async def frame_cutter(port: int, frames: int, times: int = 1) -> AsyncIterator[FrameCutter]:
    """A cutter for the port."""
    cutter = FrameCutter(port, frames, times)
    server = await asyncio.start_server(cutter.serve, "127.0.0.1", 0)
    cutter.port = server.sockets[0].getsockname()[1]
    try:
        yield cutter
    finally:
        server.close()
        await cutter.aclose()
        await server.wait_closed()
