"""Long streams read piece by piece: the next piece is there before it is asked for, and is no older for that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import StreamNotFound, Unavailable
from perdure.model.limits import MAX_READ_BYTES, MAX_READ_RECORDS
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.engine import BlockRange
from perdure.store.postgres import PostgresEngine
from perdure.store.postgres.catching_up import still_wanted
from perdure.store.postgres.connection import Connection, connect
from perdure.store.sequencing import Block
from tests.patience import PATIENCE_SECONDS
from tests.store.making import batch, commands, delete_stream, eventually, make_stream, records_of
from tests.store.stores import PostgresStore

BATCHES = 6
SIZE = MAX_READ_BYTES - 100
"""So that a read gives one batch."""


async def filled(engine: PostgresEngine, name: str = "s") -> StreamId:
    stream = await make_stream(engine, name)
    for number in range(BATCHES):
        await engine.append(stream, batch(str(number) * SIZE))
    return stream


async def piece(engine: PostgresEngine, stream: StreamId, start: int) -> BlockRange:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await engine.read_blocks(stream, start, max_records=MAX_READ_RECORDS, max_bytes=MAX_READ_BYTES)


async def nothing_is_fetched() -> None:
    """Wait until what is fetched ahead is there."""

    async def all_there() -> bool:
        return not any(task.get_name() == "perdure-read-ahead" for task in asyncio.all_tasks())

    await eventually(all_there)


@asynccontextmanager
async def blocks_locked(url: str) -> AsyncIterator[Connection]:
    """Nobody can read a block from the database, but over this connection."""
    other = await connect(url)
    try:
        await other.execute("SET idle_in_transaction_session_timeout = 0; BEGIN; LOCK TABLE block")
        yield other
        await other.execute("ROLLBACK")
    finally:
        await other.aclose()


async def somebody_waits(other: Connection) -> None:
    async def waits() -> bool:
        return bool(await other.fetch("SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'block'::regclass"))

    await eventually(waits)


@pytest.fixture(autouse=True)
def what_is_fetched_waits_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine more than a second passes between two lines of a test."""
    monkeypatch.setattr("perdure.store.postgres.catching_up.AHEAD_SECONDS", PATIENCE_SECONDS)


@pytest.fixture
def store(shared_database: str) -> PostgresStore:
    return PostgresStore(shared_database)


@pytest.fixture
async def engine(store: PostgresStore) -> AsyncIterator[PostgresEngine]:
    engine = await store.open()
    assert isinstance(engine, PostgresEngine)
    yield engine
    await engine.aclose()


@pytest.fixture
async def fetched(engine: PostgresEngine) -> StreamId:
    """A stream of which the third piece is there, and was not asked for."""
    stream = await filled(engine)
    assert [block.start_seq for at in (0, 1) for block in (await piece(engine, stream, at)).blocks] == [0, 1]
    await nothing_is_fetched()
    return stream


async def test_who_goes_on_reading_finds_the_next_piece_there(
    store: PostgresStore, engine: PostgresEngine, fetched: StreamId
) -> None:
    async with blocks_locked(store.url):
        found = await piece(engine, fetched, 2)
    assert [(block.start_seq, found.more) for block in found.blocks] == [(2, True)]
    assert [record.seq_num for record in await records_of(engine, fetched, 3)] == [3, 4, 5]


async def test_who_reads_one_piece_has_nothing_fetched(engine: PostgresEngine) -> None:
    stream = await filled(engine)
    await piece(engine, stream, 0)
    await engine.read_blocks(stream, 1, max_records=1, max_bytes=MAX_READ_BYTES)  # and who wants but one record more
    assert not any(task.get_name() == "perdure-read-ahead" for task in asyncio.all_tasks())


async def test_what_was_trimmed_meanwhile_is_not_shown(
    store: PostgresStore, engine: PostgresEngine, fetched: StreamId
) -> None:
    other = await store.open()
    try:
        await other.append(fetched, commands(AppendRecord.trim(4)))
        found = await piece(engine, fetched, 2)
        assert found.state.trim_point == 4
        assert [record.seq_num for record in await records_of(engine, fetched, 3)] == [4, 5, 6]
    finally:
        await other.aclose()


async def test_what_was_appended_meanwhile_comes_behind(
    store: PostgresStore, engine: PostgresEngine, fetched: StreamId
) -> None:
    for at in (2, 3, 4):
        await piece(engine, fetched, at)
    await nothing_is_fetched()
    other = await store.open()
    try:
        await other.append(fetched, batch("last"))
        found = await piece(engine, fetched, 5)
        assert (found.state.tail, found.more, [block.end_seq for block in found.blocks]) == (7, True, [6])
        assert [record.text for record in await records_of(engine, fetched, 6)] == ["last"]
    finally:
        await other.aclose()


