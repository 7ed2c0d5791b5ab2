"""OpenTelemetry's SDK, keeping in memory what it records, for the length of a test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Tracer

from perdure import telemetry
from tests.patience import PATIENCE_SECONDS

Point = HistogramDataPoint | NumberDataPoint


@dataclass(frozen=True)
class Recorder:
    """What was recorded so far."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader
    tracer: Tracer
    """For spans of an application's own."""

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what comes soon: an answer reaches its client before the server is done with the request."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds():  # noqa: ASYNC110 - what is waited for happens in another library
                await asyncio.sleep(0.01)  # the time-out above bounds this

    async def sides(self, name: str) -> tuple[ReadableSpan, ReadableSpan]:
        """The span of a request on the client's side and the one on the server's, once both have ended."""
        await self.until(lambda: len(self.spans(name)) >= 2)
        client, server = sorted(self.spans(name), key=lambda span: span.kind is SpanKind.SERVER)
        return client, server

    def spans(self, name: str | None = None) -> list[ReadableSpan]:
        """The spans that have ended, in that order; all, or those of one name."""
        return [span for span in self.exporter.get_finished_spans() if name in (None, span.name)]

    def span(self, name: str) -> ReadableSpan:
        """The one span of this name."""
        (found,) = self.spans(name)
        return found

    def points(self, name: str) -> list[Point]:
        """What the metric of this name has measured, for each set of attributes."""
        data = self.reader.get_metrics_data()
        if data is None:
            return []
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, HistogramDataPoint | NumberDataPoint)
        ]

    def everything(self) -> str:
        """All that would leave the process, as text."""
        data = self.reader.get_metrics_data()
        return "\n".join([*(span.to_json() for span in self.spans()), "" if data is None else data.to_json()])


@contextmanager
def recording() -> Iterator[Recorder]:
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    spans, metrics = TracerProvider(shutdown_on_exit=False), MeterProvider([reader], shutdown_on_exit=False)
    spans.add_span_processor(SimpleSpanProcessor(exporter))
    telemetry.use(tracer_provider=spans, meter_provider=metrics)
    try:
        yield Recorder(exporter, reader, spans.get_tracer("application"))
    finally:
        telemetry.use()
        spans.shutdown()
        metrics.shutdown()


def ids(span: ReadableSpan) -> tuple[int, int]:
    """Its trace, and itself."""
    context = span.context
    assert context is not None
    return context.trace_id, context.span_id


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id
