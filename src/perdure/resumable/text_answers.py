"""A text stream as the answer to a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Literal

from .responses import NO_STORE, ChatResponse
from .text_stream import MISSING, Missing, TextStream

DONE_TEXT: Final = "Stream is already done"
MISSING_TEXT: Final = "No such stream"
DEFAULT_MEDIA_TYPE: Final = "text/plain; charset=utf-8"


def text_response(
    stream: TextStream | Literal[Missing.MISSING] | None, *, media_type: str = DEFAULT_MEDIA_TYPE
) -> ChatResponse:
    """Answer with `stream`, and close it when it is sent or the client goes; 422 if it is done, 404 if it is `MISSING`.

    `media_type` is `text/event-stream` where the text is server-sent events.
    """
    if not isinstance(stream, TextStream):
        status, text = (404, MISSING_TEXT) if stream is MISSING else (422, DONE_TEXT)
        headers = {"content-type": DEFAULT_MEDIA_TYPE, **NO_STORE}
        return ChatResponse(status, headers=headers, content=text.encode())
    headers = {"content-type": media_type, "cache-control": "no-cache", "x-accel-buffering": "no"}
    return ChatResponse(200, headers=headers, chunks=_Encoded(stream))


class _Encoded:
    def __init__(self, stream: TextStream) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return (await anext(self._stream)).encode()

    async def aclose(self) -> None:
        await self._stream.aclose()
