"""Spans, metrics and log lines of chats: a span from claim to end of a generation, within its request's trace."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from perdure import S2
from perdure.resumable.context import create_resumable_stream_context
from perdure.resumable.events import EventsChat, create_resumable_chat
from perdure.resumable.owned_tasks import OwnedTasks
from perdure.telemetry import TraceContext, current_trace
from tests.serve_command import ServeCommand
from tests.telemetry.recorder import Recorder, ids, parent_of

GENERATION = "perdure.generation"


@pytest.fixture
async def chat(recorder: Recorder) -> AsyncIterator[EventsChat]:
    async with create_resumable_chat(path=":memory:", basin="chats-one", mode="session") as chat:
        yield chat


async def ask(chat: EventsChat, name: str, *events: dict[str, object], failure: Exception | None = None) -> None:
    """One turn, waited for to its end."""

    async def source() -> AsyncIterator[dict[str, object]]:
        for event in events:
            yield event
        if failure is not None:
            raise failure

    answer = await chat.make_resumable(name, source)
    assert answer.chunks is not None
    async for _ in answer.chunks:
        pass
    await chat.drain()


def told(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_generation_is_a_span_in_the_trace_of_its_request(recorder: Recorder, chat: EventsChat) -> None:
    seen: list[TraceContext | None] = []

    async def source() -> AsyncIterator[dict[str, object]]:
        seen.append(current_trace())
        yield {"word": "private"}

    with recorder.tracer.start_as_current_span("request"):
        answer = await chat.make_resumable("chat-1", source, delivery="replay", wait_until=chat.background)
    assert answer.status_code == 202
    await chat.drain()
    request, generation = recorder.span("request"), recorder.span(GENERATION)
    assert parent_of(generation) == ids(request)[1]
    assert told(generation) == {
        "perdure.adapter": "events",
        "perdure.mode": "session",
        "perdure.basin": "chats-one",
        "perdure.stream": "chat-1",
        "perdure.generation.start_seq_num": 1,
        "perdure.outcome": "end",
        "perdure.records": 2,
    }
    assert [event.name for event in generation.events] == ["claimed", "first chunk is durable"]
    # What the source does itself, such as asking a model, belongs to the generation.
    (within,) = seen
    assert within is not None
    assert int(within.span_id, 16) == ids(generation)[1]
    assert "private" not in recorder.everything()


async def test_how_generations_end_is_told_and_counted(recorder: Recorder, chat: EventsChat) -> None:
    stopped = asyncio.Event()

    async def endless() -> AsyncIterator[dict[str, object]]:
        yield {"word": "one"}
        stopped.set()
        await asyncio.Event().wait()

    await ask(chat, "ends", {"word": "one"})
    await ask(chat, "fails", {"word": "one"}, failure=ConnectionError("a private reason"))
    await chat.make_resumable("stopped", endless, delivery="replay", wait_until=chat.background)
    refused = await chat.make_resumable("stopped", endless)
    assert refused.status_code == 409
    await stopped.wait()
    assert await chat.stop("stopped")
    await chat.drain()

    by_stream = {
        (told(span)["perdure.stream"], told(span)["perdure.outcome"]): span for span in recorder.spans(GENERATION)
    }
    assert set(by_stream) == {("ends", "end"), ("fails", "error"), ("stopped", "in use"), ("stopped", "stop")}
    failed = by_stream["fails", "error"]
    assert failed.status.status_code is StatusCode.ERROR
    assert told(failed)["error.type"] == "ConnectionError"
    assert by_stream["stopped", "in use"].status.status_code is StatusCode.UNSET
    assert told(recorder.span("perdure.stop"))["perdure.stopped"] is True
    assert "private" not in recorder.everything()

    ended = [point for point in recorder.points("perdure.generation.duration") if isinstance(point, HistogramDataPoint)]
    assert sorted(str((point.attributes or {})["perdure.outcome"]) for point in ended) == ["end", "error", "stop"]
    (added,) = recorder.points("perdure.generation.first_token.added")
    assert isinstance(added, HistogramDataPoint)
    assert added.count == 3


async def test_replays_and_histories_have_spans(recorder: Recorder, chat: EventsChat) -> None:
    await ask(chat, "chat-1", {"word": "one"})
    answer = await chat.replay("chat-1", active_only=True)
    await chat.history("chat-1")
    assert told(recorder.span("perdure.replay"))["http.response.status_code"] == answer.status_code == 204
    assert told(recorder.span("perdure.history"))["perdure.stream"] == "chat-1"


async def test_a_text_stream_is_a_generation_too(recorder: Recorder) -> None:
    async with create_resumable_stream_context(path=":memory:", basin="texts-one") as context:

        async def words() -> AsyncIterator[str]:
            yield "private"

        text = await context.resumable_stream("one", words)
        assert text is not None
        assert [piece async for piece in text] == ["private"]
        await context.drain()
        assert await context.resumable_stream("one", words) is None
    outcomes = [told(span)["perdure.outcome"] for span in recorder.spans(GENERATION)]
    assert outcomes == ["end", "in use"]
    assert "private" not in recorder.everything()


async def test_a_chat_on_a_server_is_one_trace_from_the_page_to_the_log_of_the_server(
    recorder: Recorder, tmp_path: Path
) -> None:
    command = ServeCommand(tmp_path / "data", "--log-format", "json", "--log-level", "debug")
    async with command as server:
        async with (
            S2(access_token="any", endpoints=server.url) as s2,
            create_resumable_chat(s2=s2, basin="chats-one", mode="session") as chat,
        ):
            with recorder.tracer.start_as_current_span("request"):
                await ask(chat, "chat-1", {"word": "one"})
        assert await server.stop() == 0
    trace_id = f"{ids(recorder.span('request'))[0]:032x}"
    lines = [json.loads(line) for line in server.log if line.startswith("{")]
    answered = [line for line in lines if line.get("trace_id") == trace_id]
    assert "append" in {line["fields"]["operation"] for line in answered}
    spans = {f"{ids(span)[1]:016x}" for span in recorder.spans() if ids(span)[0] == int(trace_id, 16)}
    assert {line["span_id"] for line in answered} <= spans
    assert not [line for line in lines if line["logger"] == "perdure.server.access" and line not in answered
                and line["fields"]["stream"] == "chat-1"]  # fmt: skip


async def test_log_lines_of_chats_have_fields(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        raise ConnectionError("why")

    tasks = OwnedTasks()
    with caplog.at_level(logging.ERROR, "perdure.resumable"):
        tasks.background(failing())
        await tasks.drain(timeout=30)
    (record,) = caplog.records
    assert vars(record)["error_code"] == "ConnectionError"
