"""The stock connection of TanStack AI against an application: runs, resumes, joins and loaded threads."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI, Request

from perdure import S2
from perdure.resumable.settings import ModeName
from perdure.resumable.tanstack_ai import Asked, ChatResponse, TanstackChat
from perdure.resumable.tanstack_stock import BadRequest, asked_by, hydration
from perdure.server import serving
from tests.resumable.chats import Source, frames, tanstack_chat_on
from tests.resumable.tanstack_scripts import (
    Event,
    answer,
    echo,
    run_finished,
    run_interrupted,
    run_started,
    text_content,
    text_message,
    text_start,
    thought,
    tool_call,
    tool_result,
)

NPM: Final = Path(__file__).parents[1] / "npm"
SCRIPT: Final = Path(__file__).with_name("tanstack_connection.mjs")
U1: Event = {"id": "u1", "role": "user", "parts": [{"type": "text", "content": "hi"}]}
RUN: Final[list[Event]] = [
    run_started("run-1", "chat-1"),
    thought("hm"),
    *tool_call('{"city":', '"Köln"}'),
    tool_result("21"),
    run_finished("run-1", "tool_calls", "chat-1"),
    *text_message("It is ", "warm.\u2028"),
    run_finished("run-1", thread="chat-1"),
]
"""A run of two steps, of which the first ends with `RUN_FINISHED` too."""


class App:
    """An application with one route for the stock connection. `sources` are used one after another."""

    def __init__(self, chat: TanstackChat, mode: ModeName) -> None:
        self.chat = chat
        self.mode = mode
        self.sources: list[Source] = []
        self.asked: list[Asked] = []
        self.last: Asked | None = None
        self.joined = asyncio.Event()
        self.until_resumed: dict[str, Source] = {}
        """Sources that wait with their last event until the chat's run is resumed."""
        self.url = ""

    def stream_name_for(self, asked: Asked) -> str | None:
        if asked.query.get("forbidden"):
            return None
        self.last = asked
        chat_id = asked.run_id if self.mode == "single-use" else asked.chat_id
        return f"c-{chat_id}"

    def start(self, asked: Asked) -> AsyncIterator[Event]:
        self.asked.append(asked)
        return self.sources.pop(0)()

    def route(self) -> FastAPI:
        app = FastAPI()

        @app.api_route("/chat", methods=["GET", "POST", "PUT"])
        async def stock(request: Request) -> ChatResponse:
            response = await self.chat.handle_tanstack_request(
                request, stream_name_for=self.stream_name_for, start=self.start
            )
            # The body reads from here on, so what comes now is not missed by it.
            if self.last is not None and self.last.kind == "join":
                self.joined.set()
            if self.last is not None and self.last.kind == "resume":
                source = self.until_resumed.pop(str(self.last.chat_id), None)
                if source is not None:
                    source.give(RUN[-1])
                    source.end()
            return response

        return app

    def generate(self, *events: Event, ends: bool = True) -> Source:
        source = Source(*events)
        if ends:
            source.end()
        self.sources.append(source)
        return source


@asynccontextmanager
async def application(s2: S2, mode: ModeName) -> AsyncIterator[App]:
    chat = await tanstack_chat_on(s2, mode=mode)
    app = App(chat, mode)
    listener = serving.listen("127.0.0.1", 0)
    with listener:
        async with serving.Serving(app.route(), listener):
            app.url = f"http://127.0.0.1:{listener.getsockname()[1]}/chat"
            yield app
    await chat.aclose(timeout=0)


@pytest.fixture(params=["single-use", "shared", "session"])
async def app(s2: S2, request: pytest.FixtureRequest) -> AsyncIterator[App]:
    async with application(s2, request.param) as app:
        yield app


