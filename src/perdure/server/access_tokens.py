"""The handlers of `/access-tokens` (store API, section 8.2)."""

from __future__ import annotations

from ..model.names import check_access_token_prefix
from ..wire import headers
from ..wire.access_tokens_json import decode_issue_request, encode_access_tokens, encode_secret
from .bodies import json_body
from .context import Context
from .listing import page_query
from .request import Request
from .response import Response


async def list_access_tokens(context: Context, request: Request) -> Response:
    page = page_query(request, check_access_token_prefix)
    tokens = await request.store.list_access_tokens(prefix=page.prefix, start_after=page.start_after, limit=page.limit)
    return Response.json(encode_access_tokens(tokens))


async def issue_access_token(context: Context, request: Request) -> Response:
    """The secret is in this answer and nowhere else."""
    wanted = decode_issue_request(await json_body(request))
    secret = await request.store.issue_access_token(wanted)
    return Response.json(encode_secret(secret), status=201, extra=((headers.CACHE_CONTROL, b"no-store"),))


async def revoke_access_token(context: Context, request: Request) -> Response:
    (token_id,) = request.names
    await request.store.revoke_access_token(token_id)
    context.access.revoked(token_id)
    return Response(204)
