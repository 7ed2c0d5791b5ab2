"""Several processes on one directory: one wins, and nobody waits for the dead."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from perdure.resumable.anthropic import AnthropicChat
from perdure.resumable.settings import Surroundings
from tests.patience import PATIENCE_SECONDS
from tests.resumable.chat_process import BEGINNINGS
from tests.resumable.chats import ANSWER, CREATE, Chat, Reading, body_of, frames
from tests.resumable.held_clock import HeldClock

REPOSITORY = Path(__file__).parents[2]
LEASE_MS = 600
"""Of writers that are killed."""
LONG_LEASE_MS = 600_000
"""Of writers that live, however slow the machine is."""


class Process:
    """A process that generates; see `chat_process`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def answer(self) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return (await self._process.stdout.readline()).decode().strip()

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def ask(self, line: str) -> str:
        self.tell(line)
        return await self.answer()

    async def kill(self) -> None:
        self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def process(path: Path, adapter: str, lease_ms: int = LONG_LEASE_MS) -> AsyncIterator[Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.resumable.chat_process",
        str(path),
        str(lease_ms),
        adapter,
        cwd=REPOSITORY,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    running = Process(child)
    try:
        assert await running.answer() == "ready"
        yield running
    finally:
        if child.returncode is None:
            await running.kill()


@pytest.fixture(params=CREATE)
def adapter(request: pytest.FixtureRequest) -> str:
    """Everything here holds for every adapter."""
    name: str = request.param
    return name


@pytest.fixture
def clock() -> HeldClock:
    """What this process judges others by."""
    return HeldClock()


@pytest.fixture
async def chat(tmp_path: Path, adapter: str, clock: HeldClock) -> AsyncIterator[Chat]:
    options = {"path": tmp_path / "data", "basin": "test-chats", "mode": "session", "session_lease_ms": LONG_LEASE_MS}
    async with CREATE[adapter](**options, surroundings=Surroundings(now_ms=clock.now_ms)) as chat:
        yield chat


async def test_of_two_processes_that_claim_a_chat_one_wins_and_the_other_calls_no_model(
    chat: Chat, adapter: str, tmp_path: Path
) -> None:
    async with process(tmp_path / "data", adapter) as first, process(tmp_path / "data", adapter) as second:
        winners = set()
        for number in range(20):
            name = f"chat-{number % 5}"
            for each in (first, second):
                each.tell(f"start {name}")
            answers = [await first.answer(), await second.answer()]
            assert sorted(answers) == ["202 1", "409 0"]
            winner = first if answers[0] == "202 1" else second
            winners.add(winner)
            assert await winner.ask(f"end {name}") == "done"
        assert winners  # who wins is chance


async def test_readers_of_a_killed_process_get_an_error_and_an_end_when_its_lease_is_over(
    chat: Chat, clock: HeldClock, adapter: str, error_body: str, tmp_path: Path
) -> None:
    async with process(tmp_path / "data", adapter, LEASE_MS) as writer:
        assert await writer.ask("start c") == "202 1"
        readings = [Reading(await chat.replay("c", active_only=True)) for _ in range(5)]
        watching = Reading(await chat.watch("c"))
        await watching.until('"active":true')
        for reading in readings:
            await reading.until("Hel")
        await writer.kill()
    clock.let_go()
    bodies = await asyncio.gather(*[reading.rest() for reading in readings])
    for body in bodies:
        assert frames(body)[-1][1] == error_body
        assert body.count(error_body) == 1
    assert '"event":"error"' in await watching.until('"event":"error"')
    await watching.close()
    assert len(frames(await body_of(await chat.make_resumable("c", ANSWER, wait_until=chat.background)))) == len(ANSWER)
    await chat.drain()
    history: Any = await (chat.history("c", partials=True) if isinstance(chat, AnthropicChat) else chat.history("c"))
    if adapter == "aisdk":
        parts = [message["parts"] for message in history["messages"]]
        assert parts == [[{"type": "text", "text": said, "state": "done"}] for said in ("Hel", "Hello")]
    elif adapter == "tanstack_ai":
        (message,) = history["messages"]
        assert message["parts"] == [{"type": "text", "content": "Hel"}]
    elif adapter == "events":
        told = [json.loads(error_body)]
        assert [each["event"] for each in history["events"]] == [*BEGINNINGS["events"], *told, *ANSWER]
    else:
        (turn,) = history["turns"]
        assert turn["partial"]["content"] == [{"type": "text", "text": "Hel"}]
        assert turn["error"]["type"] == "api_error"


async def test_the_next_message_after_a_kill_is_refused_until_the_lease_is_over(
    chat: Chat, clock: HeldClock, adapter: str, tmp_path: Path
) -> None:
    async with process(tmp_path / "data", adapter, LEASE_MS) as writer:
        assert await writer.ask("start c") == "202 1"
        await writer.kill()
    assert (await chat.make_resumable("c", ANSWER)).status == 409
    clock.let_go()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (response := await chat.make_resumable("c", ANSWER, delivery="replay")).status == 409:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert response.status == 202


async def test_a_silent_generation_of_another_process_is_stopped(chat: Chat, adapter: str, tmp_path: Path) -> None:
    async with process(tmp_path / "data", adapter) as writer:
        assert await writer.ask("start c") == "202 1"
        assert await chat.stop("c")
        assert await writer.ask("closed c") == "closed"
        assert await writer.ask("start c") == "202 1"


async def test_a_generation_of_another_process_is_followed_live(chat: Chat, adapter: str, tmp_path: Path) -> None:
    async with process(tmp_path / "data", adapter) as writer:
        watching = Reading(await chat.watch("c"))
        await watching.until("state")
        assert await writer.ask("start c") == "202 1"
        await watching.until('"start"')
        reading = Reading(await chat.replay("c", active_only=True))
        await reading.until("Hel")
        assert await writer.ask("end c") == "done"
        ending = 1 if adapter == "tanstack_ai" else 0  # a run that is left open is finished
        assert len(frames(await reading.rest())) == len(BEGINNINGS[adapter]) + ending
        await watching.until('"end"')
        await watching.close()