async def stock(*cases: Mapping[str, object]) -> list[Any]:
    """What the stock connection makes of each case; `tanstack_connection.mjs` says what cases there are."""
    assert (NPM / "node_modules" / "@tanstack" / "ai-client").is_dir(), "the stock clients are missing: run `make test`"
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node")
    assert node is not None, "there is no Node.js: run `make test`"
    process = await asyncio.create_subprocess_exec(
        node,
        "--input-type=module",
        "--eval",
        SCRIPT.read_text(),
        cwd=NPM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate("".join(json.dumps(case) + "\n" for case in cases).encode())
    results = [json.loads(line) for line in out.decode().split("\n") if line]
    assert len(results) == len(cases)
    assert [result for result in results if "crashed" in result] == []
    return results


def connect(app: App, run: str = "run-1", **more: object) -> dict[str, object]:
    case = {"op": "connect", "url": app.url, "messages": [U1], "body": {"id": "chat-1"}}
    return {**case, "threadId": "chat-1", "runId": run, **more}


def kinds(chunks: list[Event]) -> list[str]:
    return [chunk["type"] for chunk in chunks]


# --- the stock connection ---


async def test_a_run_streams_to_its_end(app: App) -> None:
    app.generate(*RUN)
    (result,) = await stock(connect(app))
    assert "error" not in result
    expected = kinds([*(echo("hi") if app.mode == "session" else []), *RUN])
    assert kinds(result["chunks"]) == expected
    assert result["requests"] == [["POST", None, True]]
    (asked,) = app.asked
    assert (asked.kind, asked.chat_id, asked.thread_id, asked.run_id) == ("start", "chat-1", "chat-1", "run-1")
    assert asked.messages[0]["parts"] == U1["parts"]


async def test_a_connection_that_breaks_after_each_event_gets_every_event_once(s2: S2) -> None:
    async with application(s2, "session") as app:
        app.generate(*RUN)
        (result,) = await stock(connect(app, cutAfter=1, times=1000))
        assert "error" not in result
        whole = [*echo("hi"), *RUN]
        assert kinds(result["chunks"])[: len(whole)] == kinds(whole)
        assert "".join(chunk.get("delta", "") for chunk in result["chunks"]) == "".join(
            event.get("delta", "") for event in whole
        )
        assert len(app.asked) == 1, "no resume has started another run"
        assert all(last_id is not None for _, last_id, _ in result["requests"][1:])


@pytest.mark.parametrize(
    ("mode", "over"),
    [("single-use", False), ("shared", False), ("shared", True), ("session", False), ("session", True)],
)
async def test_a_connection_that_breaks_anywhere_resumes_by_itself(s2: S2, mode: ModeName, over: bool) -> None:
    """The run is still going when its client comes back, or it is over; a single-use one is gone then."""
    async with application(s2, mode) as app:
        begin = echo("hi") if mode == "session" else []
        whole = [*begin, *RUN]
        cases = []
        for cut in range(1, len(whole) - 1):
            chat_id = f"chat-{cut}"
            if over:
                app.generate(*RUN)
            else:
                app.until_resumed[chat_id] = app.generate(*RUN[:-1], ends=False)
            cases.append(connect(app, f"run-{cut}", cutAfter=cut, times=1, body={"id": chat_id}))
        for cut, result in enumerate(await stock(*cases), start=1):
            assert "error" not in result, (cut, result)
            assert [request[1] is None for request in result["requests"]] == [True, False], cut
            assert [(chunk["type"], chunk.get("delta")) for chunk in result["chunks"]] == [
                (event["type"], event.get("delta")) for event in whole
            ], cut


async def test_a_single_use_run_that_is_over_and_gone_still_ends(s2: S2) -> None:
    async with application(s2, "single-use") as app:
        app.generate(*RUN)
        (result,) = await stock(connect(app, cutAfter=2, times=1))
        assert "error" not in result
        assert kinds(result["chunks"])[-1] == "RUN_FINISHED"
        assert result["chunks"][-1]["runId"] == "run-1"


async def test_another_tab_joins_a_run_from_its_start(app: App) -> None:
    source = app.generate(*RUN[:3], ends=False)
    first = asyncio.create_task(stock(connect(app)))
    await source.given.wait()
    url = f"{app.url}?id=chat-1"
    joining = asyncio.create_task(stock({"op": "join", "url": url, "runId": "run-1"}))
    await app.joined.wait()
    source.give(*RUN[3:])
    source.end()
    (joined,) = await joining
    await first
    assert "error" not in joined
    assert kinds(joined["chunks"])[-len(RUN) :] == kinds(RUN)


async def test_a_run_that_nobody_knows_is_refused(app: App) -> None:
    (result,) = await stock({"op": "join", "url": f"{app.url}?id=nobody", "runId": "nobody"})
    assert result["error"]
    assert result["chunks"] == []


async def test_a_thread_is_loaded_with_the_run_that_is_active(s2: S2) -> None:
    async with application(s2, "session") as app:
        app.generate(*answer("Hello", run="run-1"))
        source = app.generate(run_started("run-2"), text_start("a2"), text_content("We", "a2"), ends=False)
        await stock(connect(app))
        loading = {"op": "hydrate", "url": app.url, "threadId": "chat-1"}
        (idle,) = await stock(loading)
        assert idle["hydrated"]["activeRun"] is None
        assert [made["role"] for made in idle["hydrated"]["messages"]] == ["user", "assistant"]
        assert idle["hydrated"]["page"] == {"truncated": False}
        again = [U1, {"id": "u2", "role": "user", "parts": [{"type": "text", "content": "more"}]}]
        second = asyncio.create_task(stock(connect(app, "run-2", messages=again)))
        await source.given.wait()
        (active,) = await stock(loading)
        assert active["hydrated"]["activeRun"] == {"runId": "run-2"}
        assert [made["id"] for made in active["hydrated"]["messages"]] == ["u1", "a1", "u2"]
        source.give(run_finished("run-2"))
        source.end()
        await second
        over = {"op": "join", "url": f"{app.url}?id=chat-1", "runId": "run-1"}
        (page, replayed) = await stock({**loading, "limit": 2}, over)
        assert [made["id"] for made in page["hydrated"]["messages"]] == ["u2", "a2"]
        assert page["hydrated"]["page"] == {"truncated": True, "cursor": "u2"}
        assert kinds(replayed["chunks"]) == kinds(answer("Hello"))


async def test_a_thread_is_loaded_with_what_its_last_run_asks(s2: S2) -> None:
    async with application(s2, "session") as app:
        asking = run_interrupted("run-1", thread="chat-1")
        app.generate(run_started("run-1", "chat-1"), *tool_call("{}"), asking)
        await stock(connect(app))
        loading = {"op": "hydrate", "url": app.url, "threadId": "chat-1"}
        restoring = {"op": "restore", "url": app.url, "threadId": "chat-1", "body": {"id": "chat-1"}}
        app.generate(run_started("run-2", "chat-1"), tool_result("21"), run_finished("run-2", thread="chat-1"))
        loaded, restored = await stock(loading, restoring)
        assert loaded["hydrated"]["interrupts"] == {"runId": "run-1", "pending": asking["outcome"]["interrupts"]}
        assert loaded["hydrated"]["activeRun"] is None
        assert [(one["id"], one["canResolve"]) for one in restored["asked"]] == [("ask-c1", True)]
        resumed = app.asked[-1].body
        assert resumed["parentRunId"] == "run-1", restored
        assert resumed["resume"] == [{"interruptId": "ask-c1", "status": "resolved", "payload": {"approved": True}}]
        assert restored["after"] == []
        (loaded,) = await stock(loading)
        assert loaded["hydrated"]["interrupts"] is None
        assert loaded["hydrated"]["messages"][1]["parts"][0]["state"] == "complete"


@pytest.mark.parametrize("version", ["new", "old"])
async def test_a_stock_chat_shows_what_the_log_amounts_to(s2: S2, version: str) -> None:
    async with application(s2, "session") as app:
        app.generate(*answer("Hel", "lo", run="run-1"))
        asked = {"op": "chat", "version": version, "url": app.url, "body": {"id": "chat-1"}, "threadId": "chat-1"}
        (result,) = await stock({**asked, "text": "hi"})
        assert result["errors"] == []
        shown = [(made["role"], [part["content"] for part in made["parts"]]) for made in result["messages"]]
        assert shown == [("user", ["hi"]), ("assistant", ["Hello"])]
        told = (await app.chat.history("c-chat-1"))["messages"]
        assert [made["id"] for made in result["messages"]] == [made["id"] for made in told]


# --- by hand ---


@pytest.mark.parametrize("mode", ["single-use", "shared", "session"])
async def test_a_resume_starts_nothing_whatever_is_left(s2: S2, mode: ModeName) -> None:
    async with application(s2, mode) as app, httpx.AsyncClient() as http:
        body = {"threadId": "chat-1", "runId": "run-1", "messages": []}
        for cursor in ("2", "9007199254740991"):
            response = await http.post(app.url, json=body, headers={"Last-Event-ID": cursor})
            assert response.status_code == 200
            ((number, data),) = frames(response.text)
            assert number is None
            event = json.loads(data)
            assert (event["type"], event["runId"], event["threadId"]) == ("RUN_FINISHED", "run-1", "chat-1")
        assert (await http.post(app.url, json=body, headers={"Last-Event-ID": "x"})).status_code == 400
        assert app.asked == []


async def test_a_resume_of_an_earlier_run_ends_with_that_run(s2: S2) -> None:
    async with application(s2, "session") as app, httpx.AsyncClient() as http:
        for number in (1, 2):
            app.generate(*answer("x", run=f"run-{number}", message=f"a{number}"))
            body = {"threadId": "chat-1", "runId": f"run-{number}", "messages": [U1]}
            first = await http.post(app.url, json=body)
            assert first.status_code == 200
        body["runId"] = "run-1"
        response = await http.post(app.url, json=body, headers={"Last-Event-ID": "6"})
        assert kinds([json.loads(data) for _, data in frames(response.text)]) == kinds(answer("x"))[2:]


async def test_what_is_none_of_the_forms_is_refused(s2: S2) -> None:
    async with application(s2, "shared") as app, httpx.AsyncClient() as http:
        assert (await http.get(app.url)).status_code == 400
        assert (await http.put(app.url)).status_code == 400
        assert (await http.post(app.url, content=b"[]")).status_code == 400
        assert (await http.get(app.url, params={"threadId": "t", "forbidden": "1"})).status_code == 404


def test_the_id_of_a_chat_is_looked_for_where_clients_put_it() -> None:
    places: list[tuple[Event, str]] = [
        ({"id": "a", "forwardedProps": {"id": "b"}, "data": {"id": "c"}, "threadId": "d", "runId": "e"}, "a"),
        ({"forwardedProps": {"id": "b"}, "data": {"id": "c"}, "threadId": "d", "runId": "e"}, "b"),
        ({"forwardedProps": None, "data": {"id": "c"}, "threadId": "d", "runId": "e"}, "c"),
        ({"id": 5, "threadId": "d", "runId": "e"}, "d"),
        ({"runId": "e"}, "e"),
    ]
    for body, expected in places:
        assert asked_by("POST", {}, {}, json.dumps(body).encode()).chat_id == expected
    asked = asked_by("POST", {"x-run-id": "h"}, {}, b'{"messages":null}')
    assert (asked.chat_id, asked.run_id, asked.messages) == ("h", "h", [])
    with pytest.raises(BadRequest):
        asked_by("GET", {}, {"runId": "r", "offset": "5"}, b"")


def test_pages_of_a_thread_go_backwards() -> None:
    messages: list[Any] = [{"id": f"m{number}"} for number in range(5)]
    asked = asked_by("GET", {}, {"threadId": "t", "limit": "2"}, b"")
    first = hydration(messages, None, None, asked)
    assert first["messages"] == messages[3:]
    assert first["page"] == {"truncated": True, "cursor": "m3"}
    asked = asked_by("GET", {}, {"threadId": "t", "limit": "5", "before": "m3"}, b"")
    assert hydration(messages, None, None, asked) == {
        "messages": messages[:3],
        "activeRun": None,
        "interrupts": None,
        "page": {"truncated": False},
    }
