"""Cross-origin requests: every origin may do what its user may do (store API, section 2.10).

The server knows its callers by the token they send, never by a cookie, so an open policy gives nothing away.
"""

from __future__ import annotations

from typing import Final

from ..wire import headers
from .asgi import HeaderPairs
from .response import Response

_ALL_METHODS: Final = b"GET,POST,PUT,PATCH,DELETE,OPTIONS"


def common_fields(origin: bytes | None) -> HeaderPairs:
    """What every answer to a request from `origin` carries."""
    if origin is None:
        return ()
    return (
        (headers.ACCESS_CONTROL_ALLOW_ORIGIN, origin),
        (headers.ACCESS_CONTROL_ALLOW_CREDENTIALS, b"true"),
        (headers.VARY, b"origin"),
    )


def preflight(method: bytes | None, wanted_fields: bytes | None) -> Response:
    """The answer to an `OPTIONS` request: what was asked for is allowed."""
    fields = [(headers.ACCESS_CONTROL_ALLOW_METHODS, method or _ALL_METHODS)]
    if wanted_fields:
        fields.append((headers.ACCESS_CONTROL_ALLOW_HEADERS, wanted_fields))
    return Response(200, extra=tuple(fields))
