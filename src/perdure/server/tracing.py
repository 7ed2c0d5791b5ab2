"""A span for each request, within the trace of its client, and what is told of it.

Paths that are asked every few seconds, whether the server lives and what it has counted, have none: they would bury the
rest.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..errors import PerdureError
from ..telemetry.measures import SERVER_REQUESTS
from ..telemetry.spans import BASIN, ERROR_CODE, ERROR_TYPE, NO_SPAN, STREAM, Kind, Span, begin, error_type, is_recorded
from ..telemetry.trace_context import TraceContext
from ..wire import headers
from ..wire.errors_json import encode_error
from .asgi import Scope
from .endpoints import Endpoint
from .path_names import BASIN as BASIN_NAME
from .path_names import STREAM as STREAM_NAME
from .request import Request
from .routes import PARAMETER, Found, Match

UNTRACED: Final = frozenset({"health", "metrics"})
"""Endpoints without spans."""

_OTHER_METHOD: Final = "_OTHER"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})


def trace_of(request: Request) -> TraceContext | None:
    """The trace that the client says its request belongs to."""
    parent = request.header(headers.TRACEPARENT)
    if parent is None:
        return None
    state = request.header(headers.TRACESTATE) or b""
    return TraceContext.parse(parent.decode("latin-1"), state.decode("latin-1"))


def begin_request(request: Request, found: Found[Endpoint], scope: Scope, trace: TraceContext | None) -> Span:
    """Begin the span of a request; `NO_SPAN` if nobody records it."""
    if not is_recorded():
        return NO_SPAN
    endpoint = found.endpoint if isinstance(found, Match) else None
    if endpoint is not None and endpoint.name in UNTRACED:
        return NO_SPAN
    method = _method(request)
    attributes: dict[str, str | int] = {
        "http.request.method": method,
        "url.scheme": scope.get("scheme", "http"),
        "url.path": scope["raw_path"].decode("latin-1"),
        "network.protocol.version": scope["http_version"],
    }
    if request.client is not None:
        attributes["client.address"] = request.client[0]
    agent = request.header(headers.USER_AGENT)
    if agent is not None:
        attributes["user_agent.original"] = agent.decode("latin-1")
    name = method
    if endpoint is not None:
        route = route_of(endpoint)
        name = f"{method} {route}"
        attributes["http.route"] = route
        attributes["perdure.operation"] = endpoint.name
    return begin(name, Kind.SERVER, attributes, parent=trace)


def tell_names(span: Span, request: Request, endpoint: Endpoint) -> None:
    """What the request is about, once that is parsed."""
    if request.basin:
        span.set(BASIN, request.basin)
    for kind, name in zip(endpoint.names, request.names, strict=True):
        if kind is STREAM_NAME:
            span.set(STREAM, name)
        elif kind is BASIN_NAME:
            span.set(BASIN, name)


def tell_error(span: Span, error: BaseException) -> None:
    """Why the request was refused, or its session ended. What the client has to mend is no failure of the server."""
    span.set(ERROR_CODE, error_type(error))
    if not isinstance(error, PerdureError) or encode_error(error).status >= 500:
        span.failed(error)


def measure(request: Request, found: Found[Endpoint], status: int, seconds: float, version: str) -> None:
    """Count an answer for OpenTelemetry."""
    key = (request.method, request.operation, status, version)
    attributes = _ANSWERS.get(key)
    if attributes is None:
        attributes = {
            "http.request.method": _method(request),
            "http.response.status_code": status,
            "network.protocol.version": version,
        }
        if isinstance(found, Match):  # whose method is one of few, so this table has a bound
            attributes["http.route"] = route_of(found.endpoint)
            _ANSWERS[key] = attributes
        if status >= 500:
            attributes[ERROR_TYPE] = str(status)
    SERVER_REQUESTS.record(seconds, attributes)


_ANSWERS: Final[dict[tuple[str, str, int, str], dict[str, str | int]]] = {}


@lru_cache
def route_of(endpoint: Endpoint) -> str:
    """The endpoint's path with what its names are, as `/v1/streams/{stream}/records`."""
    names = iter(endpoint.names)
    mark = PARAMETER.decode()
    return "/".join([f"{{{next(names).field}}}" if piece == mark else piece for piece in endpoint.path.split("/")])


def _method(request: Request) -> str:
    return request.method if request.method in _METHODS else _OTHER_METHOD
