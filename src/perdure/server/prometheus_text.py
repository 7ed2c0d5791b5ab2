"""The numbers of a server as Prometheus text (version 0.0.4)."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from .._version import __version__
from .instruments import Family, Kind
from .scoreboard import Snapshot
from .telemetry import Telemetry

_WORKER: Final = "worker"
"""The label of what is told of each process; a worker's successor has the same value."""


def render(telemetry: Telemetry) -> bytes:
    """Everything, of all workers together. Reads files and takes some milliseconds, so not for an event loop."""
    registry = CollectorRegistry()
    registry.register(_Collected(telemetry))
    return generate_latest(registry)


class _Collected:
    """What the registry asks."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._families = telemetry.instruments.families
        self._snapshot = telemetry.scoreboard.snapshot()

    def collect(self) -> Iterator[Metric]:
        build = GaugeMetricFamily("perdure_build_info", "Always 1; the label tells what runs.", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build
        for family in self._families:
            yield _metric(family, self._snapshot.cells)
        yield from _process_metrics(self._snapshot)


def _metric(family: Family, cells: array[float]) -> Metric:
    match family.kind:
        case Kind.HISTOGRAM:
            return _histogram(family, cells)
        case Kind.COUNTER:
            counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
            for series in family.series:
                counter.add_metric(series.labels, cells[series.cell])
            return counter
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for series in family.series:
                gauge.add_metric(series.labels, cells[series.cell])
            return gauge


def _histogram(family: Family, cells: array[float]) -> Metric:
    """Of a family with labels, the series that have values: most operations never give most statuses."""
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    names = [*(repr(bound).removesuffix(".0") for bound in family.bounds), "+Inf"]
    for series in family.series:
        end = series.cell + len(names)
        counts = cells[series.cell : end]
        if any(counts) or not family.labels:
            metric.add_metric(series.labels, list(zip(names, accumulate(counts), strict=True)), cells[end])
    return metric


def _process_metrics(snapshot: Snapshot) -> Iterator[Metric]:
    """Memory, CPU time and files of each worker process, by the names that they always have."""
    families: dict[str, Metric] = {}
    for number, pid in snapshot.pids.items():
        for found in _process(pid):
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            for sample in found.samples:
                family.add_sample(sample.name, {_WORKER: str(number)}, sample.value)
    yield from families.values()


def _process(pid: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: pid, registry=None).collect()
