"""The description of the API that this server serves at `/openapi.json`.

It is a file, written once from the one that the protocol's authors publish, with what that has wrong or leaves out put
right (store API, appendix B); a test holds the two against a list of the differences.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from .context import Context
from .request import Request
from .response import Response

DESCRIPTION: Final = files("perdure.server").joinpath("openapi.json").read_bytes()


async def description(context: Context, request: Request) -> Response:
    return Response.json(DESCRIPTION)
