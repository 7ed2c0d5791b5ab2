"""The client of a resumable chat for the Anthropic Messages API: history, live events, sending and stopping."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self
from weakref import WeakSet

import httpx

from ...errors import ProtocolViolation, UsageError
from ..anthropic_history import History
from ..json_body import JsonObject, SourceError, encode_body, parse_body
from .cursor import Cursor, ReplayUrl
from .events import Reconnecting, Replay
from .requests import HeaderSource, Requests, Url, discard, has_body, new_http_client, resolved
from .snapshots import history_of
from .waiting import RECONNECT_BACKOFF_MS, SILENCE_MS, Interrupted, Interruption, Signal


class Subscription:
    """Events that were asked for. Read them, or close: `async with` does, and so does leaving a loop over `events`."""

    def __init__(self, replay: Replay, interruption: Interruption) -> None:
        self._replay = replay
        self._interruption = interruption

    @property
    def events(self) -> AsyncGenerator[JsonObject, None]:
        """The events, over as many connections as it takes; for one loop.

        Raises `HttpError` for an answer that another try would not mend, and without reconnect any error.
        """
        return self._replay.events()

    def cancel(self) -> None:
        """End the events without an error, from any task; the answer goes on being generated.

        Who reads them closes the connection. If nobody does, `aclose` is the way.
        """
        self._interruption.set()

    async def aclose(self) -> None:
        """End the events, and close the connection unless somebody is about to."""
        await self._replay.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class ChatClient:
    """The client of one chat, from `create_chat_client`. All of its subscriptions share one cursor."""

    def __init__(
        self,
        *,
        send_url: Url,
        subscribe_url: ReplayUrl,
        history_url: Url | None,
        stop_url: Url | None,
        headers: HeaderSource | None,
        reconnecting: Reconnecting,
        http_client: httpx.AsyncClient | None,
    ) -> None:
        self._send_url = send_url
        self._subscribe_url = subscribe_url
        self._history_url = history_url
        self._stop_url = stop_url
        self._reconnecting = reconnecting
        http = new_http_client() if http_client is None else http_client
        self._own_http = http if http_client is None else None
        self._requests = Requests(http, headers)
        self._cursor = Cursor()
        self._listeners = WeakSet[Replay]()
        """The subscriptions that stay for later turns."""

    async def load_history(self) -> History:
        """The turns so far; what follows them is what the next subscription begins with.

        Empty without a `history_url`, and after a 204. Raises `HttpError`, `TransportError`, and `ProtocolViolation`
        for an answer that is no JSON.
        """
        text = "" if self._history_url is None else await self._requests.text("GET", resolved(self._history_url))
        if not text:
            return history_of(None)
        try:
            value = parse_body(text)
        except ValueError as exc:
            raise ProtocolViolation(f"a history is JSON; the history route answered {text[:40]!r}") from exc
        history = history_of(value)
        self._cursor.advance(history["nextSeqNum"])
        return history

    async def subscribe(self, *, signal: Signal | None = None, stop_on_terminal: bool = True) -> Subscription:
        """Ask for the events from here on.

        Args:
            signal: ends the events without an error.
            stop_on_terminal: whether `message_stop` and `error` end the events. False for a listener that stays for
                later turns.

        Raises `HttpError` or `TransportError` when this first request fails. A signal that is set meanwhile leaves a
        subscription without events.
        """

        async def open_replay(replay: Replay, _: Interruption) -> None:
            if not stop_on_terminal:
                self._listeners.add(replay)
            await replay.open()
            replay.raise_failure()

        return await self._begin(signal, stop_on_terminal, open_replay)

    async def send(self, body: object, *, signal: Signal | None = None, stop_on_terminal: bool = True) -> Subscription:
        """POST `body` as JSON, and read the answer: from the response, or after a 202 from `subscribe_url`.

        Raises `HttpError` outside 2xx, so with a 409 while another answer is generated; `TransportError` when there is
        no answer, which leaves open whether the turn was begun; `UsageError` for a body that is no JSON. The rest is
        as with `subscribe`. There is no limit to the wait for an answer: some servers give it when all is stored.

        While a subscription of this client with `stop_on_terminal=False` is open, a 202 is all: that subscription has
        the answer, and `events` ask for it only if somebody reads them.
        """
        try:
            json = encode_body(body)
        except SourceError as exc:
            raise UsageError(f"what is sent is JSON: {exc}") from exc

        async def post(replay: Replay, interruption: Interruption) -> None:
            request = await self._requests.prepare("POST", resolved(self._send_url), json=json)
            async with interruption.bounded(None):
                response = await self._requests.open(request)
                if response.status_code != 202 and has_body(response):
                    replay.take(response)
                    return
                await discard(response)
            if all(listener.is_over for listener in self._listeners):
                await replay.open()

        return await self._begin(signal, stop_on_terminal, post)

    async def stop(self) -> None:
        """Stop the answer that is being generated, for everybody. Nothing happens without a `stop_url`.

        Raises `HttpError` and `TransportError`.
        """
        if self._stop_url is not None:
            await self._requests.text("DELETE", resolved(self._stop_url))

    async def aclose(self) -> None:
        """Close the HTTP client, unless it was given. Close or leave subscriptions first."""
        if self._own_http is not None:
            await self._own_http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _begin(
        self,
        signal: Signal | None,
        stop_on_terminal: bool,
        open_first: Callable[[Replay, Interruption], Awaitable[None]],
    ) -> Subscription:
        """A subscription whose first request is made by `open_first`."""
        interruption = Interruption(signal)
        is_last = _is_terminal if stop_on_terminal else _is_never_terminal
        cursor = self._cursor.fork()  # another subscription may be ahead, and what it has seen, this one has not
        replay = Replay(self._requests, self._subscribe_url, cursor, interruption, self._reconnecting, is_last)
        try:
            await open_first(replay, interruption)
        except Interrupted:
            pass  # the subscription has no events
        except BaseException:
            await replay.aclose()
            raise
        return Subscription(replay, interruption)


def create_chat_client(
    *,
    send_url: Url,
    subscribe_url: ReplayUrl,
    history_url: Url | None = None,
    stop_url: Url | None = None,
    headers: HeaderSource | None = None,
    reconnect_backoff_ms: Sequence[float] = RECONNECT_BACKOFF_MS,
    silence_ms: float | None = SILENCE_MS,
    http_client: httpx.AsyncClient | None = None,
) -> ChatClient:
    """The client of one chat of the Anthropic adapter; `async with` closes it.

    ::

        async with create_chat_client(
            send_url=f"{server}/api/chat",
            subscribe_url=f"{server}/api/chat/stream?id=c1&live=1",
            history_url=f"{server}/api/chat/history?id=c1",
        ) as client:
            history = await client.load_history()
            async with await client.send({"id": "c1", "text": "hello"}) as answer:
                async for event in answer.events:
                    print(event)

    Args:
        send_url: the route of `make_resumable`; POST. This and the other URLs may be functions that give one.
        subscribe_url: the route of `replay`; GET. The cursor is added to text as the query parameter `from`; a function
            is given it.
        history_url: the route of `history_response`; GET.
        stop_url: the route of `stop`; DELETE.
        headers: a mapping, pairs, or a function that gives either; asked anew for every request.
        reconnect_backoff_ms: waits before each reconnect, the last one repeated; none at all means no reconnect.
        silence_ms: after how long without a byte a connection is given up and made anew; None for never. Where there
            is no reconnect, silence is never an end.
        http_client: for cookies, authentication, a base URL or another transport; it stays yours to close.
    """
    return ChatClient(
        send_url=send_url,
        subscribe_url=subscribe_url,
        history_url=history_url,
        stop_url=stop_url,
        headers=headers,
        reconnecting=Reconnecting.of(reconnect_backoff_ms, silence_ms),
        http_client=http_client,
    )


def _is_terminal(event: JsonObject) -> bool:
    return event.get("type") in ("message_stop", "error")


def _is_never_terminal(_: JsonObject) -> bool:
    return False
