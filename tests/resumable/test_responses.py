"""Responses as web frameworks see them: Starlette, FastAPI, and any other that speaks ASGI."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.background import BackgroundTask
from starlette.responses import Response

from perdure import Basin
from perdure.resumable.aisdk import AiSdkChat, create_resumable_chat, replay_options
from perdure.resumable.responses import ChatResponse, accepted, in_use, json_snapshot, nothing
from tests.resumable.chats import ANSWER, START, Chunk, Source, frames, records_of, shown, text
from tests.resumable.spy_transport import SpyTransport

SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "headers": [],
}
Message = MutableMapping[str, Any]


class Client:
    """Calls an ASGI application; goes away after `frames` pieces of the body, or when it is told to."""

    def __init__(self, *, pieces: int | None = None, raises: bool = False) -> None:
        self.messages: list[Message] = []
        self.gone = asyncio.Event()
        self.started = asyncio.Event()
        self._pieces = pieces
        self._raises = raises

    async def call(self, app: Any, **scope: Any) -> None:
        await app({**SCOPE, **scope}, self._receive, self._send)

    async def _receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.messages.append(message)
        self.started.set()
        if message.get("body") and self._pieces is not None:
            self._pieces -= 1
            if self._pieces == 0:
                if self._raises:
                    raise OSError("the peer went away")
                self.gone.set()

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def ended(self) -> bool:
        return self.messages[-1].get("more_body", False) is False


async def test_a_body_is_sent_piece_by_piece_and_ended(chat: AiSdkChat) -> None:
    client = Client()
    await client.call(await chat.make_resumable("c", ANSWER, wait_until=chat.background))
    assert client.messages[0]["status"] == 200
    assert client.messages[1] == {"type": "http.response.body", "body": b"", "more_body": True}
    assert len(frames(client.body.decode())) == len(ANSWER)
    assert client.ended
    assert b"content-length" not in client.headers


async def test_headers_go_out_before_there_is_any_body(chat: AiSdkChat) -> None:
    source = Source()
    client = Client()
    calling = asyncio.create_task(client.call(await chat.make_resumable("c", source, wait_until=chat.background)))
    await client.started.wait()
    assert client.messages[0]["type"] == "http.response.start"
    source.end()
    await calling


@pytest.mark.parametrize("raises", [False, True])
async def test_a_client_that_goes_closes_the_body_and_not_the_generation(
    chat: AiSdkChat, basin: Basin, spy: SpyTransport, raises: bool
) -> None:
    source = Source(START)
    client = Client(pieces=1, raises=raises)
    await client.call(await chat.make_resumable("c", source, wait_until=chat.background))
    assert not client.ended
    source.give(text("still here"))
    source.end()
    await chat.drain()
    assert shown(await records_of(basin.stream("c")))[-1] == "fence end-"
    assert (spy.open_reads, spy.open_appends) == (0, 0)


async def test_a_client_that_goes_in_a_silence_closes_the_body(chat: AiSdkChat, spy: SpyTransport) -> None:
    client = Client()
    calling = asyncio.create_task(client.call(await chat.replay("c", live=True)))
    await client.started.wait()
    client.gone.set()
    await calling
    assert spy.open_reads == 0


async def test_a_request_that_is_cancelled_closes_the_body_and_stays_cancelled(
    chat: AiSdkChat, spy: SpyTransport
) -> None:
    client = Client()
    calling = asyncio.create_task(client.call(await chat.replay("c", live=True)))
    await client.started.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert spy.open_reads == 0


class Breaking:
    """A body that breaks after its first piece."""

    closed = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        yield b"data: a\n\n"
        raise RuntimeError("the store went away")

    async def aclose(self) -> None:
        self.closed = True


async def test_a_body_that_breaks_is_never_ended_as_if_it_were_whole() -> None:
    client, body = Client(), Breaking()
    with pytest.raises(RuntimeError, match="went away"):
        await client.call(ChatResponse(200, chunks=body))
    assert not client.ended
    assert body.closed


@pytest.mark.parametrize("version", ["1.0", "1.1", "2", "3"])
async def test_the_connection_header_is_for_the_first_version_of_http(chat: AiSdkChat, version: str) -> None:
    client = Client()
    await client.call(
        await chat.make_resumable(f"c{version}", ANSWER, wait_until=chat.background), http_version=version
    )
    assert (b"connection" in client.headers) == version.startswith("1")


@pytest.mark.parametrize(
    ("response", "status", "headers", "body"),
    [
        (accepted(), 202, {b"cache-control": b"no-store", b"content-length": b"0"}, b""),
        (nothing(), 204, {b"cache-control": b"no-store"}, b""),
        (
            in_use(),
            409,
            {b"content-type": b"text/plain; charset=utf-8", b"content-length": b"21"},
            b"Stream already in use",
        ),
        (
            json_snapshot(b"{}"),
            200,
            {b"content-type": b"application/json", b"cache-control": b"no-store", b"content-length": b"2"},
            b"{}",
        ),
    ],
)
async def test_answers_without_a_body_that_streams(
    response: ChatResponse, status: int, headers: dict[bytes, bytes], body: bytes
) -> None:
    client = Client()
    await client.call(response)
    assert (client.messages[0]["status"], client.headers, client.body) == (status, headers, body)
    assert client.ended
    assert response.chunks is None
    await response.aclose()


async def test_the_background_of_a_framework_runs_after_the_body(chat: AiSdkChat) -> None:
    ran: list[int] = []
    client = Client()
    response = await chat.make_resumable("c", ANSWER, wait_until=chat.background)
    assert isinstance(response, Response)
    assert response.to_starlette() is response
    response.background = BackgroundTask(lambda: ran.append(len(client.messages)))
    await client.call(response)
    assert ran == [len(client.messages)]


async def test_a_fastapi_route_returns_it_as_it_is(tmp_path: Any) -> None:
    chat = create_resumable_chat(path=tmp_path / "data", basin="my-app-chats", mode="session")
    app = FastAPI(lifespan=chat.lifespan)

    async def answer() -> AsyncIterator[Chunk]:
        for chunk in ANSWER:
            yield chunk

    @app.get("/post/{id}", response_model=None)
    async def post(id: str) -> ChatResponse:
        return await chat.make_resumable(f"chat-{id}", answer, wait_until=chat.background)

    @app.get("/replay/{id}")
    async def replay(request: Request, id: str) -> Response:
        return await chat.replay(f"chat-{id}", **replay_options(request))

    async with app.router.lifespan_context(app):
        posted, replayed, missing = Client(), Client(), Client()
        await posted.call(app, path="/post/1", raw_path=b"/post/1")
        await chat.drain()
        await replayed.call(app, path="/replay/1", raw_path=b"/replay/1", query_string=b"from=3")
        await missing.call(app, path="/replay/2", raw_path=b"/replay/2")
    assert len(frames(posted.body.decode())) == len(ANSWER)
    assert frames(replayed.body.decode()) == frames(posted.body.decode())[2:]
    assert missing.messages[0]["status"] == 204


async def test_a_replay_by_stock_options_is_live_only_for_one(chat: AiSdkChat) -> None:
    def request(query: bytes) -> Request:
        return Request({**SCOPE, "query_string": query})

    assert replay_options(request(b"from=7&live=1")) == {"from_seq_num": 7, "live": True}
    assert replay_options(request(b"from=x&live=yes")) == {"from_seq_num": None, "live": False}
