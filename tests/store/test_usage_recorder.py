"""Counts reach the book once, whatever goes wrong on the way."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from perdure.errors import StorageFull, UsageError
from perdure.store.catalogue import StreamId
from perdure.store.clock import wall_clock_ms
from perdure.store.engine import Engine
from perdure.store.sqlite import SqliteEngine
from perdure.store.usage import (
    ACCOUNT,
    APPEND_THROUGHPUT,
    StorageHistory,
    UsageBook,
    UsageCount,
    UsageKey,
    UsagePoint,
)
from perdure.store.usage_recorder import CHUNK_COUNTS, FLUSH_SECONDS, UsageRecorder
from tests.store.clock import Clock
from tests.store.making import BASIN, make_basin, make_stream
from tests.store.sqlite.processes import worker
from tests.store.sqlite.workers import count_appends
from tests.store.stores import Store

HOUR = 3600


class Book(UsageBook):
    """Keeps what it is given, or refuses it, or lets it wait."""

    def __init__(self) -> None:
        self.added: dict[tuple[int, UsageKey], int] = {}
        self.refuse = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self.samples = 0

    async def add(self, counts: Sequence[UsageCount]) -> None:
        self.entered.set()
        await self.gate.wait()
        if self.refuse:
            raise StorageFull("no space left")
        assert 0 < len(counts) <= CHUNK_COUNTS
        for minute, key, value in counts:
            self.added[minute, key] = self.added.get((minute, key), 0) + value

    async def sample(self) -> None:
        self.samples += 1

    async def counts(
        self, basin: str, metric_set: str, start_secs: int, end_secs: int, *, by_minute: bool
    ) -> tuple[UsagePoint, ...]:
        return ()

    async def stream_storage(self, stream: StreamId) -> StorageHistory:
        return StorageHistory(0, ())

    async def basin_storage(self, basin: str, start_secs: int, end_secs: int) -> StorageHistory:
        return StorageHistory(0, ())

    async def active_basins(self, start_secs: int, end_secs: int) -> tuple[str, ...]:
        return ()

    def total(self) -> int:
        return sum(value for (_, key), value in self.added.items() if key.series == APPEND_THROUGHPUT)


@pytest.fixture
def clock() -> Clock:
    return Clock(1_700_000_040_000)


@pytest.fixture
def book() -> Book:
    return Book()


async def test_what_is_counted_is_written_on_close(book: Book, clock: Clock) -> None:
    async with UsageRecorder(book, now_ms=clock.now_ms) as recorder:
        recorder.counters.appended(BASIN, 5)
    assert book.total() == 5


async def test_counts_go_to_the_minute_that_began_last(book: Book, clock: Clock) -> None:
    minute = clock.now_ms() // 60_000
    recorder = UsageRecorder(book, now_ms=clock.now_ms)
    recorder.counters.appended(BASIN, 1)
    clock.advance(59_999)
    await recorder.flush()
    recorder.counters.appended(BASIN, 2)
    clock.advance(1)
    await recorder.flush()
    recorder.counters.appended(BASIN, 4)
    await recorder.flush()
    key = UsageKey(BASIN, "append-throughput", APPEND_THROUGHPUT)
    assert book.added[minute, key] == 3
    assert book.added[minute + 1, key] == 4


async def test_storage_is_sampled_once_a_minute(book: Book, clock: Clock) -> None:
    recorder = UsageRecorder(book, now_ms=clock.now_ms)
    for _ in range(3):
        for _ in range(3):
            await recorder.flush()
        clock.advance(60_000)
    assert book.samples == 3


async def test_counts_wait_while_they_cannot_be_written(
    book: Book, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    book.refuse = True
    async with UsageRecorder(book, now_ms=clock.now_ms) as recorder:
        recorder.counters.appended(BASIN, 1)
        with pytest.raises(StorageFull):
            await recorder.flush()
        recorder.counters.appended(BASIN, 2)
        with pytest.raises(StorageFull):
            await recorder.flush()
        assert book.total() == 0
        book.refuse = False
        await recorder.flush()
        assert book.total() == 3
        book.refuse = True
        recorder.counters.appended(BASIN, 4)
    assert "could not be written down" in caplog.text
    assert book.total() == 3


async def test_nothing_is_counted_twice_when_a_caller_goes_away(book: Book, clock: Clock) -> None:
    recorder = UsageRecorder(book, now_ms=clock.now_ms)
    recorder.counters.appended(BASIN, 1)
    book.gate.clear()
    leaving = asyncio.create_task(recorder.flush())
    await book.entered.wait()
    recorder.counters.appended(BASIN, 2)
    staying = asyncio.create_task(recorder.flush())
    leaving.cancel()
    book.gate.set()
    await staying
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert book.total() == 3
    await recorder.flush()
    assert book.total() == 3


async def test_many_counts_go_in_many_steps(book: Book, clock: Clock) -> None:
    recorder = UsageRecorder(book, now_ms=clock.now_ms)
    for number in range(1000):
        recorder.counters.appended(f"basin-{number}", 3)
    await recorder.flush()
    assert book.total() == 3000


async def test_a_recorder_is_entered_once(book: Book) -> None:
    async with UsageRecorder(book) as recorder:
        with pytest.raises(UsageError):
            await recorder.__aenter__()


async def test_nothing_is_left_running(store: Store, engine: Engine) -> None:
    before = asyncio.all_tasks()
    async with UsageRecorder(engine.usage, now_ms=store.clock.now_ms) as recorder:
        recorder.counters.appended(BASIN, 5)
    assert asyncio.all_tasks() == before


async def total(engine: SqliteEngine, minute: int) -> int:
    """The unary appends of the hour of `minute` and the one after."""
    start = minute * 60 // HOUR * HOUR
    points = await engine.usage.counts(BASIN, "append-ops", start, start + 2 * HOUR, by_minute=True)
    return sum(point.value for point in points)


class TestProcesses:
    async def test_what_several_processes_count_adds_up(self, tmp_path: Path) -> None:
        engine = await SqliteEngine.open(tmp_path)
        try:
            await make_basin(engine)
            await make_stream(engine)
            minute = wall_clock_ms() // 60_000
            with (
                worker(count_appends, str(tmp_path), BASIN, "s") as one,
                worker(count_appends, str(tmp_path), BASIN, "s") as two,
            ):
                for other, number in ((one, 30), (two, 12)):
                    other.send(number)
                for other in (one, two):
                    assert other.receive() == "appended"
                    other.send(None)
                    assert other.join() == 0
            assert await total(engine, minute) == 42
        finally:
            await engine.aclose()

    @pytest.mark.timeout(120)
    async def test_a_killed_process_loses_only_what_it_counted_last(self, tmp_path: Path) -> None:
        """What it had counted is written after `FLUSH_SECONDS` at the latest."""
        engine = await SqliteEngine.open(tmp_path)
        try:
            await make_basin(engine)
            stream = await make_stream(engine)
            minute = wall_clock_ms() // 60_000
            with worker(count_appends, str(tmp_path), BASIN, "s") as other:
                other.send(25)
                assert other.receive() == "appended"
                async with asyncio.timeout(FLUSH_SECONDS + 30):
                    while await total(engine, minute) < 25:  # noqa: ASYNC110  # another process writes it
                        await asyncio.sleep(0.05)
                other.send(10)
                assert other.receive() == "appended"
                other.kill()
            assert 25 <= await total(engine, minute) <= 35
            assert (await engine.state(stream)).tail == 35
        finally:
            await engine.aclose()


def test_the_account_is_no_basin() -> None:
    """Its name is none that a basin could have."""
    assert ACCOUNT == ""
