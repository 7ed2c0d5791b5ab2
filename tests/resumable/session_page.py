"""An application with a session of TanStack AI, and tabs of the stock client that are open on it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request

from perdure import S2
from perdure.resumable.json_body import JsonObject
from perdure.resumable.tanstack_ai import ChatResponse, SourceContext, TanstackChat, replay_options
from perdure.server import serving
from tests.resumable.chats import tanstack_chat_on
from tests.resumable.tanstack_scripts import (
    Event,
    run_finished,
    run_interrupted,
    run_started,
    text_content,
    text_end,
    text_start,
    tool_call,
    tool_result,
)
from tests.web.test_web_modules import find_node

NPM: Final = Path(__file__).parents[1] / "npm"
SCRIPT: Final = Path(__file__).with_name("tanstack_tabs.mjs")
MODULE: Final = Path(__file__).parents[2] / "src/perdure/web/tanstack-ai.js"
SECONDS: Final = 60


class Page:
    """The routes of a session. What the user says decides the answer.

    "stall" and "fail" get the beginning of one, "ask" a question, and all else an answer. What has another role at
    its end, as when a question was answered, gets the result of a tool and an answer.
    """

    def __init__(self, chat: TanstackChat) -> None:
        self.chat = chat
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def application(self) -> FastAPI:
        app = FastAPI()

        @app.post("/send")
        async def send(body: dict[str, Any]) -> ChatResponse:
            self.bodies.append(body)

            def source(messages: list[JsonObject], context: SourceContext) -> AsyncIterator[Event]:
                return self._answer(body, messages)

            return await self.chat.make_session_response(
                f"chat-{body['id']}", messages=body["messages"], source=source, wait_until=self.chat.background
            )

        @app.get("/replay")
        async def replay(request: Request, id: str) -> ChatResponse:
            return await self.chat.replay(f"chat-{id}", **replay_options(request))

        @app.get("/history")
        async def history(id: str) -> ChatResponse:
            return await self.chat.history_response(f"chat-{id}")

        @app.delete("/send")
        async def stop(body: dict[str, Any]) -> ChatResponse:
            return await self.chat.stop_session(f"chat-{body['id']}")

        return app

    async def _answer(self, body: dict[str, Any], messages: list[JsonObject]) -> AsyncIterator[Event]:
        number = len(self.bodies)
        run, thread = body.get("runId") or f"run-{number}", "t1"
        message = f"a{number}"
        last = messages[-1]
        said = "".join(str(part.get("content", "")) for part in last["parts"])  # type: ignore[union-attr]  # the shape of a UI message
        yield run_started(run, thread)
        if last["role"] != "user":
            yield tool_result("21")
        elif said == "ask":
            for event in tool_call("{}"):
                yield event
            asked = run_interrupted(run, thread=thread)
            (question,) = asked["outcome"]["interrupts"]
            # For older clients, which do not read the outcome.
            value = {"toolCallId": "c1", "toolName": "weather", "input": {}, "approval": {"id": question["id"]}}
            yield {"type": "CUSTOM", "name": "approval-requested", "value": value}
            yield asked
            return
        yield text_start(message)
        for delta in ("You ", "said: "):
            yield text_content(delta, message)
        if said == "stall":
            await asyncio.Event().wait()
        if said == "fail":
            raise RuntimeError("secret")
        yield text_content(f"{said}\u2028", message)
        yield text_end(message)
        yield run_finished(run, thread=thread)


@asynccontextmanager
async def page_on(s2: S2) -> AsyncIterator[Page]:
    """An application over this store."""
    chat = await tanstack_chat_on(s2)
    page = Page(chat)
    with serving.listen("127.0.0.1", 0) as listener:
        async with serving.Serving(page.application(), listener):
            page.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            yield page
            await chat.aclose(timeout=0)


class Tabs:
    """Tabs of the stock client in one process of Node.js; `tanstack_tabs.mjs` says what they can be told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, do: str, tab: str, **more: object) -> Any:
        """Have a tab do something; what it shows then."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, "tab": tab, **more}).encode() + b"\n")
        async with asyncio.timeout(SECONDS):
            line = await self._process.stdout.readline()
        answer = json.loads(line)
        assert "crashed" not in answer, answer
        return answer

    async def open(
        self, tab: str, url: str, version: str = "new", make: str = "createS2Connection", **more: object
    ) -> None:
        options: dict[str, object] = {
            "sendUrl": f"{url}/send",
            "subscribeUrl": f"{url}/replay?id=c1&live=1",
            "body": {"id": "c1"},
            "reconnectBackoffMs": [0, 20],
        }
        if make == "createS2Connection":
            options |= {"mode": "session", "stopUrl": f"{url}/send"}
        await self.tell("open", tab, version=version, make=make, options={**options, **more}, threadId="t1")

    async def show(self, tab: str, *messages: tuple[str, str], **state: object) -> Any:
        """Wait until a tab shows these messages, and is in this state."""
        wanted = {"messages": [list(message) for message in messages], **state}
        now = await self.tell("until", tab, **wanted)
        assert {key: now[key] for key in wanted} == wanted
        return now


@asynccontextmanager
async def tabs() -> AsyncIterator[Tabs]:
    """No tab is open yet."""
    process = await asyncio.create_subprocess_exec(
        *(find_node(), "--input-type=module", "--eval", SCRIPT.read_text()),
        cwd=NPM,
        env={**os.environ, "TANSTACK_MODULE": MODULE.as_uri()},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Tabs(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
