"""The table of endpoints: method, path, what its names are, and who answers it (store API, section 3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Final, TypeAlias

from msgspec import Struct

from ..model.names import check_access_token_id, check_basin_name, check_stream_name
from . import health, records
from .context import Context
from .request import Request
from .response import Response, Session

Handler: TypeAlias = Callable[[Context, Request], Awaitable[Response | Session]]


class Name(Enum):
    """What a name in a path is, and so which rules it must keep."""

    BASIN = "basin name"
    STREAM = "stream name"
    ACCESS_TOKEN = "access token id"

    def check(self, text: str) -> str:
        """`text`, if it keeps the rules. Raises `Invalid`."""
        return _CHECKS[self](text)


_CHECKS: Final[dict[Name, Callable[[str], str]]] = {
    Name.BASIN: check_basin_name,
    Name.STREAM: check_stream_name,
    Name.ACCESS_TOKEN: check_access_token_id,
}


class Endpoint(Struct, frozen=True, kw_only=True):
    """One line of the table. `in_basin`: the request names a basin by header or host. `public`: needs no access."""

    name: str
    method: str
    path: str
    handler: Handler
    names: tuple[Name, ...] = ()
    in_basin: bool = False
    public: bool = False


ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(name="health", method="GET", path="/health", handler=health.health, public=True),
    Endpoint(name="health", method="GET", path="/ping", handler=health.health, public=True),
    Endpoint(
        name="append",
        method="POST",
        path="/v1/streams/*/records",
        handler=records.append,
        names=(Name.STREAM,),
        in_basin=True,
    ),
    Endpoint(
        name="read",
        method="GET",
        path="/v1/streams/*/records",
        handler=records.read,
        names=(Name.STREAM,),
        in_basin=True,
    ),
    Endpoint(
        name="check_tail",
        method="GET",
        path="/v1/streams/*/records/tail",
        handler=records.check_tail,
        names=(Name.STREAM,),
        in_basin=True,
    ),
)
