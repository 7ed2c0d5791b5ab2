"""Each engine does what a list would do, on any sequence of operations."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.model.batches import AppendInput
from perdure.model.configs import RetentionAge, StreamConfig
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.engine import Engine, Lane
from tests.store.list_model import RETENTION_SECONDS, ListModel, told
from tests.store.making import delete_stream, gone, make_stream, records_of
from tests.store.stores import KINDS, Kind, opened, store_maker

small = st.integers(0, 12)
tokens = st.sampled_from(["", "a", "b"])
records = st.one_of(
    st.builds(
        AppendRecord, st.binary(max_size=3), timestamp=st.none() | st.integers(1_699_999_990_000, 1_700_000_900_000)
    ),
    st.builds(AppendRecord.fence, tokens),
    st.builds(AppendRecord.trim, st.integers(0, 30) | st.just(2**64 - 1)),
)
batches = st.builds(
    AppendInput.of,
    st.lists(records, min_size=1, max_size=4),
    match_seq_num=st.none() | small,
    fencing_token=st.none() | tokens,
)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), batches),
        st.tuples(st.just("append at the tail"), st.lists(records, min_size=1, max_size=4)),
        st.tuples(st.just("append many"), st.lists(batches, min_size=2, max_size=8)),
        st.tuples(st.just("append on a lane"), st.lists(batches, min_size=2, max_size=8)),
        st.tuples(st.just("read"), small),
        st.tuples(st.just("find"), st.integers(-20_000, 1_000_000)),
        st.tuples(st.just("wait"), st.integers(-5_000, 40_000)),
        st.tuples(st.just("change engines"), st.none()),
        st.tuples(st.just("create anew"), st.none()),
    ),
    max_size=30,
)


class Comparison:
    """One engine and one model, side by side; two engines on the store take turns."""

    def __init__(self, engines: list[Engine], stream: StreamId, now_ms: Callable[[], int]) -> None:
        self.engines = engines
        self.stream = stream
        self.now_ms = now_ms
        self.model = ListModel()

    async def append(self, batches: list[AppendInput], lane: Lane | None) -> None:
        engine = self.engines[0]
        futures = [engine.append(self.stream, batch, lane) for batch in batches]
        outcomes = [told(outcome) for outcome in await asyncio.gather(*futures, return_exceptions=True)]
        expected: list[object] = []
        for batch in batches:
            if lane is not None and expected and isinstance(expected[-1], tuple) and isinstance(expected[-1][0], type):
                expected.append(expected[-1])
            else:
                expected.append(self.model.append(batch, self.now_ms()))
        assert outcomes == expected

    async def check(self, start: int = 0) -> None:
        for engine in self.engines:
            state = await engine.state(self.stream)
            assert (state.tail, state.fencing_token) == (len(self.model.records), self.model.token)
            found = await records_of(engine, self.stream, start)
            assert [(r.seq_num, r.timestamp, r.body) for r in found] == self.model.visible(start, self.now_ms())

    async def find(self, timestamp: int) -> None:
        expected = next((n for n, t, _ in self.model.visible(0, self.now_ms()) if t >= timestamp), None)
        block = await self.engines[0].find_timestamp(self.stream, max(timestamp, 0))
        if expected is None:
            assert block is None
        else:
            assert block is not None
            assert block.start_seq <= expected < block.end_seq


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=operations)
def test_an_engine_does_what_a_list_would_do(
    kind: Kind,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    operations: list[tuple[str, object]],
) -> None:
    async def compare() -> None:
        store = store_maker(request)(kind, tmp_path_factory.mktemp("store") / "data")
        config = StreamConfig(retention_policy=RetentionAge(RETENTION_SECONDS))
        async with opened(store) as one, opened(store) as two:
            comparison = Comparison([one, two], await make_stream(one, config=config), store.clock.now_ms)
            for name, argument in operations:
                match name, argument:
                    case "append", AppendInput() as batch:
                        await comparison.append([batch], None)
                    case "append at the tail", list(given):
                        at_tail = AppendInput.of(given, match_seq_num=len(comparison.model.records))
                        await comparison.append([at_tail], None)
                    case (("append many" | "append on a lane"), list(many)):
                        await comparison.append(many, Lane() if name == "append on a lane" else None)
                    case "read", int(start):
                        await comparison.check(start)
                    case "find", int(offset):
                        await comparison.find(1_700_000_000_000 + offset)
                    case "wait", int(ms):
                        store.clock.advance(ms)
                    case "change engines", None:
                        comparison.engines.reverse()
                    case "create anew", None:
                        await delete_stream(one)
                        await gone(one)
                        comparison = Comparison([one, two], await make_stream(one, config=config), store.clock.now_ms)
                    case _:
                        raise AssertionError(name)
            await comparison.check()

    asyncio.run(compare())
