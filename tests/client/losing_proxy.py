"""A TCP proxy that loses answers when a test says so: the server did its work, and the client never hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.client.http_server import HOST

_READ_BYTES = 64 * 1024


class LosingProxy:
    """Forwards to a port. All of its connections share one fate."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._stalled: set[asyncio.StreamWriter] = set()
        self._signs: tuple[bytes, ...] | None = None
        self._forwards = True
        self._is_silent = False
        self.server: asyncio.Server | None = None
        self.port: int = 0
        self.connections: int = 0
        self.caught = asyncio.Event()
        """Set once the request came whose answer is to be lost."""

    def lose_answer_to(self, *signs: bytes, forwards: bool = True) -> None:
        """From the next piece on that holds all `signs`, the client hears nothing any more, until `cut`.

        Without `forwards`, that piece and what follows do not reach the server either.
        """
        self._signs, self._forwards = signs, forwards
        self._is_silent = False
        self.caught.clear()

    def cut(self) -> None:
        """Reset every connection, and forward everything again."""
        self._signs, self._is_silent = None, False
        for writer in self._writers:
            writer.transport.abort()

    def stall(self) -> None:
        """The connections that there are carry nothing any more, and nobody is told; new ones do."""
        self._stalled |= self._writers

    def refuse(self) -> None:
        """`cut`, and take no connection any more."""
        assert self.server is not None
        self.server.close()
        self.cut()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        far_reader, far_writer = await asyncio.open_connection(HOST, self._target)
        self._writers |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._requests(reader, far_writer))
                tasks.create_task(self._answers(far_reader, writer))
        except* (_Over, OSError):
            pass
        finally:
            writer.transport.abort()
            far_writer.transport.abort()
            self._writers -= {writer, far_writer}
            self._tasks.discard(task)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            if self._signs is not None and all(sign in data for sign in self._signs):
                self._is_silent = True
                self.caught.set()
            if writer not in self._stalled and (not self._is_silent or self._forwards):
                writer.write(data)
                await writer.drain()
        raise _Over

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            if writer not in self._stalled and not self._is_silent:
                writer.write(data)
                await writer.drain()
        raise _Over

    async def wait_idle(self) -> None:
        """Wait until no connection is left."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def aclose(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Over(Exception):
    """One side is gone."""


@asynccontextmanager
async def losing(port: int) -> AsyncIterator[LosingProxy]:
    proxy = LosingProxy(port)
    proxy.server = await asyncio.start_server(proxy.serve, HOST, 0)
    proxy.port = proxy.server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        proxy.server.close()
        await proxy.aclose()
        await proxy.server.wait_closed()
