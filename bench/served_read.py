"""Reads through `perdure serve`: catch-up over s2s and SSE, delivery to followers, idle followers, over HTTP/1.1."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import time
from collections.abc import Callable

import uvloop

from perdure import AppendRecord

from .measure import Rates, Samples
from .payload import KIB, LARGEST_BODY, MIB, numbered, text
from .raw_http import Frames, append_frame, head, records_path
from .scenario import Row, Run, alone, at_least, at_most, check
from .served import Address, Served, served
from .served_append import AppendSession, stream_batches

IDLE_SECONDS = 10.0
HEARTBEAT_BYTES = 256
"""A frame is longer if it has a record."""
_EVENT_ID = re.compile(rb"\nid: \d+,(\d+),\d+\n")
_LAST_CHUNK = b"\r\n0\r\n\r\n"
_ID_BYTES = 64
"""What an event's id takes at most with the line ends around it."""


def drain(server: Address, request: bytes, look: Callable[[bytes], None] | None = None) -> tuple[int, bytes, float]:
    """Send a request and count the bytes of its answer to the end: their number, the last of them, seconds.

    `look` is shown all of them in overlapping slices.
    """
    buffer, size, last = bytearray(MIB), 0, b""
    with socket.create_connection((server.host, server.port)) as connection:
        started = time.perf_counter()
        connection.sendall(request)
        while not last.endswith(_LAST_CHUNK):
            got = connection.recv_into(buffer)
            if not got:
                break
            size += got
            if look is not None:
                look(last + buffer[:got])
            last = (last + buffer[max(0, got - _ID_BYTES) : got])[-_ID_BYTES:]
        return size, last, time.perf_counter() - started


class _EventCount:
    """How many records the events of an answer have brought, as their ids tell."""

    def __init__(self) -> None:
        self.records = 0

    def look(self, piece: bytes) -> None:
        ids = _EVENT_ID.findall(piece)
        if ids:
            self.records = int(ids[-1])


