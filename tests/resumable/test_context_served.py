"""Text streams over `perdure serve`: several processes, one of them killed, and JavaScript at either end."""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from perdure.resumable import (
    ResumableStreamContext,
    TextStream,
    create_resumable_stream_context,
    text_response,
)
from perdure.resumable.client import replay_text
from perdure.resumable.settings import Surroundings
from perdure.server import serving
from tests.compat.serving import ROOT_TOKEN, ServedStore, serve
from tests.patience import PATIENCE_SECONDS
from tests.resumable.held_clock import HeldClock
from tests.resumable.texts import Words, ended, text_of, texts_of, until_text
from tests.web.test_web_modules import find_node

REPOSITORY = Path(__file__).parents[2]
PEER = Path(__file__).with_name("text_peer.mjs")
BASIN = "served-texts"
WORDS = ["Grüße ", "😀", "a\u2028b\n", '"quoted" ', "x" * 5000]
LEASE_MS = 600
NAMES = itertools.count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStore]:
    with serve(tmp_path_factory.mktemp("texts") / "data") as server:
        yield server


@pytest.fixture
def name() -> str:
    """A stream of its own for each test."""
    return f"text-{next(NAMES)}"


@pytest.fixture
def clock() -> HeldClock:
    """What this process judges others by."""
    return HeldClock()


@pytest.fixture
async def context(
    served: ServedStore, clock: HeldClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ResumableStreamContext]:
    """A context that the environment tells where it is, as the one in JavaScript is told."""
    monkeypatch.setenv("S2_ACCESS_TOKEN", ROOT_TOKEN)
    monkeypatch.setenv("S2_BASIN", BASIN)
    monkeypatch.setenv("S2_ACCOUNT_ENDPOINT", served.url)
    monkeypatch.setenv("S2_BASIN_ENDPOINT", served.url)
    async with create_resumable_stream_context(surroundings=Surroundings(now_ms=clock.now_ms)) as context:
        yield context


