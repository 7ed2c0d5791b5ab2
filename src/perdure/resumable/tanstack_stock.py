"""What the stock connection `fetchServerSentEvents` asks for, and the bodies that it can do with.

It sends four forms of request to one URL, and it takes a body for whole only if the end of a run is in it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, TypeAlias

from msgspec import Struct

from . import frames
from .cursors import parse_cursor
from .following import FollowingBody
from .json_body import JsonObject, parse_object
from .json_body import JsonValue as JsonValue  # what evaluates the annotations below looks for it here
from .tanstack_records import Pause
from .tanstack_wire import normalized

Kind: TypeAlias = Literal["start", "resume", "join", "hydrate"]


class BadRequest(ValueError):
    """The request is none of the four forms; the text says why."""


class Asked(Struct, frozen=True):
    """A request of the stock connection."""

    kind: Kind
    """To start a run, to go on with one that was cut off, to join one from its start, or to load a thread."""
    chat_id: str | None
    """The first there is of: `id` of the body, of its `forwardedProps`, of its `data`, or of the query; thread; run."""
    thread_id: str | None
    run_id: str | None
    messages: list[JsonObject]
    """The submitted messages, all with `parts`; empty for a GET."""
    body: JsonObject
    """The whole body of a POST."""
    cursor: int | None
    """Where to go on, for "resume"."""
    limit: int | None
    """How many messages to load at most, the last ones; None for all."""
    before: str | None
    """Load the messages in front of the one with this id."""
    query: Mapping[str, str]
    """The query of the URL."""


def asked_by(method: str, headers: Mapping[str, str], query: Mapping[str, str], content: bytes) -> Asked:
    """What a request asks; raises `BadRequest`."""
    if method == "POST":
        return _posted(headers, query, content)
    if method != "GET":
        raise BadRequest("POST starts or resumes a run, GET joins one or loads a thread")
    run_id, thread_id = query.get("runId"), query.get("threadId")
    if run_id is not None and query.get("offset") == "-1":
        kind: Kind = "join"
    elif thread_id is not None:
        kind = "hydrate"
    else:
        raise BadRequest("a GET has `offset=-1` and `runId`, or `threadId`")
    limit = query.get("limit", "")
    return Asked(
        kind=kind,
        chat_id=query.get("id") or thread_id or run_id,
        thread_id=thread_id,
        run_id=run_id,
        messages=[],
        body={},
        cursor=None,
        limit=int(limit) if limit.isascii() and limit.isdigit() and len(limit) < 10 else None,
        before=query.get("before"),
        query=query,
    )


def _posted(headers: Mapping[str, str], query: Mapping[str, str], content: bytes) -> Asked:
    body = parse_object(content)
    if body is None:
        raise BadRequest("the body is a JSON object with `messages`")
    last_event_id = headers.get("last-event-id")
    cursor = None if last_event_id is None else parse_cursor(last_event_id)
    if last_event_id is not None and cursor is None:
        raise BadRequest("`Last-Event-ID` is the id of a frame")  # a new run would be started otherwise
    thread_id = _text(body.get("threadId"))
    run_id = _text(headers.get("x-run-id")) or _text(body.get("runId"))
    nested = [body, body.get("forwardedProps"), body.get("data")]
    ids = (_text(place.get("id")) for place in nested if isinstance(place, dict))
    return Asked(
        kind="start" if cursor is None else "resume",
        chat_id=next(filter(None, ids), None) or _text(query.get("id")) or thread_id or run_id,
        thread_id=thread_id,
        run_id=run_id,
        messages=normalized(body.get("messages")),
        body=body,
        cursor=cursor,
        limit=None,
        before=None,
        query=query,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def hydration(messages: Sequence[JsonObject], run_id: str | None, pause: Pause | None, asked: Asked) -> JsonObject:
    """The answer to "hydrate": the messages, or the page of them that is asked for, and the run that is active.

    What a run has asked the user comes as its `interrupts`, so that a page that is opened anew asks it again.
    """
    end = next((index for index, message in enumerate(messages) if message["id"] == asked.before), len(messages))
    begin = 0 if asked.limit is None else max(0, end - asked.limit)
    page: JsonObject = {"truncated": False}
    if begin > 0 and begin < end:
        page = {"truncated": True, "cursor": messages[begin]["id"]}
    return {
        "messages": [*messages[begin:end]],
        "activeRun": None if run_id is None else {"runId": run_id},
        "interrupts": None if pause is None else {"runId": pause.run_id, "pending": [*pause.interrupts]},
        "page": page,
    }


class RunView:
    """Shows records as frames, and sees whether one of them ends a run."""

    def __init__(self) -> None:
        self.ended: bool = False
        """Whether the end of a run was shown."""

    def __call__(self, seq_num: int, body: bytes) -> bytes:
        """The frame of a record."""
        self._look_at(body)
        return frames.id_first(seq_num, body)

    def stretch(self, start_seq: int, bodies: Sequence[bytes]) -> bytes:
        """The frames of many records."""
        for body in bodies:
            self._look_at(body)
        return frames.ids_first(start_seq, bodies)

    def _look_at(self, body: bytes) -> None:
        if not self.ended and (b'"RUN_FINISHED"' in body or b'"RUN_ERROR"' in body):
            event = parse_object(body)
            self.ended = event is not None and event.get("type") in ("RUN_FINISHED", "RUN_ERROR")


class EndedBody:
    """A body that ends with `ending` unless it has shown the end of a run; without another body, that is all."""

    def __init__(self, body: FollowingBody | None, view: RunView, ending: bytes) -> None:
        self._body = body
        self._view = view
        self._ending: bytes | None = ending

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._body is not None:
            try:
                return await anext(self._body)
            except StopAsyncIteration:
                pass
        ending, self._ending = self._ending, None
        if ending is None or self._view.ended:
            raise StopAsyncIteration
        return ending

    async def peek(self) -> None:
        """Raise now what reading the first records raises."""
        if self._body is not None:
            try:
                await self._body.peek()
            except BaseException:
                await self.aclose()
                raise

    async def aclose(self) -> None:
        """Let go of everything. Idempotent."""
        self._ending = None
        if self._body is not None:
            await self._body.aclose()
