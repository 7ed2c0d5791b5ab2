"""The signals that end a process end what has no end, so that its server can go; each goes where it would have gone."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from perdure.resumable import GenerationInterrupted, create_resumable_stream_context
from perdure.resumable.aisdk import create_resumable_chat
from perdure.resumable.termination import SIGNALS, TerminationSignals
from tests.doc_pages import free_port, started, when_up
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chats import ANSWER, BASIN, START, Reading, Source, body_of
from tests.resumable.texts import Words

PROGRAM = """
from starlette.applications import Starlette
from starlette.routing import Route

from perdure.resumable.aisdk import create_resumable_chat

chat = create_resumable_chat(path="./data", basin="test-chats", mode="session")


async def stream(request):
    return await chat.replay("c", live=True)


async def watch(request):
    return await chat.watch("c")


app = Starlette(routes=[Route("/stream", stream), Route("/watch", watch)], lifespan=chat.lifespan)
"""


@pytest.fixture
def handled() -> Iterator[list[int]]:
    """The signals that reached the handlers of a server."""
    numbers: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: numbers.append(number)) for number in SIGNALS}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_ends_bodies_that_have_no_end(number: int, tmp_path: Path, handled: list[int]) -> None:
    chat = create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session")
    source = Source(START)
    async with chat.lifespan():
        await body_of(await chat.make_resumable("c", ANSWER))
        live, watching = Reading(await chat.replay("c", live=True)), Reading(await chat.watch("c"))
        answer = await chat.make_resumable("d", source)
        await source.given.wait()
        shown = await live.until('"finish"')
        await watching.until("state")
        os.kill(os.getpid(), number)
        source.end()  # what is being generated ends by itself, and before them
        await asyncio.gather(live.rest(), watching.rest())
        assert handled == [number]
        assert '"start"' in await body_of(answer)
        # Who asks again before the server has closed its door does not keep it.
        assert await body_of(await chat.replay("c", live=True)) == shown
        assert await body_of(await chat.replay("nothing yet", live=True)) == ""
        assert (await chat.watch("c")).status == 503


async def test_the_handlers_are_those_of_the_server_again_afterwards(tmp_path: Path, handled: list[int]) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    chat = create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session")
    async with chat.lifespan():
        live = await chat.replay("c", live=True)
        assert [signal.getsignal(number) for number in SIGNALS] != before
        await live.aclose()
    assert [signal.getsignal(number) for number in SIGNALS] == before


async def test_a_handler_that_came_later_stays(handled: list[int]) -> None:
    signals = TerminationSignals(lambda: None)
    signals.listen()
    later: Any = lambda number, frame: None  # noqa: E731
    signal.signal(signal.SIGTERM, later)
    signals.close()
    assert signal.getsignal(signal.SIGTERM) is later


async def test_without_a_lifespan_no_signal_is_touched(tmp_path: Path, handled: list[int]) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    async with create_resumable_chat(path=tmp_path / "data", basin=BASIN, mode="session") as chat:
        live = await chat.replay("c", live=True)
        assert [signal.getsignal(number) for number in SIGNALS] == before
        await live.aclose()


async def test_a_signal_that_ends_the_process_at_once_still_does() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signals = TerminationSignals(lambda: None)
    try:
        signals.listen()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signals.close()
        signal.signal(signal.SIGTERM, before)


def test_a_loop_in_another_thread_leaves_the_signals_alone(handled: list[int]) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]

    async def listen() -> None:
        TerminationSignals(lambda: None).listen()

    thread = threading.Thread(target=lambda: asyncio.run(listen()))
    thread.start()
    thread.join()
    assert [signal.getsignal(number) for number in SIGNALS] == before


async def test_a_server_ends_while_tabs_are_open(tmp_path: Path) -> None:
    (tmp_path / "application.py").write_text(PROGRAM)
    port = free_port()
    command = (sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "application:app")
    async with (
        started(*command, directory=tmp_path) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None) as http,
    ):
        await when_up(lambda: http.get("/"), server)
        async with http.stream("GET", "/stream") as stream, http.stream("GET", "/watch") as watch:
            assert (stream.status_code, watch.status_code) == (200, 200)
            server.terminate()
            await asyncio.gather(stream.aread(), watch.aread())
            await server.wait()


TEXTS = """
from starlette.applications import Starlette
from starlette.routing import Route

from perdure.resumable import create_resumable_stream_context, text_response

context = create_resumable_stream_context(path="./data", basin="test-texts")


async def stream(request):
    return text_response(await context.resume_stream(request.path_params["name"]))


app = Starlette(routes=[Route("/{name}", stream)], lifespan=context.lifespan)
"""
SERVERS = {
    "granian": ("granian", "--interface", "asgi", "--port", "{port}", "application:app"),
    "uvicorn": ("uvicorn", "--port", "{port}", "--lifespan", "on", "application:app"),
}


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("server", SERVERS)
async def test_a_server_ends_while_texts_are_open_that_nobody_writes(
    tmp_path: Path, server: str, number: signal.Signals
) -> None:
    """Their readers must not take it for the end of the text."""
    (tmp_path / "application.py").write_text(TEXTS)
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[server]]
    async with (
        started(sys.executable, "-m", *command, directory=tmp_path) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None) as http,
    ):
        await when_up(lambda: http.get("/"), process)
        async with http.stream("GET", "/nobody-s") as text:
            assert text.status_code == 200
            process.send_signal(number)
            with pytest.raises(httpx.RemoteProtocolError):
                await text.aread()
        await process.wait()


async def test_a_signal_cuts_off_texts_of_others_and_lets_those_of_this_process_end(
    tmp_path: Path, handled: list[int]
) -> None:
    source = Words("one ")
    context = create_resumable_stream_context(path=tmp_path / "data", basin=BASIN)
    async with context.lifespan():
        told = await context.resumable_stream("ours", source)
        ours, waiting, idle = [await context.resume_stream(name) for name in ("ours", "theirs", "theirs")]
        assert told is not None
        assert ours is not None
        assert waiting is not None
        assert idle is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await anext(ours) == "one "
            step = asyncio.ensure_future(anext(waiting))
            os.kill(os.getpid(), signal.SIGTERM)
            source.give("two")
            source.end()
            assert [piece async for piece in ours] == ["two"]
            assert [piece async for piece in told] == ["one ", "two"]
            with pytest.raises(GenerationInterrupted, match="ask for it again"):
                await step
            for cut_off in (idle, await context.resume_stream("theirs")):
                assert cut_off is not None
                with pytest.raises(GenerationInterrupted):
                    await anext(cut_off)
                await cut_off.aclose()
    assert handled == [signal.SIGTERM]
