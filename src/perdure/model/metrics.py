"""Usage metrics: which sets there are, over which time they are asked for, what they hold (store API, section 8.4)."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

from msgspec import Struct

from ..errors import Invalid
from .limits import MAX_METRICS_AHEAD_SECS, MAX_METRICS_RANGE_SECS


class AccountMetricSet(StrEnum):
    """What can be asked about everything that a server keeps."""

    ACTIVE_BASINS = "active-basins"
    ACCOUNT_OPS = "account-ops"


class BasinMetricSet(StrEnum):
    """What can be asked about one basin, all its streams together."""

    STORAGE = "storage"
    APPEND_OPS = "append-ops"
    READ_OPS = "read-ops"
    READ_THROUGHPUT = "read-throughput"
    APPEND_THROUGHPUT = "append-throughput"
    BASIN_OPS = "basin-ops"


class StreamMetricSet(StrEnum):
    """What can be asked about one stream."""

    STORAGE = "storage"


MetricSet: TypeAlias = AccountMetricSet | BasinMetricSet | StreamMetricSet


class TimeseriesInterval(StrEnum):
    """How much time one point of a series stands for."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def seconds(self) -> int:
        return _SECONDS[self]


_SECONDS: Final = {TimeseriesInterval.MINUTE: 60, TimeseriesInterval.HOUR: 3600, TimeseriesInterval.DAY: 86_400}

DEFAULT_INTERVAL: Final = TimeseriesInterval.HOUR
"""Of the sets that allow any; the API says so for `account-ops` and nothing for the others."""


def interval_of(metric_set: MetricSet, wanted: TimeseriesInterval | None) -> TimeseriesInterval:
    """The interval to answer with. Raises `Invalid` for one that the set does not have.

    `active-basins` has no points, so whatever is given with it does not matter.
    """
    if metric_set is BasinMetricSet.STORAGE:
        only = TimeseriesInterval.HOUR
    elif metric_set is StreamMetricSet.STORAGE:
        only = TimeseriesInterval.MINUTE
    else:
        return wanted or DEFAULT_INTERVAL
    if wanted not in (None, only):
        level = "basin" if metric_set is BasinMetricSet.STORAGE else "stream"
        raise Invalid(f"interval `{wanted}` is not one of `{metric_set}` of a {level}, which has only `{only}`")
    return only


class MetricsQuery(Struct, frozen=True, gc=False):
    """What is asked about a set, as it was given: bounds in seconds since the Unix epoch, both of which it needs."""

    start: int | None = None
    end: int | None = None
    interval: TimeseriesInterval | None = None


class MetricsRange(Struct, frozen=True, gc=False):
    """From `start` up to `end`, in seconds since the Unix epoch. `MetricsRange.of` checks it."""

    start: int
    end: int

    @classmethod
    def of(cls, query: MetricsQuery, *, now_secs: float) -> MetricsRange:
        """Raises `Invalid`: a bound is missing, they are reversed, too far apart, or in the future."""
        start, end = query.start, query.end
        if start is None or end is None:
            missing = "start" if start is None else "end"
            raise Invalid(f"`{missing}` is missing; give it in seconds since the Unix epoch")
        if start > end:
            raise Invalid(f"`start` ({start}) must not be after `end` ({end})")
        if end - now_secs >= MAX_METRICS_AHEAD_SECS:
            raise Invalid(f"`end` ({end}) must be less than {MAX_METRICS_AHEAD_SECS} seconds in the future")
        if end - start > MAX_METRICS_RANGE_SECS:
            raise Invalid(
                f"the time from `start` to `end` must be at most {MAX_METRICS_RANGE_SECS // 86_400} days "
                f"({MAX_METRICS_RANGE_SECS} seconds), got {end - start} seconds"
            )
        return cls(start, end)


class MetricUnit(StrEnum):
    """What the numbers of a metric count."""

    BYTES = "bytes"
    OPERATIONS = "operations"


Points: TypeAlias = tuple[tuple[int, float], ...]
"""In order of time: seconds since the Unix epoch, and the value."""


class MetricPoint(NamedTuple):
    """A value of a series and its time, in UTC."""

    time: datetime
    value: float


def _dated(values: Points) -> tuple[MetricPoint, ...]:
    return tuple(MetricPoint(datetime.fromtimestamp(secs, UTC), value) for secs, value in values)


class ScalarMetric(Struct, frozen=True):
    """One value."""

    name: str
    unit: MetricUnit
    value: float


class AccumulationMetric(Struct, frozen=True):
    """Sums: each point is what came together in the `interval` that begins there."""

    name: str
    unit: MetricUnit
    interval: TimeseriesInterval
    values: Points

    @property
    def points(self) -> tuple[MetricPoint, ...]:
        """`values` with the times at which their intervals begin."""
        return _dated(self.values)


class GaugeMetric(Struct, frozen=True):
    """Levels: each point is the value at that instant."""

    name: str
    unit: MetricUnit
    values: Points

    @property
    def points(self) -> tuple[MetricPoint, ...]:
        """`values` with the times of their instants."""
        return _dated(self.values)


class LabelMetric(Struct, frozen=True):
    """Names."""

    name: str
    values: tuple[str, ...]


Metric: TypeAlias = ScalarMetric | AccumulationMetric | GaugeMetric | LabelMetric
