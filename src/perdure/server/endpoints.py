"""The table of endpoints: method, path, what its names are, and who answers it (store API, section 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from msgspec import Struct

from . import access_tokens, basins, exposition, health, locations, metrics, openapi, records, streams
from .context import Context
from .path_names import ACCESS_TOKEN, BASIN, STREAM, PathName
from .request import Request
from .response import Response, Session

Handler: TypeAlias = Callable[[Context, Request], Awaitable[Response | Session]]


class Endpoint(Struct, frozen=True, kw_only=True):
    """One line of the table. `in_basin`: the request names a basin by header or host. `public`: needs no access.

    `name` is also what operators see in statistics.
    """

    name: str
    method: str
    path: str
    handler: Handler
    names: tuple[PathName, ...] = ()
    in_basin: bool = False
    public: bool = False


def _basin(name: str, method: str, handler: Handler) -> Endpoint:
    return Endpoint(name=name, method=method, path="/v1/basins/*", handler=handler, names=(BASIN,))


def _stream(name: str, method: str, handler: Handler) -> Endpoint:
    return Endpoint(name=name, method=method, path="/v1/streams/*", handler=handler, names=(STREAM,), in_basin=True)


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(name="health", method="GET", path="/health", handler=health.health, public=True),
    Endpoint(name="health", method="HEAD", path="/health", handler=health.health, public=True),
    Endpoint(name="health", method="GET", path="/ping", handler=health.health, public=True),
    Endpoint(name="health", method="HEAD", path="/ping", handler=health.health, public=True),
    Endpoint(name="metrics", method="GET", path="/metrics", handler=exposition.exposition, public=True),
    Endpoint(name="openapi", method="GET", path="/openapi.json", handler=openapi.description, public=True),
    # Basins
    Endpoint(name="list_basins", method="GET", path="/v1/basins", handler=basins.list_basins),
    Endpoint(name="create_basin", method="POST", path="/v1/basins", handler=basins.create_basin),
    _basin("get_basin_config", "GET", basins.get_basin_config),
    _basin("ensure_basin", "PUT", basins.ensure_basin),
    _basin("reconfigure_basin", "PATCH", basins.reconfigure_basin),
    _basin("delete_basin", "DELETE", basins.delete_basin),
    # Streams
    Endpoint(name="list_streams", method="GET", path="/v1/streams", handler=streams.list_streams, in_basin=True),
    Endpoint(name="create_stream", method="POST", path="/v1/streams", handler=streams.create_stream, in_basin=True),
    _stream("get_stream_config", "GET", streams.get_stream_config),
    _stream("ensure_stream", "PUT", streams.ensure_stream),
    _stream("reconfigure_stream", "PATCH", streams.reconfigure_stream),
    _stream("delete_stream", "DELETE", streams.delete_stream),
    # Access tokens
    Endpoint(
        name="list_access_tokens", method="GET", path="/v1/access-tokens", handler=access_tokens.list_access_tokens
    ),
    Endpoint(
        name="issue_access_token", method="POST", path="/v1/access-tokens", handler=access_tokens.issue_access_token
    ),
    Endpoint(
        name="revoke_access_token",
        method="DELETE",
        path="/v1/access-tokens/*",
        handler=access_tokens.revoke_access_token,
        names=(ACCESS_TOKEN,),
    ),
    # Metrics
    Endpoint(name="account_metrics", method="GET", path="/v1/metrics", handler=metrics.account_metrics),
    Endpoint(
        name="basin_metrics",
        method="GET",
        path="/v1/metrics/*",
        handler=metrics.basin_metrics,
        names=(BASIN,),
    ),
    Endpoint(
        name="stream_metrics",
        method="GET",
        path="/v1/metrics/*/*",
        handler=metrics.stream_metrics,
        names=(BASIN, STREAM),
    ),
    # Locations
    Endpoint(name="list_locations", method="GET", path="/v1/locations", handler=locations.list_locations),
    Endpoint(
        name="get_default_location",
        method="GET",
        path="/v1/locations/default",
        handler=locations.get_default_location,
    ),
    Endpoint(
        name="set_default_location",
        method="PUT",
        path="/v1/locations/default",
        handler=locations.set_default_location,
    ),
    Endpoint(
        name="append",
        method="POST",
        path="/v1/streams/*/records",
        handler=records.append,
        names=(STREAM,),
        in_basin=True,
    ),
    Endpoint(
        name="read",
        method="GET",
        path="/v1/streams/*/records",
        handler=records.read,
        names=(STREAM,),
        in_basin=True,
    ),
    Endpoint(
        name="check_tail",
        method="GET",
        path="/v1/streams/*/records/tail",
        handler=records.check_tail,
        names=(STREAM,),
        in_basin=True,
    ),
)

INSPECTOR: Final = "inspector"
"""What requests for the inspector's page count as, where there is one."""

OPERATIONS: Final = frozenset(endpoint.name for endpoint in ENDPOINTS) | {INSPECTOR}
"""The names of all endpoints; some have several lines."""
