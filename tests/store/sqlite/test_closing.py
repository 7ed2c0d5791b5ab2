"""Closing: everybody gets an answer, and nothing stays behind."""

import asyncio
import gc
import os
import threading
from pathlib import Path

import pytest

from perdure.errors import Unavailable
from perdure.model.batches import AppendAck
from perdure.store.sqlite import SqliteEngine
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, bodies_of, make_stream
from tests.store.sqlite.processes import worker
from tests.store.sqlite.scripts import run
from tests.store.sqlite.workers import hold_the_turn


class TestAnswers:
    async def test_closing_answers_appends_that_wait_for_their_turn(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        stream = await make_stream(engine)
        with worker(hold_the_turn, engine.path) as holder:
            assert await asyncio.to_thread(holder.receive) == "inside"
            futures = [engine.append(stream, batch(str(n))) for n in range(50)]
            closing = asyncio.ensure_future(engine.aclose())
            await asyncio.sleep(0)
            with pytest.raises(Unavailable, match="closed"):
                await engine.append(stream, batch("late"))
            assert not futures[0].done()
            holder.send("go on")
            await closing
            assert [future.result().start.seq_num for future in futures] == list(range(50))

    async def test_whoever_gives_up_closing_does_not_leave_it_half_done(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        stream = await make_stream(engine)
        futures = [engine.append(stream, batch(str(n))) for n in range(50)]
        closing = asyncio.ensure_future(engine.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await engine.aclose()
        results = await asyncio.gather(*futures)
        assert all(isinstance(result, AppendAck) for result in results)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("perdure-")]

    async def test_two_that_close_wait_for_the_same_end(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        stream = await make_stream(engine)
        future = engine.append(stream, batch("x"))
        await asyncio.gather(engine.aclose(), engine.aclose())
        assert future.done()

    async def test_whoever_gives_up_opening_leaves_nothing_open(self, tmp_path: Path) -> None:
        await (await SqliteEngine.open(tmp_path)).aclose()
        before = open_files()
        for _ in range(20):
            opening = asyncio.ensure_future(SqliteEngine.open(tmp_path))
            await asyncio.sleep(0)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        async with asyncio.timeout(PATIENCE_SECONDS):
            while open_files() > before:  # noqa: ASYNC110  # what was opened is closed when it is there
                await asyncio.sleep(0.01)


class TestNothingStays:
    async def test_no_threads_and_no_descriptors(self, tmp_path: Path) -> None:
        async def once() -> None:
            engine = await SqliteEngine.open(tmp_path)
            stream = await make_stream(engine) if await engine.stream("test-basin", "s") is None else None
            entry = await engine.stream("test-basin", "s")
            assert entry is not None
            stream = entry.stream_id
            with engine.hub.follow(stream):
                await engine.append(stream, batch("x"))
                await bodies_of(engine, stream)
            await engine.aclose()

        await once()
        gc.collect()
        threads, files = threads_of_the_store(), open_files()
        for _ in range(50):
            await once()
        gc.collect()
        assert threads_of_the_store() == threads == []
        assert open_files() <= files

    def test_a_loop_that_ends_without_closing_does_not_hang_the_interpreter(self, tmp_path: Path) -> None:
        lines = run(
            """
async def main():
    global engine, stream
    engine = await SqliteEngine.open(PATH)
    stream = await make_stream(engine)
    await engine.append(stream, batch("kept"))
    mailbox = engine.hub.follow(stream)
    mailbox.__enter__()
    for n in range(200):
        engine.append(stream, batch(str(n)))  # nobody waits for these

asyncio.run(main())
print("over")
""",
            tmp_path,
        )
        assert lines == ["over"]
        assert kept(tmp_path)[0] == "kept"

    def test_a_loop_closed_in_mid_commit_loses_no_acknowledged_batch(self, tmp_path: Path) -> None:
        lines = run(
            """
async def main():
    engine = await SqliteEngine.open(PATH)
    stream = await make_stream(engine)
    done = 0
    for n in range(100):
        await engine.append(stream, batch(str(n)))
        done += 1
    for n in range(100, 5000):
        engine.append(stream, batch(str(n)))
    print(done)

asyncio.run(main())
""",
            tmp_path,
        )
        bodies = kept(tmp_path)
        assert len(bodies) >= int(lines[0]) == 100
        assert bodies == [str(number) for number in range(len(bodies))]


def kept(path: Path) -> list[str]:
    async def read() -> list[str]:
        engine = await SqliteEngine.open(path)
        try:
            entry = await engine.stream("test-basin", "s")
            assert entry is not None
            return await bodies_of(engine, entry.stream_id)
        finally:
            await engine.aclose()

    return asyncio.run(read())


def threads_of_the_store() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("perdure-")]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
