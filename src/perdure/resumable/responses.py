"""What the chat objects answer: a status, headers, and perhaps a body that streams.

A `ChatResponse` is a Starlette response, so a Starlette or FastAPI route returns it as it is, and an ASGI application,
so anything else that speaks ASGI can call it. It is also plain data with an async iterator, for all other frameworks.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, Protocol

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from . import replay

EVENT_STREAM_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache",
    "connection": "keep-alive",
    "x-accel-buffering": "no",
}
"""What proxies and browsers must know of a body that streams events."""
NO_STORE: Final = {"cache-control": "no-store"}
IN_USE_TEXT: Final = "Stream already in use"
ALREADY_GENERATING_TEXT: Final = "Stream already has an active generation"


class ClosableBody(Protocol):
    """A body that streams, and that must be closed whether or not it was read to its end."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def aclose(self) -> None:
        """Let go of what the body reads from. Idempotent."""
        ...


class ChatResponse(Response):
    """An answer of a chat object.

    Return it from a Starlette or FastAPI route, or call it as an ASGI application: then it closes itself. Otherwise
    send `status` and `headers`, iterate over `chunks`, and call `aclose` at the end and when the client has gone. An
    error that the iteration raises must reach the client as an aborted transfer, never as a normal end.
    """

    def __init__(
        self,
        status: int,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        chunks: ClosableBody | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        self.status_code = status
        self.background = background
        self.body = content
        pairs = (headers or {}).items()
        self.raw_headers: list[tuple[bytes, bytes]] = [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs
        ]
        self._chunks = chunks
        if chunks is None and status not in (204, 304):
            self.raw_headers.append((b"content-length", str(len(content)).encode()))

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.status_code

    @property
    def chunks(self) -> AsyncIterator[bytes] | None:
        """The body as it comes, once; None for an answer without one that streams, whose bytes are `body`."""
        return None if self._chunks is None else aiter(self._chunks)

    @property
    def body_iterator(self) -> AsyncIterator[bytes] | None:
        """`chunks`, by the name that Starlette's streaming responses have for it."""
        return self.chunks

    def to_starlette(self) -> Response:
        """The response as Starlette's own type."""
        return self

    async def aclose(self) -> None:
        """Let go of the body. Idempotent; a generation that this response shows goes on."""
        if self._chunks is not None:
            await self._chunks.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, and close it when it is sent or the client goes."""
        try:
            await send(self._start(scope))
            if self._chunks is None:
                await send({"type": "http.response.body", "body": self.body})
            else:
                await self._stream(self._chunks, receive, send)
        finally:
            await self.aclose()
        if self.background is not None:
            await self.background()

    def _start(self, scope: Scope) -> Message:
        headers = self.raw_headers
        if scope.get("http_version", "1.1") not in ("1.0", "1.1"):
            headers = [header for header in headers if header[0] != b"connection"]  # means nothing, and is refused
        return {"type": "http.response.start", "status": self.status_code, "headers": headers}

    async def _stream(self, chunks: ClosableBody, receive: Receive, send: Send) -> None:
        """Send the body; stop when the client goes, which `send` alone does not tell on every server."""
        sending = asyncio.current_task()
        assert sending is not None
        gone = False

        async def watch_client() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            sending.cancel()

        watching = asyncio.get_running_loop().create_task(watch_client())
        try:
            try:
                # Some servers hold the headers back until there is a body.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:
                watching.cancel()
                await asyncio.wait((watching,))
        except asyncio.CancelledError:
            if not gone or sending.uncancel() > 0:
                raise
        except OSError:
            pass  # the client has gone, as servers say it that raise in `send`


def accepted() -> ChatResponse:
    """202: it will be done; read the replay route."""
    return ChatResponse(202, headers=NO_STORE)


def nothing() -> ChatResponse:
    """204: there is nothing to replay."""
    return ChatResponse(204, headers=NO_STORE)


def in_use(text: str = IN_USE_TEXT) -> ChatResponse:
    """409: a generation is active."""
    headers = {"content-type": "text/plain; charset=utf-8"}
    return ChatResponse(409, headers=headers, content=text.encode())


def refused(text: str) -> ChatResponse:
    """400: the request cannot be understood."""
    return ChatResponse(400, headers={"content-type": "text/plain; charset=utf-8"}, content=text.encode())


def not_found() -> ChatResponse:
    """404: there is no such chat or run."""
    return ChatResponse(404, headers={"content-type": "text/plain; charset=utf-8"}, content=b"Not found")


def going() -> ChatResponse:
    """503: this process is about to end; ask again."""
    headers = {"content-type": "text/plain; charset=utf-8", **NO_STORE}
    return ChatResponse(503, headers=headers, content=b"The server is about to stop")


def json_snapshot(content: bytes) -> ChatResponse:
    """200 with JSON that is true now and perhaps not in a moment."""
    return ChatResponse(200, headers={"content-type": "application/json", **NO_STORE}, content=content)


def replay_options(request: Request | Mapping[str, str]) -> replay.ReplayOptions:
    """What the query of a request to a replay route says: `from=` and `live=`.

    `request` is Starlette's, or the query itself where another framework has it, as Flask in `request.args`.
    """
    return replay.options_of(request.query_params if isinstance(request, Request) else request)
