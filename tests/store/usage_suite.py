"""What every storage engine keeps about the use of its streams, as tests; a part of `tests.store.engine_suite`."""

from datetime import UTC, datetime

import pytest

from perdure.errors import StreamNotFound
from perdure.model.configs import RetentionAge, StreamConfig
from perdure.model.records import AppendRecord
from perdure.store import catalogue
from perdure.store.catalogue import StreamId
from perdure.store.engine import Engine
from perdure.store.usage import (
    ACCOUNT,
    HOURS_KEPT,
    MINUTES_KEPT_HOURS,
    StorageSample,
    UsageCount,
    UsageKey,
    UsagePoint,
)
from tests.store.clock import Clock
from tests.store.making import BASIN, batch, commands, delete_basin, delete_stream, eventually, gone, make_basin
from tests.store.making import make_stream as make_stream_now
from tests.store.stores import Store, opened

HOUR = 3600
SET, SERIES = "append-ops", "unary"


def count(clock: Clock, value: int, basin: str = BASIN, metric_set: str = SET, series: str = SERIES) -> UsageCount:
    return UsageCount(clock.now_ms() // 60_000, UsageKey(basin, metric_set, series), value)


def hour_of(clock: Clock) -> int:
    return clock.now_ms() // 1000 // HOUR * HOUR


async def sums(
    engine: Engine, clock: Clock, *, hours: int = 1, by_minute: bool = False, basin: str = BASIN
) -> dict[int, int]:
    """The sums of `SERIES` by the second at which they begin, in the last `hours` hours."""
    end = hour_of(clock) + HOUR
    found: dict[int, int] = {}
    for point in await engine.usage.counts(basin, SET, max(0, end - hours * HOUR), end, by_minute=by_minute):
        assert point.series == SERIES
        found[point.start_secs] = found.get(point.start_secs, 0) + point.value
    return found


async def make_stream(engine: Engine, clock: Clock, name: str = "s", config: StreamConfig | None = None) -> StreamId:
    """A stream that was created at the time of the store."""
    if await engine.basin(BASIN) is None:
        await make_basin(engine)
    now = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    change = await engine.change_stream(
        BASIN, name, lambda parent, existing: catalogue.create_stream(parent, existing, BASIN, name, config, None, now)
    )
    return change.entry.stream_id


async def delete_stream_at(engine: Engine, now: datetime) -> None:
    """Delete the stream at this time, and wait until it is gone."""
    await engine.change_stream(BASIN, "s", lambda _, existing: catalogue.delete_stream(existing, BASIN, "s", now))
    await gone(engine)


async def stored(engine: Engine, stream: StreamId) -> int:
    return (await engine.usage.stream_storage(stream)).stored_bytes


class CountingContract:
    async def test_counts_add_up(self, store: Store, engine: Engine) -> None:
        await make_basin(engine)
        clock = store.clock
        await engine.usage.add([count(clock, 1), count(clock, 2)])
        first = clock.now_ms() // 60_000 * 60
        clock.advance(60_000)
        await engine.usage.add([count(clock, 4)])
        assert await sums(engine, clock) == {hour_of(clock): 7}
        assert await sums(engine, clock, by_minute=True) == {first: 3, first + 60: 4}

    async def test_counts_of_several_engines_add_up_and_stay(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            await make_basin(one)
            for engine in (one, two, one):
                await engine.usage.add([count(store.clock, 5)])
            assert await sums(two, store.clock) == {hour_of(store.clock): 15}
        async with opened(store) as again:
            assert await sums(again, store.clock) == {hour_of(store.clock): 15}

    async def test_series_sets_and_basins_are_apart(self, store: Store, engine: Engine) -> None:
        clock = store.clock
        await make_basin(engine)
        await make_basin(engine, "other-basin")
        await engine.usage.add(
            [
                count(clock, 1),
                count(clock, 2, series="session"),
                count(clock, 4, metric_set="read-ops"),
                count(clock, 8, basin="other-basin"),
                count(clock, 16, basin=ACCOUNT),
            ]
        )
        start = hour_of(clock)
        found = await engine.usage.counts(BASIN, SET, start, start + HOUR, by_minute=False)
        assert set(found) == {UsagePoint("unary", start, 1), UsagePoint("session", start, 2)}
        assert await sums(engine, clock, basin="other-basin") == {start: 8}
        assert await sums(engine, clock, basin=ACCOUNT) == {start: 16}

    async def test_only_the_hours_that_were_asked_for(self, store: Store, engine: Engine) -> None:
        await make_basin(engine)
        clock = store.clock
        for value in range(5):
            await engine.usage.add([count(clock, value + 1)])
            clock.advance(HOUR * 1000)
        end = hour_of(clock)
        for by_minute in (False, True):
            found = await engine.usage.counts(BASIN, SET, end - 4 * HOUR, end - HOUR, by_minute=by_minute)
            assert sorted(point.value for point in found) == [2, 3, 4]
            assert await engine.usage.counts(BASIN, SET, 0, HOUR, by_minute=by_minute) == ()

    async def test_what_was_counted_of_a_basin_that_is_gone_is_dropped(self, store: Store, engine: Engine) -> None:
        clock = store.clock
        await engine.usage.add([count(clock, 1), count(clock, 2, basin=ACCOUNT)])
        await make_basin(engine)
        await engine.usage.add([count(clock, 4)])
        assert await sums(engine, clock) == {hour_of(clock): 4}
        await delete_basin(engine)

        async def is_gone() -> bool:
            return await engine.basin(BASIN) is None

        await eventually(is_gone)
        await make_basin(engine)
        assert await sums(engine, clock) == {}
        assert await sums(engine, clock, basin=ACCOUNT) == {hour_of(clock): 2}

    async def test_old_minutes_are_known_by_the_hour_and_older_ones_not_at_all(
        self, store: Store, engine: Engine
    ) -> None:
        await make_basin(engine)
        clock = store.clock
        clock.advance(HOUR * 1000 - clock.now_ms() % (HOUR * 1000))
        begun = hour_of(clock)
        for value in (1, 2, 4):
            await engine.usage.add([count(clock, value)])
            clock.advance(60_000)
        clock.advance(MINUTES_KEPT_HOURS * HOUR * 1000)
        await engine.usage.sample()
        minutes = {begun: 1, begun + 60: 2, begun + 120: 4}
        assert await sums(engine, clock, hours=HOURS_KEPT, by_minute=True) == minutes
        clock.advance(HOUR * 1000)
        for _ in range(2):
            assert await sums(engine, clock, hours=HOURS_KEPT, by_minute=True) == {begun: 7}
            assert await sums(engine, clock, hours=HOURS_KEPT) == {begun: 7}
            await engine.usage.sample()
        clock.advance(HOURS_KEPT * HOUR * 1000)
        await engine.usage.sample()
        assert await sums(engine, clock, hours=2 * HOURS_KEPT, by_minute=True) == {}
        assert await sums(engine, clock, hours=2 * HOURS_KEPT) == {}


class StorageContract:
    async def test_a_stream_holds_what_was_appended_and_not_removed(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream_now(one)
            assert await stored(one, stream) == 0
            for engine in (one, two):
                for _ in range(5):
                    await engine.append(stream, batch("x", "yy"))
            assert await stored(one, stream) == await stored(two, stream) == 10 * 19
            await two.append(stream, commands(AppendRecord.trim(16)))

            async def swept() -> bool:
                return await stored(one, stream) == 2 * 19 + 22

            await eventually(swept)
            other = await make_stream_now(one, "other")
            await two.append(other, batch("z"))
            assert (await one.usage.basin_storage(BASIN, 0, 0)).stored_bytes == 2 * 19 + 22 + 9
            await delete_stream(one)
            await gone(one)
            assert (await two.usage.basin_storage(BASIN, 0, 0)).stored_bytes == 9

    async def test_what_expires_is_not_held_for_ever(self, store: Store, engine: Engine) -> None:
        stream = await make_stream_now(engine, config=StreamConfig(retention_policy=RetentionAge(10)))
        other = await make_stream_now(engine, "other")
        await engine.append(stream, batch("x"))
        store.clock.advance(11_000)
        await engine.append(stream, batch("yy"))
        await engine.append(other, commands(AppendRecord.trim(99)))  # wakes whoever removes

        async def swept() -> bool:
            return await stored(engine, stream) == 10

        await eventually(swept)

    async def test_samples_are_of_streams_that_changed(self, store: Store, engine: Engine) -> None:
        clock = store.clock
        stream, other = await make_stream(engine, clock), await make_stream(engine, clock, "other")
        await engine.append(stream, batch("before"))
        await engine.usage.sample()
        minutes = []
        for _ in range(3):
            await engine.append(stream, batch("x"))
            clock.advance(60_000)
            minutes.append(clock.now_ms() // 60_000 * 60)
            await engine.usage.sample()
        clock.advance(60_000)
        await engine.usage.sample()
        await engine.append(stream, batch("now"))
        history = await engine.usage.stream_storage(stream)
        first = history.samples[0].stored_bytes
        assert history.samples == tuple(StorageSample(at, first + n * 9) for n, at in enumerate(minutes))
        assert history.stored_bytes == first + 2 * 9 + 11
        assert history.written_secs == clock.now_ms() // 1000
        assert (await engine.usage.stream_storage(other)).samples == ()

    async def test_the_last_sample_of_a_minute_counts(self, store: Store, engine: Engine) -> None:
        stream = await make_stream(engine, store.clock)
        await engine.usage.sample()
        for _ in range(2):
            await engine.append(stream, batch("x"))
            await engine.usage.sample()
        assert (await engine.usage.stream_storage(stream)).samples == (
            StorageSample(store.clock.now_ms() // 60_000 * 60, 18),
        )

    async def test_each_engine_samples_what_it_changed(self, store: Store) -> None:
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one, store.clock)
            for engine in (one, two):
                await engine.usage.sample()
            await two.append(stream, batch("x"))
            await one.usage.sample()
            assert (await one.usage.stream_storage(stream)).samples == ()
            await two.usage.sample()
            assert [sample.stored_bytes for sample in (await one.usage.stream_storage(stream)).samples] == [9]

    async def test_samples_outlive_the_engine_for_a_while(self, store: Store) -> None:
        async with opened(store) as engine:
            stream = await make_stream(engine, store.clock)
            await engine.usage.sample()
            await engine.append(stream, batch("x"))
            await engine.usage.sample()
            before = await engine.usage.stream_storage(stream)
        async with opened(store) as again:
            assert await again.usage.stream_storage(stream) == before
            store.clock.advance((MINUTES_KEPT_HOURS + 1) * HOUR * 1000)
            await again.usage.sample()
            assert [sample.stored_bytes for sample in (await again.usage.stream_storage(stream)).samples] == [9]
            store.clock.advance(HOURS_KEPT * HOUR * 1000)
            await again.usage.sample()
            assert (await again.usage.stream_storage(stream)).samples == ()

    async def test_a_basin_is_sampled_once_an_hour(self, store: Store) -> None:
        clock = store.clock
        async with opened(store) as one, opened(store) as two:
            stream = await make_stream(one, clock)
            start = hour_of(clock)
            await one.append(stream, batch("x"))
            await one.usage.sample()
            first = clock.now_ms() // 1000
            await one.append(stream, batch("y"))
            await two.usage.sample()
            await one.usage.sample()
            assert (await two.usage.basin_storage(BASIN, start, start + HOUR)).samples == (StorageSample(first, 9),)
            clock.advance(HOUR * 1000)
            await two.usage.sample()
            await one.usage.sample()
            history = await one.usage.basin_storage(BASIN, start, start + 2 * HOUR)
            assert history.samples == (StorageSample(first, 9), StorageSample(first + HOUR, 18))
            assert history.stored_bytes == 18

    async def test_the_storage_of_a_stream_that_is_gone_is_not_found(self, engine: Engine) -> None:
        with pytest.raises(StreamNotFound):
            await engine.usage.stream_storage(StreamId(987_654))


class ActivityContract:
    async def test_a_basin_is_active_while_it_has_a_stream(self, store: Store, engine: Engine) -> None:
        clock = store.clock
        clock.advance(60_000 - clock.now_ms() % 60_000)

        def now() -> int:
            return clock.now_ms() // 1000

        async def active(start: int, end: int) -> bool:
            return await engine.usage.active_basins(start, end) == (BASIN,)

        await make_basin(engine)
        await make_basin(engine, "empty-basin")
        begun = now()
        assert not await active(0, begun)
        clock.advance(600_000)
        await make_stream(engine, clock)
        made = now()
        assert await active(made, made)
        assert await active(0, made + 600)
        assert not await active(0, made - 1)
        clock.advance(600_000)
        deleted = datetime.fromtimestamp(now(), UTC)
        ended = now()
        await delete_stream_at(engine, deleted)
        assert await active(made + 300, ended + 300)
        assert not await active(ended + 60, ended + 300)
        assert not await active(begun, made - 60)

    async def test_what_is_gone_is_remembered_for_a_while(self, store: Store, engine: Engine) -> None:
        clock = store.clock
        ended = 0
        for _ in range(3):
            await make_stream(engine, clock)
            clock.advance(30_000)
            ended = clock.now_ms() // 1000
            deleted = datetime.fromtimestamp(ended, UTC)
            await delete_stream_at(engine, deleted)
        await delete_basin(engine)

        async def is_gone() -> bool:
            return await engine.basin(BASIN) is None

        await eventually(is_gone)
        clock.advance(29 * 24 * HOUR * 1000)
        await engine.usage.sample()
        assert await engine.usage.active_basins(0, ended + 1) == (BASIN,)
        clock.advance(4 * 24 * HOUR * 1000)
        await engine.usage.sample()
        assert await engine.usage.active_basins(0, ended + 1) == ()


class UsageContract(CountingContract, StorageContract, ActivityContract):
    """All of it."""
