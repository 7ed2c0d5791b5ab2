"""A connection to a chat of TanStack AI: its chunks, and what is sent to it. What shows them is not its concern."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Self, TypeAlias

import httpx
from msgspec import Struct

from ...errors import UsageError
from ..json_body import JsonObject, JsonValue, SourceError, encode_body
from .cursor import Cursor, ReplayUrl
from .events import Reconnecting, Replay
from .requests import HeaderSource, Requests, Url, discard, has_body, new_http_client, resolved
from .waiting import SILENCE_MS, Interrupted, Interruption, Signal

ExtraBody: TypeAlias = (
    Mapping[str, JsonValue] | Callable[[Sequence[JsonObject], Mapping[str, JsonValue] | None], Mapping[str, JsonValue]]
)
"""What is sent beside the messages and the data, or a function of both that gives it."""

_TERMINAL = ("RUN_FINISHED", "RUN_ERROR")


class RunContext(Struct, frozen=True, kw_only=True):
    """What is told of the run that is sent for, by the names of AG-UI; what is None is left out."""

    thread_id: str | None = None
    run_id: str | None = None
    parent_run_id: str | None = None
    """The run that this one goes on with, for one that answers its `interrupts`."""
    resume: Sequence[JsonObject] | None = None
    """The answers to them."""
    tools: Sequence[JsonObject] | None = None
    """The tools that the client has, as AG-UI describes them."""

    def _fields(self) -> JsonObject:
        fields: JsonObject = {
            "threadId": self.thread_id,
            "runId": self.run_id,
            "parentRunId": self.parent_run_id,
            "resume": None if self.resume is None else [*self.resume],
            "tools": [*self.tools] if self.tools else None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class Connection:
    """A connection to one chat, from `create_connection`. All of its subscriptions share one cursor."""

    def __init__(
        self,
        *,
        send_url: Url,
        subscribe_url: ReplayUrl | None,
        stop_url: Url | None,
        headers: HeaderSource | None,
        body: ExtraBody | None,
        reconnecting: Reconnecting,
        http_client: httpx.AsyncClient | None,
    ) -> None:
        self._send_url = send_url
        self._subscribe_url = subscribe_url
        self._stop_url = stop_url
        self._body: ExtraBody = {} if body is None else body
        self._reconnecting = reconnecting
        http = new_http_client() if http_client is None else http_client
        self._own_http = http if http_client is None else None
        self._requests = Requests(http, headers)
        self._cursor = Cursor()

    @property
    def cursor(self) -> int | None:
        """Where the next subscription begins: behind the last chunk that was given. None for the beginning."""
        return self._cursor.value

    def advance(self, cursor: int) -> None:
        """Begin the next subscription at `cursor`, the `nextSeqNum` of a history; what is behind changes nothing."""
        self._cursor.advance(cursor)

    async def subscribe(self, *, signal: Signal | None = None) -> AsyncGenerator[JsonObject, None]:
        """The chunks of the chat from the cursor on.

        One that ends by itself ends with a `RUN_FINISHED` or `RUN_ERROR`; where the server had nothing to send, or the
        end was cut off, it is one that the connection makes. Raises `HttpError` for an answer that another try would
        not mend, without reconnect any error, and `UsageError` if there is no `subscribe_url`.

        Args:
            signal: ends the chunks without an error, from any task.
        """
        if self._subscribe_url is None:
            raise UsageError("this connection has no `subscribe_url`: read the answers with `connect`, or give one")
        interruption = Interruption(signal)
        replay = Replay(self._requests, self._subscribe_url, self._cursor, interruption, self._reconnecting)
        last: JsonObject = {}
        async with aclosing(replay.events()) as events:
            async for last in events:
                yield last
        if not interruption.is_set and (replay.found_nothing or last.get("type") not in _TERMINAL):
            yield _run_finished()

    async def send(
        self,
        messages: Sequence[JsonObject],
        data: Mapping[str, JsonValue] | None = None,
        *,
        run: RunContext | None = None,
        signal: Signal | None = None,
    ) -> None:
        """POST the messages. The answer comes from `subscribe`; what the response holds is thrown away.

        Raises `HttpError` outside 2xx, so with a 409 while another answer is generated; `TransportError` when there is
        no answer, which leaves open whether a run was begun; `UsageError` for what is no JSON. There is no limit to the
        wait for an answer: some servers give it when all is stored.

        Args:
            messages: all of the chat, as UI messages.
            data: what else the application is to know of this message.
            run: the ids of the run, and what it answers.
            signal: ends the wait without an error.
        """
        interruption = Interruption(signal)
        try:
            await discard(await self._post(messages, data, run, interruption))
        except Interrupted:
            pass
        finally:
            await interruption.aclose()

    async def connect(
        self,
        messages: Sequence[JsonObject],
        data: Mapping[str, JsonValue] | None = None,
        *,
        run: RunContext | None = None,
        signal: Signal | None = None,
    ) -> AsyncGenerator[JsonObject, None]:
        """POST the messages, and give the chunks of the response; for chats that answer there. Raises as `send` does.

        There is no reconnect: what is sent twice would be answered twice.
        """
        interruption = Interruption(signal)
        replay = Replay(self._requests, "", Cursor(), interruption, Reconnecting.of((), None))
        try:
            response = await self._post(messages, data, run, interruption)
        except Interrupted:
            await interruption.aclose()
            return
        except BaseException:
            await interruption.aclose()
            raise
        if not has_body(response):
            await discard(response)
            await interruption.aclose()
            return
        replay.take(response)
        async with aclosing(replay.events()) as events:
            async for event in events:
                yield event

    async def stop(self) -> None:
        """Stop the answer that is being generated, for everybody. Nothing happens without a `stop_url`.

        Raises `HttpError` and `TransportError`.
        """
        if self._stop_url is not None:
            body: JsonObject = {"messages": [], **self._extra([], None)}
            await self._requests.text("DELETE", resolved(self._stop_url), json=_encoded(body))

    async def aclose(self) -> None:
        """Close the HTTP client, unless it was given. Leave subscriptions first."""
        if self._own_http is not None:
            await self._own_http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _post(
        self,
        messages: Sequence[JsonObject],
        data: Mapping[str, JsonValue] | None,
        run: RunContext | None,
        interruption: Interruption,
    ) -> httpx.Response:
        body: JsonObject = {"messages": [*messages]}
        if data is not None:
            body["data"] = {**data}
        if run is not None:
            body |= run._fields()
        body |= self._extra(messages, data)
        request = await self._requests.prepare("POST", resolved(self._send_url), json=_encoded(body))
        async with interruption.bounded(None):
            return await self._requests.open(request)

    def _extra(self, messages: Sequence[JsonObject], data: Mapping[str, JsonValue] | None) -> Mapping[str, JsonValue]:
        return self._body(messages, data) if callable(self._body) else self._body


def create_connection(
    *,
    send_url: Url,
    subscribe_url: ReplayUrl | None = None,
    stop_url: Url | None = None,
    headers: HeaderSource | None = None,
    body: ExtraBody | None = None,
    reconnect_backoff_ms: Sequence[float] = (),
    silence_ms: float | None = SILENCE_MS,
    http_client: httpx.AsyncClient | None = None,
) -> Connection:
    """A connection to one chat of TanStack AI; `async with` closes it.

    `create_tanstack_client` is made of one, and folds the chunks to messages.

    Args:
        send_url: the route that takes what is sent; POST. This and the other URLs may be functions that give one.
        subscribe_url: the route of `replay`; GET. The cursor is added to text as the query parameter `from`; a function
            is given it. Put `live=1` into it to follow a session.
        stop_url: the route of `stop_session`; DELETE.
        headers: a mapping, pairs, or a function that gives either; asked anew for every request.
        body: what is sent beside the messages, with a stop as well: a mapping, or a function of messages and data that
            gives one.
        reconnect_backoff_ms: waits before each reconnect, the last one repeated; none at all, the default, means no
            reconnect.
        silence_ms: after how long without a byte a connection is given up and made anew; None for never. Where there
            is no reconnect, silence is never an end.
        http_client: for cookies, authentication, a base URL or another transport; it stays yours to close.
    """
    return Connection(
        send_url=send_url,
        subscribe_url=subscribe_url,
        stop_url=stop_url,
        headers=headers,
        body=body,
        reconnecting=Reconnecting.of(reconnect_backoff_ms, silence_ms),
        http_client=http_client,
    )


def _run_finished() -> JsonObject:
    now_ms = time.time_ns() // 1_000_000
    run_id = f"s2-replay-{now_ms}"
    return {
        "type": "RUN_FINISHED",
        "runId": run_id,
        "threadId": "s2-replay",
        "timestamp": now_ms,
        "finishReason": "stop",
    }


def _encoded(body: JsonObject) -> bytes:
    try:
        return encode_body(body)
    except SourceError as exc:
        raise UsageError(f"what is sent is JSON: {exc}") from exc
