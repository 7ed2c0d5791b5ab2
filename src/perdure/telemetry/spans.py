"""Spans, as the rest of the package makes them: `begin` one, tell it things, `end` it.

While nobody records, `begin` gives `NO_SPAN`, which takes everything and does nothing. What is told must be no secret
and nothing that somebody has written: names of basins and streams are told, bodies, tokens and keys are not. An error
is told by its code and its type, since its text may quote either.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final

from ..errors import PerdureError
from .current import current_trace, told
from .measures import Attributes
from .providers import tracer
from .trace_context import TraceContext

if TYPE_CHECKING:
    from opentelemetry import trace as otel

ERROR_TYPE: Final = "error.type"
BASIN: Final = "perdure.basin"
STREAM: Final = "perdure.stream"
ERROR_CODE: Final = "perdure.error.code"


class Kind(Enum):
    """Whose side of what a span is, by OpenTelemetry's names."""

    INTERNAL = "INTERNAL"
    SERVER = "SERVER"
    CLIENT = "CLIENT"


class Span:
    """One piece of work. This one is recorded by nobody."""

    __slots__ = ()

    @property
    def is_recording(self) -> bool:
        """Whether it is worth while to find out what only the span wants to know."""
        return False

    @property
    def trace(self) -> TraceContext | None:
        """What a request on behalf of this work carries."""
        return current_trace()

    def set(self, name: str, value: str | int | float | bool) -> None:
        """Add an attribute."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Something happened just now."""

    def failed(self, error: BaseException) -> None:
        """The work failed."""

    def end(self) -> None:
        """The work is over. Idempotent."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """What is done in here is part of this work; an error that leaves it is told, and the end is left open."""
        yield


NO_SPAN: Final = Span()


class _Recorded(Span):
    __slots__ = ("_span",)

    def __init__(self, span: otel.Span) -> None:
        self._span = span

    @property
    def is_recording(self) -> bool:
        return self._span.is_recording()

    @property
    def trace(self) -> TraceContext | None:
        return told(self._span.get_span_context())

    def set(self, name: str, value: str | int | float | bool) -> None:
        if self._span.is_recording():  # of what comes after the end, the SDK would only complain
            self._span.set_attribute(name, value)

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        if self._span.is_recording():
            self._span.add_event(name, attributes)

    def failed(self, error: BaseException) -> None:
        if not self._span.is_recording():
            return
        from opentelemetry.trace import StatusCode

        kind = error_type(error)
        self._span.set_attribute(ERROR_TYPE, kind)
        self._span.set_status(StatusCode.ERROR, kind)

    def end(self) -> None:
        if self._span.is_recording():
            self._span.end()

    @contextmanager
    def active(self) -> Iterator[None]:
        from opentelemetry import context
        from opentelemetry.trace import set_span_in_context

        token = context.attach(set_span_in_context(self._span))
        try:
            yield
        except Exception as exc:
            self.failed(exc)
            raise
        finally:
            context.detach(token)


def begin(
    name: str,
    kind: Kind = Kind.INTERNAL,
    attributes: Attributes | None = None,
    *,
    parent: TraceContext | None = None,
    links: Sequence[TraceContext] = (),
) -> Span:
    """Begin a span within `parent`, a span of another process; else within the current one."""
    source = tracer()
    if source is None:
        return NO_SPAN
    from opentelemetry import trace

    within = None if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(_remote(parent)))
    return _Recorded(
        source.start_span(
            name,
            context=within,
            kind=trace.SpanKind[kind.value],
            attributes=attributes,
            links=[trace.Link(_remote(link)) for link in links] or None,
        )
    )


def is_recorded() -> bool:
    """Whether spans go anywhere, so that it is worth while to gather what `begin` wants."""
    return tracer() is not None


@contextmanager
def span(name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes | None = None) -> Iterator[Span]:
    """A span for what is done in here."""
    begun = begin(name, kind, attributes)
    if begun is NO_SPAN:
        yield begun
        return
    try:
        with begun.active():
            yield begun
    finally:
        begun.end()


def error_type(error: BaseException) -> str:
    """What an error is called in spans, metrics and logs: its code, or its class."""
    return error.code if isinstance(error, PerdureError) else type(error).__qualname__


def _remote(trace: TraceContext) -> otel.SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState

    return SpanContext(
        int(trace.trace_id, 16),
        int(trace.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(trace.flags),
        trace_state=TraceState.from_header([trace.state]) if trace.state else None,
    )
