"""A proxy between an engine and PostgreSQL that loses what it is told to lose, at the moment that hurts most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Final

HOST: Final = "127.0.0.1"
_READ_BYTES: Final = 1 << 20


class Loss(Enum):
    """What becomes of the first request that holds the marker."""

    REQUEST = "the connection ends before the server has got it"
    ANSWER = "the connection ends after the server has answered, and before the engine is told"
    DELAY = "the engine's connection ends, and the server gets it later"


class CuttingProxy:
    """Passes everything on, but for what `lose` says."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._marker = b""
        self._loss = Loss.REQUEST
        self._then_refuse = False
        self._late: tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes] | None = None
        self.lost: asyncio.Event = asyncio.Event()
        self.accepted: int = 0
        """How many connections there have been."""
        self.answered_bytes: int = 0
        """How much the server has answered."""
        self.refuses: bool = False
        """Whether new connections are ended at once."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    def lose(self, marker: bytes, loss: Loss, *, then_refuse: bool = False) -> None:
        """Do it once; with `then_refuse`, new connections are ended from that moment on."""
        self._marker, self._loss, self._then_refuse = marker, loss, then_refuse
        self.lost.clear()

    def cut_all(self) -> None:
        """End every connection."""
        for writer in self._writers:
            writer.transport.abort()

    async def deliver_late(self) -> None:
        """Give the server the delayed request, and wait until it has done with it."""
        assert self._late is not None, "a request was delayed"
        reader, writer, data = self._late
        self._late = None
        writer.write(data)
        await reader.read(_READ_BYTES)
        writer.transport.abort()

    async def aclose(self) -> None:
        """End every connection, and wait until it has ended."""
        self.refuses = True
        self.cut_all()
        if self._late is not None:
            self._late[1].transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def serve(self, client: asyncio.StreamReader, client_writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refuses:
            client_writer.transport.abort()
            return
        server, server_writer = await asyncio.open_connection(HOST, self._server_port)
        self._writers |= {client_writer, server_writer}
        cut = asyncio.Event()
        answers = asyncio.create_task(self._pass_answers(server, client_writer, server_writer, cut))
        self._tasks.add(answers)
        try:
            while data := await client.read(_READ_BYTES):
                if self._marker and self._marker in data:
                    self._marker = b""
                    self.refuses = self.refuses or self._then_refuse
                    if self._loss is Loss.DELAY:
                        answers.cancel()
                        await asyncio.wait([answers])
                        self._late = server, server_writer, data
                    elif self._loss is Loss.ANSWER:
                        cut.set()
                        server_writer.write(data)
                        continue
                    self.lost.set()
                    break
                server_writer.write(data)
        except ConnectionError:
            pass  # an end like any other
        finally:
            client_writer.transport.abort()
            if self._late is None or self._late[1] is not server_writer:
                server_writer.transport.abort()
                await asyncio.wait([answers])
            self._writers -= {client_writer, server_writer}

    async def _pass_answers(
        self,
        server: asyncio.StreamReader,
        client_writer: asyncio.StreamWriter,
        server_writer: asyncio.StreamWriter,
        cut: asyncio.Event,
    ) -> None:
        try:
            while data := await server.read(_READ_BYTES):
                if cut.is_set():
                    self.lost.set()
                    break
                client_writer.write(data)
                self.answered_bytes += len(data)
        except ConnectionError:
            pass  # an end like any other
        if not cut.is_set() or self.lost.is_set():
            client_writer.transport.abort()
            server_writer.transport.abort()


@asynccontextmanager
async def cutting_proxy(port: int) -> AsyncIterator[tuple[CuttingProxy, int]]:
    """The proxy, and the port that it listens on."""
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.serve, HOST, 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await proxy.aclose()
        await server.wait_closed()
