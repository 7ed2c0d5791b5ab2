"""What is done with the service shows in the metrics: the right operations and bytes, in the right set."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from perdure.errors import BasinNotFound, Invalid, PerdureError, SeqNumMismatch, StreamNotFound
from perdure.model.access_tokens import EVERYTHING, AccessTokenInfo, AccessTokenScope, Operation
from perdure.model.configs import BasinConfig, BasinReconfiguration, StreamReconfiguration
from perdure.model.metrics import (
    AccountMetricSet,
    AccumulationMetric,
    BasinMetricSet,
    GaugeMetric,
    LabelMetric,
    Metric,
    MetricsQuery,
    MetricUnit,
    StreamMetricSet,
    TimeseriesInterval,
)
from perdure.model.positions import SeqNum
from perdure.model.reads import ReadRequest
from perdure.model.records import AppendRecord
from perdure.store.engine import Engine
from perdure.store.service import StreamStore
from perdure.store.usage_recorder import UsageRecorder
from tests.store.making import BASIN, batch, commands, eventually
from tests.store.stores import Store, opened

HOUR = 3600
DAY = 24 * HOUR


@asynccontextmanager
async def counting(store: Store, engine: Engine) -> AsyncIterator[StreamStore]:
    """The service on `engine`, with its operations counted by the store's clock."""
    clock = store.clock
    async with UsageRecorder(engine.usage, now_ms=clock.now_ms) as recorder:
        yield StreamStore(engine, recorder, now=lambda: datetime.fromtimestamp(clock.now_ms() / 1000, UTC))


@pytest.fixture
async def service(store: Store, engine: Engine) -> AsyncIterator[StreamStore]:
    async with counting(store, engine) as service:
        yield service


class Asking:
    """Asks for metrics of the last hours."""

    def __init__(self, store: Store, service: StreamStore) -> None:
        self._store = store
        self._service = service

    def query(self, interval: TimeseriesInterval | None = None) -> MetricsQuery:
        now = self._store.clock.now_ms() // 1000
        return MetricsQuery(now - DAY, now, interval)

    async def account(
        self, metric_set: AccountMetricSet, interval: TimeseriesInterval | None = None
    ) -> dict[str, float]:
        return totals(await self._service.account_metrics(metric_set, self.query(interval)))

    async def basin(self, metric_set: BasinMetricSet, interval: TimeseriesInterval | None = None) -> dict[str, float]:
        return totals(await self._service.basin_metrics(BASIN, metric_set, self.query(interval)))


