"""Who records: OpenTelemetry's providers, if the application has any, without importing OpenTelemetry.

An application that records has imported the API itself. So as long as nobody has, there is nobody to tell, and to find
that out costs a look into a table: `import perdure` stays as it is, and what nobody records costs next to nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .._version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, MeterProvider
    from opentelemetry.trace import Tracer, TracerProvider

SCOPE: Final = "perdure"
"""The name of the instrumentation scope of all spans and metrics."""

_TRACE: Final = "opentelemetry.trace"
_METRICS: Final = "opentelemetry.metrics"


class _Providers:
    def __init__(self) -> None:
        self.tracer_provider: TracerProvider | None = None
        self.meter_provider: MeterProvider | None = None
        self.tracer: Tracer | None = None
        self.meter: Meter | None = None
        self.on_change: list[Callable[[], None]] = []


_providers: Final = _Providers()


def use(*, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None) -> None:
    """Record with these providers from now on, in this process; None stands for the global one of OpenTelemetry.

    An application needs this only if it keeps its providers to itself: those that it has set globally are found.
    """
    found = _providers
    found.tracer_provider, found.meter_provider = tracer_provider, meter_provider
    found.tracer = found.meter = None
    for forget in found.on_change:
        forget()


def tracer() -> Tracer | None:
    """What begins spans; None while nobody records them."""
    found = _providers
    if found.tracer is not None:
        return found.tracer
    provider = found.tracer_provider
    if provider is None:
        trace = sys.modules.get(_TRACE)
        look = getattr(trace, "get_tracer_provider", None)  # None while another thread imports it
        if look is None:
            return None
        provider = look()
        if type(provider).__module__ == _TRACE:  # the API's own stand-in: no SDK was set so far
            return None
    assert provider is not None
    found.tracer = provider.get_tracer(SCOPE, __version__)
    return found.tracer


def meter() -> Meter | None:
    """What makes instruments, also for a provider that is set later; None while nobody has imported OpenTelemetry."""
    found = _providers
    if found.meter is not None:
        return found.meter
    provider = found.meter_provider
    if provider is None:
        look = getattr(sys.modules.get(_METRICS), "get_meter_provider", None)
        if look is None:
            return None
        provider = look()
    assert provider is not None
    found.meter = provider.get_meter(SCOPE, __version__)
    return found.meter


def on_change(forget: Callable[[], None]) -> None:
    """Have `forget` called whenever other providers are used."""
    _providers.on_change.append(forget)
