"""The handlers of `/locations` (store API, section 8.5)."""

from __future__ import annotations

from ..wire.resources_json import decode_location_name, encode_location, encode_locations
from .bodies import json_body
from .context import Context
from .request import Request
from .response import Response


async def list_locations(context: Context, request: Request) -> Response:
    return Response.json(encode_locations(await request.store.list_locations()))


async def get_default_location(context: Context, request: Request) -> Response:
    return Response.json(encode_location(await request.store.get_default_location()))


async def set_default_location(context: Context, request: Request) -> Response:
    name = decode_location_name(await json_body(request))
    return Response.json(encode_location(await request.store.set_default_location(name)))
