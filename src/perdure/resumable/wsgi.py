"""Chats and text streams for code that blocks: Flask, Django's synchronous views, anything that speaks WSGI.

::

    chat = create_resumable_chat(path="./data", basin="my-app-chats", mode="session")
    thread = ChatThread(chat)
    app = Flask(__name__)

    @app.post("/api/chat")
    def send():
        body = request.get_json()
        answer = thread.respond(chat.make_resumable(f"chat-{body['id']}", source, user_message=body["messages"][-1]))
        return Response(answer.body, answer.status, answer.headers)

A chat object lives in an event loop, of which these have none. A `ChatThread` gives it one on a thread of its own, and
routes call it there. An answer that streams holds a thread of the server until its end: give it many, or serve the
routes of chats by an ASGI application beside this one.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from multiprocessing.util import Finalize
from typing import Final, Protocol, TypeVar

from ..errors import SessionClosed
from ..sync.background import BackgroundLoop
from ..wire.sse import KEEP_ALIVE
from .responses import EVENT_STREAM_HEADERS, ChatResponse

__all__ = ["ChatThread", "WsgiBody", "WsgiResponse"]

_T = TypeVar("_T")

_SILENT_START_SECONDS: Final = 1.0
"""How long a body may be silent before a comment begins it: WSGI sends the headers with the first bytes only."""

_EXIT_PRIORITY: Final = 0
"""Among what `multiprocessing` runs at the end of a process: from 0 on, that is before it ends child processes."""

_HOP_BY_HOP: Final = "connection"
"""The header of a `ChatResponse` that WSGI forbids applications to send."""


class _Lives(Protocol):
    """A chat object, or a context of text streams."""

    async def __aenter__(self) -> object: ...

    async def drain(self) -> None: ...

    async def aclose(self) -> None: ...


class ChatThread:
    """The event loop of `chat`, on a thread of its own, for calls from any other thread, many at once.

    The thread starts with the first call, so a server may load the application before it forks its workers; a fork
    after that is refused with a `UsageError` in the child. The end of the process waits for the answers that are being
    written, for at most 30 seconds; `close` does the same at any time, and closes the chat object.
    """

    def __init__(self, chat: _Lives) -> None:
        self._chat = chat
        self._starting = threading.Lock()
        self._loop: BackgroundLoop | None = None
        self._at_exit: Finalize[None] | None = None
        self._closed = False

    def call(self, call: Awaitable[_T]) -> _T:
        """Wait for what a method of the chat object gives, such as `thread.call(chat.stop(name))`.

        Raises what it raises; `SessionClosed` after `close`, and `UsageError` after a fork. `perdure.sync.timeout`
        bounds it.
        """
        try:
            loop = self._started()
            return loop.call(lambda: call)
        finally:
            if asyncio.iscoroutine(call):
                call.close()  # if it was refused before it began; else it is over

    def respond(self, call: Awaitable[ChatResponse]) -> WsgiResponse:
        """Wait for a response of the chat object, such as `thread.respond(chat.replay(name))`. Raises like `call`."""
        return WsgiResponse(self.call(call), self)

    def close(self) -> None:
        """Close the chat object, and end the thread. Idempotent; raises what the closing raised."""
        with self._starting:
            self._closed = True
            loop = self._loop
        if self._at_exit is not None:
            self._at_exit.cancel()
        if loop is not None:
            loop.close()

    def _started(self) -> BackgroundLoop:
        with self._starting:
            if self._closed:
                raise SessionClosed("the thread of this chat object is closed")
            if self._loop is None:
                loop = BackgroundLoop()
                try:
                    loop.open(lambda: self._chat, lambda chat: chat.__aenter__())
                except BaseException:
                    loop.close()
                    raise
                self._loop = loop
                # Not by `atexit`, which the workers of some servers skip, as children of `multiprocessing` do.
                self._at_exit = Finalize(None, self._drain_at_exit, exitpriority=_EXIT_PRIORITY)
            return self._loop

    def _drain_at_exit(self) -> None:
        """Wait for what is being written. The store is left as it is: the executors that it is closed with are gone."""
        if self._loop is not None:
            self._loop.call(self._chat.drain)
            self._loop.leave_to_exit()


class WsgiResponse:
    """An answer of a chat object, as data and as a WSGI application.

    Make a response of your framework of `status`, `headers` and `body`, or call it. Who does neither calls `close`.
    """

    def __init__(self, response: ChatResponse, thread: ChatThread) -> None:
        self.status: int = response.status
        """The HTTP status."""
        self.headers: list[tuple[str, str]] = [pair for pair in response.headers.items() if pair[0] != _HOP_BY_HOP]
        """The headers, without `connection`, which belongs to the server."""
        self.body: bytes | WsgiBody = bytes(response.body)
        """The whole body, or an iterator over one that streams."""
        chunks = response.chunks
        if chunks is not None:
            is_events = response.headers.get("content-type") == EVENT_STREAM_HEADERS["content-type"]
            self.body = WsgiBody(chunks, response.aclose, thread, KEEP_ALIVE if is_events else None)

    def close(self) -> None:
        """Let go of the body. Idempotent; the generation that it shows goes on."""
        if isinstance(self.body, WsgiBody):
            self.body.close()

    def __call__(
        self, environ: Mapping[str, object], start_response: Callable[[str, list[tuple[str, str]]], object]
    ) -> Iterable[bytes]:
        """Answer, as WSGI asks for it; the server closes what this gives."""
        start_response(f"{self.status} {HTTPStatus(self.status).phrase}", self.headers)
        return [self.body] if isinstance(self.body, bytes) else self.body


class WsgiBody:
    """A body as it comes. WSGI calls `close` at its end, and when the client has gone.

    That a client has gone shows when something is sent, at the latest after the `keep_alive_ms` of the chat object. An
    error that the iteration raises must reach the client as an aborted transfer: frameworks and servers do that.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        aclose: Callable[[], Awaitable[None]],
        thread: ChatThread,
        silence: bytes | None,
    ) -> None:
        self._chunks = chunks
        self._aclose = aclose
        self._thread = thread
        self._silence = silence
        self._step: asyncio.Task[bytes | None] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Wait for the next bytes."""
        chunk = None if self._closed else self._thread.call(self._next())
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Let go of what the body reads. Idempotent."""
        if not self._closed:
            self._closed = True
            with suppress(SessionClosed):  # then the chat object has closed all bodies
                self._thread.call(self._let_go())

    # In the loop's thread:

    async def _next(self) -> bytes | None:
        silence, self._silence = self._silence, None
        # In a task of its own: a body ends with a wait that is cancelled.
        step = self._step = self._step or asyncio.get_running_loop().create_task(self._read())
        if silence is not None:
            await asyncio.wait((step,), timeout=_SILENT_START_SECONDS)
            if not step.done():
                return silence
        chunk = await step
        self._step = None
        return chunk

    async def _read(self) -> bytes | None:
        return await anext(self._chunks, None)

    async def _let_go(self) -> None:
        step, self._step = self._step, None
        await self._aclose()
        if step is not None:
            step.cancel()
            await asyncio.wait((step,))
            if not step.cancelled():
                step.exception()  # of a read that nobody waits for any more
