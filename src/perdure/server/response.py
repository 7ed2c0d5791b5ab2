"""What handlers answer: a whole response, or a session that goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from ..wire import headers
from .asgi import HeaderPairs, Receive, Send


class Response(Struct, frozen=True, gc=False):
    """A response that is complete. Without a content type it has no body (202, 204 and the router's own answers)."""

    status: int
    body: bytes = b""
    content_type: bytes | None = None
    extra: HeaderPairs = ()

    @classmethod
    def json(cls, body: bytes, *, status: int = 200, extra: HeaderPairs = ()) -> Response:
        return cls(status, body, headers.JSON, extra)


class Channel(Struct, frozen=True):
    """The two ends of the connection that a session speaks over, and the header fields that every answer carries.

    `failed` is told of the error that ended the session, whether or not its client heard of it, once at most: what is
    the server's own fault goes to the log.
    """

    receive: Receive
    send: Send
    common: HeaderPairs
    failed: Callable[[BaseException], None]


class Session(Protocol):
    """A response that goes on for as long as both sides want; `run` sends its head, and everything after it."""

    async def run(self, channel: Channel) -> None:
        """Speak until the end. It raises nothing but what is a bug: errors of the session go to the client in-band."""
        ...
