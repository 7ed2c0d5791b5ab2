"""The handlers of `/locations` (store API, section 8.5): this server is one location, and the default is always it."""

from __future__ import annotations

from ..errors import Invalid
from ..model.resources import LocationInfo
from ..wire.resources_json import decode_location_name, encode_location, encode_locations
from .bodies import json_body
from .context import Context
from .request import Request
from .response import Response


async def list_locations(context: Context, request: Request) -> Response:
    return Response.json(encode_locations((_here(context),)))


async def get_default_location(context: Context, request: Request) -> Response:
    return Response.json(encode_location(_here(context)))


async def set_default_location(context: Context, request: Request) -> Response:
    """Changes nothing: any other location than this one is refused (`Invalid`)."""
    name = decode_location_name(await json_body(request))
    here = _here(context)
    if name != here.name:
        raise Invalid(f"location {name!r} is not known; this server has one, {here.name!r}")
    return Response.json(encode_location(here))


def _here(context: Context) -> LocationInfo:
    return LocationInfo(context.settings.location, is_private=True)
