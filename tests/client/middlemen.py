"""What may stand between a client and its store: a front that speaks HTTP/1.1 only, and an HTTP proxy; both real."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import h11

from tests.client.http_server import HOST

_READ_BYTES = 64 * 1024
_REFUSAL = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Http1Front:
    """Passes connections on to a port, but for those that begin in HTTP/2: these it refuses, or hangs up on."""

    def __init__(self, port: int, *, refusal: bytes) -> None:
        self._target = port
        self._refusal = refusal
        self.begun: list[bytes] = []
        """The first bytes of each connection."""
        self.url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(_READ_BYTES)
        self.begun.append(first)
        if first.startswith(b"PRI "):
            writer.write(self._refusal)
            return
        far = await asyncio.open_connection(HOST, self._target)
        far[1].write(first)
        await _join((reader, writer), far)

    @property
    def refused(self) -> int:
        return sum([first.startswith(b"PRI ") for first in self.begun])


@asynccontextmanager
async def http1_front(
    port: int, *, tls: ssl.SSLContext | None = None, refusal: bytes = _REFUSAL
) -> AsyncIterator[Http1Front]:
    if tls is not None:
        tls.set_alpn_protocols(["http/1.1"])
    front = Http1Front(port, refusal=refusal)
    async with _listening(front.serve, tls) as own:
        front.url = f"http{'s' if tls else ''}://{HOST}:{own}"
        yield front


class HttpProxy:
    """Tunnels (CONNECT), and passes requests on that name their server. It alone knows where the servers are."""

    def __init__(self, ports: Mapping[str, int], credentials: str | None) -> None:
        self._ports = ports
        self._credentials = credentials
        self.requests: list[tuple[str, str]] = []
        """Method and target of each request that it was sent."""
        self.port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http = h11.Connection(h11.SERVER)
        while True:
            request = await _event(http, reader)
            if not isinstance(request, h11.Request):
                return
            method, target = request.method.decode(), request.target.decode()
            self.requests.append((method, target))
            status, port = self._judged(request, target if method == "CONNECT" else urlsplit(target).netloc)
            if port is None:
                writer.write(http.send(h11.Response(status_code=status, headers=[("connection", "close")])) or b"")
                return
            far = await asyncio.open_connection(HOST, port)
            if method == "CONNECT":
                writer.write(http.send(h11.Response(status_code=200, headers=[])) or b"")
                await _join((reader, writer), far)
                return
            await self._pass_on(http, request, (reader, writer), far)
            if http.our_state is not h11.DONE:
                return
            http.start_next_cycle()

    def _judged(self, request: h11.Request, authority: str) -> tuple[int, int | None]:
        if self._credentials is not None:
            wanted = b"Basic " + b64encode(self._credentials.encode())
            if dict(request.headers).get(b"proxy-authorization") != wanted:
                return 407, None
        return 502, self._ports.get(authority)

    async def _pass_on(self, http: h11.Connection, request: h11.Request, near: Streams, far: Streams) -> None:
        reader, writer = near
        far_reader, far_writer = far
        far_http = h11.Connection(h11.CLIENT)
        try:
            parts = urlsplit(request.target.decode())
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            fields = [field for field in request.headers if not field[0].startswith(b"proxy-")]
            event: h11.Event = h11.Request(method=request.method, target=path, headers=fields)
            while True:
                far_writer.write(far_http.send(event) or b"")
                if isinstance(event, h11.EndOfMessage):
                    break
                event = await _event(http, reader)
            while not isinstance(event := await _event(far_http, far_reader), h11.EndOfMessage | h11.ConnectionClosed):
                writer.write(http.send(event) or b"")
                await writer.drain()
            writer.write(http.send(event) or b"")
        finally:
            far_writer.transport.abort()


@asynccontextmanager
async def http_proxy(ports: Mapping[str, int], credentials: str | None = None) -> AsyncIterator[HttpProxy]:
    """A proxy that leads to the servers at `ports`, by the authorities that it knows them by."""
    proxy = HttpProxy(ports, credentials)
    async with _listening(proxy.serve) as proxy.port:
        yield proxy


async def _event(http: h11.Connection, reader: asyncio.StreamReader) -> h11.Event:
    while True:
        event = http.next_event()
        if isinstance(event, h11.Event):
            return event
        http.receive_data(await reader.read(_READ_BYTES))


async def _join(near: Streams, far: Streams) -> None:
    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
        writer.transport.abort()

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(copy(near[0], far[1]))
            tasks.create_task(copy(far[0], near[1]))
    finally:
        far[1].transport.abort()


@asynccontextmanager
async def _listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except* (OSError, h11.RemoteProtocolError):
            pass  # somebody hung up
        finally:
            writer.close()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(guarded(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(begin, HOST, 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
