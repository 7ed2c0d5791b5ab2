"""A server on loopback that answers request by request as a test has written down, faults included."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Self, TypeAlias


@dataclass(frozen=True)
class Trickle:
    """Bytes sent one by one."""

    data: bytes


@dataclass(frozen=True)
class Stall:
    """Nothing more until the client goes. `/control/reached/<name>` answers when it is so far, `/control/gone/<name>`
    when the client has gone."""

    name: str = "here"


@dataclass(frozen=True)
class Break:
    """The connection is reset in the middle of the body."""


@dataclass(frozen=True)
class Hold:
    """Nothing more until this mark is reached."""

    mark: str


Part: TypeAlias = bytes | Trickle | Stall | Break | Hold


@dataclass(frozen=True)
class Answer:
    """The answer to one request. A body in parts is chunked, and one that is bytes is not."""

    status: int = 200
    body: bytes | Sequence[Part] = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


CUT: Final = 0
"""The status of an answer that does not come: the connection is reset."""

SILENCE: Final = -1
"""The status of an answer that does not come: nothing happens until the client goes."""


class ScriptedPeer:
    """Answers the requests that come, in their order; those beyond the script get a 410, which no client repeats."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._answers: Iterator[Answer] = iter(answers)
        self._marks: dict[str, asyncio.Event] = {}
        self._serving = set[asyncio.Task[None]]()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def mark(self, name: str) -> asyncio.Event:
        return self._marks.setdefault(name, asyncio.Event())

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client went, as it may
        except asyncio.CancelledError:
            pass  # the test is over; asyncio's streams would report a task that ends so
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_counted = False
        while (request := await _read_request(reader)) is not None:
            if request.target.startswith("/control/"):
                await self.mark(request.target.removeprefix("/control/")).wait()
                writer.write(_head(200, {"content-length": "0", "connection": "close"}))
                await writer.drain()
                return
            self.connections += not is_counted
            is_counted = True
            self.requests.append(request)
            answer = next(self._answers, Answer(410))
            if answer.status == SILENCE:
                await self._stall("here", reader)
            if answer.status <= CUT or not await self._answer(answer, reader, writer):
                return

    async def _answer(self, answer: Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection may be used again."""
        if isinstance(answer.body, bytes):
            size = {} if answer.status == 204 else {"content-length": str(len(answer.body))}
            writer.write(_head(answer.status, {**size, **answer.headers}) + answer.body)
            await writer.drain()
            return True
        sse = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
        writer.write(_head(answer.status, {**sse, **answer.headers}))
        for part in answer.body:
            match part:
                case bytes():
                    await _send(writer, part)
                case Trickle(data):
                    for byte in data:
                        await _send(writer, bytes([byte]))
                case Break():
                    return False
                case Hold(mark):
                    await self.mark(mark).wait()
                case Stall(name):
                    await self._stall(name, reader)
                    return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _stall(self, name: str, reader: asyncio.StreamReader) -> None:
        self.mark(f"reached/{name}").set()
        with suppress(ConnectionError):
            assert await reader.read(1) == b"", "a client sends nothing while it waits for an answer"
        self.mark(f"gone/{name}").set()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))
    await writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    line = await reader.readline()
    if not line:
        return None
    method, target, _ = line.decode().split(" ")
    headers: dict[str, str] = {}
    while (line := await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)
