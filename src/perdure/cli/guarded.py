"""An application that answers only callers of its own address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from ..inspector.callers import Callers
from ..inspector.page import Answer
from ..server.asgi import Receive, Scope, Send
from ..wire import headers

Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guarded:
    """`app`, for `callers` only."""

    def __init__(self, app: Application, callers: Callers) -> None:
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            fields: dict[bytes, bytes] = dict(scope["headers"])
            refused = self._callers.refusal(fields.get(headers.HOST), fields.get(headers.ORIGIN))
            if refused is not None:
                await send_answer(send, refused)
                return
        await self._app(scope, receive, send)


async def send_answer(send: Send, answer: Answer) -> None:
    """Send a whole answer."""
    fields = [*answer.fields, (headers.CONTENT_LENGTH, b"%d" % len(answer.body))]
    if answer.content_type is not None:
        fields.append((headers.CONTENT_TYPE, answer.content_type))
    await send({"type": "http.response.start", "status": answer.status, "headers": fields})
    await send({"type": "http.response.body", "body": answer.body})
