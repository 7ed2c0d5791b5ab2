"""The JSON events of a replay route, over as many connections as it takes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, nullcontext
from typing import TypeAlias

import httpx
from msgspec import Struct

from ...errors import TransportError
from ...wire.sse import SseEvent, SseParser
from ..json_body import JsonObject, parse_object
from .cursor import Cursor, ReplayUrl, url_at
from .requests import HeaderSource, HttpError, Requests, discard, has_body, new_http_client, translated
from .waiting import RECONNECT_BACKOFF_MS, SILENCE_MS, Backoff, Interrupted, Interruption, Signal, Silence


async def subscribe(
    url: ReplayUrl,
    *,
    signal: Signal | None = None,
    headers: HeaderSource | None = None,
    reconnect_backoff_ms: Sequence[float] = RECONNECT_BACKOFF_MS,
    silence_ms: float | None = SILENCE_MS,
    http_client: httpx.AsyncClient | None = None,
) -> AsyncGenerator[JsonObject, None]:
    """The JSON objects that a replay route sends as server-sent events.

    When a body ends or breaks, or the server cannot be had for now, it asks again from the last id on. It ends with a
    204, with the signal, or, where there is no reconnect, with the body. Leaving the loop closes the connection, at
    once if nothing else holds the generator; `contextlib.aclosing` makes sure of it.

    Args:
        url: the route. The cursor is added to text as the query parameter `from`; a function is given it.
        signal: ends the events without an error, from any task.
        headers: a mapping, pairs, or a function that gives either; asked anew for every request.
        reconnect_backoff_ms: waits before each reconnect, the last one repeated; none at all means no reconnect.
        silence_ms: after how long without a byte a connection is given up and made anew; None for never. Where there
            is no reconnect, silence is never an end.
        http_client: for cookies, authentication, a base URL or another transport; it stays yours to close.

    Raises `HttpError` for an answer that another try would not mend (below 500, but neither 408 nor 429), and without
    reconnect any error, `TransportError` too; `ProtocolViolation` for an event beyond 16 MiB.
    """
    async with nullcontext(http_client) if http_client else new_http_client() as http:
        replay = Replay(
            Requests(http, headers),
            url,
            Cursor(),
            Interruption(signal),
            Reconnecting.of(reconnect_backoff_ms, silence_ms),
        )
        async with aclosing(replay.events()) as events:
            async for event in events:
                yield event


class Reconnecting(Struct, frozen=True):
    """How a reader goes on after a connection is lost."""

    backoff_ms: tuple[float, ...]
    silence_s: float | None

    @classmethod
    def of(cls, backoff_ms: Sequence[float], silence_ms: float | None) -> Reconnecting:
        # Who does not reconnect would take a silence for a failure, and not every server pings.
        silent = silence_ms is None or not backoff_ms
        return cls(tuple(backoff_ms), None if silence_ms is None or silent else silence_ms / 1000)


IsLast: TypeAlias = Callable[[JsonObject], bool]


def _never(_: JsonObject) -> bool:
    return False


class Replay:
    """A reader of one replay route. `cursor` says where it is; `interruption` ends it without an error."""

    def __init__(
        self,
        requests: Requests,
        url: ReplayUrl,
        cursor: Cursor,
        interruption: Interruption,
        reconnecting: Reconnecting,
        is_last: IsLast = _never,
    ) -> None:
        self._requests = requests
        self._url = url
        self._cursor = cursor
        self._interruption = interruption
        self._silence_s = reconnecting.silence_s
        self._is_last = is_last
        self._backoff = Backoff(reconnecting.backoff_ms)
        self._response: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None
        self._parser = SseParser()
        self._frames = deque[SseEvent]()
        self._failure: TransportError | HttpError | None = None
        self._is_over = False
        self.found_nothing: bool = False
        """Whether the events have ended because the server had nothing more: a 204, or no body."""

    async def open(self) -> None:
        """Ask for the replay now; what goes wrong is for those who read the events, after the retries that are due.

        Raises `Interrupted`.
        """
        request = await self._requests.prepare("GET", url_at(self._url, self._cursor.value))
        try:
            async with self._interruption.bounded(self._silence_s):
                response = await self._requests.open(request)
        except (TransportError, HttpError) as exc:
            self._failure = exc
        except Silence:
            self._failure = self._silent()
        else:
            if has_body(response):
                self.take(response)
            else:
                await discard(response)
                self._is_over = self.found_nothing = True

    def raise_failure(self) -> None:
        """Raise what went wrong, if the replay was asked for and cannot be had."""
        if self._failure is not None:
            raise self._failure

    def take(self, response: httpx.Response) -> None:
        """Read this body before asking for one."""
        self._response = response
        self._pieces = response.aiter_bytes()
        self._parser = SseParser()

    async def events(self) -> AsyncGenerator[JsonObject, None]:
        """The events that follow. Leaving the generator closes the connection."""
        try:
            while (event := await self._next()) is not None:
                yield event
        finally:
            await self.aclose()

    async def aclose(self) -> None:
        """End the events. Who is in the middle of a wait for one closes the connection on the way out."""
        self._is_over = True
        if self._interruption.is_waited_for:
            self._interruption.set()
            return
        await self._drop_response()
        await self._interruption.aclose()

    @property
    def is_over(self) -> bool:
        """Whether there will be no further event."""
        return self._is_over or self._interruption.is_set

    async def _next(self) -> JsonObject | None:
        """The next event; None when there is none any more."""
        while not self._interruption.is_set:
            if self._frames:
                frame = self._frames.popleft()
                self._cursor.advance(frame.id)
                event = parse_object(frame.data)  # `[DONE]` is none, as all that is not JSON
                if event is None:
                    continue
                self._backoff.reset()
                if self._is_last(event):
                    await self.aclose()
                return event
            if self._is_over:
                return None
            try:
                await self._go_on()
            except Interrupted:
                return None
        return None

    async def _go_on(self) -> None:
        """Do what comes next: ask for the replay, read on, or wait until it is time to ask again."""
        if self._failure is None and self._pieces is None:
            await self.open()
        elif self._failure is None and (piece := await self._read()) is not None:
            self._frames.extend(self._parser.feed(piece))
        else:
            await self._recover()

    async def _recover(self) -> None:
        """The body is over, or there was none: wait until it is time to ask again."""
        failure, self._failure = self._failure, None
        self._cursor.advance(self._parser.last_id)  # also of a frame that had an id only
        await self._drop_response()
        is_permanent = isinstance(failure, HttpError) and not failure.retry_is_safe
        wait_s = None if is_permanent else self._backoff.next_s()
        if wait_s is not None:
            async with self._interruption.bounded(None):
                await asyncio.sleep(wait_s)
        elif failure is not None:
            raise failure
        else:
            self._is_over = True

    async def _read(self) -> bytes | None:
        """The next piece of the body; None at its end, or where it breaks."""
        assert self._pieces is not None, "a body is open"
        try:
            async with self._interruption.bounded(self._silence_s):
                with translated(may_have_applied=False):
                    return await anext(self._pieces, None)
        except TransportError as exc:
            self._failure = exc
        except Silence:
            self._failure = self._silent()
        return None

    def _silent(self) -> TransportError:
        return TransportError(f"nothing came for {self._silence_s} s", may_have_applied=False)

    async def _drop_response(self) -> None:
        response, self._response, self._pieces = self._response, None, None
        if response is not None:
            await response.aclose()
