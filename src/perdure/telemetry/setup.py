"""OpenTelemetry's SDK in a process of our own, such as `perdure serve`: set up as its environment variables say.

An application sets up its SDK itself; our processes have nobody else to do it. Which exporters there are,
`OTEL_TRACES_EXPORTER` and `OTEL_METRICS_EXPORTER` say by the names under which packages register them; everything else,
such as resource, sampler and addresses, the SDK and the exporters read from the environment by themselves.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from importlib.metadata import entry_points
from threading import Thread
from typing import Any, Final

from .providers import tracer

logger: Final = logging.getLogger("perdure.telemetry")

TRACES_EXPORTER: Final = "OTEL_TRACES_EXPORTER"
METRICS_EXPORTER: Final = "OTEL_METRICS_EXPORTER"
OTLP_PROTOCOL: Final = "OTEL_EXPORTER_OTLP_PROTOCOL"

SERVICE_NAME: Final = "perdure"
"""What our processes are called, unless the environment says otherwise."""

SHUT_DOWN_SECS: Final = 5.0
"""How long what was recorded last may take to leave."""


def set_up(environment: Mapping[str, str] = os.environ) -> bool:
    """Set up the SDK if the environment names an exporter; whether it is set up now, by this or by somebody else.

    What is missing is logged: a server that cannot be watched serves all the same.
    """
    if tracer() is not None:
        return True
    traces, metrics = (_names(environment, variable) for variable in (TRACES_EXPORTER, METRICS_EXPORTER))
    if not traces and not metrics:
        return False
    try:
        _set_up(environment, traces, metrics)
    except ModuleNotFoundError as exc:
        logger.error("OpenTelemetry is not set up, since %s is missing: pip install opentelemetry-sdk", exc.name)
        return False
    except Exception as exc:  # whatever the package of an exporter raises
        logger.error("OpenTelemetry is not set up: %s", exc)
        return False
    return True


def _set_up(environment: Mapping[str, str], traces: list[str], metrics: list[str]) -> None:
    from opentelemetry.metrics import set_meter_provider
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import SERVICE_NAME as NAME
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import set_tracer_provider

    resource = Resource.create()  # reads OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
    if str(resource.attributes.get(NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({NAME: SERVICE_NAME}))
    if traces:
        provider = TracerProvider(resource=resource)
        for name in traces:
            provider.add_span_processor(
                BatchSpanProcessor(_exporter("opentelemetry_traces_exporter", name, environment))
            )
        set_tracer_provider(provider)
    if metrics:
        readers = [
            PeriodicExportingMetricReader(_exporter("opentelemetry_metrics_exporter", name, environment))
            for name in metrics
        ]
        set_meter_provider(MeterProvider(metric_readers=readers, resource=resource))


def _names(environment: Mapping[str, str], variable: str) -> list[str]:
    names = [name.strip() for name in environment.get(variable, "").split(",")]
    return [name for name in names if name and name != "none"]


def _exporter(group: str, name: str, environment: Mapping[str, str]) -> Any:
    """A new exporter of this name. Raises `LookupError` if no installed package has it."""
    if name == "otlp":
        is_http = environment.get(OTLP_PROTOCOL, "grpc").startswith("http")
        name = "otlp_proto_http" if is_http else "otlp_proto_grpc"
    found = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        package = "opentelemetry-exporter-" + name.replace("_", "-")
        raise LookupError(f"no package here has the exporter {name!r}; it may be in {package}")
    return found.load()()


def shut_down() -> None:
    """Send what was recorded last, and wait for that a few seconds at most."""
    modules = (("opentelemetry.trace", "get_tracer_provider"), ("opentelemetry.metrics", "get_meter_provider"))
    ending = Thread(target=_shut_down, args=(modules,), name="perdure-telemetry-end", daemon=True)
    if any(module in sys.modules for module, _ in modules):
        ending.start()
        ending.join(SHUT_DOWN_SECS)


def _shut_down(modules: tuple[tuple[str, str], ...]) -> None:
    for module, look in modules:
        provider = getattr(sys.modules.get(module), look)()
        shutdown = getattr(provider, "shutdown", None)  # the SDK's has it; the API's stand-in has not
        if shutdown is not None:
            shutdown()
