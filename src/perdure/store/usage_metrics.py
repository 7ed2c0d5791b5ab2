"""The usage metrics: what is kept in an engine's `UsageBook`, in the shape of the API (store API, section 8.4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import BasinNotFound
from ..model.metrics import (
    AccountMetricSet,
    AccumulationMetric,
    BasinMetricSet,
    GaugeMetric,
    LabelMetric,
    Metric,
    MetricSet,
    MetricsQuery,
    MetricsRange,
    MetricUnit,
    StreamMetricSet,
    TimeseriesInterval,
    interval_of,
)
from .catalogue import stream_not_found
from .engine import Engine
from .usage import (
    ACCOUNT,
    APPEND_THROUGHPUT,
    READ_THROUGHPUT,
    SESSION,
    UNARY,
    fold,
    levels,
    observed,
    whole_hours,
)
from .usage_recorder import UsageRecorder

_ALWAYS_THERE: Final[dict[str, tuple[str, ...]]] = {
    BasinMetricSet.APPEND_OPS.value: (UNARY, SESSION),
    BasinMetricSet.READ_OPS.value: (UNARY, SESSION),
    BasinMetricSet.APPEND_THROUGHPUT.value: (APPEND_THROUGHPUT,),
    BasinMetricSet.READ_THROUGHPUT.value: (READ_THROUGHPUT,),
}
"""The series that an answer has even if there is nothing in them; of the operations there are those that were used."""


class UsageMetrics:
    """Answers what is asked about use. `recorder` is that of this process, which may know what is not written yet.

    Every call raises `Invalid` for a range, or an interval, that the set does not have.
    """

    def __init__(self, engine: Engine, recorder: UsageRecorder | None, now_secs: Callable[[], float]) -> None:
        self._engine = engine
        self._recorder = recorder
        self._now_secs = now_secs

    async def account(self, metric_set: AccountMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        """Of everything that the store keeps."""
        wanted, interval = self._checked(metric_set, query)
        if metric_set is AccountMetricSet.ACTIVE_BASINS:
            names = await self._engine.usage.active_basins(wanted.start, wanted.end)
            return (LabelMetric(metric_set.value, names),)
        return await self._accumulations(ACCOUNT, metric_set, wanted, interval)

    async def basin(self, basin: str, metric_set: BasinMetricSet, query: MetricsQuery) -> tuple[Metric, ...]:
        """Of one basin. Raises `BasinNotFound`."""
        wanted, interval = self._checked(metric_set, query)
        await self._check_basin(basin)
        if metric_set is BasinMetricSet.STORAGE:
            history = await self._engine.usage.basin_storage(basin, wanted.start, wanted.end)
            values = observed(history, wanted, int(self._now_secs()))
            return (GaugeMetric(metric_set.value, MetricUnit.BYTES, values),)
        return await self._accumulations(basin, metric_set, wanted, interval)

    async def stream(
        self, basin: str, name: str, metric_set: StreamMetricSet, query: MetricsQuery
    ) -> tuple[Metric, ...]:
        """Of one stream. Raises `StreamNotFound`, `BasinNotFound`."""
        wanted, interval = self._checked(metric_set, query)
        entry = await self._engine.stream(basin, name)
        if entry is None:
            await self._check_basin(basin)
            raise stream_not_found(basin, name)
        history = await self._engine.usage.stream_storage(entry.stream_id)
        values = levels(history, interval, wanted, int(self._now_secs()))
        return (GaugeMetric(metric_set.value, MetricUnit.BYTES, values),)

    def _checked(self, metric_set: MetricSet, query: MetricsQuery) -> tuple[MetricsRange, TimeseriesInterval]:
        return MetricsRange.of(query, now_secs=self._now_secs()), interval_of(metric_set, query.interval)

    async def _check_basin(self, name: str) -> None:
        entry = await self._engine.basin(name)
        if entry is None or entry.location is not None:
            raise BasinNotFound(f"basin `{name}` not found")

    async def _accumulations(
        self,
        basin: str,
        metric_set: AccountMetricSet | BasinMetricSet,
        wanted: MetricsRange,
        interval: TimeseriesInterval,
    ) -> tuple[Metric, ...]:
        if self._recorder is not None:
            await self._recorder.flush()
        start_secs, end_secs = whole_hours(wanted, interval)
        points = await self._engine.usage.counts(
            basin, metric_set.value, start_secs, end_secs, by_minute=interval is TimeseriesInterval.MINUTE
        )
        found = dict.fromkeys(_ALWAYS_THERE.get(metric_set.value, ()), ()) | fold(points, interval, wanted)
        is_bytes = metric_set in (BasinMetricSet.APPEND_THROUGHPUT, BasinMetricSet.READ_THROUGHPUT)
        unit = MetricUnit.BYTES if is_bytes else MetricUnit.OPERATIONS
        return tuple(AccumulationMetric(series, unit, interval, values) for series, values in found.items())
