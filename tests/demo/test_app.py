"""The demo's routes over real HTTP, and its models."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from perdure.demo.models import OpenAICompatible, ProviderFailure, Turn, choose_model
from perdure.demo.stand_in import StandIn
from tests.demo.demo_server import COMMAND, DemoServer
from tests.patience import PATIENCE_SECONDS


def request(chat_id: str, text: str) -> dict[str, object]:
    message = {"id": f"user-{text}", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": chat_id, "messages": [message], "trigger": "submit-message"}


@pytest.fixture
async def http(demo: DemoServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as client:
        yield client


async def test_a_second_submit_of_a_busy_chat_is_refused(http: httpx.AsyncClient) -> None:
    async with http.stream("POST", "/api/chat", json=request("busy", "a long story")) as first:
        assert first.status_code == 200
        await anext(first.aiter_bytes())
        second = await http.post("/api/chat", json=request("busy", "hello"))
        assert (second.status_code, second.text) == (409, "Stream already in use")
    history = (await http.get("/api/chat/busy/history")).json()
    assert [message["id"] for message in history["messages"]] == ["user-a long story"]
    assert history["active"] is True


async def test_a_client_that_goes_away_does_not_end_the_answer(http: httpx.AsyncClient) -> None:
    async with http.stream("POST", "/api/chat", json=request("left", "tides and swifts and birds")) as response:
        await anext(response.aiter_bytes())
    replayed = await http.get("/api/chat/left/stream")
    assert replayed.status_code == 200
    assert replayed.text.rstrip().endswith('data: {"type":"finish","finishReason":"stop"}')
    assert (await http.get("/api/chat/left/stream")).status_code == 204


async def test_stop_tells_whether_something_was_stopped(http: httpx.AsyncClient) -> None:
    assert (await http.post("/api/chat/quiet/stop")).status_code == 204
    async with http.stream("POST", "/api/chat", json=request("stopped", "a long story")) as response:
        body = response.aiter_bytes()
        await anext(body)
        assert (await http.post("/api/chat/stopped/stop")).status_code == 202
        rest = b"".join([piece async for piece in body])
    assert rest.rstrip().endswith(b'data: {"type":"abort"}')


async def test_chats_are_listed_newest_first_and_deleted(http: httpx.AsyncClient) -> None:
    for chat_id in ("one", "two"):
        async with http.stream("POST", "/api/chat", json=request(chat_id, f"the title of {chat_id}")) as response:
            await anext(response.aiter_bytes())
        await http.post(f"/api/chat/{chat_id}/stop")
    listed = (await http.get("/api/chats")).json()["chats"]
    assert [(chat["id"], chat["title"], chat["active"]) for chat in listed] == [
        ("two", "the title of two", False),
        ("one", "the title of one", False),
    ]
    assert (await http.delete("/api/chats/two")).status_code == 204
    listed = (await http.get("/api/chats")).json()["chats"]
    assert [chat["id"] for chat in listed] == ["one"]


@pytest.mark.parametrize("chat_id", ["..", "a b", "x" * 65, "ü"])
async def test_an_odd_chat_id_is_refused(http: httpx.AsyncClient, chat_id: str) -> None:
    response = await http.post("/api/chat", json=request(chat_id, "hello"))
    assert response.status_code == 400
    assert "64 letters" in response.text


async def test_a_bad_body_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post("/api/chat", json={"id": "x", "messages": []})).status_code == 422


async def test_the_page_and_its_assets_are_served(http: httpx.AsyncClient) -> None:
    page = await http.get("/")
    assert page.status_code == 200
    assert "/assets/" in page.text
    assert (await http.get("/health")).text == "OK"
    assert (await http.get("/api/info")).json()["model"]["kind"] == "stand-in"


async def test_a_signal_ends_the_server_though_pages_are_open(tmp_path: Path) -> None:
    async with (
        DemoServer(tmp_path / "data") as demo,
        httpx.AsyncClient(base_url=demo.url, timeout=PATIENCE_SECONDS) as http,
        http.stream("GET", "/api/chat/open/watch") as watch,
    ):
        events = watch.aiter_bytes()
        await anext(events)
        assert await demo.stop() == 0


async def test_a_taken_port_is_a_clear_error(demo: DemoServer, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--data", str(tmp_path / "other"), "--port", demo.url.rpartition(":")[2], "--no-browser"),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, stderr = await process.communicate()
    assert process.returncode == 1
    assert b"choose another with --port" in stderr
    assert b"Traceback" not in stderr


def test_the_environment_chooses_the_model() -> None:
    assert isinstance(choose_model({}), StandIn)
    provider = choose_model({"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_MODEL": "small"})
    assert (provider.info.kind, provider.info.name) == ("provider", "small")


@asynccontextmanager
async def completions(*payloads: bytes) -> AsyncIterator[str]:
    """A local service that answers one chat completion with these pieces of an event stream."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        asked = json.loads(await reader.readexactly(length))
        assert asked["stream"] is True
        assert asked["messages"][-1] == {"role": "user", "content": "hi"}
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        for payload in payloads:
            writer.write(payload)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_a_compatible_provider_is_read_token_by_token() -> None:
    def event(text: str) -> bytes:
        return (
            b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}, ensure_ascii=False).encode() + b"\n\n"
        )

    stream = event("one\u2028line ") + event("zwei ") + event("três") + b"data: [DONE]\n\n"
    async with completions(stream[:30], stream[30:61], stream[61:]) as url:
        model = OpenAICompatible(url, "small", None)
        chunks = [chunk async for chunk in model.answer([Turn("user", "hi")])]
    deltas = [chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta"]
    assert deltas == ["one\u2028line ", "zwei ", "três"]
    assert chunks[-1] == {"type": "finish"}


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(b"", id="cut"),
        pytest.param(b'data: {"error":{"message":"overloaded"}}\n\n', id="error"),
    ],
)
async def test_an_answer_that_breaks_off_is_a_failure(ending: bytes) -> None:
    beginning = b'data: {"choices":[{"delta":{"content":"Once"}}]}\n\ndata: {"choices":null}\n\n'
    async with completions(beginning, ending) as url:
        model = OpenAICompatible(url, "small", None)
        with pytest.raises(ProviderFailure):
            await _exhaust(model)


async def test_a_finish_reason_ends_an_answer_too() -> None:
    end = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n'
    async with completions(end) as url:
        await _exhaust(OpenAICompatible(url, "small", None))


async def _exhaust(model: OpenAICompatible) -> None:
    async for _ in model.answer([Turn("user", "hi")]):
        pass


@pytest.mark.parametrize("environment", [{"OPENAI_BASE_URL": "nonsense"}, {"PERDURE_DEMO_TOKENS_PER_SECOND": "many"}])
async def test_a_bad_environment_is_a_clear_error(environment: dict[str, str], tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "perdure", "demo", "--data", str(tmp_path / "data"), "--no-browser"),
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environment,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        _, stderr = await process.communicate()
    assert process.returncode == 2
    assert next(iter(environment)).encode() in stderr
    assert b"Traceback" not in stderr
