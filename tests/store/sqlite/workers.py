"""What other processes do in tests of the store. Each function is the whole life of a process."""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

from perdure.errors import BasinNotFound
from perdure.model.batches import AppendAck, AppendInput
from perdure.model.records import AppendRecord
from perdure.store.catalogue import BasinChange, BasinEntry, StreamId
from perdure.store.engine import Lane
from perdure.store.service import StreamStore
from perdure.store.sqlite import SqliteEngine
from perdure.store.usage_recorder import UsageRecorder
from tests.store.making import delete_stream, gone
from tests.store.sqlite.submitted import full_batch, medium_batch, row_batch, small_batch

IN_FLIGHT = 8


def _asynchronously(life: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await life()

    asyncio.run(run())


def append_until_killed(
    pipe: Connection, path: str, writer: int, streams: list[int], large_batches: int, maintain: bool
) -> None:
    """Append to each stream in turn, some batches in flight, telling of each ack: stream, number, range.

    The first `large_batches` are large: in turn a few of 1 MiB, which go to a segment, of medium size, which go there
    together, and as large as a row always holds. All others are small.
    """

    async def life() -> None:
        engine = await SqliteEngine.open(path, maintain=maintain)
        waiting: deque[tuple[int, int, asyncio.Future[AppendAck]]] = deque()
        for number in itertools.count():
            large = (full_batch, medium_batch, row_batch)[number // 4 % 3]
            make = large if number < large_batches else small_batch
            for stream in streams:
                waiting.append((stream, number, engine.append(StreamId(stream), make(writer, number))))
                while len(waiting) >= IN_FLIGHT:
                    stream_of, number_of, future = waiting.popleft()
                    ack = await future
                    pipe.send((stream_of, number_of, ack.start.seq_num, ack.end.seq_num))

    _asynchronously(life)


def append_when_told(pipe: Connection, path: str) -> None:
    """Append what the pipe says, (stream, bodies), one after the other, and answer with the range; None ends it."""

    async def life() -> None:
        engine = await SqliteEngine.open(path, maintain=False)
        pipe.send("ready")
        while (message := await asyncio.to_thread(pipe.recv)) is not None:
            stream, bodies = message
            ack = await engine.append(StreamId(stream), AppendInput.of(map(AppendRecord, bodies)))
            pipe.send((ack.start.seq_num, ack.end.seq_num))
        await engine.aclose()

    _asynchronously(life)


def append_for(pipe: Connection, path: str, stream: int, seconds: float, size: int) -> None:
    """Append one small batch after the other for some time, and tell how long each took."""

    async def life() -> None:
        engine = await SqliteEngine.open(path, maintain=False)
        batch = AppendInput.of([AppendRecord(b"x" * size)])
        await engine.append(StreamId(stream), batch)
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        latencies, end = [], time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            await engine.append(StreamId(stream), batch)
            latencies.append(time.monotonic() - begun)
        pipe.send(latencies)
        await engine.aclose()

    _asynchronously(life)


def append_many(pipe: Connection, path: str, stream: int, first: int, count: int) -> None:
    """Append the numbers from `first` on, one record each, as fast as one lane allows; then say so."""

    async def life() -> None:
        engine = await SqliteEngine.open(path, maintain=False)
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        lane = Lane()
        futures = [
            engine.append(StreamId(stream), AppendInput.of([AppendRecord(str(first + n))]), lane) for n in range(count)
        ]
        await asyncio.gather(*futures)
        pipe.send("done")
        await engine.aclose()

    _asynchronously(life)


def hold_the_turn(pipe: Connection, path: str) -> None:
    """Pass the turnstile and stay in it."""

    async def life() -> None:
        engine = await SqliteEngine.open(path, maintain=False)

        def stay(basin: BasinEntry | None) -> BasinChange:
            pipe.send("inside")
            pipe.recv()
            raise BasinNotFound("that was all")

        try:
            await engine.change_basin("some-basin", stay)  # decided inside the transaction
        except BasinNotFound:
            await engine.aclose()

    _asynchronously(life)


def delete_when_told(pipe: Connection, path: str) -> None:
    """Delete the streams that the pipe names, and tell when they are gone."""

    async def life() -> None:
        engine = await SqliteEngine.open(path)
        pipe.send("ready")
        while (name := await asyncio.to_thread(pipe.recv)) is not None:
            await delete_stream(engine, name)
            await gone(engine, name)
            pipe.send("gone")
        await engine.aclose()

    _asynchronously(life)


def create_at_once(pipe: Connection, path: str) -> None:
    """Open the directory when told, together with others."""

    async def life() -> None:
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        engine = await SqliteEngine.open(path)
        pipe.send(await engine.list_basins("", "", 10))
        await engine.aclose()

    _asynchronously(life)


def open_and_wait(pipe: Connection, path: str) -> None:
    """Open the directory, tell where it is, and wait for the end."""

    async def life() -> None:
        engine = await SqliteEngine.open(path)
        pipe.send(engine.path)
        await asyncio.to_thread(pipe.recv)

    _asynchronously(life)


def append_row_batches(pipe: Connection, path: str, stream: int, count: int) -> None:
    """Append `count` batches that are as large as a row always holds, some in flight; then say so."""

    async def life() -> None:
        engine = await SqliteEngine.open(path, maintain=False)
        pipe.send("ready")
        await asyncio.to_thread(pipe.recv)
        waiting: deque[asyncio.Future[AppendAck]] = deque()
        for number in range(count):
            waiting.append(engine.append(StreamId(stream), row_batch(0, number)))
            if len(waiting) == 16:
                await waiting.popleft()
        await asyncio.gather(*waiting)
        pipe.send("done")
        await engine.aclose()

    _asynchronously(life)


def count_appends(pipe: Connection, path: str, basin: str, name: str) -> None:
    """Append as often as the pipe says, through a service that counts; None ends it."""

    async def life() -> None:
        engine = await SqliteEngine.open(path, maintain=False)
        async with UsageRecorder(engine.usage) as recorder:
            service = StreamStore(engine, recorder)
            while (number := await asyncio.to_thread(pipe.recv)) is not None:
                for _ in range(number):
                    await service.append(basin, name, AppendInput.of([AppendRecord(b"x")]))
                pipe.send("appended")
        await engine.aclose()

    _asynchronously(life)
