"""What Perdure tells of its own work: spans and metrics for OpenTelemetry, traces carried through, log lines.

OpenTelemetry is optional (`perdure[otel]`). An application that sets up its SDK as usual gets Perdure's spans and
metrics with the rest; nothing has to be switched on here. `docs/observability.md` has the names.
"""

from .current import carried, current_trace
from .log_lines import JsonLines
from .providers import use
from .trace_context import TraceContext

__all__ = ["JsonLines", "TraceContext", "carried", "current_trace", "use"]