def totals(metrics: tuple[Metric, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in metrics:
        assert isinstance(metric, AccumulationMetric)
        assert metric.name not in found
        found[metric.name] = sum(value for _, value in metric.values)
    return found


@pytest.fixture
def asking(store: Store, service: StreamStore) -> Asking:
    return Asking(store, service)


async def refused(call: Awaitable[object], *errors: type[PerdureError]) -> None:
    with pytest.raises(errors or PerdureError):
        await call


class TestOperations:
    async def test_account_operations_are_counted_each_by_its_name(self, service: StreamStore, asking: Asking) -> None:
        await service.create_basin(BASIN)
        await refused(service.create_basin(BASIN))
        await service.ensure_basin("other-basin")
        await service.ensure_basin("other-basin", BasinConfig(create_stream_on_append=True))
        await service.get_basin_config(BASIN)
        await refused(service.get_basin_config("no-such-basin"))
        await service.reconfigure_basin(BASIN, BasinReconfiguration(create_stream_on_append=True))
        for _ in range(3):
            await service.list_basins()
        await service.delete_basin("other-basin")
        scope = AccessTokenScope(EVERYTHING, ops=(Operation.LIST_BASINS,))
        await service.issue_access_token(AccessTokenInfo("t", scope))
        await service.list_access_tokens()
        await service.revoke_access_token("t")
        service.count(Operation.LIST_LOCATIONS)
        assert await asking.account(AccountMetricSet.ACCOUNT_OPS) == {
            "create-basin": 2,
            "delete-basin": 1,
            "get-basin-config": 1,
            "issue-access-token": 1,
            "list-access-tokens": 1,
            "list-basins": 3,
            "list-locations": 1,
            "reconfigure-basin": 2,
            "revoke-access-token": 1,
        }
        assert (await asking.account(AccountMetricSet.ACCOUNT_OPS))["account-metrics"] == 1

    async def test_basin_operations_are_counted_each_by_its_name(self, service: StreamStore, asking: Asking) -> None:
        await service.create_basin(BASIN)
        await service.create_basin("other-basin")
        await service.create_stream("other-basin", "s")
        await service.create_stream(BASIN, "s")
        await refused(service.create_stream(BASIN, "s"))
        await service.ensure_stream(BASIN, "t")
        await service.ensure_stream(BASIN, "t")
        await service.get_stream_config(BASIN, "s")
        await service.reconfigure_stream(BASIN, "s", StreamReconfiguration())
        await service.list_streams(BASIN)
        await service.check_tail(BASIN, "s")
        await refused(service.check_tail(BASIN, "no such stream"))
        await service.stream_metrics(BASIN, "s", StreamMetricSet.STORAGE, asking.query())
        await service.delete_stream(BASIN, "t")
        assert await asking.basin(BasinMetricSet.BASIN_OPS) == {
            "check-tail": 1,
            "create-stream": 2,
            "delete-stream": 1,
            "get-stream-config": 1,
            "list-streams": 1,
            "reconfigure-stream": 2,
            "stream-metrics": 1,
        }
        assert (await asking.basin(BasinMetricSet.BASIN_OPS))["basin-metrics"] == 1

    @pytest.mark.parametrize("metric_set", [*BasinMetricSet])
    async def test_a_basin_where_nothing_happened(
        self, service: StreamStore, asking: Asking, metric_set: BasinMetricSet
    ) -> None:
        await service.create_basin(BASIN)
        found = await service.basin_metrics(BASIN, metric_set, asking.query())
        for metric in found:
            assert isinstance(metric, (AccumulationMetric, GaugeMetric))
            assert sum(value for _, value in metric.values) == 0
        assert bool(found) == (metric_set is not BasinMetricSet.BASIN_OPS)


class TestRecords:
    @pytest.fixture(autouse=True)
    async def stream(self, service: StreamStore) -> None:
        await service.create_basin(BASIN, BasinConfig(create_stream_on_append=True))

    async def test_appends_count_when_they_are_acknowledged(self, service: StreamStore, asking: Asking) -> None:
        await service.append(BASIN, "s", batch("x", "yy"))
        await refused(service.append(BASIN, "s", batch("x", match=9)), SeqNumMismatch)
        session = await service.open_append_session(BASIN, "s")
        for _ in range(3):
            await session.submit(commands(AppendRecord.fence("me")))
        await refused(session.submit(batch("x", match=9)), SeqNumMismatch)
        await refused(session.submit(batch("x")), SeqNumMismatch)
        assert await asking.basin(BasinMetricSet.APPEND_OPS) == {"unary": 1, "session": 3}
        assert await asking.basin(BasinMetricSet.APPEND_THROUGHPUT) == {"append-throughput": 19 + 3 * 17}

    async def test_reads_count_once_and_by_what_they_hand_out(self, service: StreamStore, asking: Asking) -> None:
        for _ in range(4):
            await service.append(BASIN, "s", batch("x", "yy"))
        await service.read(BASIN, "s", ReadRequest.of(SeqNum(0), count=3))
        await refused(service.read(BASIN, "s", ReadRequest.of(SeqNum(8))))
        async with await service.open_read_session(BASIN, "s", ReadRequest.of(SeqNum(1))) as session:
            step = await session.next()
            while step is not None and not step.is_heartbeat:
                step = await session.next()
            await service.append(BASIN, "s", batch("live"))
            assert await session.next() is not None
        assert await asking.basin(BasinMetricSet.READ_OPS) == {"unary": 1, "session": 1}
        unary, caught_up, live = 9 + 10 + 9, 4 * 19 - 9, 12
        assert await asking.basin(BasinMetricSet.READ_THROUGHPUT) == {"read-throughput": unary + caught_up + live}

    async def test_the_units_and_intervals(self, service: StreamStore, asking: Asking) -> None:
        await service.append(BASIN, "s", batch("x"))
        for metric_set, unit in (
            (BasinMetricSet.APPEND_OPS, MetricUnit.OPERATIONS),
            (BasinMetricSet.APPEND_THROUGHPUT, MetricUnit.BYTES),
        ):
            for interval in (None, *TimeseriesInterval):
                for metric in await service.basin_metrics(BASIN, metric_set, asking.query(interval)):
                    assert isinstance(metric, AccumulationMetric)
                    assert metric.unit is unit
                    assert metric.interval is (interval or TimeseriesInterval.HOUR)
                    assert all(at % metric.interval.seconds == 0 for at, _ in metric.values)

    async def test_each_minute_gets_what_was_counted_in_it(
        self, store: Store, service: StreamStore, asking: Asking
    ) -> None:
        clock = store.clock
        clock.advance(60_000 - clock.now_ms() % 60_000)
        await service.account_metrics(AccountMetricSet.ACCOUNT_OPS, asking.query())  # the counts so far are written
        begun = clock.now_ms() // 1000
        for minute in range(3):
            for _ in range(minute + 1):
                await service.append(BASIN, "s", batch("x"))
            clock.advance(60_000)  # at each turn of a minute counts are written, here because somebody asks
            await service.basin_metrics(BASIN, BasinMetricSet.APPEND_OPS, asking.query())
        query = MetricsQuery(begun, begun + 180, TimeseriesInterval.MINUTE)
        unary = (await service.basin_metrics(BASIN, BasinMetricSet.APPEND_OPS, query))[0]
        assert isinstance(unary, AccumulationMetric)
        assert unary.values == ((begun, 1), (begun + 60, 2), (begun + 120, 3))

    async def test_storage_is_what_is_kept(self, store: Store, service: StreamStore, asking: Asking) -> None:
        await service.append(BASIN, "s", batch("x"))
        await service.append(BASIN, "t", batch("yyy"))
        now = store.clock.now_ms() // 1000
        (gauge,) = await service.stream_metrics(BASIN, "s", StreamMetricSet.STORAGE, asking.query())
        assert gauge == GaugeMetric("storage", MetricUnit.BYTES, ((now, 9),))
        (gauge,) = await service.basin_metrics(BASIN, BasinMetricSet.STORAGE, asking.query())
        assert isinstance(gauge, GaugeMetric)
        assert gauge.values[-1] == (now, 20)

    async def test_active_basins_are_those_with_streams(self, service: StreamStore, asking: Asking) -> None:
        await service.create_basin("empty-basin")
        await service.append(BASIN, "s", batch("x"))
        found = await service.account_metrics(AccountMetricSet.ACTIVE_BASINS, asking.query())
        assert found == (LabelMetric("active-basins", (BASIN,)),)


class TestQuestionsThatAreRefused:
    @pytest.fixture
    async def calls(self, service: StreamStore) -> list[Callable[[MetricsQuery], Awaitable[tuple[Metric, ...]]]]:
        await service.create_basin(BASIN)
        await service.create_stream(BASIN, "s")
        return [
            lambda query: service.account_metrics(AccountMetricSet.ACTIVE_BASINS, query),
            lambda query: service.account_metrics(AccountMetricSet.ACCOUNT_OPS, query),
            lambda query: service.basin_metrics(BASIN, BasinMetricSet.STORAGE, query),
            lambda query: service.basin_metrics(BASIN, BasinMetricSet.READ_OPS, query),
            lambda query: service.stream_metrics(BASIN, "s", StreamMetricSet.STORAGE, query),
        ]

    async def test_a_range_that_makes_no_sense(
        self, store: Store, calls: list[Callable[[MetricsQuery], Awaitable[tuple[Metric, ...]]]]
    ) -> None:
        now = store.clock.now_ms() // 1000
        for call in calls:
            for start, end in ((None, 1), (1, None), (2, 1), (now - 1, now - 1 + 600), (0, 40 * DAY)):
                with pytest.raises(Invalid):
                    await call(MetricsQuery(start, end))
            await call(MetricsQuery(0, 3600))
            await call(MetricsQuery(now - 30 * DAY + 500, now + 500))

    async def test_storage_by_another_interval(self, service: StreamStore, asking: Asking) -> None:
        await service.create_basin(BASIN)
        await service.create_stream(BASIN, "s")
        for interval in (TimeseriesInterval.MINUTE, TimeseriesInterval.DAY):
            with pytest.raises(Invalid, match="hour"):
                await service.basin_metrics(BASIN, BasinMetricSet.STORAGE, asking.query(interval))
        for interval in (TimeseriesInterval.HOUR, TimeseriesInterval.DAY):
            with pytest.raises(Invalid, match="minute"):
                await service.stream_metrics(BASIN, "s", StreamMetricSet.STORAGE, asking.query(interval))

    async def test_what_is_not_there(self, service: StreamStore, asking: Asking) -> None:
        for metric_set in BasinMetricSet:
            with pytest.raises(BasinNotFound):
                await service.basin_metrics(BASIN, metric_set, asking.query())
        with pytest.raises(BasinNotFound):
            await service.stream_metrics(BASIN, "s", StreamMetricSet.STORAGE, asking.query())
        await service.create_basin(BASIN)
        with pytest.raises(StreamNotFound):
            await service.stream_metrics(BASIN, "s", StreamMetricSet.STORAGE, asking.query())


class TestWhoCounts:
    async def test_counts_survive_a_restart(self, store: Store) -> None:
        async with opened(store) as engine, counting(store, engine) as service:
            await service.create_basin(BASIN, BasinConfig(create_stream_on_append=True))
            await service.append(BASIN, "s", batch("x"))
        async with opened(store) as engine, counting(store, engine) as service:
            asking = Asking(store, service)
            await service.append(BASIN, "s", batch("y"))
            assert await asking.basin(BasinMetricSet.APPEND_OPS) == {"unary": 2, "session": 0}
            assert await asking.account(AccountMetricSet.ACCOUNT_OPS) == {"create-basin": 1}

    async def test_a_service_without_a_recorder_counts_nothing_and_can_tell(self, store: Store) -> None:
        clock = store.clock

        def now() -> datetime:
            return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)

        async with opened(store) as one, opened(store) as two:
            silent = StreamStore(two, now=now)
            async with counting(store, one) as service:
                await service.create_basin(BASIN, BasinConfig(create_stream_on_append=True))
                await service.append(BASIN, "s", batch("x"))
                await silent.append(BASIN, "s", batch("y"))
            assert await Asking(store, silent).basin(BasinMetricSet.APPEND_OPS) == {"unary": 1, "session": 0}

    async def test_a_name_that_was_made_anew_begins_at_zero(self, service: StreamStore, asking: Asking) -> None:
        await service.create_basin(BASIN, BasinConfig(create_stream_on_append=True))
        await service.append(BASIN, "s", batch("x"))
        assert await asking.basin(BasinMetricSet.APPEND_OPS) == {"unary": 1, "session": 0}
        await service.delete_basin(BASIN)

        async def gone() -> bool:
            return not (await service.list_basins()).items

        await eventually(gone)
        await service.create_basin(BASIN)
        assert await asking.basin(BasinMetricSet.APPEND_OPS) == {"unary": 0, "session": 0}
        assert await asking.account(AccountMetricSet.ACCOUNT_OPS) != {}
