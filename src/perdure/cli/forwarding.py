"""The inspector before a service: what the page asks goes on to it, with the token that the page does not know.

Answers come through as they arrive, so that a stream can be followed; a page that takes nothing holds the service up,
and one that leaves ends what it asked for.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ..client.dialing import Dialer
from ..client.exchange import Destination, Exchange, Field, Fields, Head
from ..client.http2.fields import pack_common
from ..client.pool import Pool
from ..client.settings import HttpSettings
from ..errors import BadRequest, PerdureError, ProtocolViolation, TransportError, Unavailable
from ..inspector.page import Answer, Inspector
from ..model.names import check_basin_name
from ..server.asgi import Receive, Scope, Send
from ..wire import headers
from ..wire.errors_json import encode_error
from .guarded import send_answer

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""What the API takes as the body of a request."""

_PASSED_ON: Final = frozenset({headers.ACCEPT, headers.CONTENT_TYPE, headers.LAST_EVENT_ID, headers.S2_FORMAT})
_SECRET: Final = frozenset({headers.S2_ENCRYPTION_KEY})
_PASSED_BACK: Final = frozenset({headers.CONTENT_TYPE, headers.CACHE_CONTROL, headers.RETRY_AFTER_MS})
_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_API: Final = b"/v1/"


class Forwarder:
    """An ASGI application: the inspector's page, and the API of the service behind `settings`."""

    def __init__(self, settings: HttpSettings, inspector: Inspector) -> None:
        self._settings = settings
        self._inspector = inspector
        self._pool = Pool(
            Dialer(
                ssl_context=settings.ssl_context,
                timeout=settings.connection_timeout,
                force=settings.force_transport,
                proxies=settings.proxies,
            )
        )
        self._running: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        """End what is being answered, and close all connections. Idempotent."""
        running = list(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self._pool.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        fields: dict[bytes, bytes] = dict(scope["headers"])
        path: bytes = scope["raw_path"]
        page = self._inspector.answer(scope["method"], path, scope["query_string"], fields.get(headers.IF_NONE_MATCH))
        if page is not None:
            await send_answer(send, page)
        elif not path.startswith(_API):
            await send_answer(send, Answer(404))
        else:
            await self._forward(scope, fields, receive, send)

    async def _forward(self, scope: Scope, fields: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        incoming = _Incoming()
        try:
            body = await _whole_body(receive)
            head = self._head(scope, fields, body)
            connection = await self._pool.connection(head.destination.origin)
            exchange = connection.open(head, incoming, body=body or None)
        except PerdureError as exc:
            await send_answer(send, _told(exc))
            return
        passing = asyncio.create_task(incoming.pass_on(exchange, send), name="perdure-ui-answer")
        leaving = asyncio.create_task(_gone(receive), name="perdure-ui-caller")
        self._running.add(passing)
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            exchange.reset()  # nothing, if it is over
            for task in (passing, leaving):
                task.cancel()
            await asyncio.wait({passing, leaving})
            self._running.discard(passing)
        if not passing.cancelled():
            passing.result()

    def _head(self, scope: Scope, fields: dict[bytes, bytes], body: bytes) -> Head:
        endpoints = self._settings.endpoints
        path: bytes = scope["raw_path"]
        query: bytes = scope["query_string"]
        common: list[Field] = []
        origin = endpoints.account_origin
        if path.startswith(_API + b"streams"):
            basin = fields.get(headers.S2_BASIN, b"").decode("ascii", "replace")
            check_basin_name(basin)  # it becomes part of a host name
            origin = endpoints.basin_origin(basin)
            if not endpoints.basin_is_in_host:
                common.append((headers.S2_BASIN, basin.encode()))
        secrets: list[Field] = []
        if self._settings.access_token is not None:
            secrets.append((headers.AUTHORIZATION, b"Bearer " + self._settings.access_token.encode()))
        own = [(name, value) for name, value in fields.items() if name in _PASSED_ON]
        if body:
            own.append((headers.CONTENT_LENGTH, b"%d" % len(body)))
        keys = tuple((name, value) for name, value in fields.items() if name in _SECRET)
        destination = Destination(origin, (*common, *secrets), pack_common(origin, common, secrets))
        return Head(scope["method"].encode(), path + (b"?" + query if query else b""), destination, tuple(own), keys)


class _Incoming:
    """Hears an answer, and passes it on. Nothing is held up but by whoever reads it: `exchange.read` asks for more."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[tuple[int, Fields] | bytes | PerdureError | None] = asyncio.Queue()

    def head(self, status: int, fields: Fields) -> None:
        self._heard.put_nowait((status, fields))

    def data(self, piece: bytes) -> None:
        self._heard.put_nowait(piece)

    def end(self) -> None:
        self._heard.put_nowait(None)

    def lost(self, error: PerdureError) -> None:
        self._heard.put_nowait(error)

    async def pass_on(self, exchange: Exchange, send: Send) -> None:
        begun = False
        while True:
            heard = await self._heard.get()  # without a limit: a stream that is followed may be silent for long
            match heard:
                case (status, fields):
                    begun = True
                    # The page cannot do anything about a token that it does not know, so it is not asked for one.
                    status = _FORBIDDEN if status == _UNAUTHORIZED else status
                    back = [(name, value) for name, value in fields if name in _PASSED_BACK]
                    await send({"type": "http.response.start", "status": status, "headers": back})
                case bytes():
                    await send({"type": "http.response.body", "body": heard, "more_body": True})
                    exchange.read(len(heard))
                case PerdureError() if not begun:
                    await send_answer(send, _told(heard))
                    return
                case _:
                    await send({"type": "http.response.body", "body": b""})
                    return


async def _whole_body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Unavailable("the caller left")
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise BadRequest(f"the body is longer than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return bytes(body)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _told(error: PerdureError) -> Answer:
    if isinstance(error, TransportError | ProtocolViolation):
        error = Unavailable(f"the service does not answer: {error.message}")
    status, body = encode_error(error)
    return Answer(status, body, headers.JSON)
