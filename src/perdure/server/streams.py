"""The handlers of `/streams` that are about streams themselves (store API, sections 3.3 to 3.9)."""

from __future__ import annotations

from ..model.names import check_stream_prefix
from ..wire.configs_json import decode_stream_config, decode_stream_reconfiguration, encode_stream_config
from ..wire.resources_json import decode_create_stream, encode_stream_info, encode_streams
from .bodies import ensured, json_body, optional_json_body, provisioned, request_token
from .context import Context
from .listing import page_query
from .request import Request
from .response import Response


async def list_streams(context: Context, request: Request) -> Response:
    """Empty for a basin that does not exist."""
    page = page_query(request, check_stream_prefix)
    streams = await request.store.list_streams(
        request.basin, prefix=page.prefix, start_after=page.start_after, limit=page.limit
    )
    return Response.json(encode_streams(streams))


async def create_stream(context: Context, request: Request) -> Response:
    """201 also for a repeated create, which made nothing."""
    token = request_token(request)
    wanted = decode_create_stream(await json_body(request))
    created = await request.store.create_stream(request.basin, wanted.name, wanted.config, request_token=token)
    return provisioned(encode_stream_info(created.info), created.result, status=201)


async def get_stream_config(context: Context, request: Request) -> Response:
    (name,) = request.names
    return Response.json(encode_stream_config(await request.store.get_stream_config(request.basin, name)))


async def ensure_stream(context: Context, request: Request) -> Response:
    """The body is the configuration itself."""
    (name,) = request.names
    body = await optional_json_body(request)
    config = None if body is None else decode_stream_config(body)
    done = await request.store.ensure_stream(request.basin, name, config)
    return ensured(encode_stream_info(done.info), done.result)


async def reconfigure_stream(context: Context, request: Request) -> Response:
    (name,) = request.names
    change = decode_stream_reconfiguration(await json_body(request))
    return Response.json(encode_stream_config(await request.store.reconfigure_stream(request.basin, name, change)))


async def delete_stream(context: Context, request: Request) -> Response:
    (name,) = request.names
    await request.store.delete_stream(request.basin, name)
    return Response(202)
