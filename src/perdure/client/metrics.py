"""How much a store is used: what is asked, in times and sets (store API, section 8.4)."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TypeVar

from ..errors import Invalid
from ..model.limits import MAX_U32
from ..model.metrics import (
    AccountMetricSet,
    BasinMetricSet,
    Metric,
    MetricsQuery,
    StreamMetricSet,
    TimeseriesInterval,
)
from ..model.names import check_basin_name, check_stream_name
from .transport import Transport

SetT = TypeVar("SetT", AccountMetricSet, BasinMetricSet, StreamMetricSet)


class Metrics:
    """Usage of the account, of a basin, of a stream, from `S2.metrics`.

    ::

        appended = await s2.metrics.basin(
            "my-first-basin", BasinMetricSet.APPEND_THROUGHPUT, start=datetime.now(UTC) - timedelta(days=1)
        )
        for metric in appended:
            if isinstance(metric, AccumulationMetric):
                for point in metric.points:
                    print(metric.name, point.time, point.value, metric.unit)

    Each call asks for one set, from `start` to `end` (now, if not given): times with a zone, at most 30 days apart.
    `interval` is what a point stands for, an hour if not given. Only storage has its own: an hour for a basin, a minute
    for a stream. All raise `Invalid` for times and intervals that the set does not have, and `PermissionDenied`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def account(
        self,
        metric_set: AccountMetricSet,
        *,
        start: datetime,
        end: datetime | None = None,
        interval: TimeseriesInterval | None = None,
    ) -> tuple[Metric, ...]:
        """Of everything in the account: which basins had streams, how often which operation was used."""
        return await self._transport.account_metrics(_set(AccountMetricSet, metric_set), _query(start, end, interval))

    async def basin(
        self,
        basin: str,
        metric_set: BasinMetricSet,
        *,
        start: datetime,
        end: datetime | None = None,
        interval: TimeseriesInterval | None = None,
    ) -> tuple[Metric, ...]:
        """Of one basin, all its streams together. Raises `BasinNotFound`."""
        check_basin_name(basin)
        return await self._transport.basin_metrics(
            basin, _set(BasinMetricSet, metric_set), _query(start, end, interval)
        )

    async def stream(
        self,
        basin: str,
        stream: str,
        metric_set: StreamMetricSet,
        *,
        start: datetime,
        end: datetime | None = None,
        interval: TimeseriesInterval | None = None,
    ) -> tuple[Metric, ...]:
        """Of one stream. Raises `StreamNotFound`, `BasinNotFound`."""
        check_basin_name(basin)
        check_stream_name(stream)
        return await self._transport.stream_metrics(
            basin, stream, _set(StreamMetricSet, metric_set), _query(start, end, interval)
        )


def _set(kind: type[SetT], given: SetT) -> SetT:
    try:
        return kind(given)
    except ValueError:
        raise Invalid(f"`metric_set` must be of {kind.__name__}, got {given!r}") from None


def _query(start: datetime, end: datetime | None, interval: TimeseriesInterval | None) -> MetricsQuery:
    until = datetime.now(UTC) if end is None else end
    return MetricsQuery(_epoch_secs(start, "start"), _epoch_secs(until, "end"), interval)


def _epoch_secs(time: datetime, what: str) -> int:
    """Both bounds are rounded up, so that a range stays as long as it is and `end` is not before what just happened."""
    if not isinstance(time, datetime):
        raise Invalid(f"`{what}` must be a datetime, got {time!r}")
    if time.utcoffset() is None:
        raise Invalid(f"`{what}` needs a time zone: say datetime.now(UTC) - timedelta(days=1)")
    secs = math.ceil(time.timestamp())
    if not 0 <= secs <= MAX_U32:
        raise Invalid(f"`{what}` must lie within the years 1970 to 2105, got {time.isoformat()}")
    return secs
