"""The stock SDKs of Anthropic at both ends: their streams are stored, and their decoders read the replays."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anthropic
import httpx
import pytest
from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import Message
from fastapi import FastAPI, Request
from starlette.responses import Response

from perdure import S2
from perdure.resumable.anthropic import (
    AnthropicChat,
    ChatResponse,
    create_resumable_chat,
    replay_options,
    user_message,
)
from perdure.server import serving
from tests.patience import PATIENCE_SECONDS
from tests.resumable.anthropic_scripts import Event, text_message, text_turn
from tests.resumable.chats import BASIN, Reading, Source, anthropic_chat_on, frames, records_of, shown
from tests.resumable.messages_api import CONVERSATIONS, PING, MessagesApi, messages_api, with_pings
from tests.serve_command import ServeCommand

PARAMS: Final[Any] = {"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}
NPM: Final = Path(__file__).parents[1] / "npm"
READER: Final = Path(__file__).with_name("anthropic_reader.mjs")


@pytest.fixture
async def api() -> AsyncIterator[MessagesApi]:
    async with messages_api() as api:
        yield api


@pytest.fixture
async def chat(s2: S2) -> AsyncIterator[AnthropicChat]:
    chat = await anthropic_chat_on(s2)
    yield chat
    await chat.aclose(timeout=0)


@asynccontextmanager
async def claude(url: str) -> AsyncIterator[AsyncAnthropic]:
    async with AsyncAnthropic(api_key="test", base_url=url, max_retries=0) as client:
        yield client


@asynccontextmanager
async def replays(chat: AnthropicChat) -> AsyncIterator[str]:
    """The base URL of an application that answers requests for messages with replays."""
    app = FastAPI()

    @app.post("/{name}/v1/messages")
    async def replay(name: str, request: Request) -> ChatResponse:
        return await chat.replay(name, **replay_options(request))

    listener = serving.listen("127.0.0.1", 0)
    with listener:
        async with serving.Serving(app, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


# --- what the SDK yields is stored as the API sent it ---


async def _created(url: str) -> AsyncIterator[Any]:
    async with claude(url) as client:
        async for event in await client.messages.create(**PARAMS, stream=True):
            yield event


async def _streamed(url: str) -> AsyncIterator[Any]:
    async with claude(url) as client, client.messages.stream(**PARAMS) as stream:
        async for event in stream:
            yield event


async def _beta(url: str) -> AsyncIterator[Any]:
    async with claude(url) as client, client.beta.messages.stream(**PARAMS) as stream:
        async for event in stream:
            yield event


def _created_blocking(url: str) -> Iterator[Any]:
    with Anthropic(api_key="test", base_url=url, max_retries=0) as client:
        yield from client.messages.create(**PARAMS, stream=True)


def _streamed_blocking(url: str) -> Iterator[Any]:
    with Anthropic(api_key="test", base_url=url, max_retries=0) as client, client.messages.stream(**PARAMS) as stream:
        yield from stream


@asynccontextmanager
async def asked_by_hand(url: str) -> AsyncIterator[httpx.Response]:
    asked = {**PARAMS, "stream": True}
    async with httpx.AsyncClient() as http, http.stream("POST", f"{url}/v1/messages", json=asked) as response:
        yield response


async def _as_bytes(url: str) -> AsyncIterator[Any]:
    async with asked_by_hand(url) as response:
        async for piece in response.aiter_raw():
            yield piece


async def _as_text(url: str) -> AsyncIterator[Any]:
    async with asked_by_hand(url) as response:
        async for piece in response.aiter_text(chunk_size=50):
            yield piece


SOURCES: dict[str, Callable[[str], object]] = {
    "create": _created,
    "stream": _streamed,
    "beta stream": _beta,
    "blocking create": _created_blocking,
    "blocking stream": _streamed_blocking,
    "bytes": _as_bytes,
    "text": _as_text,
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_the_log_has_what_the_api_sent(
    chat: AnthropicChat, s2: S2, api: MessagesApi, source: str, conversation: str
) -> None:
    events = CONVERSATIONS[conversation]
    api.answer(*with_pings(events))
    reading = Reading(await chat.make_resumable("c", lambda: SOURCES[source](api.url), wait_until=chat.background))
    assert [json.loads(data) for _, data in frames(await reading.rest())] == events
    await chat.drain()
    stored = [json.loads(body) for body in shown(await records_of(s2.basin(BASIN).stream("c")))[1:-1]]
    assert stored == events


FORMS: dict[str, Callable[[AsyncAnthropic, Anthropic], object]] = {
    "coroutine": lambda client, _: client.messages.create(**PARAMS, stream=True),
    "function that gives a coroutine": lambda client, _: lambda: client.messages.create(**PARAMS, stream=True),
    "manager": lambda client, _: client.messages.stream(**PARAMS),
    "function that gives a manager": lambda client, _: lambda: client.messages.stream(**PARAMS),
    "blocking manager": lambda _, blocking: blocking.messages.stream(**PARAMS),
    "blocking stream": lambda _, blocking: asyncio.to_thread(lambda: blocking.messages.create(**PARAMS, stream=True)),
}


@pytest.mark.parametrize("form", FORMS)
async def test_what_the_sdk_gives_is_a_source_as_it_is(
    chat: AnthropicChat, s2: S2, api: MessagesApi, form: str
) -> None:
    events = CONVERSATIONS["server tool"]
    api.answer(*with_pings(events))
    async with claude(api.url) as client:
        with Anthropic(api_key="test", base_url=api.url, max_retries=0) as blocking:
            response = await chat.make_resumable("c", FORMS[form](client, blocking), wait_until=chat.background)
            assert [json.loads(data) for _, data in frames(await Reading(response).rest())] == events
            await chat.drain()
    assert shown(await records_of(s2.basin(BASIN).stream("c")))[-1] == "fence end-"


@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_the_history_has_the_message_that_the_sdk_folds(
    chat: AnthropicChat, api: MessagesApi, conversation: str
) -> None:
    api.answer(*with_pings(CONVERSATIONS[conversation]))
    finals: list[Message] = []

    async def source() -> AsyncIterator[Any]:
        async with claude(api.url) as client, client.messages.stream(**PARAMS) as stream:
            async for event in stream:
                yield event
            finals.append(await stream.get_final_message())

    await Reading(await chat.make_resumable("c", source, wait_until=chat.background)).rest()
    await chat.drain()
    (message,) = (await chat.history("c"))["messages"]
    (final,) = finals
    assert plain(message) == plain(final.to_dict())


def dumped(event: Any) -> object:
    """What the SDK decoded. Without warnings: `user_message` is none of the events that it has classes for."""
    return event.to_dict(warnings=False)


def plain(message: object) -> object:
    """A message without what is null: SDKs fill in fields that they know of."""
    return Message.model_validate(message).model_dump(mode="json", exclude_none=True, warnings=False)


# --- the SDKs read replays ---


@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_the_sdk_decodes_a_replay_as_it_decodes_the_api(
    chat: AnthropicChat, api: MessagesApi, conversation: str
) -> None:
    events = CONVERSATIONS[conversation]
    api.answer(*with_pings(events))
    api.answer(*with_pings(events))
    await Reading(await chat.make_resumable("c", lambda: _created(api.url), wait_until=chat.background)).rest()
    await chat.drain()
    async with replays(chat) as url, claude(f"{url}/c") as client, claude(api.url) as direct:
        decoded = [event async for event in await client.messages.create(**PARAMS, stream=True)]
        expected = [event async for event in await direct.messages.create(**PARAMS, stream=True)]
        assert decoded == expected
        async with client.messages.stream(**PARAMS) as stream:
            final = await stream.get_final_message()
    (message,) = (await chat.history("c"))["messages"]
    assert plain(final.to_dict()) == plain(message)


async def test_the_sdk_hands_out_what_the_user_said_and_goes_on(chat: AnthropicChat, api: MessagesApi) -> None:
    api.answer(*text_turn("Hello"))

    async def source() -> AsyncIterator[Any]:
        yield user_message("hi")
        async for event in _created(api.url):
            yield event

    response = await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    assert response.status == 202
    await chat.drain()
    async with replays(chat) as url, claude(f"{url}/c") as client:
        decoded = [dumped(event) async for event in await client.messages.create(**PARAMS, stream=True)]
    assert decoded == [user_message("hi"), *text_turn("Hello")]


async def test_a_replay_from_the_history_s_cursor_is_one_message_for_the_sdk(
    chat: AnthropicChat, api: MessagesApi
) -> None:
    """Behind the user's words, which `messages.stream()` does not expect before a message."""
    gate = asyncio.Event()
    turn = text_turn("Hel", "lo")
    api.answer(*turn[:3], gate, *turn[3:])

    async def source() -> AsyncIterator[Any]:
        yield user_message("hi")
        async for event in _created(api.url):
            yield event

    reading = Reading(await chat.make_resumable("c", source, wait_until=chat.background))
    await reading.until("Hel")
    history = await chat.history("c")
    assert history["turns"] == [{"user": "hi"}]
    async with replays(chat) as url, claude(f"{url}/c") as client:
        cursor = {"from": history["nextSeqNum"]}
        async with client.messages.stream(**PARAMS, extra_query=cursor) as stream:
            texts = aiter(stream.text_stream)
            assert await anext(texts) == "Hel"
            gate.set()
            assert await anext(texts) == "lo"
            assert plain((await stream.get_final_message()).to_dict()) == plain(text_message("Hello"))
    await reading.close()


