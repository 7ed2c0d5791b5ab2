"""Commands on usage: how much the account, a basin or a stream is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec
from cyclopts import Group, Parameter

from ..errors import UsageError
from ..model.metrics import (
    AccountMetricSet,
    AccumulationMetric,
    BasinMetricSet,
    GaugeMetric,
    LabelMetric,
    Metric,
    MetricUnit,
    ScalarMetric,
    StreamMetricSet,
    TimeseriesInterval,
)
from .charts import bar, spark_line
from .common_options import BasinArgument, Json, StreamArgument
from .durations import parse_duration, parse_time, time_text
from .option_types import parsed_by
from .output import Column, console, is_terminal, print_json, print_table, printable, stdout, tell
from .progress import size_text
from .targets import Target, Use

_DAY_SECS: Final = 86_400

MAX_BARS: Final = 48
"""As many points as are shown with a bar each: two days of hours. More are in the line that sums them up alone."""


@Parameter(name="*", group=Group("When", sort_key=1))
@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """Of which time the usage is asked."""

    since: Annotated[
        int | None,
        Parameter(
            converter=parsed_by(parse_duration), metavar="DURATION", help="The last so much: 1h, 7d; 1d by default."
        ),
    ] = None
    start: Annotated[
        datetime | None,
        Parameter(converter=parsed_by(parse_time), metavar="TIME", help="From when: 2026-12-01T08:00:00Z."),
    ] = None
    end: Annotated[
        datetime | None, Parameter(converter=parsed_by(parse_time), metavar="TIME", help="Until when; now by default.")
    ] = None
    interval: Annotated[
        TimeseriesInterval | None, Parameter(metavar="CHOICE", help="What a point stands for; most sets have hours.")
    ] = None

    def bounds(self, now: datetime) -> tuple[datetime, datetime]:
        """From when and until when. Raises `UsageError` for two beginnings."""
        if self.since is not None and self.start is not None:
            raise UsageError("--since and --start are two beginnings; give one of them")
        end = self.end or now
        return self.start or end - timedelta(seconds=_DAY_SECS if self.since is None else self.since), end


AccountSet: TypeAlias = Annotated[
    AccountMetricSet | None, Parameter(name="SET", help="What is asked about; all that there is by default.")
]
BasinSet: TypeAlias = Annotated[
    BasinMetricSet | None, Parameter(name="SET", help="What is asked about; all that there is by default.")
]
StreamSet: TypeAlias = Annotated[
    StreamMetricSet | None, Parameter(name="SET", help="What is asked about; all that there is by default.")
]


async def get_account_metrics(
    metric_set: AccountSet = None, /, *, period: Period = Period(), json: Json = False, target: Target = Target()
) -> None:
    """Show how much the account is used."""
    start, end = period.bounds(datetime.now(UTC))
    async with target.open(Use.LOOKS) as s2:
        found: list[Found] = []
        for each in [metric_set] if metric_set else AccountMetricSet:
            asked = await s2.metrics.account(each, start=start, end=end, interval=period.interval)
            found += [Found(each, metric) for metric in asked]
    _print(found, metric_set, json=json)


async def get_basin_metrics(
    basin: BasinArgument,
    metric_set: BasinSet = None,
    /,
    *,
    period: Period = Period(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Show how much a basin is used, all its streams together."""
    start, end = period.bounds(datetime.now(UTC))
    async with target.open(Use.LOOKS) as s2:
        found: list[Found] = []
        for each in [metric_set] if metric_set else BasinMetricSet:
            # Storage has an interval of its own, which nobody who asks for everything can mean to change.
            interval = None if metric_set is None and each is BasinMetricSet.STORAGE else period.interval
            asked = await s2.metrics.basin(basin, each, start=start, end=end, interval=interval)
            found += [Found(each, metric) for metric in asked]
    _print(found, metric_set, json=json)


