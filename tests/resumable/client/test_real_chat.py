"""Both clients with a real application: turns, two clients at once, stops, and servers that die in mid-answer."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from perdure.resumable.anthropic import user_message
from perdure.resumable.client import ChatClient, create_chat_client
from tests.patience import PATIENCE_SECONDS
from tests.resumable.anthropic_scripts import Event, block_stop, message_delta, text_message
from tests.resumable.client.chat_server import answer_to
from tests.resumable.client.program import RUNNERS, Step

REPOSITORY = Path(__file__).parents[3]
LEASE_MS = 600
ROUTES = {
    "sendUrl": "/api/chat",
    "subscribeUrl": "/api/chat/stream?id=c1&live=1",
    "historyUrl": "/api/chat/history?id=c1",
    "stopUrl": "/api/chat?id=c1",
}
FAILED: Event = {"type": "error", "error": {"type": "api_error", "message": "An error occurred."}}
NOTHING = {"turns": [], "messages": [], "nextSeqNum": 0}


class ChatServer:
    """A process that serves the application, and can be killed and started again at the same address.

    Only one that is started after a kill judges whether a writer is dead: the first one has killed nobody, and on a
    slow machine it might take itself for dead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._port = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        await self.start("--lenient")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self, *options: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.resumable.client.chat_server", str(self._path)),
            *(str(self._port), str(LEASE_MS), *options),
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            ready, self.url = (await self._process.stdout.readline()).decode().split()
        assert ready == "ready"
        self._port = int(self.url.rpartition(":")[2])

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ChatServer]:
    async with ChatServer(tmp_path / "data") as server:
        yield server


@asynccontextmanager
async def client_of(server: ChatServer) -> AsyncIterator[ChatClient]:
    async with create_chat_client(
        send_url=f"{server.url}{ROUTES['sendUrl']}",
        subscribe_url=f"{server.url}{ROUTES['subscribeUrl']}",
        history_url=f"{server.url}{ROUTES['historyUrl']}",
        stop_url=f"{server.url}{ROUTES['stopUrl']}",
        reconnect_backoff_ms=[20],
    ) as client:
        yield client


class Listener:
    """Another client, which listens for as long as the chat lasts."""

    def __init__(self, client: ChatClient) -> None:
        self._client = client
        self.heard: list[Any] = []
        self._more = asyncio.Condition()

    async def listen(self) -> None:
        async with await self._client.subscribe(stop_on_terminal=False) as subscription:
            async for event in subscription.events:
                async with self._more:
                    self.heard.append(event)
                    self._more.notify_all()

    async def has_heard(self, events: Sequence[object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._more:
            await self._more.wait_for(lambda: len(self.heard) >= len(events))
        assert self.heard == list(events)


@asynccontextmanager
async def listening(server: ChatServer) -> AsyncIterator[Listener]:
    async with client_of(server) as client:
        listener = Listener(client)
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.wait([task])


def chat(*steps: Step) -> list[Step]:
    return [{"do": "create", **ROUTES, "reconnectBackoffMs": [20]}, *steps]


def say(text: str) -> Step:
    return {"do": "send", "body": {"id": "c1", "text": text}}


HISTORY: Step = {"do": "history"}
REST: Step = {"do": "rest"}
STOP: Step = {"do": "stop"}


def turn(text: str) -> list[Event]:
    return [user_message(text), *answer_to(text)]


def answered(text: str) -> Event:
    return {"user": text, "assistant": text_message(f"You said: {text}", f"msg_{text}")}


@pytest.mark.parametrize("language", RUNNERS)
async def test_what_one_client_sends_another_sees_and_both_find_in_the_history(
    server: ChatServer, language: str
) -> None:
    async with listening(server) as listener:
        log = await RUNNERS[language](server.url, chat(HISTORY, say("one"), REST, HISTORY, say("two"), REST))
        loaded = log.pop(2 + len(turn("one")) + 1)["history"]
        assert (loaded["turns"], loaded["messages"]) == ([answered("one")], [answered("one")["assistant"]])
        assert log == [{"history": NOTHING}, "opened", *turn("one"), "end", "opened", *turn("two"), "end"]
        await listener.has_heard([*turn("one"), *turn("two")])
        async with client_of(server) as late:
            assert (await late.load_history())["turns"] == [answered("one"), answered("two")]


@pytest.mark.parametrize("language", RUNNERS)
async def test_an_answer_is_stopped_for_everybody_and_the_next_one_works(server: ChatServer, language: str) -> None:
    begun = [user_message("stall"), *answer_to("stall")[:3]]
    closing = [block_stop(), message_delta(None, 1), {"type": "message_stop"}]
    steps = [say("stall"), {"do": "read", "count": 4}, say("busy"), STOP, REST, HISTORY, say("next"), REST, STOP]
    async with listening(server) as listener:
        log = await RUNNERS[language](server.url, chat(*steps))
        await listener.has_heard([*begun, *closing, *turn("next")])
    partial = text_message("You said: ", "msg_stall", None) | {"usage": {"input_tokens": 25, "output_tokens": 1}}
    turns = [{"user": "stall", "assistant": partial, "stopped": True}]
    assert log == [
        *["opened", *begun],
        {"error": "HTTP 409 Conflict", "status": 409},
        *["stopped", *closing, "end"],
        {"history": {"turns": turns, "messages": [partial], "nextSeqNum": len(begun) + len(closing) + 2}},
        *["opened", *turn("next"), "end", "stopped"],
    ]


@pytest.mark.parametrize("language", RUNNERS)
async def test_a_server_that_is_killed_and_comes_back_loses_no_event_and_tells_none_twice(
    server: ChatServer, language: str
) -> None:
    begun = [user_message("stall"), *answer_to("stall")[:3]]
    async with listening(server) as listener:
        steps = [say("one"), REST, say("stall"), REST, HISTORY, say("next"), REST]
        running = asyncio.create_task(RUNNERS[language](server.url, chat(*steps)))
        await listener.has_heard([*turn("one"), *begun])
        await server.kill()
        await server.start()
        log = await running
        await listener.has_heard([*turn("one"), *begun, FAILED, *turn("next")])
    partial = text_message("You said: ", "msg_stall", None) | {"usage": {"input_tokens": 25, "output_tokens": 1}}
    history = next(entry["history"] for entry in log if "history" in entry)
    assert history["turns"] == [answered("one"), {"user": "stall", "error": FAILED["error"], "partial": partial}]
    log.remove({"history": history})
    assert log == [
        *["opened", *turn("one"), "end"],
        *["opened", *begun, FAILED, "end"],
        *["opened", *turn("next"), "end"],
    ]
