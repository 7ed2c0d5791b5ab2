"""What shares a transaction: a part that fails is undone by itself."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from perdure.model.batches import AppendAck
from perdure.store import catalogue
from perdure.store.catalogue import BasinChange, BasinEntry, StreamChange, StreamEntry
from perdure.store.sqlite import SqliteEngine
from tests.store.making import BASIN, NOW, batch, bodies_of, delete_stream, make_stream


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[SqliteEngine]:
    engine = await SqliteEngine.open(tmp_path, maintain=False)
    yield engine
    await engine.aclose()


class TestGroups:
    async def test_a_decision_that_fails_concerns_its_caller_alone(self, engine: SqliteEngine) -> None:
        stream = await make_stream(engine)

        def fail(existing: BasinEntry | None) -> BasinChange:
            raise ZeroDivisionError("a defect of the caller")

        before = [engine.append(stream, batch(str(n))) for n in range(5)]
        failing = asyncio.ensure_future(engine.change_basin(BASIN, fail))
        await asyncio.sleep(0)
        after = [engine.append(stream, batch(str(n))) for n in range(5, 10)]
        with pytest.raises(ZeroDivisionError):
            await failing
        acks = await asyncio.gather(*before, *after)
        assert all(isinstance(ack, AppendAck) for ack in acks)
        assert await bodies_of(engine, stream) == [str(n) for n in range(10)]

    async def test_a_change_that_fails_half_way_leaves_nothing(self, engine: SqliteEngine) -> None:
        """The entry says that it is deleted, but cannot be written; the stream must not be closed."""
        stream = await make_stream(engine)
        before = engine.append(stream, batch("before"))

        def delete_badly(_: BasinEntry | None, existing: StreamEntry | None) -> StreamChange:
            change = catalogue.delete_stream(existing, BASIN, "s", NOW)
            return replace(change, entry=replace(change.entry, config=object()))

        with pytest.raises((TypeError, AttributeError)):
            await engine.change_stream(BASIN, "s", delete_badly)
        after = engine.append(stream, batch("after"))
        assert [(await future).start.seq_num for future in (before, after)] == [0, 1]
        with engine.hub.follow(stream) as mailbox:
            await engine.append(stream, batch("followed"))
            block = mailbox.take()
            assert block is not None
            assert block.start_seq == 2
        await delete_stream(engine)

    async def test_a_change_that_nobody_waits_for_any_more_is_withdrawn_or_whole(self, engine: SqliteEngine) -> None:
        streams = [asyncio.ensure_future(make_stream(engine, f"s{n}")) for n in range(20)]
        await asyncio.sleep(0)
        for making in streams[::2]:
            making.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        for entry in await engine.list_streams(BASIN, "", "", 100):
            assert (await engine.append(entry.stream_id, batch("x"))).start.seq_num == 0
