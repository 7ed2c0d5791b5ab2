"""Usage as users ask for it: the same numbers embedded and over HTTP (store API, section 8.4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdure import (
    S2,
    AccountMetricSet,
    AccumulationMetric,
    AppendInput,
    AppendRecord,
    Basin,
    BasinMetricSet,
    BasinNotFound,
    GaugeMetric,
    Invalid,
    LabelMetric,
    Metric,
    MetricPoint,
    MetricUnit,
    SeqNum,
    Stream,
    StreamMetricSet,
    StreamNotFound,
    TimeseriesInterval,
)
from tests.client.conftest import Carrier

BATCH = AppendInput.of([AppendRecord("x" * 100), AppendRecord("y")])
HOUR = timedelta(hours=1)


def an_hour_ago() -> datetime:
    return datetime.now(UTC) - HOUR


def totals(metrics: tuple[Metric, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in metrics:
        assert isinstance(metric, AccumulationMetric)
        assert all(point.time.tzinfo is UTC for point in metric.points)
        found[metric.name] = sum(point.value for point in metric.points)
    return found


async def use(stream: Stream) -> None:
    await stream.append(BATCH.records)
    async with stream.append_session() as session:
        for _ in range(2):
            _ = await session.submit_batch(BATCH)
    await stream.read(SeqNum(0), count=2)
    async with stream.read_session(SeqNum(0), wait=0) as records:
        assert len([record async for record in records]) == 6


class TestUse:
    @pytest.mark.parametrize("interval", [None, *TimeseriesInterval])
    async def test_a_basin_counts_what_was_done(
        self, s2: S2, basin: Basin, stream: Stream, carrier: Carrier, interval: TimeseriesInterval | None
    ) -> None:
        start = an_hour_ago()
        await use(stream)

        async def asked(metric_set: BasinMetricSet) -> tuple[Metric, ...]:
            return await s2.metrics.basin(basin.name, metric_set, start=start, interval=interval)

        in_session = 2 if carrier != "http1" else 0  # there, sessions are made of calls
        assert totals(await asked(BasinMetricSet.APPEND_OPS)) == {"unary": 3 - in_session, "session": in_session}
        assert totals(await asked(BasinMetricSet.READ_OPS)) == {"unary": 1, "session": 1}
        appended = await asked(BasinMetricSet.APPEND_THROUGHPUT)
        assert totals(appended) == {"append-throughput": 3 * BATCH.metered_bytes}
        assert totals(await asked(BasinMetricSet.READ_THROUGHPUT)) == {"read-throughput": 4 * BATCH.metered_bytes}
        assert totals(await asked(BasinMetricSet.BASIN_OPS)) == {"create-stream": 1, "basin-metrics": 4}
        (metric,) = appended
        assert isinstance(metric, AccumulationMetric)
        assert (metric.unit, metric.interval) == (MetricUnit.BYTES, interval or TimeseriesInterval.HOUR)
        (epoch_secs, value) = metric.values[0]
        assert metric.points[0] == MetricPoint(datetime.fromtimestamp(epoch_secs, UTC), value)

    async def test_storage_is_a_level(self, s2: S2, basin: Basin, stream: Stream) -> None:
        await stream.append(BATCH.records)
        for metrics in (
            await s2.metrics.basin(basin.name, BasinMetricSet.STORAGE, start=an_hour_ago()),
            await s2.metrics.stream(basin.name, "s", StreamMetricSet.STORAGE, start=an_hour_ago()),
        ):
            (metric,) = metrics
            assert isinstance(metric, GaugeMetric)
            assert (metric.name, metric.unit) == ("storage", MetricUnit.BYTES)
            assert metric.points[-1].value == BATCH.metered_bytes
            assert metric.points[-1].time <= datetime.now(UTC)

    async def test_the_account(self, s2: S2, basin: Basin, stream: Stream) -> None:
        (metric,) = await s2.metrics.account(AccountMetricSet.ACTIVE_BASINS, start=an_hour_ago())
        assert metric == LabelMetric("active-basins", (basin.name,))
        await s2.basins.get_config(basin.name)
        assert totals(await s2.metrics.account(AccountMetricSet.ACCOUNT_OPS, start=an_hour_ago())) == {
            "account-metrics": 1,
            "create-basin": 1,
            "get-basin-config": 1,
        }

    async def test_a_name_of_a_stream_may_hold_anything(self, s2: S2, basin: Basin) -> None:
        stream = await basin.streams.create("a/ä b?")
        await stream.append(BATCH.records)
        (metric,) = await s2.metrics.stream(basin.name, stream.name, StreamMetricSet.STORAGE, start=an_hour_ago())
        assert isinstance(metric, GaugeMetric)
        assert metric.values[-1][1] == BATCH.metered_bytes

    async def test_they_survive_the_client_and_add_up(self, tmp_path: Path) -> None:
        for times in (1, 2):
            async with S2.open(tmp_path / "data") as s2:
                basin = await s2.basins.ensure("client-basin", create_stream_on_append=True)
                await basin.stream("s").append(BATCH.records)
            async with S2.open(tmp_path / "data") as s2:
                found = await s2.metrics.basin("client-basin", BasinMetricSet.APPEND_OPS, start=an_hour_ago())
                assert totals(found) == {"unary": times, "session": 0}
                (active,) = await s2.metrics.account(AccountMetricSet.ACTIVE_BASINS, start=an_hour_ago())
                assert isinstance(active, LabelMetric)
                assert active.values == ("client-basin",)


class TestMistakes:
    async def test_what_is_not_there(self, s2: S2, basin: Basin) -> None:
        with pytest.raises(BasinNotFound, match="`other-basin` not found"):
            await s2.metrics.basin("other-basin", BasinMetricSet.STORAGE, start=an_hour_ago())
        with pytest.raises(StreamNotFound, match="`s` in basin `client-basin` not found"):
            await s2.metrics.stream(basin.name, "s", StreamMetricSet.STORAGE, start=an_hour_ago())
        with pytest.raises(BasinNotFound, match="`other-basin` not found"):
            await s2.metrics.stream("other-basin", "s", StreamMetricSet.STORAGE, start=an_hour_ago())

    async def test_an_interval_that_a_set_does_not_have(self, s2: S2, basin: Basin, stream: Stream) -> None:
        with pytest.raises(Invalid, match="only `hour`"):
            await s2.metrics.basin(
                basin.name, BasinMetricSet.STORAGE, start=an_hour_ago(), interval=TimeseriesInterval.MINUTE
            )
        with pytest.raises(Invalid, match="only `minute`"):
            await s2.metrics.stream(
                basin.name, "s", StreamMetricSet.STORAGE, start=an_hour_ago(), interval=TimeseriesInterval.DAY
            )

    async def test_times_that_make_no_sense(self, s2: S2) -> None:
        now = datetime.now(UTC)
        for start, end, message in (
            (now, now - HOUR, "must not be after"),
            (now - 24 * 40 * HOUR, now, "30 days"),
            (now, now + HOUR, "future"),
        ):
            with pytest.raises(Invalid, match=message):
                await s2.metrics.account(AccountMetricSet.ACCOUNT_OPS, start=start, end=end)

    async def test_mistakes_are_told_before_anything_is_sent(self) -> None:
        metrics = S2.open(":memory:").metrics  # not open: sending would be a UsageError
        now = datetime.now(UTC)
        with pytest.raises(Invalid, match="`start` needs a time zone"):
            await metrics.account(AccountMetricSet.ACCOUNT_OPS, start=datetime(2026, 1, 1))
        with pytest.raises(Invalid, match="`end` needs a time zone"):
            await metrics.account(AccountMetricSet.ACCOUNT_OPS, start=now, end=datetime(2026, 1, 1))
        with pytest.raises(Invalid, match="1970"):
            await metrics.account(AccountMetricSet.ACCOUNT_OPS, start=datetime(1969, 1, 1, tzinfo=UTC))
        with pytest.raises(Invalid, match="`start` must be a datetime"):
            await metrics.account(AccountMetricSet.ACCOUNT_OPS, start=0)  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="AccountMetricSet"):
            await metrics.account("storage", start=now)  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="basin name"):
            await metrics.basin("no", BasinMetricSet.STORAGE, start=now)
        with pytest.raises(Invalid, match="stream name"):
            await metrics.stream("some-basin", "", StreamMetricSet.STORAGE, start=now)
