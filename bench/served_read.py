"""Reads through `perdure serve`: catch-up over s2s and SSE, delivery to followers, idle followers, over HTTP/1.1."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from functools import partial

import uvloop

from perdure import AppendRecord

from .measure import Rates, Samples
from .payload import KIB, LARGEST_BODY, MIB, numbered
from .raw_http import Frames, Repeating, append_frame, head, records_path, unary_append
from .scenario import Row, Run, alone, at_least, at_most, check
from .served import Served, served
from .served_append import stream_batches

IDLE_SECONDS = 10.0
_EVENT = re.compile(rb"id: (\d+),(\d+),(\d+)\n")


def _drain(server: Served, request: bytes) -> tuple[int, bytes, float]:
    """Send a request and count the bytes of its answer to the end: their number, the last of them, seconds."""
    buffer, size, last = bytearray(MIB), 0, b""
    with socket.create_connection((server.host, server.port)) as connection:
        started = time.perf_counter()
        connection.sendall(request)
        while True:
            got = connection.recv_into(buffer)
            if not got:
                break
            size += got
            last = (last + buffer[max(0, got - 4096) : got])[-4096:]
            if last.endswith(b"\r\n0\r\n\r\n"):
                break
        return size, last, time.perf_counter() - started


async def _catch_up(run: Run, server: Served) -> list[Row]:
    mebibytes = run.pick(1024, 64)
    run.progress(f"writing {mebibytes} MiB")
    await stream_batches(server, "large", append_frame([AppendRecord(numbered(0, LARGEST_BODY))]), mebibytes)
    small = run.pick(200_000, 20_000)
    await stream_batches(
        server, "small", append_frame([AppendRecord(numbered(n, KIB)) for n in range(100)]), small // 100
    )
    rates, records = Rates(), Rates()
    s2s = head("GET", records_path("large", "seq_num=0&wait=0"), [("content-type", "s2s/proto")])
    sse = head(
        "GET", records_path("small", "seq_num=0&wait=0"), [("accept", "text/event-stream"), ("s2-format", "base64")]
    )
    for number in range(run.pick(5, 2)):
        run.progress(f"catch-up: round {number + 1}")
        size, _, seconds = await asyncio.to_thread(_drain, server, s2s)
        check(size > mebibytes * MIB, f"{mebibytes} MiB were written, {size} bytes came")
        rates.add(mebibytes / seconds)
        _, last, seconds = await asyncio.to_thread(_drain, server, sse)
        ids = _EVENT.findall(last)
        check(b"[DONE]" in last, "the events ended early")
        check(not ids or int(ids[-1][1]) == small, "records are missing among the events")
        records.add(small / seconds)
    return [
        Row("server: catch-up over s2s, 1 MiB batches", rates.median, "MiB/s", at_least(600), rates.spread()),
        Row(
            "server: catch-up over SSE, records of 1 KB",
            records.median,
            "records/s",
            at_least(60_000),
            records.spread(),
        ),
    ]


async def _followers(run: Run, server: Served, readers: int, limit: float) -> Row:
    """From sending an append to the frame at each reader, in one process and so on one clock."""
    loop = asyncio.get_running_loop()
    stream, appends = f"followed-{readers}", run.pick(300 if readers == 1 else 60, 20)
    sent_at: list[float] = []
    samples = Samples()
    arrived = asyncio.Semaphore(0)

    def on_frame(message: bytes) -> None:
        if len(message) > 256:  # not a heartbeat
            samples.add(time.perf_counter() - sent_at[-1])
            arrived.release()

    request = head("GET", records_path(stream, "tail_offset=0&clamp=true"), [("content-type", "s2s/proto")])
    clients: list[Frames] = []
    for _ in range(readers):
        _, client = await loop.create_connection(lambda: Frames(on_frame), server.host, server.port)
        client.transport.write(request)
        clients.append(client)
    await asyncio.gather(*(client.opened for client in clients))
    for _ in range(appends):
        append = unary_append(stream, [AppendRecord(numbered(0, KIB))])
        _, writer = await loop.create_connection(partial(Repeating, append, 1), server.host, server.port)
        sent_at.append(time.perf_counter())
        writer.start()
        await writer.done
        for _ in range(readers):
            await arrived.acquire()
    for client in clients:
        client.transport.close()
    who = "one reader" if readers == 1 else f"{readers:,} readers"
    return Row(
        f"server: append to {who} over s2s, p50", samples.p50_ms, "ms", at_most(limit), f"p99 {samples.p99_ms:.1f} ms"
    )


async def _idle(run: Run, server: Served) -> list[Row]:
    readers = run.pick(5000, 500)
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
                rows = await _catch_up(run, server)
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
