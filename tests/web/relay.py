"""A network between a browser and a server that can be taken away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HOST = "127.0.0.1"


class Relay:
    """Forwards connections to a port, unless it `is_away`."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.is_away = False
        self._target = target
        self._connections = set[asyncio.Task[None]]()

    def cut(self) -> None:
        """Reset what is open, and whatever comes until `is_away` is false again."""
        self.is_away = True
        for connection in self._connections:
            connection.cancel()

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            if self.is_away:
                return
            far_reader, far = await asyncio.open_connection(HOST, self._target)
            copies = [asyncio.create_task(_copy(reader, far)), asyncio.create_task(_copy(far_reader, writer))]
            try:
                await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for copy in copies:
                    copy.cancel()
                await asyncio.wait(copies)
        except asyncio.CancelledError:
            pass  # by `cut` or `aclose`; asyncio's streams would report a task that ends so
        finally:
            self._connections.discard(task)
            writer.transport.abort()
            if far is not None:
                far.transport.abort()

    async def aclose(self) -> None:
        self.cut()
        while self._connections:
            await asyncio.wait(set(self._connections))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()


@asynccontextmanager
async def relaying(target: int) -> AsyncIterator[Relay]:
    """A relay to a port of this machine, on a free port."""
    relay = Relay(target)
    server = await asyncio.start_server(relay.carry, HOST, 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await relay.aclose()
        await server.wait_closed()
