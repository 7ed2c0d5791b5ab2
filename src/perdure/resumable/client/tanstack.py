"""A client of one TanStack AI session: it follows the chat, folds it to messages, and takes part in it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

import httpx
from msgspec import Struct

from ...errors import PerdureError, ProtocolViolation, UsageError
from ..json_body import JsonObject, JsonValue, parse_object
from ..tanstack_fold import MessagesFold
from ..tanstack_records import Pause, continues_after, pause_of
from .connection import Connection, ExtraBody, RunContext, create_connection
from .cursor import ReplayUrl, is_place
from .requests import HeaderSource, Requests, Url, new_http_client, resolved
from .waiting import RECONNECT_BACKOFF_MS, SILENCE_MS

_AGAIN_SECONDS: Final = 0.25
"""How long until a subscription that has ended is begun anew while somebody waits for an answer."""


_QUESTION_SECONDS: Final = 2.0
"""How long the end of a run that asks something may come after the messages that it follows in a replay."""


class Answer(Struct, frozen=True):
    """What came of something that was sent, once its run is over."""

    messages: tuple[JsonObject, ...]
    """The assistant's messages that followed; the last one ends where it was if the run was stopped or failed."""
    error: str | None = None
    """Why the run failed; None if it did not."""
    interrupts: tuple[JsonObject, ...] = ()
    """What the run waits for, as it told it; answer approvals with `respond`."""


class _Waiter:
    """Somebody who waits for the end of the turn that begins with the message `anchor`, or with the next run."""

    def __init__(self, anchor: str, *, is_new: bool) -> None:
        self.anchor = anchor
        self._is_new = is_new
        self._has_begun = False
        self.end: asyncio.Future[JsonObject] = asyncio.get_running_loop().create_future()

    def feed(self, event: JsonObject) -> None:
        kind = event.get("type")
        if self._has_begun:
            is_end = kind == "RUN_ERROR" or (kind == "RUN_FINISHED" and not continues_after(event))
            if is_end and not self.end.done():
                self.end.set_result(event)
        elif not self._is_new:
            self._has_begun = kind == "RUN_STARTED"
        elif kind == "MESSAGES_SNAPSHOT":
            self._look_into(event)
        else:
            self._has_begun = kind == "TEXT_MESSAGE_START" and event.get("messageId") == self.anchor

    def _look_into(self, snapshot: JsonObject) -> None:
        """A connection that was lost before its first id begins with whole turns; ours may be one of them."""
        messages = snapshot.get("messages")
        listed = [one for one in messages if isinstance(one, dict)] if isinstance(messages, list) else []
        ids = [one.get("id") for one in listed]
        if self.anchor not in ids:
            return
        self._has_begun = True
        if _asks(listed[-1]):
            # The end of its run comes behind the snapshot, with what is asked; not if the run has failed since.
            asyncio.get_running_loop().call_later(_QUESTION_SECONDS, self._is_over)
        elif listed[-1].get("role") == "assistant":
            self._is_over()

    def _is_over(self) -> None:
        if not self.end.done():
            self.end.set_result({"type": "RUN_FINISHED"})