async def get_stream_metrics(
    stream: StreamArgument,
    metric_set: StreamSet = None,
    /,
    *,
    period: Period = Period(),
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Show how much a stream is used."""
    start, end = period.bounds(datetime.now(UTC))
    async with target.open(Use.LOOKS) as s2:
        found: list[Found] = []
        for each in [metric_set] if metric_set else StreamMetricSet:
            asked = await s2.metrics.stream(
                stream.basin, stream.stream, each, start=start, end=end, interval=period.interval
            )
            found += [Found(each, metric) for metric in asked]
    _print(found, metric_set, json=json)


class Found(NamedTuple):
    """A metric, and the set that it was found in: several sets have one of the same name."""

    metric_set: str
    metric: Metric

    @property
    def name(self) -> str:
        return self.metric_set if self.metric.name == self.metric_set else f"{self.metric_set} {self.metric.name}"


def _print(found: Sequence[Found], asked: str | None, *, json: bool) -> None:
    """`asked` is the set that was asked for; None for all of them."""
    if json:
        print_json(_encoded(found, asked))
    elif is_terminal(stdout()):
        _draw(found)
    else:
        for metric_set, metric in found:
            for time, value in _values(metric):
                print("\t".join((metric_set, metric.name, _unit(metric), time, printable(value))))


def _encoded(found: Sequence[Found], asked: str | None) -> bytes:
    """The API's document for a set; for all of them an object that has one by the name of each set."""
    from ..wire.metrics_json import encode_metrics

    if asked is not None:
        return encode_metrics(tuple(each.metric for each in found))
    sets: dict[str, list[Metric]] = {}
    for metric_set, metric in found:
        sets.setdefault(metric_set, []).append(metric)
    return msgspec.json.encode({name: msgspec.Raw(encode_metrics(tuple(metrics))) for name, metrics in sets.items()})


def _values(metric: Metric) -> list[tuple[str, str]]:
    """Times and values; no time where there is none."""
    match metric:
        case ScalarMetric(value=value):
            return [("", f"{value:g}")]
        case LabelMetric(values=names):
            return [("", name) for name in names]
        case AccumulationMetric() | GaugeMetric():
            return [(time_text(time), f"{value:.16g}") for time, value in metric.points]


def _unit(metric: Metric) -> str:
    return "" if isinstance(metric, LabelMetric) else str(metric.unit)


def _amount(unit: MetricUnit, value: float) -> str:
    return size_text(round(value)) if unit is MetricUnit.BYTES else f"{value:,.10g}"


def _draw(found: Sequence[Found]) -> None:
    """For people: every series in a line, and the points of one that is alone as bars."""
    used = [each for each in found if _values(each.metric)]
    if not used:
        tell("Nothing was used in this time.")
        return
    width = console().width
    columns: list[Column[Found]] = [
        Column("Metric", lambda each: each.name, style="cyan"),
        Column("Course", lambda each: spark_line(_numbers(each.metric), max(8, width // 4)), style="green"),
        Column("Last", lambda each: _summary(each.metric)[0], justify="right"),
        Column("Highest", lambda each: _summary(each.metric)[1], justify="right"),
        Column("Altogether", lambda each: _summary(each.metric)[2], justify="right"),
    ]
    series = [each for each in used if not isinstance(each.metric, LabelMetric)]
    if series:
        print_table(series, columns, empty="")
    if 0 < len(series) < len(used):
        print(flush=True)
    for each in used:
        if isinstance(each.metric, LabelMetric):
            names: list[Column[str]] = [Column(each.name, lambda name: name, style="cyan")]
            print_table(each.metric.values, names, empty="")
    if len(series) == 1 and isinstance(series[0].metric, (AccumulationMetric, GaugeMetric)):
        _draw_bars(series[0].metric, width)


def _draw_bars(metric: AccumulationMetric | GaugeMetric, width: int) -> None:
    points = metric.points
    if len(points) > MAX_BARS:
        return
    print(flush=True)
    top = max(point.value for point in points)
    columns = [
        Column[tuple[datetime, float]]("Time", lambda point: time_text(point[0])),
        Column[tuple[datetime, float]]("Value", lambda point: _amount(metric.unit, point[1]), justify="right"),
        Column[tuple[datetime, float]]("", lambda point: bar(point[1], top, max(8, width - 40)), style="green"),
    ]
    print_table([(point.time, point.value) for point in points], columns, empty="")


def _numbers(metric: Metric) -> list[float]:
    return [value for _, value in metric.values] if isinstance(metric, (AccumulationMetric, GaugeMetric)) else []


def _summary(metric: Metric) -> tuple[str, str, str]:
    """The last value, the highest, and the sum where values can be added."""
    match metric:
        case LabelMetric():
            return "", "", ""
        case ScalarMetric(unit=unit, value=value):
            return _amount(unit, value), "", ""
    numbers = _numbers(metric) or [0.0]
    total = _amount(metric.unit, sum(numbers)) if isinstance(metric, AccumulationMetric) else ""
    return _amount(metric.unit, numbers[-1]), _amount(metric.unit, max(numbers)), total
