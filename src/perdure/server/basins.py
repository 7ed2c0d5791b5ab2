"""The handlers of `/basins` (store API, section 3.2)."""

from __future__ import annotations

from ..model.names import check_basin_prefix
from ..wire.configs_json import decode_basin_reconfiguration, encode_basin_config
from ..wire.resources_json import (
    EnsureBasin,
    decode_create_basin,
    decode_ensure_basin,
    encode_basin_info,
    encode_basins,
)
from .bodies import ensured, json_body, optional_json_body, provisioned, request_token
from .context import Context
from .listing import page_query
from .request import Request
from .response import Response


async def list_basins(context: Context, request: Request) -> Response:
    page = page_query(request, check_basin_prefix)
    basins = await request.store.list_basins(prefix=page.prefix, start_after=page.start_after, limit=page.limit)
    return Response.json(encode_basins(basins))


async def create_basin(context: Context, request: Request) -> Response:
    """201 also for a repeated create, which made nothing."""
    token = request_token(request)
    wanted = decode_create_basin(await json_body(request))
    created = await request.store.create_basin(
        wanted.name, wanted.config, request_token=token, location=wanted.location
    )
    return provisioned(encode_basin_info(created.info), created.result, status=201)


async def get_basin_config(context: Context, request: Request) -> Response:
    (name,) = request.names
    return Response.json(encode_basin_config(await request.store.get_basin_config(name)))


async def ensure_basin(context: Context, request: Request) -> Response:
    (name,) = request.names
    body = await optional_json_body(request)
    wanted = EnsureBasin() if body is None else decode_ensure_basin(body)
    done = await request.store.ensure_basin(name, wanted.config, location=wanted.location)
    return ensured(encode_basin_info(done.info), done.result)


async def reconfigure_basin(context: Context, request: Request) -> Response:
    (name,) = request.names
    change = decode_basin_reconfiguration(await json_body(request))
    return Response.json(encode_basin_config(await request.store.reconfigure_basin(name, change)))


async def delete_basin(context: Context, request: Request) -> Response:
    (name,) = request.names
    await request.store.delete_basin(name)
    return Response(202)