@asynccontextmanager
async def running(*command: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def javascript(served: ServedStore, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    npm = (REPOSITORY / "tests" / "npm" / "package.json").as_uri()
    told = {"PERDURE_URL": served.url, "PERDURE_TOKEN": ROOT_TOKEN, "PERDURE_NPM": npm}
    async with running(find_node(), str(PEER), *arguments, **told) as process:
        yield process


async def line_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().rstrip("\n")


async def test_several_clients_of_a_server(context: ResumableStreamContext, name: str) -> None:
    source = Words(*WORDS)
    async with create_resumable_stream_context() as other:
        started = await context.resumable_stream(name, source)
        joined = [await each.resumable_stream(name, source) for each in (context, other) for _ in range(3)]
        resumed = await other.resume_existing_stream(name, len(WORDS[0]))
        for reader in joined:
            await until_text(reader, WORDS[-1])
        assert await other.has_existing_stream(name) is True
        source.give("last")
        source.end()
        assert await texts_of(joined) == {"last"}
        assert await text_of(started) == "".join(WORDS) + "last"
        assert await text_of(resumed) == "".join([*WORDS[1:], "last"])
        await context.drain()
        assert await other.has_existing_stream(name) == "DONE"
        assert await other.resumable_stream(name, source) is None
        assert source.calls == 1


async def test_what_python_writes_javascript_reads(
    served: ServedStore, context: ResumableStreamContext, name: str
) -> None:
    source = Words(*WORDS)
    started = await context.resumable_stream(name, source)
    async with javascript(served, "read", BASIN, name) as reader:
        pieces = [json.loads(await line_of(reader)) for _ in WORDS]
        source.give("live")
        pieces.append(json.loads(await line_of(reader)))
        source.end()
        assert pieces == [*WORDS, "live"]
        assert await line_of(reader) == "end"
    assert await text_of(started) == "".join(pieces)


async def test_what_javascript_writes_python_reads(
    served: ServedStore, context: ResumableStreamContext, name: str
) -> None:
    waiting = await context.resume_stream(name)  # before there is a writer
    async with javascript(served, "write", BASIN, name) as writer:
        assert await line_of(writer) == "claimed"
        assert writer.stdin is not None
        joined = await context.resumable_stream(name, ended("not asked"))
        for word in WORDS:
            writer.stdin.write(json.dumps(word).encode() + b"\n")
        await until_text(joined, WORDS[-1])
        assert await context.has_existing_stream(name) is True
        writer.stdin.write(b'"live"\n')
        writer.stdin.close()
        assert await line_of(writer) == "end"
    assert await text_of(joined) == "live"
    assert await text_of(waiting) == "".join([*WORDS, "live"])
    assert await context.has_existing_stream(name) == "DONE"


async def test_javascript_stops_what_python_writes(
    served: ServedStore, context: ResumableStreamContext, name: str
) -> None:
    source = Words("a")
    started, joined = await context.resumable_stream(name, source), await context.resume_stream(name)
    await until_text(joined, "a")
    assert started is not None
    await started.aclose()
    async with javascript(served, "stop", BASIN, name) as stopper:
        assert await line_of(stopper) == "end"
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await text_of(joined) == ""
        await source.closed.wait()


async def test_an_application_and_its_client(context: ResumableStreamContext, name: str) -> None:
    """The client for Python goes through connections, and begins anew behind what it has."""
    app, source, gone = FastAPI(), Words(*WORDS), asyncio.Event()

    @app.post("/{text_id}")
    async def start(text_id: str) -> Response:
        return text_response(await context.resumable_stream(text_id, source))

    @app.get("/{text_id}")
    async def resume(text_id: str) -> Response:
        text = await context.resume_stream(text_id)
        if gone.is_set():
            source.end()
            return text_response(text)
        gone.set()
        assert text is not None
        return StreamingResponse(broken_off(text))

    listener = serving.listen("127.0.0.1", 0)
    with listener:
        async with serving.Serving(app, listener):
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/{name}"
            async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http, http.stream("POST", url) as response:
                assert response.status_code == 200
                await anext(response.aiter_text())  # one piece, and the client is gone
            async with asyncio.timeout(PATIENCE_SECONDS):
                pieces = [piece async for piece in replay_text(url, reconnect_backoff_ms=[0])]
    assert gone.is_set()
    assert "".join(pieces) == "".join(WORDS)


async def broken_off(text: TextStream) -> AsyncIterator[str]:
    """The beginning of a text, and then the connection breaks."""
    async with text:
        yield await anext(text)
    raise ConnectionError("the server went down")


@asynccontextmanager
async def writer(name: str, lease_ms: int, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    module = "tests.resumable.text_process"
    async with running(sys.executable, "-m", module, BASIN, name, str(lease_ms), *words) as process:
        assert await line_of(process) == "given"
        yield process


async def test_readers_of_a_killed_writer_are_let_go_by_a_stop(context: ResumableStreamContext, name: str) -> None:
    async with writer(name, 0, "half ", "of it") as process:
        joined = [await context.resumable_stream(name, ended("not asked")) for _ in range(3)]
        for reader in joined:
            await until_text(reader, "of it")
        process.kill()
        await process.wait()
    assert await context.has_existing_stream(name) is True
    await context.stop_stream(name)
    assert await texts_of(joined) == {""}
    assert await text_of(await context.resume_stream(name)) == "half of it"


async def test_readers_of_a_killed_writer_end_by_themselves_if_it_offered_a_lease(
    context: ResumableStreamContext, clock: HeldClock, name: str
) -> None:
    async with writer(name, LEASE_MS, "half ", "of it") as process:
        joined = [await context.resumable_stream(name, ended("not asked")) for _ in range(3)]
        for reader in joined:
            await until_text(reader, "of it")
        process.kill()
        await process.wait()
    clock.let_go()
    assert await texts_of(joined) == {""}
    assert await context.has_existing_stream(name) == "DONE"
