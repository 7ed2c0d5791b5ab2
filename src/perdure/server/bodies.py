"""JSON bodies of the control plane: which must be there, which may be, and what goes with a create (store API, 2.6)."""

from __future__ import annotations

from typing import Final

from ..errors import BadRequest, Invalid
from ..model.names import check_request_token
from ..model.resources import ProvisionResult
from ..wire import headers
from ..wire.media import Media, media_of, require_json
from .asgi import HeaderPairs
from .request import Request
from .response import Response

_JSON_SPACE: Final = b" \t\r\n"


async def json_body(request: Request) -> bytes:
    """The body of a request that must have one. Raises `BadRequest` (`bad_json`) unless it is said to be JSON."""
    require_json(request.header(headers.CONTENT_TYPE))
    return await request.body("bad_json")


async def optional_json_body(request: Request) -> bytes | None:
    """The body, if there is one: without a content type there is none, whatever follows, and `null` is none either.

    Raises `BadRequest` (`bad_json`) when it is said to be something else than JSON.
    """
    content_type = request.header(headers.CONTENT_TYPE)
    if media_of(content_type) is Media.ABSENT:
        return None
    require_json(content_type)
    body = await request.body("bad_json")
    return None if body.strip(_JSON_SPACE) in (b"", b"null") else body


def request_token(request: Request) -> str | None:
    """The token that makes a create safe to repeat. Raises `BadRequest` (`bad_header`)."""
    value = request.header(headers.S2_REQUEST_TOKEN)
    if value is None:
        return None
    try:
        return check_request_token(value.decode("latin-1"))
    except Invalid as exc:
        name = headers.S2_REQUEST_TOKEN.decode()
        raise BadRequest(f"Invalid header `{name}`: {exc.message}", "bad_header") from None


def provisioned(body: bytes, result: ProvisionResult, *, status: int) -> Response:
    """The answer to a create or an ensure, which tells what was done."""
    extra: HeaderPairs = ((headers.S2_PROVISION_RESULT, result.value.encode()),)
    return Response.json(body, status=status, extra=extra)


def ensured(body: bytes, result: ProvisionResult) -> Response:
    """The answer to an ensure: 201 if it created something."""
    return provisioned(body, result, status=201 if result is ProvisionResult.CREATED else 200)
