"""Two thousand tabs on one worker: all on the same chat, and each on one of its own, with a chunk a second.

Granian serves the chats' resume route in one process; the tabs are another. The delay of a chunk is from its source's
`yield` to its arrival in a tab, over HTTP/1.1, after it was made durable.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from .children import Child, Door
from .machine import ROOT
from .measure import Samples
from .redis_server import HOST, free_port
from .scenario import Row, Run, alone, at_most, check
from .served import STOP_SECONDS, cpu_seconds_of
from .tabs_app import LOAD, STORE, Load

LIMIT_MS = 100.0
CONNECTING_AT_ONCE = 50
MAX_CONNECTIONS = 8192
_DELTA = re.compile(rb'"delta":"(\d+)"')


class Tab(asyncio.Protocol):
    """One connection that follows a chat, and notes how old each chunk is that arrives."""

    def __init__(self, name: str, delays: array[float]) -> None:
        self._name = name
        self._delays = delays
        self._rest = b""
        loop = asyncio.get_running_loop()
        self.open: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[int] = loop.create_future()
        self._chunks = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(f"GET /chat/{self._name} HTTP/1.1\r\nhost: bench\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        data = self._rest + data
        end = 0
        for found in _DELTA.finditer(data):
            self._delays.append(now - int(found[1]) / 1e9)
            self._chunks += 1
            end = found.end()
        self._rest = data[end:]
        if not self.open.done():
            if not self._rest.startswith(b"HTTP/1.1 200"):
                self.connection_lost(ConnectionError(data.decode(errors="replace")))
            elif b"text-start" in data:
                self.open.set_result(None)
        if self._rest.endswith(b"0\r\n\r\n") and not self.over.done():
            self.over.set_result(self._chunks)
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.open, self.over):
            if not future.done():
                future.set_exception(exc or ConnectionError("the server closed the connection"))


async def _follow(port: int, tabs: int, load: Load) -> array[float]:
    loop = asyncio.get_running_loop()
    delays = array("d")
    opened: list[Tab] = []
    while len(opened) < tabs:
        some = [
            Tab(f"chat-{number % load.generations}", delays)
            for number in range(len(opened), min(len(opened) + CONNECTING_AT_ONCE, tabs))
        ]
        await asyncio.gather(*(loop.create_connection(lambda tab=tab: tab, HOST, port) for tab in some))  # type: ignore[misc]  # mypy cannot type a default
        await asyncio.gather(*(tab.open for tab in some))
        opened += some
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(b"POST /begin HTTP/1.1\r\nhost: bench\r\ncontent-length: 0\r\n\r\n")
    check(b" 204 " in await reader.readline(), "the sources did not begin")
    counts = await asyncio.gather(*(tab.over for tab in opened))
    check(set(counts) == {load.tokens}, f"{load.tokens} chunks were generated, a tab got {min(counts)}")
    writer.close()
    return delays


def follow(_: Door, port: int, tabs: int, load: Load) -> array[float]:
    """The body of the tabs' process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_follow(port, tabs, load))


@contextmanager
def _served(store: Path, load: Load) -> Iterator[tuple[int, int]]:
    """The application in one worker; gives its port and the worker's process id."""
    port = free_port()
    command = [
        sys.executable, "-m", "granian", "--interface", "asgi", "--workers", "1", "--loop", "uvloop", "--host", HOST,
        "--port", str(port), "--backlog", str(MAX_CONNECTIONS), "--backpressure", str(MAX_CONNECTIONS),
        "--log-level", "warning", "bench.tabs_app:app",
    ]  # fmt: skip
    environment = {**os.environ, STORE: str(store), LOAD: msgspec.json.encode(asdict(load)).decode()}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        yield port, _ready(process, port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(process: subprocess.Popen[bytes], port: int) -> int:
    import socket

    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        check(process.poll() is None, f"granian ended with status {process.returncode}")
        try:
            with socket.create_connection((HOST, port), timeout=STOP_SECONDS) as connection:
                connection.sendall(b"GET /ready HTTP/1.1\r\nhost: bench\r\n\r\n")
                if connection.recv(64).startswith(b"HTTP/1.1 404"):
                    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])
        except OSError:
            time.sleep(0.02)
    check(False, "granian did not answer in time")
    raise AssertionError


def _measured(run: Run, tabs: int, load: Load, what: str) -> Row:
    run.progress(f"{what}: {load.tokens} s")
    with _served(run.store(f"tabs-{load.generations}"), load) as (port, pid):
        child = Child(follow, port, tabs, load)
        try:
            started, before = time.perf_counter(), cpu_seconds_of(pid)
            delays = Samples(child.result())
            busy = (cpu_seconds_of(pid) - before) / (time.perf_counter() - started)
        finally:
            child.end()
    return Row(
        f"{what}, a chunk a second: source to tab, p99",
        delays.p99_ms,
        "ms",
        at_most(LIMIT_MS),
        f"p50 {delays.p50_ms:.1f} ms, longest {delays.max_ms:.0f} ms, of {len(delays):,} chunks; the worker "
        f"{busy:.0%} of a core, opening the tabs included",
    )


async def run(run: Run) -> list[Row]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    tabs, seconds = 2_000, run.pick(20, 4)
    return [
        await asyncio.to_thread(_measured, run, tabs, Load(1, seconds), f"{tabs:,} tabs on one chat"),
        await asyncio.to_thread(_measured, run, tabs, Load(tabs, seconds), f"{tabs:,} tabs on as many chats"),
    ]


if __name__ == "__main__":
    alone(run)