class TanstackClient:
    """The client of one session, from `create_tanstack_client`. It follows the chat from `async with` on.

    What is sent here, or by anybody else, shows in `messages` as the server stores it.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        requests: Requests,
        history_url: Url | None,
        thread_id: str | None,
        own_http: httpx.AsyncClient | None,
    ) -> None:
        self._connection = connection
        self._requests = requests
        self._history_url = history_url
        self._thread_id = thread_id
        self._own_http = own_http
        self._fold = MessagesFold()
        self._active_runs: set[JsonValue] = set()
        self._pause: Pause | None = None
        self._following: asyncio.Task[None] | None = None
        self._failure: PerdureError | None = None
        self._waiters: list[_Waiter] = []
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def messages(self) -> tuple[JsonObject, ...]:
        """The UI messages as they are now, with what has arrived of an answer. Do not change them."""
        return self._fold.messages()

    @property
    def is_generating(self) -> bool:
        """Whether a run is active, whoever has begun it."""
        return bool(self._active_runs)

    @property
    def is_following(self) -> bool:
        """Whether what others write arrives. Not so after a replay that has ended, until something is sent."""
        return self._following is not None

    @property
    def interrupts(self) -> tuple[JsonObject, ...]:
        """What the last run has asked the user, as long as no other run has begun."""
        return () if self._pause is None else self._pause.interrupts

    async def changes(self) -> AsyncGenerator[tuple[JsonObject, ...], None]:
        """`messages` now, and whenever they or the state have changed; changes that come close together are one.

        Ends when the client is closed. Raises what the subscription has failed with.
        """
        while True:
            changed = self._changed
            self._raise_failure()
            if self._closed:
                return
            yield self.messages
            await changed.wait()

    async def send(self, content: str | Sequence[JsonObject], *, data: Mapping[str, JsonValue] | None = None) -> str:
        """Send a message of the user, text or parts; gives its id once the server has taken it.

        Raises `HttpError` outside 2xx, so with a 409 while another answer is generated; `TransportError` when there is
        no answer, which leaves open whether the message was taken.
        """
        message_id = f"user-{uuid.uuid4().hex}"
        await self._send(self._message(message_id, content), data, self._run())
        return message_id

    async def ask(self, content: str | Sequence[JsonObject], *, data: Mapping[str, JsonValue] | None = None) -> Answer:
        """Send a message of the user, and wait for the end of the answer. Raises as `send` does.

        There is no limit to the wait, since nobody knows how long a model takes: `asyncio.timeout` sets one.
        """
        message_id = f"user-{uuid.uuid4().hex}"
        waiter = _Waiter(message_id, is_new=True)
        return await self._end_of(waiter, self._message(message_id, content), data, self._run())

    async def respond(self, decisions: Mapping[str, bool], *, data: Mapping[str, JsonValue] | None = None) -> Answer:
        """Approve tool calls, or refuse them, and wait for the end of the answer that goes on then.

        Args:
            decisions: for each approval that is asked for, by its id, whether it is granted. Answer all at once.
            data: as for `send`.

        Raises `UsageError` for an id that nobody asks about, and as `ask` does.
        """
        messages, owner = _decided(self.messages, decisions)
        run = self._run()
        if self._pause is not None:
            answers: list[JsonObject] = [
                {"interruptId": asked, "status": "resolved", "payload": {"approved": granted}}
                for asked, granted in decisions.items()
            ]
            run = RunContext(
                thread_id=run.thread_id, run_id=run.run_id, parent_run_id=self._pause.run_id, resume=answers
            )
        return await self._end_of(_Waiter(owner, is_new=False), messages, data, run)

    async def stop(self) -> None:
        """Stop the answer that is being generated, for everybody. Nothing happens without a `stop_url`.

        Raises `HttpError` and `TransportError`.
        """
        await self._connection.stop()

    async def aclose(self) -> None:
        """Follow no more. Who waits for an answer gets a `UsageError`. Idempotent."""
        self._closed = True
        following, self._following = self._following, None
        if following is not None:
            following.cancel()
            await asyncio.wait([following])
        self._fail_waiters(UsageError("the client was closed before the answer was over"))
        self._tell()
        await self._connection.aclose()
        if self._own_http is not None:
            await self._own_http.aclose()

    async def __aenter__(self) -> Self:
        """Load the history, if there is a route for it, and follow what comes. Raises `HttpError`, `TransportError`."""
        try:
            if self._history_url is not None:
                self._load(await self._requests.text("GET", resolved(self._history_url)))
        except BaseException:
            await self.aclose()
            raise
        self._follow_again()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # --- what comes ---

    def _load(self, text: str) -> None:
        history = parse_object(text) if text else {}
        messages = None if history is None else history.get("messages", [])
        if history is None or not isinstance(messages, list):
            raise ProtocolViolation(f"a history is JSON with `messages`; the history route answered {text[:40]!r}")
        snapshot: JsonObject = {"type": "MESSAGES_SNAPSHOT", "messages": messages}
        self._fold.feed(snapshot, 0)
        cursor = history.get("nextSeqNum")
        if is_place(cursor):
            self._connection.advance(cursor)
        paused = history.get("interrupts")
        if isinstance(paused, dict):
            outcome: JsonObject = {"type": "interrupt", "interrupts": paused.get("pending")}
            self._pause = pause_of({"type": "RUN_FINISHED", "runId": paused.get("runId"), "outcome": outcome})

    def _follow_again(self) -> None:
        if self._following is None and not self._closed:
            self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        try:
            while True:
                async for event in self._connection.subscribe():
                    self._take(event)
                if not self._waiters:
                    break
                await asyncio.sleep(_AGAIN_SECONDS)
        except PerdureError as exc:
            self._failure = exc
            self._fail_waiters(exc)
        self._following = None
        self._tell()

    def _take(self, event: JsonObject) -> None:
        self._fold.feed(event, max(0, (self._connection.cursor or 0) - 1))
        kind, run_id = event.get("type"), event.get("runId")
        if kind == "RUN_STARTED":
            self._active_runs.add(run_id if isinstance(run_id, str) else None)
        elif kind in ("RUN_FINISHED", "RUN_ERROR"):
            if kind == "RUN_ERROR" and run_id is None:
                self._active_runs.clear()
            self._active_runs.discard(run_id if isinstance(run_id, str) else None)
        if kind in ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"):
            self._pause = pause_of(event)
        for waiter in self._waiters:
            waiter.feed(event)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _fail_waiters(self, error: PerdureError) -> None:
        for waiter in self._waiters:
            if not waiter.end.done():
                waiter.end.set_exception(error)

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    # --- what is sent ---

    def _run(self) -> RunContext:
        return RunContext(thread_id=self._thread_id, run_id=f"run-{uuid.uuid4().hex}")

    def _message(self, message_id: str, content: str | Sequence[JsonObject]) -> list[JsonObject]:
        """The chat with a message of the user at its end."""
        parts: list[JsonValue] = [{"type": "text", "content": content}] if isinstance(content, str) else [*content]
        return [*self.messages, {"id": message_id, "role": "user", "parts": parts}]

    async def _send(
        self, messages: Sequence[JsonObject], data: Mapping[str, JsonValue] | None, run: RunContext
    ) -> None:
        if self._closed:
            raise UsageError("the client is closed: use it inside of `async with`")
        self._raise_failure()
        await self._connection.send(messages, data, run=run)
        self._follow_again()

    async def _end_of(
        self,
        waiter: _Waiter,
        messages: Sequence[JsonObject],
        data: Mapping[str, JsonValue] | None,
        run: RunContext,
    ) -> Answer:
        self._waiters.append(waiter)
        try:
            await self._send(messages, data, run)
            end = await waiter.end
        finally:
            self._waiters.remove(waiter)
            waiter.end.cancel()
        now = self.messages
        begin = next((at for at, message in enumerate(now) if message["id"] == waiter.anchor), len(now))
        answers = tuple(message for message in now[begin:] if message.get("role") == "assistant")
        pause = pause_of(end)
        error = end.get("message") if end.get("type") == "RUN_ERROR" else None
        return Answer(answers, None if error is None else str(error), () if pause is None else pause.interrupts)


def create_tanstack_client(
    *,
    send_url: Url,
    subscribe_url: ReplayUrl,
    history_url: Url | None = None,
    stop_url: Url | None = None,
    thread_id: str | None = None,
    headers: HeaderSource | None = None,
    body: ExtraBody | None = None,
    reconnect_backoff_ms: Sequence[float] = RECONNECT_BACKOFF_MS,
    silence_ms: float | None = SILENCE_MS,
    http_client: httpx.AsyncClient | None = None,
) -> TanstackClient:
    """The client of one session of TanStack AI, for bots, terminals and tests; use it with `async with`.

    ::

        async with create_tanstack_client(
            send_url=f"{server}/api/chat",
            subscribe_url=f"{server}/api/chat/replay?id=c1&live=1",
            history_url=f"{server}/api/chat/history?id=c1",
            body={"id": "c1"},
        ) as client:
            answer = await client.ask("Hello")
            print(answer.messages[-1]["parts"])

    Args:
        send_url: the route of `make_session_response`; POST. This and the other URLs may be functions that give one.
        subscribe_url: the route of `replay`; GET. Put `live=1` into it, so that what others write is followed.
        history_url: the route of `history_response`; GET. Without one, the messages come with the subscription, and
            what is sent before they are there goes without them.
        stop_url: the route of `stop_session`; DELETE.
        thread_id: is sent along as `threadId`.
        headers, body, reconnect_backoff_ms, silence_ms, http_client: as for `create_connection`; it reconnects by
            default.
    """
    http = new_http_client() if http_client is None else http_client
    connection = create_connection(
        send_url=send_url,
        subscribe_url=subscribe_url,
        stop_url=stop_url,
        headers=headers,
        body=body,
        reconnect_backoff_ms=reconnect_backoff_ms,
        silence_ms=silence_ms,
        http_client=http,
    )
    return TanstackClient(
        connection,
        requests=Requests(http, headers),
        history_url=history_url,
        thread_id=thread_id,
        own_http=http if http_client is None else None,
    )


def _asks(message: JsonObject) -> bool:
    """Whether a tool call of this message waits for an approval."""
    parts = message.get("parts")
    listed = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return any(part.get("state") == "approval-requested" for part in listed)


def _decided(messages: Sequence[JsonObject], decisions: Mapping[str, bool]) -> tuple[list[JsonObject], str]:
    """The messages with the decisions in the calls that they are about, and the message that has the first of these."""
    decided: list[JsonObject] = []
    owners: list[str] = []
    left = set(decisions)
    for message in messages:
        parts = message["parts"]
        assert isinstance(parts, list)
        changed: list[JsonValue] = []
        for part in parts:
            approval = part.get("approval") if isinstance(part, dict) else None
            asked = approval.get("id") if isinstance(approval, dict) else None
            if isinstance(part, dict) and isinstance(approval, dict) and isinstance(asked, str) and asked in decisions:
                left.discard(asked)
                owners.append(str(message["id"]))
                told: JsonObject = {**approval, "approved": decisions[asked]}
                changed.append({**part, "state": "approval-responded", "approval": told})
            else:
                changed.append(part)
        decided.append({**message, "parts": changed})
    if left or not owners:
        raise UsageError(f"nobody asks for these approvals: {sorted(left)}; give the ids of approvals in `messages`")
    return decided, owners[0]
