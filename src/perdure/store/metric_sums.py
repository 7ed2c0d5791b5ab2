"""Metrics of several stores as those of all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias, assert_never

from ..model.metrics import AccumulationMetric, GaugeMetric, LabelMetric, Metric, Points, ScalarMetric

_Key: TypeAlias = tuple[object, ...]


def sum_metrics(found: Iterable[tuple[Metric, ...]]) -> tuple[Metric, ...]:
    """Values added up point by point, names brought together; metrics in the order in which they first come."""
    together: dict[_Key, list[Metric]] = {}
    for metrics in found:
        for metric in metrics:
            together.setdefault(_key(metric), []).append(metric)
    return tuple(_sum(same) for same in together.values())


def _key(metric: Metric) -> _Key:
    match metric:
        case AccumulationMetric():
            return type(metric), metric.name, metric.unit, metric.interval
        case ScalarMetric() | GaugeMetric():
            return type(metric), metric.name, metric.unit
        case LabelMetric():
            return type(metric), metric.name
        case _:
            assert_never(metric)


def _sum(same: list[Metric]) -> Metric:
    first = same[0]
    match first:
        case ScalarMetric():
            return ScalarMetric(first.name, first.unit, sum(m.value for m in same if isinstance(m, ScalarMetric)))
        case AccumulationMetric():
            values = _points(m.values for m in same if isinstance(m, AccumulationMetric))
            return AccumulationMetric(first.name, first.unit, first.interval, values)
        case GaugeMetric():
            return GaugeMetric(first.name, first.unit, _points(m.values for m in same if isinstance(m, GaugeMetric)))
        case LabelMetric():
            names = {name for m in same if isinstance(m, LabelMetric) for name in m.values}
            return LabelMetric(first.name, tuple(sorted(names)))
        case _:
            assert_never(first)


def _points(series: Iterable[Points]) -> Points:
    sums: defaultdict[int, float] = defaultdict(float)
    for points in series:
        for secs, value in points:
            sums[secs] += value
    return _in_order(sums)


def _in_order(sums: Mapping[int, float]) -> Points:
    return tuple(sorted(sums.items()))
