"""Spans of requests and sessions over HTTP, the trace that they carry, and how long they took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from ..telemetry.measures import CLIENT_REQUESTS
from ..telemetry.spans import BASIN, ERROR_TYPE, NO_SPAN, STREAM, Kind, Span, begin, is_recorded
from ..wire import headers
from .endpoints import Origin
from .exchange import Field

if TYPE_CHECKING:
    from .transports.http_requests import Call

STATUS: Final = "http.response.status_code"
RECONNECTED: Final = "reconnected"
MOVED: Final = "moved"
"""Events of sessions: a lost connection was replaced, or the session went to another server as it was advised."""

_NAMES: Final = {"streams": "stream", "basins": "basin", "access-tokens": "id", "metrics": "basin"}


def begin_call(call: Call, origin: Origin, session: str = "") -> Span:
    """Begin the span of a request with all its attempts, or of a session: "append" or "read"."""
    if not is_recorded():
        return NO_SPAN
    method, (route, stream) = call.method.decode(), _route(call.path)
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.template": route,
        "server.address": origin.host,
        "server.port": origin.port,
    }
    if call.basin is not None:
        attributes[BASIN] = call.basin
    if stream is not None:
        attributes[STREAM] = stream
    if call.records:
        attributes["messaging.batch.message_count"] = call.records
    if session:
        attributes["perdure.session"] = session
    return begin(f"{method} {route}", Kind.CLIENT, attributes)


def trace_fields(span: Span) -> tuple[Field, ...]:
    """What a request on behalf of `span` carries, or on behalf of what runs now."""
    trace = span.trace
    if trace is None:
        return ()
    parent = (headers.TRACEPARENT, trace.traceparent.encode())
    return (parent, (headers.TRACESTATE, trace.state.encode())) if trace.state else (parent,)


def measure_call(call: Call, origin: Origin, outcome: int | str, seconds: float) -> None:
    """Count a request that was answered with a status, or failed with an error of this type."""
    attributes: dict[str, str | int] = {
        "http.request.method": call.method.decode(),
        "server.address": origin.host,
        "server.port": origin.port,
        STATUS if isinstance(outcome, int) else ERROR_TYPE: outcome,
    }
    CLIENT_REQUESTS.record(seconds, attributes)


def _route(path: str) -> tuple[str, str | None]:
    """The path with placeholders in place of names, and the stream that it names."""
    pieces = path.partition("?")[0].split("/")
    stream = None
    if len(pieces) > 2 and (what := _NAMES.get(pieces[1])) is not None:
        if what == "stream":
            stream = unquote(pieces[2])
        pieces[2] = f"{{{what}}}"
        if pieces[1] == "metrics" and len(pieces) > 3:
            pieces[3] = "{stream}"
    return "/v1" + "/".join(pieces), stream
