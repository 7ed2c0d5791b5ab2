"""What a stream is said to hold is what its blocks take, after every transaction."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.model.configs import DeleteOnEmptyConfig, InfiniteRetention, RetentionAge, StreamConfig
from perdure.model.records import AppendRecord
from perdure.store.sqlite import SqliteEngine
from tests.store.clock import Clock
from tests.store.making import BASIN, batch, commands, configure, delete_stream, eventually, gone, make_stream
from tests.store.sqlite.rows import accounts
from tests.store.sqlite.submitted import full_batch

NAMES = ("one", "two")
names = st.sampled_from(NAMES)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), names, st.integers(1, 4)),
        st.tuples(st.just("append many"), names, st.integers(2, 300)),
        st.tuples(st.just("append large"), names, st.just(0)),
        st.tuples(st.just("trim"), names, st.integers(0, 400)),
        st.tuples(st.just("retain"), names, st.sampled_from([0, 5, 50])),
        st.tuples(st.just("wait"), names, st.integers(1_000, 60_000)),
        st.tuples(st.just("delete"), names, st.just(0)),
        st.tuples(st.just("change engines"), names, st.just(0)),
    ),
    max_size=25,
)


async def run(path: Path, given: list[tuple[str, str, int]]) -> None:
    clock = Clock()
    one = await SqliteEngine.open(path, now_ms=clock.now_ms)
    two = await SqliteEngine.open(path, now_ms=clock.now_ms)
    engines = [one, two]
    streams = {name: await make_stream(one, name) for name in NAMES}
    try:
        for operation, name, number in given:
            engine, stream = engines[0], streams[name]
            match operation:
                case "append":
                    await engine.append(stream, batch(*["x"] * number))
                case "append many":
                    await asyncio.gather(*[e.append(stream, batch(str(n))) for n in range(number) for e in engines])
                case "append large":
                    await engine.append(stream, full_batch(0, number))
                case "trim":
                    await engine.append(stream, commands(AppendRecord.trim(number)))
                case "retain":
                    policy = RetentionAge(number) if number else InfiniteRetention()
                    config = StreamConfig(
                        retention_policy=policy, delete_on_empty=DeleteOnEmptyConfig(min_age_secs=10**9)
                    )
                    await configure(engine, name, config)
                case "wait":
                    clock.advance(number)
                case "delete":
                    await delete_stream(engine, name)
                    await gone(engine, name)
                    streams[name] = await make_stream(engine, name)
                case "change engines":
                    engines.reverse()
            assert all(account == taken for account, taken in accounts(path)), operation
        for name in NAMES:
            await delete_stream(one, name)
            await gone(one, name)
        assert accounts(path) == []
        assert await one.stream(BASIN, "one") is None
    finally:
        await one.aclose()
        await two.aclose()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=operations)
def test_the_account_is_what_the_blocks_take(
    tmp_path_factory: pytest.TempPathFactory, operations: list[tuple[str, str, int]]
) -> None:
    asyncio.run(run(tmp_path_factory.mktemp("store") / "data", operations))


async def test_a_trim_frees_what_it_removes_and_nothing_else(tmp_path: Path) -> None:
    engine = await SqliteEngine.open(tmp_path)
    try:
        stream = await make_stream(engine)
        for number in range(600):
            await engine.append(stream, batch(str(number)))
        await engine.append(stream, commands(AppendRecord.trim(590)))

        async def swept() -> bool:
            return accounts(tmp_path) == [(10 * 11 + 22, 10 * 11 + 22)]

        await eventually(swept)
    finally:
        await engine.aclose()