@pytest.mark.parametrize("begun", [0, 1, 2, 3])
async def test_the_sdk_ends_at_a_stop_wherever_it_came(chat: AnthropicChat, api: MessagesApi, begun: int) -> None:
    """The closing records are a whole message for `messages.stream()`, and the call to the model is cut off."""
    gate = asyncio.Event()
    api.answer(*text_turn("Hel", "lo")[:begun], gate)
    post = await chat.make_resumable("c", lambda: _created(api.url), wait_until=chat.background)
    reading = Reading(post)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await api.asked.wait()
        if begun:
            await reading.until(f"id: {begun + 1}\n\n")
    async with replays(chat) as url, claude(f"{url}/c") as client:
        resumed = asyncio.create_task(_final(client))
        assert await chat.stop("c")
        message = await resumed
    assert message.stop_reason is None
    assert "".join(block.text for block in message.content if block.type == "text") == ("Hel" if begun > 2 else "")
    await reading.rest()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await api.cut_off.wait()


async def _final(client: AsyncAnthropic) -> Message:
    async with client.messages.stream(**PARAMS) as stream:
        return await stream.get_final_message()


# --- failures ---


async def test_an_overloaded_service_is_told_by_on_error(s2: S2, api: MessagesApi) -> None:
    def on_error(failure: BaseException) -> str:
        return "Busy." if isinstance(failure, anthropic.APIStatusError) and failure.status_code == 529 else "?"

    chat = await anthropic_chat_on(s2, on_error=on_error)
    api.refuse(529, "overloaded_error", "Overloaded")

    async def source() -> AsyncIterator[Any]:
        yield user_message("hi")
        async for event in _created(api.url):
            yield event

    body = await Reading(await chat.make_resumable("c", source, wait_until=chat.background)).rest()
    assert "Overloaded" not in body
    await chat.drain()
    assert (await chat.history("c"))["turns"] == [{"user": "hi", "error": {"type": "api_error", "message": "Busy."}}]
    async with replays(chat) as url, claude(f"{url}/c") as client:
        with pytest.raises(anthropic.APIStatusError, match=r"Busy\."):
            async for _ in await client.messages.create(**PARAMS, stream=True):
                pass
    await chat.aclose()


