"""What operators scrape. Nobody needs a token for it (store API, section 2.1): it holds no names and no addresses."""

from __future__ import annotations

import asyncio

from ..wire import headers
from .context import Context
from .request import Request
from .response import Response
from .telemetry import Telemetry


async def exposition(context: Context, request: Request) -> Response:
    """`GET /metrics`: the numbers of all worker processes together."""
    return Response(200, await asyncio.to_thread(_text, context.telemetry), headers.PROMETHEUS_TEXT)


def _text(telemetry: Telemetry) -> bytes:
    from .prometheus_text import render  # a worker that is never asked does without the library

    return render(telemetry)