class _Measured:
    """The rates of one kind of catch-up, and what the server used for it."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._cpu = 0.0
        self._units = 0.0

    async def add(self, server: Served, request: bytes, units: int) -> tuple[int, bytes]:
        """Read once, `units` of whatever counts: the size of the answer, and its end."""
        before = server.cpu_seconds()
        size, last, seconds = await asyncio.to_thread(drain, server, request)
        self._cpu += server.cpu_seconds() - before
        self._units += units
        self._rates.add(units / seconds)
        return size, last

    def row(self, what: str, unit: str, least: float) -> Row:
        used = (
            f"{self._cpu / self._units * 1e6:.1f} µs of the server's CPU a {unit.partition('/')[0].removesuffix('s')}"
        )
        return Row(
            f"server: catch-up over {what}",
            self._rates.median,
            unit,
            at_least(least),
            f"{self._rates.spread()}; {used}",
        )


async def _catch_up_s2s(run: Run, server: Served) -> list[Row]:
    mebibytes, rows = run.pick(1024, 64), list[Row]()
    for name, body_bytes, records in (("1 MiB", LARGEST_BODY, 1), ("100 KiB", KIB - 8, 100)):
        stream = f"large-{records}"
        run.progress(f"writing {mebibytes} MiB in batches of {name}")
        frame = append_frame([AppendRecord(numbered(n, body_bytes)) for n in range(records)])
        batches = mebibytes * MIB // ((body_bytes + 8) * records)
        await stream_batches(server, stream, frame, batches)
        request = head("GET", records_path(stream, "seq_num=0&wait=0"), [("content-type", "s2s/proto")])
        measured = _Measured()
        for number in range(run.pick(5, 2)):
            run.progress(f"catch-up over s2s: round {number + 1}")
            size, _ = await measured.add(server, request, mebibytes)
            check(size > batches * records * body_bytes, f"{mebibytes} MiB were written, {size} bytes came")
        rows.append(measured.row(f"s2s, batches of {name}", "MiB/s", 600))
    return rows


async def _catch_up_sse(run: Run, server: Served) -> list[Row]:
    records, rows = run.pick(200_000, 20_000), list[Row]()
    for form, body in (("raw", text), ("base64", numbered)):
        stream = f"small-{form}"
        run.progress(f"writing {records:,} records")
        await stream_batches(
            server, stream, append_frame([AppendRecord(body(n, KIB)) for n in range(100)]), records // 100
        )
        fields = [("accept", "text/event-stream"), ("s2-format", form)]
        request = head("GET", records_path(stream, "seq_num=0&wait=0"), fields)
        events = _EventCount()
        await asyncio.to_thread(drain, server, request, events.look)
        check(events.records == records, f"{records} records were written, the events tell of {events.records}")
        measured = _Measured()
        for number in range(run.pick(5, 2)):
            run.progress(f"catch-up over SSE: round {number + 1}")
            _, last = await measured.add(server, request, records)
            check(b"[DONE]" in last, "the events ended early")
        rows.append(measured.row(f"SSE, records of 1 KB, {form}", "records/s", 60_000))
    return rows


class _Arrivals:
    """One batch at a time on its way to many readers."""

    def __init__(self, samples: Samples, readers: int) -> None:
        self._samples = samples
        self._readers = readers
        self._missing = 0
        self._sent_at = 0.0
        self.all_there: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def sent(self) -> None:
        self._missing = self._readers
        self.all_there = asyncio.get_running_loop().create_future()
        self._sent_at = time.perf_counter()

    def on_frame(self, payload: bytes) -> None:
        if len(payload) > HEARTBEAT_BYTES:
            self._samples.add(time.perf_counter() - self._sent_at)
            self._missing -= 1
            if not self._missing:
                self.all_there.set_result(None)

    def on_lost(self, error: Exception) -> None:
        if not self.all_there.done():
            self.all_there.set_exception(error)


async def _followers(run: Run, server: Served, readers: int, limit: float) -> Row:
    """From sending an append to the frame at each reader, in one process and so on one clock."""
    loop = asyncio.get_running_loop()
    stream, appends, warm_up = f"followed-{readers}", run.pick(500 if readers == 1 else 100, 20), 10
    samples = Samples()
    arrivals = _Arrivals(samples, readers)
    request = head("GET", records_path(stream, "tail_offset=0&clamp=true"), [("content-type", "s2s/proto")])
    run.progress(f"{readers} followers")
    clients: list[Frames] = []
    for _ in range(readers):
        _, client = await loop.create_connection(
            lambda: Frames(arrivals.on_frame, arrivals.on_lost), server.host, server.port
        )
        client.transport.write(request)
        clients.append(client)
    await asyncio.gather(*(client.opened for client in clients))
    session = await AppendSession.open(server, stream)
    frame, before = append_frame([AppendRecord(numbered(0, KIB))]), 0.0
    for number in range(warm_up + appends):
        if number == warm_up:
            samples.clear()
            before = server.cpu_seconds()
        arrivals.sent()
        await session.frames.send_chunk(frame)
        await session.wait_acked(number + 1)
        await arrivals.all_there
    used = server.cpu_seconds() - before
    await session.close()
    for client in clients:
        client.close()
    who = "one reader" if readers == 1 else f"{readers:,} readers"
    return Row(
        f"server: append to {who} over s2s, p50",
        samples.p50_ms,
        "ms",
        at_most(limit),
        f"p99 {samples.p99_ms:.1f} ms; {used / len(samples) * 1e6:.0f} µs of the server's CPU a delivery",
    )


async def _idle(run: Run, server: Served) -> list[Row]:
    readers = run.pick(5000, 500)
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    check(files > readers + 100, f"{readers} connections need as many open files; `ulimit -n` allows {files}")
    before = server.resident_bytes()
    request = head("GET", records_path("idle", "tail_offset=0"), [("accept", "text/event-stream")])
    run.progress(f"{readers} idle readers")
    connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for _ in range(readers):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(request)
        connections.append((reader, writer))
    for reader, _ in connections:
        await reader.readuntil(b"event: ping")
    held = server.resident_bytes() - before
    cpu = server.cpu_seconds()
    await asyncio.sleep(IDLE_SECONDS)  # not to win a race: what is measured is this time
    used = server.cpu_seconds() - cpu
    for _, writer in connections:
        writer.close()
    return [
        Row(
            f"server: memory of an idle SSE reader, {readers:,} of them", held / readers / 1000, "KB", at_most(40),
            f"{used / IDLE_SECONDS * 100:.1f} % of a core for all of them, heartbeats included",
        )
    ]  # fmt: skip


async def run(run: Run) -> list[Row]:
    def on_fast_loop() -> list[Row]:
        async def body() -> list[Row]:
            with served(run.store("served-read")) as server:
                rows = [*await _catch_up_s2s(run, server), *await _catch_up_sse(run, server)]
            with served(run.store("served-follow")) as server:
                rows.append(await _followers(run, server, 1, 2))
                rows.append(await _followers(run, server, run.pick(1000, 100), 20))
            with served(run.store("served-idle")) as server:
                return [*rows, *await _idle(run, server)]

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(body())

    return await asyncio.to_thread(on_fast_loop)


if __name__ == "__main__":
    alone(run)
