"""Whether the server can serve."""

from __future__ import annotations

from ..errors import PerdureError
from ..wire import headers
from .context import Context
from .request import Request
from .response import Response


async def health(context: Context, request: Request) -> Response:
    """`OK`, or 503 with the reason when the store does not answer."""
    try:
        await context.store.probe()
    except PerdureError as exc:
        # Only the code: the message may name files, and anybody may ask.
        return Response(503, f"the store does not answer ({exc.code})".encode(), headers.PLAIN_TEXT)
    return Response(200, b"OK", headers.PLAIN_TEXT)