@pytest.mark.parametrize("source", SOURCES)
async def test_an_error_in_the_middle_ends_the_turn_and_leaks_nothing(
    chat: AnthropicChat, s2: S2, api: MessagesApi, source: str
) -> None:
    error: Event = {"type": "error", "error": {"type": "overloaded_error", "message": "secret detail"}}
    api.answer(*text_turn("Hel")[:3], PING, error)
    body = await Reading(
        await chat.make_resumable("c", lambda: SOURCES[source](api.url), wait_until=chat.background)
    ).rest()
    assert "secret" not in body
    assert body.count("event: error\n") == 1
    await chat.drain()
    assert shown(await records_of(s2.basin(BASIN).stream("c")))[-1] == "fence error-"


async def test_an_answer_that_is_cut_off_by_the_network_is_a_failure(chat: AnthropicChat, s2: S2) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(cut, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        response = await chat.make_resumable("c", lambda: _created(url), wait_until=chat.background)
        assert "event: error" in await Reading(response).rest()


async def test_a_slow_first_token_holds_nothing_else_up(s2: S2, api: MessagesApi) -> None:
    chat = await anthropic_chat_on(s2, keep_alive_ms=20)
    gate = asyncio.Event()
    api.answer(gate, *text_turn("Hello"))

    async def source() -> AsyncIterator[Any]:
        yield user_message("hi")
        async for event in _created(api.url):
            yield event

    post = await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
    assert post.status == 202
    async with replays(chat) as url, claude(f"{url}/c") as client:
        stream = aiter(await client.messages.create(**PARAMS, stream=True, extra_query={"live": "1"}))
        assert dumped(await anext(stream)) == user_message("hi")
        raw = Reading(await chat.replay("c", live=True))
        await raw.until(": keep-alive")
        await raw.close()
        gate.set()
        assert [dumped(await anext(stream)) for _ in range(6)] == text_turn("Hello")
    await chat.aclose()


async def test_a_refused_turn_calls_no_model(chat: AnthropicChat, api: MessagesApi) -> None:
    gate = asyncio.Event()
    api.answer(*text_turn("Hello")[:2], gate)
    first = Reading(await chat.make_resumable("c", lambda: _created(api.url), wait_until=chat.background))
    await first.until("message_start")
    async with claude(api.url) as client:
        refused = await chat.make_resumable("c", lambda: client.messages.create(**PARAMS, stream=True))
        assert refused.status == 409
        waiting = client.messages.create(**PARAMS, stream=True)  # a coroutine that was made too early is closed
        assert (await chat.make_resumable("c", waiting)).status == 409
    assert len(api.requests) == 1
    await chat.stop("c")
    await first.rest()


# --- an application ---


def application(api: MessagesApi, path: Path) -> FastAPI:
    """The routes as the documentation has them."""
    chat = create_resumable_chat(path=path, basin="my-app-chats", mode="session")
    model = AsyncAnthropic(api_key="test", base_url=api.url, max_retries=0)
    app = FastAPI(lifespan=chat.lifespan)

    @app.post("/api/chat")
    async def send(body: dict[str, Any]) -> ChatResponse:
        async def source() -> AsyncIterator[Any]:
            yield user_message(body["text"])
            async for event in await model.messages.create(**PARAMS, stream=True):
                yield event

        return await chat.make_resumable(f"chat-{body['id']}", source, delivery="replay", wait_until=chat.background)

    @app.get("/api/chat/stream")
    async def replay(request: Request, id: str) -> ChatResponse:
        return await chat.replay(f"chat-{id}", **replay_options(request))

    @app.get("/api/chat/history")
    async def history(id: str) -> ChatResponse:
        return await chat.history_response(f"chat-{id}")

    @app.delete("/api/chat")
    async def stop(id: str) -> Response:
        return Response(status_code=202 if await chat.stop(f"chat-{id}") else 204)

    return app


async def test_an_application_keeps_two_tabs_in_step(api: MessagesApi, tmp_path: Path) -> None:
    gate = asyncio.Event()
    turn = text_turn("Hel", "lo")
    api.answer(*turn[:3], gate, *turn[3:])
    app = application(api, tmp_path / "data")
    listener = serving.listen("127.0.0.1", 0)
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with app.router.lifespan_context(app), serving.Serving(app, listener), AsyncExitStack() as opened:
            http = await opened.enter_async_context(httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS))
            query: dict[str, str] = {"id": "1", "live": "1", "from": "0"}
            tabs = [
                await opened.enter_async_context(http.stream("GET", "/api/chat/stream", params=query)) for _ in range(2)
            ]
            texts = [tab.aiter_text() for tab in tabs]
            assert (await http.post("/api/chat", json={"id": "1", "text": "hi"})).status_code == 202
            for text in texts:
                await _until(text, '"Hel"')
            assert (await http.post("/api/chat", json={"id": "1", "text": "too early"})).status_code == 409
            snapshot = (await http.get("/api/chat/history", params={"id": "1"})).json()
            assert snapshot == {"turns": [{"user": "hi"}], "messages": [], "nextSeqNum": 2}
            gate.set()
            for text in texts:
                await _until(text, "event: message_stop")
            api.answer(*turn[:3], asyncio.Event())
            assert (await http.post("/api/chat", json={"id": "1", "text": "again"})).status_code == 202
            for text in texts:
                await _until(text, '"Hel"')
            assert (await http.delete("/api/chat", params={"id": "1"})).status_code == 202
            for text in texts:
                await _until(text, "event: message_stop")
            assert (await http.delete("/api/chat", params={"id": "1"})).status_code == 204
            turns = (await http.get("/api/chat/history", params={"id": "1"})).json()["turns"]
            assert [turn["user"] for turn in turns] == ["hi", "again"]
            assert [turn["assistant"]["content"][0]["text"] for turn in turns] == ["Hello", "Hel"]
            assert [turn.get("stopped") for turn in turns] == [None, True]
    assert len(api.requests) == 2


