"""The handlers of `/metrics…` under the API's root: how much the store was used (store API, section 8.4).

What operators watch, such as latencies, is at `/metrics` itself; see `perdure.server.telemetry`.
"""

from __future__ import annotations

from typing import TypeVar

from ..errors import BadRequest
from ..model.limits import MAX_U32
from ..model.metrics import AccountMetricSet, BasinMetricSet, MetricsQuery, StreamMetricSet, TimeseriesInterval
from ..wire.metrics_json import encode_metrics
from .context import Context
from .request import Request
from .response import Response

S = TypeVar("S", AccountMetricSet, BasinMetricSet, StreamMetricSet)


async def account_metrics(context: Context, request: Request) -> Response:
    metric_set, query = _asked(request, AccountMetricSet)
    return Response.json(encode_metrics(await request.store.account_metrics(metric_set, query)))


async def basin_metrics(context: Context, request: Request) -> Response:
    (basin,) = request.names
    metric_set, query = _asked(request, BasinMetricSet)
    return Response.json(encode_metrics(await request.store.basin_metrics(basin, metric_set, query)))


async def stream_metrics(context: Context, request: Request) -> Response:
    basin, stream = request.names
    metric_set, query = _asked(request, StreamMetricSet)
    return Response.json(encode_metrics(await request.store.stream_metrics(basin, stream, metric_set, query)))


def _asked(request: Request, sets: type[S]) -> tuple[S, MetricsQuery]:
    """Raises `BadRequest` (`bad_query`) for what is malformed; what the set does not have is for the store to say."""
    query = request.query()
    metric_set = query.choice("set", sets)
    if metric_set is None:
        raise BadRequest(f"query parameter `set` is missing; it must be one of {', '.join(sets)}", "bad_query")
    start, end = query.number("start", MAX_U32), query.number("end", MAX_U32)
    return metric_set, MetricsQuery(start, end, query.choice("interval", TimeseriesInterval))
