"""Ids that no stream can be named after, as requests bring them: every route answers 400 and says what is wrong."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from perdure import S2, Invalid
from perdure.model.limits import MAX_STREAM_NAME_BYTES
from perdure.resumable import ResumableStreamContext, create_resumable_stream_context, openai, text_response
from perdure.resumable.anthropic import AnthropicChat
from perdure.resumable.tanstack_ai import TanstackChat
from tests.resumable.chats import BASIN, CREATE

BAD_NAMES = {
    "long": "x" * (MAX_STREAM_NAME_BYTES + 1),
    "long in UTF-8": "ä" * (MAX_STREAM_NAME_BYTES // 2 + 1),
    "empty": "",
    "dots": "..",
    "half a character": "\ud800",
}
KINDS = {**CREATE, "openai": openai.create_resumable_chat}
Call: TypeAlias = Callable[[Any, str, Request], Awaitable[object]]


async def asked(endpoint: Callable[[Request], Awaitable[Response]], **request: Any) -> httpx.Response:
    app = Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        return await http.request(**{"method": "POST", "url": "/", "json": {"messages": []}, **request})


def never() -> object:
    raise AssertionError("the source is not to be asked")


async def tanstack_request(chat: TanstackChat, name: str, request: Request) -> object:
    return await chat.handle_tanstack_request(request, stream_name_for=lambda asked: name, start=lambda asked: never())


async def session_response(chat: TanstackChat, name: str, request: Request) -> object:
    return await chat.make_session_response(name, messages=[], source=lambda messages, context: [])


CALLS: dict[str, Call] = {
    "make_resumable": lambda chat, name, request: chat.make_resumable(name, never),
    "replay": lambda chat, name, request: chat.replay(name),
    "live": lambda chat, name, request: chat.replay(name, live=True),
    "active": lambda chat, name, request: chat.replay(name, active_only=True),
    "watch": lambda chat, name, request: chat.watch(name),
    "history": lambda chat, name, request: chat.history(name),
    "history_response": lambda chat, name, request: chat.history_response(name),
    "stop": lambda chat, name, request: chat.stop(name),
    "force_stop": lambda chat, name, request: chat.force_stop(name),
    "delete": lambda chat, name, request: chat.delete(name),
}
MORE_CALLS: dict[str, dict[str, Call]] = {
    "anthropic": {"conversation": lambda chat, name, request: AnthropicChat.conversation(chat, name)},
    "tanstack_ai": {
        "session": session_response,
        "stop_session": lambda chat, name, request: chat.stop_session(name),
        "request": tanstack_request,
    },
}


@pytest.mark.parametrize("kind", KINDS)
async def test_each_call_of_a_chat_answers_400(s2: S2, kind: str) -> None:
    async with KINDS[kind](s2=s2, basin=BASIN, mode="session") as chat:
        for call in (CALLS | MORE_CALLS.get(kind, {})).values():

            async def endpoint(request: Request, call: Call = call) -> Response:
                answer = await call(chat, BAD_NAMES["long"], request)
                return answer if isinstance(answer, Response) else JSONResponse(answer)

            response = await asked(endpoint)
            assert response.status_code == 400
            assert "must be 1 to 512 bytes long, got 513" in response.text
        assert [info async for info in chat.list()] == []


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
async def test_each_bad_name_is_refused(s2: S2, name: str) -> None:
    async with KINDS["anthropic"](s2=s2, basin=BASIN, mode="session") as chat:
        for call in CALLS.values():

            async def endpoint(request: Request, call: Call = call) -> Response:
                answer = await call(chat, name, request)
                return answer if isinstance(answer, Response) else JSONResponse(answer)

            response = await asked(endpoint)
            assert response.status_code == 400
            assert response.text.startswith("this id cannot be used: stream name must ")


@pytest.fixture
async def context(s2: S2) -> AsyncIterator[ResumableStreamContext]:
    async with create_resumable_stream_context(s2, basin=BASIN) as context:
        yield context


TEXT_CALLS: dict[str, Callable[[ResumableStreamContext, str], Awaitable[Any]]] = {
    "resumable_stream": lambda context, name: context.resumable_stream(name, list),
    "create_new_resumable_stream": lambda context, name: context.create_new_resumable_stream(name, list),
    "resume_stream": lambda context, name: context.resume_stream(name),
    "resume_existing_stream": lambda context, name: context.resume_existing_stream(name),
    "has_existing_stream": lambda context, name: context.has_existing_stream(name),
    "stop_stream": lambda context, name: context.stop_stream(name),
}


@pytest.mark.parametrize("call", TEXT_CALLS.values(), ids=TEXT_CALLS)
async def test_each_call_of_a_text_context_answers_400(
    context: ResumableStreamContext, call: Callable[[ResumableStreamContext, str], Awaitable[Any]]
) -> None:
    for name in BAD_NAMES.values():

        async def endpoint(request: Request, name: str = name) -> Response:
            return text_response(await call(context, name))

        response = await asked(endpoint)
        assert (response.status_code, response.text[:24]) == (400, "this id cannot be used: ")


async def test_fastapi_answers_400_too(context: ResumableStreamContext) -> None:
    app = FastAPI()

    @app.get("/{stream_id}", response_model=None)
    async def stream(stream_id: str) -> Response:
        await context.stop_stream(stream_id)
        return PlainTextResponse("stopped")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        response = await http.get("/" + BAD_NAMES["long"])
    assert response.status_code == 400
    assert "512 bytes" in response.json()["detail"]


async def test_without_a_framework_it_is_the_error_of_what_is_against_a_rule(context: ResumableStreamContext) -> None:
    with pytest.raises(Invalid, match=r"^this id cannot be used: .* Send a shorter or another one$"):
        await context.stop_stream(BAD_NAMES["long"])
