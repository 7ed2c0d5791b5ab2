"""The README's code, run as it stands there."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from perdure.cli.serve_options import PORT
from tests.resumable.anthropic_scripts import text_turn
from tests.resumable.messages_api import messages_api
from tests.serve_command import ServeCommand

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS: list[str] = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def block(wanted: str) -> str:
    """The one block that holds `wanted`."""
    (found,) = [code for code in BLOCKS if wanted in code]
    return found


def test_every_block_is_run_by_a_test_here() -> None:
    assert len(BLOCKS) == 9


@pytest.mark.parametrize("wanted", ["async with S2.open", "perdure.sync"])
async def test_the_quickstart_prints_what_it_says(wanted: str, tmp_path: Path) -> None:
    async def run() -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", block(wanted)), stdout=asyncio.subprocess.PIPE, cwd=tmp_path
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert process.returncode == 0
        return output.decode().splitlines()

    assert await run() == ["stored as record 0", "0 Hello"]
    assert await run() == ["stored as record 1", "0 Hello", "1 Hello"]  # the directory keeps it


@asynccontextmanager
async def application(code: str, directory: Path, **variables: str) -> AsyncIterator[str]:
    """The address of the application that a block defines."""
    (directory / "application.py").write_text(code)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "application:app"),
        cwd=directory,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | variables,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        await server.wait()


async def test_the_chat_answers_and_resumes(tmp_path: Path) -> None:
    async with (
        application(block("resumable.aisdk"), tmp_path) as url,
        asyncio.timeout(30),
        httpx.AsyncClient(base_url=url) as http,
    ):
        message = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
        answer = await _when_up(lambda: http.post("/api/chat", json={"id": "c1", "messages": [message]}))
        assert answer.status_code == 200
        deltas = re.findall(r'"delta":"([^"]*)"', answer.text)
        assert "".join(deltas) == "Words from your model"
        assert (await http.get("/api/chat/c1/stream")).status_code == 204


async def test_the_text_is_started_once_and_stays(tmp_path: Path) -> None:
    async with (
        application(block("create_resumable_stream_context"), tmp_path) as url,
        asyncio.timeout(30),
        httpx.AsyncClient(base_url=url) as http,
    ):
        assert (await _when_up(lambda: http.get("/texts/t"))).status_code == 404
        started = await http.post("/texts/t")
        assert (started.status_code, started.text) == (200, "Words from your model")
        assert (await http.delete("/texts/t")).is_success
        assert (await http.get("/texts/t")).status_code == 422
        assert (await http.post("/texts/t")).status_code == 422


async def test_the_chat_with_anthropic_answers_its_client_and_remembers(tmp_path: Path) -> None:
    async with messages_api() as api:
        api.answer(*text_turn("Good ", "day"))
        api.answer(*text_turn("Again"))
        variables = {"ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "test"}
        async with application(block("AsyncAnthropic"), tmp_path, **variables) as url:
            async with asyncio.timeout(30), httpx.AsyncClient(base_url=url) as http:
                module = await _when_up(lambda: http.get("/perdure/anthropic.js"))
                assert module.headers["content-type"].startswith("text/javascript")
            code = block("create_chat_client").replace("http://127.0.0.1:8000", url)
            printed = []
            for _ in range(2):
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE, cwd=tmp_path
                )
                async with asyncio.timeout(30):
                    printed.append((await process.communicate())[0].decode().splitlines())
    assert printed == [
        ["0 turns so far", "[{'text': 'Good day', 'type': 'text'}]"],
        ["1 turns so far", "[{'text': 'Again', 'type': 'text'}]"],
    ]
    sent = [(message["role"], message["content"]) for message in api.requests[-1]["messages"]]
    assert sent == [
        ("user", "Hello"),
        ("assistant", [{"text": "Good day", "type": "text"}]),
        ("user", "Hello"),
    ]


async def _when_up(ask: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    while True:
        try:
            return await ask()
        except httpx.ConnectError:
            await asyncio.sleep(0.05)  # the server is starting; the caller's time-out bounds this


async def test_the_server_starts_as_said_with_what_is_declared(tmp_path: Path) -> None:
    (declared,) = re.findall(r"^```json\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    (options,) = re.findall(r"^\$ perdure serve --data \./data (.*)$", README, re.MULTILINE)
    (exported,) = re.findall(r"^\$ export (S2_.*)$", README, re.MULTILINE)
    address = f"http://127.0.0.1:{PORT}"
    (tmp_path / "init.json").write_text(declared)
    command = (*options.split(), "--init-file", str(tmp_path / "init.json"))
    async with ServeCommand(tmp_path / "data", *command) as server, server.client() as http:
        tail = await http.get("/v1/streams/greetings/records/tail", headers={"s2-basin": "my-first-basin"})
        assert tail.json()["tail"]["seq_num"] == 0
        assert exported.count(address) == 2
        variables = dict(pair.split("=", 1) for pair in exported.replace(address, server.url).split())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", block("s2_sdk")), stdout=asyncio.subprocess.PIPE, env=os.environ | variables
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert output == b"stored as record 0\n"


async def test_a_token_is_issued_as_said(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", PERDURE_ROOT_TOKEN="root") as server, server.client() as http:
        code = block("PERDURE_ROOT_TOKEN").replace(f"http://127.0.0.1:{PORT}", server.url)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", code),
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | {"PERDURE_ROOT_TOKEN": "root"},
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert process.returncode == 0
        secret, listed = output.decode().splitlines()
        assert listed.startswith("reader 20")
        token = {"authorization": f"Bearer {secret}", "s2-basin": "my-first-basin"}
        assert (await http.get("/v1/streams/any/records/tail", headers=token)).status_code == 404
        assert (await http.delete("/v1/streams/any", headers=token)).status_code == 403
        assert (await http.get("/v1/basins", headers=token)).status_code == 403


async def test_the_sdk_speaks_to_the_server_that_the_environment_names(tmp_path: Path) -> None:
    (names,) = re.findall(r"^\$ export (S2_.*)$", README, re.MULTILINE)
    async with ServeCommand(tmp_path / "data") as server:
        environment = dict(pair.split("=") for pair in names.split())
        environment = {name: server.url if "ENDPOINT" in name else value for name, value in environment.items()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", block("S2.from_env")), stdout=asyncio.subprocess.PIPE, env=os.environ | environment
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert process.returncode == 0
        assert output.decode().splitlines() == ["0 Hello over HTTP"]


@pytest.mark.parametrize("command", re.findall(r"^\$ make (\w+)", README, re.MULTILINE))
def test_the_make_targets_exist(command: str) -> None:
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    assert re.search(rf"^{command}:", makefile, re.MULTILINE)