async def _until(pieces: AsyncIterator[str], wanted: str) -> None:
    """Read on until `wanted` has come."""
    text = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while wanted not in text:
            text += await anext(pieces)


# --- over a server, and in JavaScript ---


async def test_it_all_works_over_a_server(tmp_path: Path, api: MessagesApi) -> None:
    for events in CONVERSATIONS.values():
        api.answer(*with_pings(events))
    async with AsyncExitStack() as opened:
        server = await opened.enter_async_context(ServeCommand(tmp_path / "data"))
        options: Any = {"access_token": "any", "endpoints": server.url, "basin": BASIN, "mode": "session"}
        chat = await opened.enter_async_context(create_resumable_chat(**options))
        other = await opened.enter_async_context(create_resumable_chat(**options))
        url = await opened.enter_async_context(replays(other))
        client = await opened.enter_async_context(claude(f"{url}/c"))
        followed = aiter(await client.messages.create(**PARAMS, stream=True, extra_query={"live": "1"}))
        expected: list[Event] = []
        for conversation, events in CONVERSATIONS.items():

            async def source(said: str = conversation) -> AsyncIterator[Any]:
                yield user_message(said)
                async for event in _streamed(api.url):
                    yield event

            response = await chat.make_resumable("c", source, delivery="replay", wait_until=chat.background)
            assert response.status == 202
            turn = [user_message(conversation), *events]
            assert [dumped(await anext(followed)) for _ in turn] == turn
            await chat.drain()
            expected += turn
        history = await other.history("c")
        assert [turn["user"] for turn in history["turns"]] == list(CONVERSATIONS)
        assert all("assistant" in turn for turn in history["turns"])
        again = frames(await Reading(await other.replay("c")).rest())
        assert [json.loads(data) for _, data in again] == expected


