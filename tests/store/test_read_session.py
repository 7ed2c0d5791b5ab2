"""A session catches up, says where the tail is, and follows (store API, section 6.7)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from perdure.errors import StreamDeletionPending, StreamNotFound, Unavailable
from perdure.model.batches import ReadBatch
from perdure.model.positions import ReadStart, SeqNum, StreamPosition, TailOffset, Timestamp
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.engine import BlockRange, Engine
from perdure.store.hub import MAILBOX_BLOCKS
from perdure.store.read_session import HEARTBEAT_SECS, HEARTBEAT_TICK_SECS, ReadSession, heartbeat_gap
from tests.patience import PATIENCE_SECONDS
from tests.store.clock import Clock
from tests.store.making import batch, commands, delete_stream, make_stream
from tests.store.memory_engine import MemoryDisk, MemoryEngine
from tests.store.stores import Store, opened

BEGINNING = SeqNum(0)


def never() -> float:
    """A gap between heartbeats that no test sees the end of."""
    return 3600.0


@asynccontextmanager
async def reading(
    engine: Engine,
    stream: StreamId,
    start: ReadStart | None = BEGINNING,
    *,
    gap: Callable[[], float] = never,
    count: int | None = None,
    size: int | None = None,
    until: int | None = None,
    clamp: bool = False,
    wait: float | None = None,
) -> AsyncIterator[ReadSession]:
    request = ReadRequest.of(start, count=count, bytes=size, until=until, clamp=clamp, wait=wait)
    async with await ReadSession.open(engine, stream, request, heartbeat_gap=gap) as session:
        yield session


async def take(session: ReadSession) -> ReadBatch:
    async with asyncio.timeout(PATIENCE_SECONDS):
        delivery = await session.next()
    assert delivery is not None
    return delivery.decoded()


async def at_end(session: ReadSession) -> bool:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await session.next() is None


async def caught_up(session: ReadSession) -> StreamPosition:
    """Read on to a heartbeat that tells where the tail is."""
    while True:
        found = await take(session)
        if not found.records:
            assert found.tail is not None
            return found.tail


async def records_until_end(session: ReadSession) -> list[int]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        return [record.seq_num async for delivery in session for record in delivery.decoded().records]


def numbers(found: ReadBatch) -> list[int]:
    return [record.seq_num for record in found.records]


async def test_it_catches_up_tells_the_tail_and_follows(engine: Engine) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("a", "b"))
    last = await engine.append(stream, batch("c"))
    async with reading(engine, stream) as session:
        first = await take(session)
        assert (numbers(first), first.tail) == ([0, 1, 2], None)
        assert await take(session) == ReadBatch((), last.tail)
        for number in range(3, 6):
            ack = await engine.append(stream, batch("x"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await take(session)
                while not found.records:  # the engine may say "look" once, when it begins to listen
                    found = await take(session)
            assert numbers(found) == [number]
            assert found.tail in (ack.tail, None)


async def test_live_batches_carry_the_tail_after_them(engine: Engine) -> None:
    stream = await make_stream(engine)
    async with reading(engine, stream) as session:
        # Another follower keeps the engine listening, so that nobody is told to look any more.
        with engine.hub.follow(stream) as mailbox:
            while await mailbox.wait(0.2):
                mailbox.clear()
        assert await caught_up(session) == StreamPosition(0, 0)
        for number in range(5):
            ack = await engine.append(stream, batch("x", "y"))
            found = await take(session)
            while not found.records:
                found = await take(session)
            assert numbers(found) == [2 * number, 2 * number + 1]
            assert found.tail == ack.tail


async def test_an_empty_stream_has_its_tail_at_zero(engine: Engine) -> None:
    stream = await make_stream(engine)
    for start in (SeqNum(0), Timestamp(0), TailOffset(0), TailOffset(9), None):
        async with reading(engine, stream, start) as session:
            assert await take(session) == ReadBatch((), StreamPosition(0, 0))


async def test_a_count_ends_it_though_more_exists(engine: Engine) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("a", "b", "c"))
    async with reading(engine, stream, count=2) as session:
        assert numbers(await take(session)) == [0, 1]
        assert await at_end(session)
        assert await at_end(session)


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [
        (0, None, []),
        (None, 0, []),
        (None, 12, []),
        (None, 13, [0]),
        (None, 20, [0]),
        (None, 26, [0, 1]),
        (9, 9999, [0, 1]),
    ],
)
async def test_limits_end_it_at_the_latest_at_the_tail(
    engine: Engine, count: int | None, size: int | None, expected: list[int]
) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("hello", "world"))
    async with reading(engine, stream, count=count, size=size) as session:
        assert await records_until_end(session) == expected


async def test_without_limits_and_without_waiting_it_ends_at_the_tail_in_silence(engine: Engine) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("a", "b"))
    async with reading(engine, stream, wait=0) as session:
        assert numbers(await take(session)) == [0, 1]
        assert await at_end(session)
    async with reading(engine, stream, SeqNum(2), wait=0) as session:
        assert await at_end(session)


async def test_a_wait_ends_in_silence(engine: Engine) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("a"))
    clock = asyncio.get_running_loop().time
    begin = clock()
    async with reading(engine, stream, wait=0.1) as session:
        assert await records_until_end(session) == [0]
    assert 0.09 <= clock() - begin < PATIENCE_SECONDS


@pytest.mark.jumping
async def test_a_wait_begins_anew_with_every_record() -> None:
    engine = await MemoryEngine.open(MemoryDisk(), Clock())
    stream = await make_stream(engine)
    clock = asyncio.get_running_loop().time
    async with reading(engine, stream, wait=10) as session:
        await caught_up(session)
        for _ in range(3):
            await asyncio.sleep(9)  # the silence between two records
            await engine.append(stream, batch("x"))
            found = await take(session)
            while not found.records:
                found = await take(session)
        begin = clock()
        assert await records_until_end(session) == []
        assert clock() - begin == pytest.approx(10)
    await engine.aclose()


async def test_until_ends_it_before_the_first_record_that_is_too_late(store: Store, engine: Engine) -> None:
    stream = await make_stream(engine)
    base = store.clock.now_ms()
    await engine.append(stream, commands(*[AppendRecord(timestamp=base - 10 + n) for n in range(5)]))
    async with reading(engine, stream, until=base - 8) as session:
        assert await records_until_end(session) == [0, 1]
    async with reading(engine, stream, Timestamp(base - 9), until=base - 7) as session:
        assert await records_until_end(session) == [1, 2]


async def test_until_is_not_over_at_the_tail_while_there_is_a_wait(store: Store, engine: Engine) -> None:
    stream = await make_stream(engine)
    base = store.clock.now_ms()
    async with reading(engine, stream, until=base + 5, wait=PATIENCE_SECONDS) as session:
        await caught_up(session)
        await engine.append(stream, batch("in time"))
        found = await take(session)
        while not found.records:
            found = await take(session)
        assert numbers(found) == [0]
        store.clock.advance(5)
        await engine.append(stream, batch("too late"))
        assert await records_until_end(session) == []


async def test_a_live_batch_beyond_the_limit_ends_it_without_a_word(engine: Engine) -> None:
    """Not even with a heartbeat: its tail would say that everything below was read."""
    stream = await make_stream(engine)
    async with reading(engine, stream, size=10, wait=PATIENCE_SECONDS) as session:
        await caught_up(session)
        ack = await engine.append(stream, batch("far too long"))
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for delivery in session:
                found = delivery.decoded()
                assert not found.records
                assert found.tail != ack.tail


async def test_a_live_batch_is_cut_to_the_limit(engine: Engine) -> None:
    stream = await make_stream(engine)
    async with reading(engine, stream, count=2, wait=PATIENCE_SECONDS) as session:
        await caught_up(session)
        await engine.append(stream, batch("a", "b", "c"))
        assert await records_until_end(session) == [0, 1]


async def test_heartbeats_bridge_the_silence(engine: Engine) -> None:
    stream = await make_stream(engine)
    ack = await engine.append(stream, batch("a"))
    async with reading(engine, stream, SeqNum(1), gap=lambda: 0.001) as session:
        for _ in range(5):
            assert await take(session) == ReadBatch((), ack.tail)


async def test_a_slow_reader_falls_back_and_loses_nothing(engine: Engine) -> None:
    stream = await make_stream(engine)
    async with reading(engine, stream) as session:
        await caught_up(session)
        total = 3 * MAILBOX_BLOCKS
        for _ in range(total):
            last = await engine.append(stream, batch("x"))
        seen: list[int] = []
        tails: list[StreamPosition | None] = []
        while len(seen) < total:
            found = await take(session)
            if found.records:
                seen += numbers(found)
                tails.append(found.tail)
        assert seen == list(range(total))
        assert tails[-1] is None  # from the store, not from the mailbox
        assert await caught_up(session) == last.tail


async def test_readers_see_every_record_once_while_two_engines_write(store: Store) -> None:
    async with opened(store) as one, opened(store) as two:
        stream = await make_stream(one)
        total = 1000

        async def write(engine: Engine, name: str) -> None:
            for number in range(total // 2):
                await engine.append(stream, batch(f"{name}{number}"))

        async def read(engine: Engine) -> list[str]:
            async with reading(engine, stream, count=total, wait=PATIENCE_SECONDS) as session:
                return [record.text async for delivery in session for record in delivery.decoded().records]

        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(read(engine)) for engine in (one, one, two)]
            tasks.create_task(write(one, "one "))
            tasks.create_task(write(two, "two "))
        first, *others = [reader.result() for reader in readers]
        assert [body for body in first if body.startswith("one")] == [f"one {n}" for n in range(total // 2)]
        assert [body for body in first if body.startswith("two")] == [f"two {n}" for n in range(total // 2)]
        assert len(first) == total
        assert all(other == first for other in others)


async def test_a_long_stream_comes_in_batches_within_the_bounds(engine: Engine) -> None:
    stream = await make_stream(engine)
    for _ in range(4):
        await engine.append(stream, batch(*["x" * 600] * 700))
    async with reading(engine, stream, wait=0) as session:
        seen: list[int] = []
        async for delivery in session:
            found = delivery.decoded()
            assert len(found.records) <= 1000
            assert sum(record.metered_bytes for record in found.records) <= 2**20
            seen += numbers(found)
    assert seen == list(range(2800))


async def test_what_was_trimmed_is_skipped(engine: Engine) -> None:
    stream = await make_stream(engine)
    await engine.append(stream, batch("a", "b", "c", "d"))
    await engine.append(stream, commands(AppendRecord.trim(2)))
    async with reading(engine, stream, wait=0) as session:
        assert await records_until_end(session) == [2, 3, 4]
    await engine.append(stream, commands(AppendRecord.trim(99)))
    async with reading(engine, stream, count=9) as session:
        assert await records_until_end(session) == []
    async with reading(engine, stream) as session:
        assert (await take(session)).tail == (await engine.state(stream)).position
        await engine.append(stream, batch("e"))
        found = await take(session)
        while not found.records:
            found = await take(session)
        assert numbers(found) == [6]


async def test_a_start_by_time_finds_the_first_record_at_or_after_it(store: Store, engine: Engine) -> None:
    stream = await make_stream(engine)
    base = store.clock.now_ms() - 100
    stamps = [0, 10, 10, 20, 30]
    await engine.append(stream, commands(*[AppendRecord(timestamp=base + stamp) for stamp in stamps]))
    for offset, first in {-5: 0, 0: 0, 1: 1, 10: 1, 11: 3, 30: 4}.items():
        async with reading(engine, stream, Timestamp(base + offset), wait=0) as session:
            assert await records_until_end(session) == list(range(first, 5))
    await engine.append(stream, commands(AppendRecord.trim(2), AppendRecord()))
    async with reading(engine, stream, Timestamp(base), wait=0) as session:
        assert await records_until_end(session) == [2, 3, 4, 5, 6]


async def test_a_stream_that_is_deleted_ends_with_the_terminal_trim(store: Store) -> None:
    async with opened(store, maintain=False) as engine:
        stream = await make_stream(engine)
        await engine.append(stream, batch("a", "b"))
        async with reading(engine, stream, SeqNum(2)) as session:
            await caught_up(session)
            await delete_stream(engine)
            found = await take(session)
            while not found.records:
                found = await take(session)
            (record,) = found.records
            assert (record.seq_num, record.headers, record.body) == (2, ((b"", b"trim"),), b"\xff" * 8)
            assert found.tail is not None
            assert found.tail.seq_num == 3
            with pytest.raises(Unavailable, match="deleted"):
                await take(session)
            assert await at_end(session)
        with pytest.raises(StreamDeletionPending):
            await ReadSession.open(engine, stream, ReadRequest.of(SeqNum(0)))


async def test_a_stream_that_is_deleted_and_purged_ends_with_an_error(engine: Engine) -> None:
    stream = await make_stream(engine)
    async with reading(engine, stream) as session:
        await caught_up(session)
        await delete_stream(engine)
        with pytest.raises(Unavailable, match="deleted"):
            await records_until_end(session)
    with pytest.raises((StreamDeletionPending, StreamNotFound)):
        await ReadSession.open(engine, stream, ReadRequest.of(SeqNum(0)))


async def test_closing_the_engine_ends_the_following(store: Store) -> None:
    engine = await store.open()
    stream = await make_stream(engine)
    async with reading(engine, stream) as session:
        await caught_up(session)

        async def read_on() -> None:
            async for _ in session:
                pass

        following = asyncio.create_task(read_on())
        await asyncio.sleep(0)
        await engine.aclose()
        with pytest.raises(Unavailable):
            await following


async def test_closing_a_session_ends_whoever_waits_on_it(engine: Engine) -> None:
    stream = await make_stream(engine)
    async with reading(engine, stream) as session:
        await caught_up(session)

        async def read_on() -> None:
            async for _ in session:
                pass

        waiting = asyncio.create_task(read_on())
        await asyncio.sleep(0)
        session.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await waiting
        assert engine.hub.followed() == set()


async def test_cancelling_a_step_loses_nothing(engine: Engine) -> None:
    stream = await make_stream(engine)
    async with reading(engine, stream) as session:
        seen: list[int] = []
        for number in range(30):
            for _ in range(number % 4):
                step = asyncio.ensure_future(session.next())
                await asyncio.sleep(0)
                if not step.cancel():
                    delivery = step.result()
                    assert delivery is not None
                    seen += numbers(delivery.decoded())
            await engine.append(stream, batch("x"))
        while len(seen) < 30:
            seen += numbers(await take(session))
        assert seen == list(range(30))


async def test_a_session_that_cannot_start_follows_nothing(engine: Engine) -> None:
    with pytest.raises(StreamNotFound):
        await ReadSession.open(engine, StreamId(987_654), ReadRequest.of(SeqNum(0)))
    assert engine.hub.followed() == set()


class NotingEngine(MemoryEngine):
    """Notes how many blocks each look at the store took."""

    taken: list[int]

    async def read_blocks(self, stream: StreamId, start_seq: int, *, max_records: int, max_bytes: int) -> BlockRange:
        found = await super().read_blocks(stream, start_seq, max_records=max_records, max_bytes=max_bytes)
        self.taken.append(len(found.blocks))
        return found


@pytest.fixture
async def noting() -> AsyncIterator[NotingEngine]:
    engine = await NotingEngine.open(MemoryDisk(), Clock())
    assert isinstance(engine, NotingEngine)
    engine.taken = []
    yield engine
    await engine.aclose()


@pytest.mark.parametrize(("count", "size"), [(3, None), (None, 3 * 9)])
async def test_no_more_is_read_than_the_limits_let_out(
    noting: NotingEngine, count: int | None, size: int | None
) -> None:
    stream = await make_stream(noting)
    for _ in range(20):
        await noting.append(stream, batch("a"))
    async with reading(noting, stream, SeqNum(5), count=count, size=size) as session:
        assert await records_until_end(session) == [5, 6, 7]
    assert noting.taken == [3]


async def test_a_step_that_reaches_the_tail_needs_no_look_behind_it(noting: NotingEngine) -> None:
    stream = await make_stream(noting)
    ack = await noting.append(stream, batch("a", "b"))
    async with reading(noting, stream, count=5) as bounded:
        assert await records_until_end(bounded) == [0, 1]
    assert noting.taken == [1]
    async with reading(noting, stream) as following:
        assert numbers(await take(following)) == [0, 1]
        assert await take(following) == ReadBatch((), ack.tail)
        assert noting.taken == [1, 1]


async def test_what_comes_between_the_step_to_the_tail_and_the_next_is_caught_up_first(noting: NotingEngine) -> None:
    stream = await make_stream(noting)
    await noting.append(stream, batch("a"))
    async with reading(noting, stream) as following:
        assert numbers(await take(following)) == [0]
        ack = await noting.append(stream, batch("b"))
        assert numbers(await take(following)) == [1]
        assert await take(following) == ReadBatch((), ack.tail)


async def test_heartbeats_of_many_sessions_fall_on_common_ticks_and_in_their_range() -> None:
    now = asyncio.get_running_loop().time()
    gaps = [heartbeat_gap() for _ in range(1_000)]
    late = asyncio.get_running_loop().time() - now
    assert all(HEARTBEAT_SECS[0] <= gap <= HEARTBEAT_SECS[1] for gap in gaps)
    ticks = [(now + gap) / HEARTBEAT_TICK_SECS for gap in gaps if gap > HEARTBEAT_SECS[0]]
    assert len(ticks) > 900
    assert all(abs(tick - round(tick)) <= late / HEARTBEAT_TICK_SECS + 1e-6 for tick in ticks)
    assert len(set(map(round, ticks))) > 50


async def test_a_heartbeat_sooner_than_a_tick_stays_in_its_range() -> None:
    assert all(0.001 <= heartbeat_gap(0.001, 0.002) <= 0.002 for _ in range(100))