async def test_a_stream_that_was_deleted_meanwhile_is_not_read_on(
    store: PostgresStore, engine: PostgresEngine, fetched: StreamId
) -> None:
    other = await store.open()
    try:
        await delete_stream(other)
        try:
            assert (await piece(engine, fetched, 2)).deleted
        except StreamNotFound:
            pass  # it has been swept as well
    finally:
        await other.aclose()


async def test_what_is_not_asked_for_is_given_up(
    store: PostgresStore, engine: PostgresEngine, fetched: StreamId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perdure.store.postgres.catching_up.AHEAD_SECONDS", 0.0)
    await piece(engine, fetched, 2)
    await nothing_is_fetched()
    for _ in range(2):
        await asyncio.sleep(0)  # its time is over
    async with blocks_locked(store.url) as other:
        reading = asyncio.ensure_future(piece(engine, fetched, 3))
        await somebody_waits(other)
    assert [block.start_seq for block in (await reading).blocks] == [3]


async def test_closing_breaks_off_what_is_fetched(store: PostgresStore) -> None:
    engine = await store.open()
    assert isinstance(engine, PostgresEngine)
    stream = await filled(engine)
    for at in (0, 1):
        await piece(engine, stream, at)
    await nothing_is_fetched()
    async with blocks_locked(store.url) as other:
        await piece(engine, stream, 2)
        await somebody_waits(other)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await engine.aclose()
        assert not any(task.get_name() == "perdure-read-ahead" for task in asyncio.all_tasks())


async def test_who_waits_for_what_is_fetched_is_told_that_the_store_is_closed(store: PostgresStore) -> None:
    engine = await store.open()
    assert isinstance(engine, PostgresEngine)
    stream = await filled(engine)
    for at in (0, 1):
        await piece(engine, stream, at)
    await nothing_is_fetched()
    async with blocks_locked(store.url) as other:
        await piece(engine, stream, 2)
        await somebody_waits(other)
        reading = asyncio.ensure_future(piece(engine, stream, 3))
        await asyncio.sleep(0)  # it waits for the piece that is being fetched
        async with asyncio.timeout(PATIENCE_SECONDS):
            closing = asyncio.ensure_future(engine.aclose())
            await asyncio.wait([reading])
    assert isinstance(reading.exception(), Unavailable)  # and not cancelled, which its caller would take for an end
    await closing


async def test_who_goes_away_does_not_break_off_what_is_fetched(store: PostgresStore, engine: PostgresEngine) -> None:
    stream = await filled(engine)
    for at in (0, 1):
        await piece(engine, stream, at)
    await nothing_is_fetched()
    async with blocks_locked(store.url) as other:
        await piece(engine, stream, 2)
        await somebody_waits(other)
        reading = asyncio.ensure_future(piece(engine, stream, 3))
        await asyncio.sleep(0)  # it waits for the piece that is being fetched
        reading.cancel()
        await asyncio.wait([reading])
        assert any(task.get_name() == "perdure-read-ahead" for task in asyncio.all_tasks())
    assert [record.seq_num for record in await records_of(engine, stream, 3)] == [3, 4, 5]


def blocks_of(sizes: list[tuple[int, int, int | None]]) -> list[Block]:
    blocks: list[Block] = []
    start = 0
    for records, size, expires in sizes:
        blocks.append(Block(start, start + records, 0, size, 0, expires, b""))
        start += records
    return blocks


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 50), st.none() | st.integers(0, 10)), max_size=8),
    st.integers(0, 12),
    st.integers(0, 120),
)
def test_of_what_is_there_as_much_as_fits_is_given(
    sizes: list[tuple[int, int, int | None]], max_records: int, max_bytes: int
) -> None:
    blocks, now = blocks_of(sizes), 5
    alive = [block for block in blocks if block.expires_ms is None or block.expires_ms > now]
    wanted = still_wanted(blocks, max_records, max_bytes, now)
    assert list(wanted) == alive[: len(wanted)]
    assert bool(wanted) == bool(alive)

    def fits(some: list[Block]) -> bool:
        records = sum(block.end_seq - block.start_seq for block in some)
        return records <= max_records and sum(block.metered_bytes for block in some) <= max_bytes

    assert len(wanted) <= 1 or fits(list(wanted))
    assert len(wanted) == len(alive) or not fits(alive[: len(wanted) + 1])
