"""Two engines on one directory do what lists would do, on any operations, in turn and at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perdure.model.batches import AppendInput
from perdure.model.configs import RetentionAge, StreamConfig, TimestampingConfig
from perdure.model.records import AppendRecord
from perdure.store.catalogue import StreamId
from perdure.store.engine import Engine
from tests.store.list_model import RETENTION_SECONDS, ListModel, told
from tests.store.making import configure, delete_stream, gone, make_stream, records_of
from tests.store.stores import SqliteStore, opened

NAMES = ("a", "b")
T0 = 1_700_000_000_000


@dataclass(frozen=True)
class Append:
    engine: int
    name: str
    batch: AppendInput


@dataclass(frozen=True)
class AtOnce:
    """Both engines are given these without waiting in between; each goes through its own in order."""

    appends: list[Append]


@dataclass(frozen=True)
class Configure:
    engine: int
    name: str
    uncapped: bool


@dataclass(frozen=True)
class Anew:
    engine: int
    name: str


@dataclass(frozen=True)
class Wait:
    ms: int


engines = st.integers(0, 1)
names = st.sampled_from(NAMES)
tokens = st.sampled_from(["", "x", "y"])
plain = st.builds(
    AppendRecord, st.binary(max_size=2), timestamp=st.none() | st.integers(T0 - 10_000, T0 + 900_000)
)  # fmt: skip
records = st.one_of(
    plain, plain, st.builds(AppendRecord.fence, tokens), st.builds(AppendRecord.trim, st.integers(0, 20))
)
batches = st.one_of(
    st.builds(AppendInput.of, st.lists(plain, min_size=1, max_size=3)),
    st.builds(
        AppendInput.of,
        st.lists(records, min_size=1, max_size=3),
        match_seq_num=st.none() | st.integers(0, 12),
        fencing_token=st.none() | tokens,
    ),
)
appends = st.builds(Append, engines, names, batches)
operations = st.lists(
    st.one_of(
        appends,
        appends,
        st.builds(AtOnce, st.lists(appends, min_size=2, max_size=6)),
        st.builds(Configure, engines, names, st.booleans()),
        st.builds(Anew, engines, names),
        st.builds(Wait, st.integers(-5_000, 40_000)),
    ),
    min_size=8,
    max_size=30,
)


def config(*, uncapped: bool) -> StreamConfig:
    return StreamConfig(
        retention_policy=RetentionAge(RETENTION_SECONDS), timestamping=TimestampingConfig(uncapped=uncapped)
    )


def merges(one: list[int], other: list[int]) -> Iterator[list[int]]:
    """Every order in which both lists keep theirs."""
    if not one or not other:
        yield [*one, *other]
        return
    for rest in merges(one[1:], other):
        yield [one[0], *rest]
    for rest in merges(one, other[1:]):
        yield [other[0], *rest]


class Comparison:
    """Both engines, and a model of each stream."""

    def __init__(self, engines: tuple[Engine, Engine], store: SqliteStore) -> None:
        self._engines = engines
        self._store = store
        self._streams: dict[str, StreamId] = {}
        self._models: dict[str, ListModel] = {}

    async def make(self, engine: int, name: str) -> None:
        self._streams[name] = await make_stream(self._engines[engine], name, config(uncapped=False))
        self._models[name] = ListModel()

    async def anew(self, engine: int, name: str) -> None:
        await delete_stream(self._engines[engine], name)
        await gone(self._engines[engine], name)
        await self.make(1 - engine, name)

    async def configure(self, engine: int, name: str, uncapped: bool) -> None:
        await configure(self._engines[engine], name, config(uncapped=uncapped))
        self._models[name].uncapped = uncapped

    async def append(self, appends: list[Append]) -> None:
        """The answers are those of the model, in an order of the appends that both engines keep to."""
        futures = [self._engines[each.engine].append(self._streams[each.name], each.batch) for each in appends]
        outcomes = [told(outcome) for outcome in await asyncio.gather(*futures, return_exceptions=True)]
        numbers: tuple[list[int], list[int]] = ([], [])
        for number, each in enumerate(appends):
            numbers[each.engine].append(number)
        for order in merges(*numbers):
            models = {name: model.copy() for name, model in self._models.items()}
            if all(self._told(models, appends[number]) == outcomes[number] for number in order):
                self._models = models
                return
        raise AssertionError(f"{outcomes} are the answers in no order of {appends}, after {self._models}")

    def _told(self, models: dict[str, ListModel], append: Append) -> object:
        return models[append.name].append(append.batch, self._store.clock.now_ms())

    async def check(self) -> None:
        for name, stream in self._streams.items():
            model = self._models[name]
            for engine in self._engines:
                state = await engine.state(stream)
                assert (state.tail, state.fencing_token) == (len(model.records), model.token)
                found = await records_of(engine, stream)
                visible = model.visible(0, self._store.clock.now_ms())
                assert [(r.seq_num, r.timestamp, r.body) for r in found] == visible


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(operations=operations)
def test_two_writers_do_what_lists_would_do(
    tmp_path_factory: pytest.TempPathFactory,
    operations: list[Append | AtOnce | Configure | Anew | Wait],
) -> None:
    async def compare() -> None:
        store = SqliteStore(tmp_path_factory.mktemp("store") / "data")
        async with opened(store) as one, opened(store) as two:
            comparison = Comparison((one, two), store)
            for name in NAMES:
                await comparison.make(0, name)
            for operation in operations:
                match operation:
                    case Append():
                        await comparison.append([operation])
                    case AtOnce(appends):
                        await comparison.append(appends)
                    case Configure(engine, name, uncapped):
                        await comparison.configure(engine, name, uncapped)
                    case Anew(engine, name):
                        await comparison.anew(engine, name)
                    case Wait(ms):
                        store.clock.advance(ms)
            await comparison.check()

    asyncio.run(compare())
