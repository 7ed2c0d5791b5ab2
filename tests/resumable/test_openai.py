"""The Responses preset between the SDK of OpenAI and itself: what it yields is stored, what is replayed it decodes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import openai
import pytest
from fastapi import FastAPI, Request
from openai import AsyncOpenAI, OpenAI
from starlette.responses import Response

from perdure import S2, AppendRecord
from perdure.resumable.openai import ResponsesChat, create_resumable_chat, is_terminal, replay_options
from perdure.server import serving
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import BASIN, Reading, Source, body_of, frames, leased, records_of, shown, write
from tests.resumable.messages_api import MessagesApi, messages_api
from tests.resumable.responses_scripts import ERROR, FAILED, RESPONSES, Event, text_response

ASKED: Final[Any] = {"model": "gpt-test", "input": "hi"}


def error_event(number: int, text: str = "An error occurred.") -> Event:
    return {"type": "error", "code": "stream_error", "message": text, "param": None, "sequence_number": number}


@pytest.fixture
async def api() -> AsyncIterator[MessagesApi]:
    async with messages_api("/v1/responses") as api:
        yield api


async def chat_on(s2: S2, **options: Any) -> ResponsesChat:
    chat = create_resumable_chat(s2=s2, basin=BASIN, **{"mode": "session", **options})
    await chat.__aenter__()
    return chat


@pytest.fixture
async def chat(s2: S2) -> AsyncIterator[ResponsesChat]:
    chat = await chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="test", base_url=f"{url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
async def replays(chat: ResponsesChat) -> AsyncIterator[str]:
    """The base URL of an application that answers requests for responses with replays."""
    app = FastAPI()

    @app.post("/{name}/v1/responses")
    async def replay(name: str, request: Request) -> Response:
        return await chat.replay(name, **replay_options(request))

    listener = serving.listen("127.0.0.1", 0)
    with listener:
        async with serving.Serving(app, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def created(url: str) -> AsyncIterator[Any]:
    async with client_of(url) as client:
        async for event in await client.responses.create(**ASKED, stream=True):
            yield event


async def streamed(url: str) -> AsyncIterator[Any]:
    async with client_of(url) as client, client.responses.stream(**ASKED) as stream:
        async for event in stream:
            yield event


def created_blocking(url: str) -> Iterator[Any]:
    with OpenAI(api_key="test", base_url=f"{url}/v1", max_retries=0) as client:
        yield from client.responses.create(**ASKED, stream=True)


SOURCES: Final[dict[str, Callable[[str], object]]] = {"create": created, "blocking": created_blocking}


async def generated(chat: ResponsesChat, source: object) -> list[tuple[int | None, Event]]:
    """The frames of a POST, once all is stored."""
    body = await body_of(await chat.make_resumable("c", source, wait_until=chat.background))
    await chat.drain()
    return [(number, json.loads(data)) for number, data in frames(body)]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", RESPONSES)
async def test_the_log_has_what_the_api_sent(
    chat: ResponsesChat, s2: S2, api: MessagesApi, name: str, source: str
) -> None:
    events = RESPONSES[name]
    api.answer(*events)
    shown_events = await generated(chat, lambda: SOURCES[source](api.url))
    assert shown_events == list(enumerate(events, 2))
    _, *stored, last = await records_of(s2.basin(BASIN).stream("c"))
    assert [json.loads(record.body) for record in stored] == events
    assert last.text.startswith("end-")  # a response that failed is an answer, and was stored whole
    replayed = await body_of(await chat.replay("c"))
    names = [line.removeprefix("event: ") for line in replayed.split("\n") if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert is_terminal(events[-1])
    assert not any(map(is_terminal, events[:-1]))
    assert chat.is_terminal(events[-1])
    history = await chat.history("c")
    assert [event["event"] for event in history["events"]] == events


@pytest.mark.parametrize("name", ["text", "function call", "reasoning"])
async def test_what_the_stream_helper_adds_to_increments_is_not_stored(
    chat: ResponsesChat, api: MessagesApi, name: str
) -> None:
    events = RESPONSES[name]
    api.answer(*events)
    stored = [event for _, event in await generated(chat, lambda: streamed(api.url))]
    assert [event["type"] for event in stored] == [event["type"] for event in events]
    deltas = [event["type"].endswith(".delta") for event in events]
    assert any(deltas)
    for event, sent, is_delta in zip(stored, events, deltas, strict=True):
        assert not is_delta or event == sent


async def decoded(url: str) -> list[Any]:
    """What the SDK makes of a stream."""
    async with client_of(url) as client:
        return [event.to_dict() async for event in await client.responses.create(**ASKED, stream=True)]


@pytest.mark.parametrize("name", RESPONSES)
async def test_the_sdk_decodes_a_replay_as_it_decodes_the_api(
    chat: ResponsesChat, api: MessagesApi, replays: str, name: str
) -> None:
    for _ in range(2):
        api.answer(*RESPONSES[name])
    await generated(chat, lambda: created(api.url))
    from_api = await decoded(api.url)
    assert await decoded(f"{replays}/c") == from_api == RESPONSES[name]


async def test_the_sdk_folds_a_replay_to_the_response(chat: ResponsesChat, api: MessagesApi, replays: str) -> None:
    api.answer(*RESPONSES["text"])
    await generated(chat, lambda: created(api.url))
    async with client_of(f"{replays}/c") as client, client.responses.stream(**ASKED) as stream:
        folded = await stream.get_final_response()
    assert folded.output_text == "Hello, “world”\u2028\x85\n\U0001f600"
    assert folded.status == "completed"


async def test_numbers_begin_anew_with_each_response_and_cursors_go_on(
    chat: ResponsesChat, api: MessagesApi, replays: str
) -> None:
    for text in ("one", "two"):
        api.answer(*text_response(text))
        last = (await generated(chat, lambda: created(api.url)))[-1]
    whole = await decoded(f"{replays}/c")
    assert whole == [*text_response("one"), *text_response("two")]
    middle = len(text_response("one")) + 2
    rest = [json.loads(data) for _, data in frames(await body_of(await chat.replay("c", from_seq_num=middle)))]
    assert rest == text_response("two")
    assert last[0] == 2 * (len(rest) + 2) - 1


async def test_a_failure_in_the_middle_is_an_event_for_the_sdk(
    s2: S2, chat: ResponsesChat, api: MessagesApi, replays: str
) -> None:
    """The API breaks off; what the SDK raises is told in a form that it hands out."""

    async def source() -> AsyncIterator[Any]:
        async for event in created(api.url):
            yield event
        raise RuntimeError("secret")

    api.answer(*text_response("Hel")[:5])
    told = await generated(chat, source)
    assert [event for _, event in told] == [*text_response("Hel")[:5], error_event(5)]
    last = (await decoded(f"{replays}/c"))[-1]
    assert last == error_event(5)
    assert is_terminal(last)
    assert shown(await records_of(s2.basin(BASIN).stream("c")))[-1] == "fence error-"


async def test_a_nested_error_that_the_sdk_raises_is_a_failure_of_the_source(s2: S2, api: MessagesApi) -> None:
    def text_of(failure: BaseException) -> str:
        return f"Sorry: {failure.message}" if isinstance(failure, openai.APIError) else "?"

    chat = await chat_on(s2, on_error=text_of)
    nested = {"type": "error", "error": {"type": "server_error", "message": "overloaded"}}
    api.answer(*text_response("Hel")[:4], nested)
    told = await generated(chat, lambda: created(api.url))
    assert told[-1][1] == error_event(4, "Sorry: overloaded")
    await chat.aclose()


async def test_a_service_that_refuses_is_told_before_anything_else(s2: S2, api: MessagesApi) -> None:
    chat = await chat_on(s2, on_error=lambda failure: type(failure).__name__)
    api.refuse(429, "rate_limit", "slow down")
    assert await generated(chat, lambda: created(api.url)) == [(2, error_event(0, "RateLimitError"))]
    await chat.aclose()


async def test_a_stop_adds_nothing_and_ends_the_model_call(chat: ResponsesChat, s2: S2, api: MessagesApi) -> None:
    api.answer(*text_response("Hel")[:5], asyncio.Event())
    reading = Reading(await chat.make_resumable("c", lambda: created(api.url), wait_until=chat.background))
    await reading.until("Hel")
    assert await chat.stop("c")
    assert [json.loads(data) for _, data in frames(await reading.rest())] == text_response("Hel")[:5]
    async with asyncio.timeout(PATIENCE_SECONDS):
        await api.cut_off.wait()
    assert shown(await records_of(s2.basin(BASIN).stream("c")))[-1] == "fence end-stop-"


@pytest.mark.parametrize("numbers", [[], [0, 1, 2], [7], [*range(200)]])
@pytest.mark.parametrize("ender", ["reader", "claim"])
async def test_the_error_of_an_abandoned_response_is_numbered_behind_it(
    chat: ResponsesChat, s2: S2, numbers: list[int], ender: str
) -> None:
    old = json.dumps({"type": "x", "sequence_number": 99})
    await write(
        s2.basin(BASIN).stream("c"),
        AppendRecord.fence("session-x", timestamp=1),
        AppendRecord(old, timestamp=1),
        AppendRecord.fence("end-x", timestamp=1),
        AppendRecord.fence(leased(1000), timestamp=1),
        *[AppendRecord(json.dumps({"type": "x", "sequence_number": number}), timestamp=1) for number in numbers],
        AppendRecord(AppendRecord.trim(0).body, headers=[(b"", b"trim")], timestamp=1),
    )
    if ender == "claim":
        assert (await chat.make_resumable("c", [], delivery="replay")).status == 202
    events = [event["event"] for event in (await chat.history("c"))["events"]]
    assert events[-1] == error_event(numbers[-1] + 1 if numbers else 0)


async def test_source_objects_may_be_dicts_or_server_sent_events(chat: ResponsesChat) -> None:
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in FAILED)
    assert [event for _, event in await generated(chat, [text])] == FAILED
    assert [event for _, event in await generated(chat, ERROR)] == ERROR
    source = Source({"type": "x"})
    source.end()
    assert [event for _, event in await generated(chat, source)] == [{"type": "x"}]