async def test_the_sdk_for_javascript_reads_replays(chat: AnthropicChat, api: MessagesApi) -> None:
    cases: list[dict[str, str]] = []
    async with replays(chat) as url:
        for number, events in enumerate(CONVERSATIONS.values()):
            api.answer(*with_pings(events))
            response = await chat.make_resumable(str(number), lambda: _created(api.url), wait_until=chat.background)
            await Reading(response).rest()
            cases += ({"kind": kind, "baseURL": f"{url}/{number}"} for kind in ("events", "message"))
        failing: list[Event] = [*text_turn("Hel")[:3], {"type": "error", "error": {"type": "x", "message": "secret"}}]
        await Reading(await chat.make_resumable("failed", failing, wait_until=chat.background)).rest()
        with_user = [user_message("hi"), *text_turn("Hello")]
        await Reading(await chat.make_resumable("user", with_user, wait_until=chat.background)).rest()
        stopped = Source(*text_turn("Hel", "lo")[:3])
        reading = Reading(await chat.make_resumable("stopped", stopped, wait_until=chat.background))
        await reading.until("Hel")
        assert await chat.stop("stopped")
        await reading.rest()
        await chat.drain()
        cases.append({"kind": "message", "baseURL": f"{url}/stopped"})
        cases += ({"kind": "events", "baseURL": f"{url}/{name}"} for name in ("failed", "user"))
        results = await ask_javascript(cases)
        for number, events in enumerate(CONVERSATIONS.values()):
            decoded, folded = results[2 * number : 2 * number + 2]
            assert decoded == {"events": events}
            (message,) = (await chat.history(str(number)))["messages"]
            assert plain(folded["message"]) == plain(message)
    (part,) = (await chat.history("stopped"))["messages"]
    assert plain(results[-3]["message"]) == plain(part)
    assert part["stop_reason"] is None
    assert results[-2]["events"] == failing[:3]
    assert "An error occurred." in results[-2]["error"]
    assert "secret" not in results[-2]["error"]
    assert results[-1] == {"events": with_user}


async def ask_javascript(cases: list[dict[str, str]]) -> list[Any]:
    """One result for each case; `anthropic_reader.mjs` says what cases there are."""
    assert (NPM / "node_modules" / "@anthropic-ai" / "sdk").is_dir(), "the stock clients are not installed: `make test`"
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node")
    assert node is not None, "there is no Node.js: run `make test`"
    process = await asyncio.create_subprocess_exec(
        *(node, "--input-type=module", "--eval", READER.read_text()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=NPM,
        env=os.environ,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        output, _ = await process.communicate("".join(json.dumps(case) + "\n" for case in cases).encode())
    assert process.returncode == 0
    return [json.loads(line) for line in output.decode().split("\n") if line]
