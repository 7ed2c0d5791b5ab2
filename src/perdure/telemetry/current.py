"""Which trace the work that runs now belongs to."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from .trace_context import TraceContext

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

CARRIED: Final[ContextVar[TraceContext | None]] = ContextVar("perdure_trace", default=None)
"""The trace of a caller, where OpenTelemetry does not carry it."""


def current_trace() -> TraceContext | None:
    """The current span of OpenTelemetry, or else what `carried` set; None outside of any trace."""
    look = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if look is not None:
        found: SpanContext = look().get_span_context()
        if found.is_valid:
            return told(found)
    return CARRIED.get()


@contextmanager
def carried(trace: TraceContext | None) -> Iterator[None]:
    """What runs in here belongs to `trace`, for an application without OpenTelemetry that passes its caller's on."""
    token = CARRIED.set(trace)
    try:
        yield
    finally:
        CARRIED.reset(token)


def told(context: SpanContext) -> TraceContext:
    """The same, in our words."""
    state = context.trace_state.to_header() if context.trace_state else ""
    return TraceContext(f"{context.trace_id:032x}", f"{context.span_id:016x}", int(context.trace_flags), state)
