"""The code of the manual, run as it stands there."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Page

from perdure import S2, SeqNum
from perdure.cli.serve_options import PORT
from tests.browser import open_chromium
from tests.doc_pages import (
    PAGES,
    WEB,
    application,
    block,
    blocks,
    bundle,
    free_port,
    node,
    run_command,
    run_javascript,
    run_python,
    started,
    when_up,
)
from tests.resumable.anthropic_scripts import text_turn
from tests.resumable.messages_api import MessagesApi, messages_api
from tests.resumable.responses_scripts import text_response
from tests.serve_command import ServeCommand

ANSWER: Final = "Words from your model"


def question(text: str = "hi", **more: object) -> dict[str, object]:
    """What `DefaultChatTransport` posts."""
    return {"messages": [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": text}]}], **more}


def said(body: str) -> str:
    """The text in a body of the AI SDK."""
    return "".join(re.findall(r'"delta":"([^"]*)"', body))


# --- ai-sdk ---------------------------------------------------------------------------------------------------------


async def test_ai_sdk(tmp_path: Path) -> None:
    async with application(block("ai-sdk", "create_resumable_chat"), tmp_path) as http:
        answer = await http.post("/api/chat", json=question(id="c1", trigger="submit-message"))
        assert (answer.status_code, said(answer.text)) == (200, ANSWER)
        assert (await http.get("/api/chat/c1/stream")).status_code == 204
        assert (await http.post("/api/chat/c1/stop")).status_code == 204
        page = block("ai-sdk", "loadMessages(id) {") + "console.log(JSON.stringify(await loadMessages('c1')));"
        (messages,) = await run_javascript(page, str(http.base_url).rstrip("/"))
        assert [message["role"] for message in json.loads(messages)] == ["user", "assistant"]


async def test_clients_an_open_tab_keeps_in_step(tmp_path: Path) -> None:
    tabs = """
        const mine = openChat("c1", []), other = openChat("c1", []);
        await other.chat.sendMessage({ text: "hi" });
        while (mine.chat.messages.length < 2 || mine.chat.status !== "ready") {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
        console.log(mine.chat.messages[1].parts.map((part) => part.text ?? "").join(""));
        mine.close();
        other.close();
    """
    async with application(block("ai-sdk", "create_resumable_chat"), tmp_path) as http:
        shown = await run_javascript(block("clients", "watchChat") + tabs, str(http.base_url).rstrip("/"))
    assert shown == [ANSWER]


# --- the pages of the quickstarts ------------------------------------------------------------------------------------

PATIENCE_FOR_PAGES_MS: Final = 100_000
"""For one step of a browser: a second of a quiet machine, but Chromium shares it with a server and with others."""
_SERVES_ITS_PAGE: Final = """
from starlette.staticfiles import StaticFiles
app.mount("/", StaticFiles(directory="page", html=True))
"""

QUICKSTARTS: Final = {
    "ai-sdk": (
        block("ai-sdk", "create_resumable_chat"),
        {
            "chat.js": block("ai-sdk", "useResumableChat(id, messages) {"),
            "main.jsx": block("ai-sdk", "createRoot("),
            "index.html": block("ai-sdk", "<!doctype html>"),
        },
    ),
    "tanstack-ai": (
        block("tanstack-ai", "make_session_response"),
        {
            "chat.js": block("tanstack-ai", "createS2Connection"),
            "main.jsx": block("tanstack-ai", "createRoot("),
            "index.html": block("tanstack-ai", "<!doctype html>"),
        },
    ),
}


async def converses(tab: Page, url: str, answer: str) -> None:
    """A question, its answer, and both again after a reload."""
    tab.set_default_timeout(PATIENCE_FOR_PAGES_MS)
    await tab.goto(url)
    await tab.fill("input", "Hello")
    await tab.press("input", "Enter")
    for _ in range(2):
        await tab.locator(".assistant", has_text=answer).wait_for()
        assert await tab.locator("p").all_inner_texts() == ["Hello", answer]
        await tab.reload()


@pytest.mark.browser
@pytest.mark.timeout(360)  # four servers and two bundles: a quarter of a minute, where nothing else runs
async def test_the_pages_of_the_quickstarts(tmp_path: Path) -> None:
    async with open_chromium() as chromium, asyncio.timeout(340):
        for name, (server, page) in QUICKSTARTS.items():
            directory = tmp_path / name
            (directory / "page").mkdir(parents=True)
            await bundle(page, directory / "page")
            async with application(server + _SERVES_ITS_PAGE, directory) as http:
                await converses(await chromium.new_page(), str(http.base_url), ANSWER)
        (tmp_path / "openai").mkdir()
        async with openai_chat(tmp_path / "openai") as (api, http):
            api.answer(*text_response("Good ", "day"))
            await converses(await chromium.new_page(), str(http.base_url), "Good day")
        (tmp_path / "text").mkdir()
        files = {"page.html": block("generic-streams", "<!doctype html>")}
        code = block("generic-streams", "create_resumable_stream_context")
        async with application(code, tmp_path / "text", files=files) as http:
            tab = await chromium.new_page()
            tab.set_default_timeout(PATIENCE_FOR_PAGES_MS)
            await tab.goto(str(http.base_url))
            for _ in range(2):
                await tab.locator("pre", has_text=ANSWER).wait_for()
                await tab.reload()


@pytest.mark.parametrize("code", [block("ai-sdk", "export default {"), block("tanstack-ai", "export default {")])
async def test_the_configuration_of_vite_leads_to_the_server(code: str, tmp_path: Path) -> None:
    (tmp_path / "vite.config.mjs").write_text(code)
    script = "const { default: it } = await import('./vite.config.mjs'); console.log(JSON.stringify(it))"
    (told,) = await run_command(f'{node()} --input-type=module --eval "{script}"', tmp_path)
    found = json.loads(told)
    assert found["server"]["proxy"]["/api"] == "http://127.0.0.1:8000"
    for directory in found.get("resolve", {}).get("alias", {}).values():
        assert Path(directory) == WEB


# --- concepts and durability ----------------------------------------------------------------------------------------


async def test_concepts(tmp_path: Path) -> None:
    assert await run_python(block("concepts", "FencingTokenMismatch"), tmp_path) == ["the writer is now writer-2"]


async def test_durability(tmp_path: Path) -> None:
    assert await run_python(block("durability", "error.in_doubt"), tmp_path) == ["stored as record 0"]


# --- deploy, secure, backups ----------------------------------------------------------------------------------------


async def test_deploy_what_is_declared_is_there(tmp_path: Path) -> None:
    (declared,) = blocks("deploy", "json")
    (tmp_path / "init.json").write_text(declared.code)
    command = ("--init-file", str(tmp_path / "init.json"))
    async with ServeCommand(tmp_path / "data", *command) as server, server.client() as http:
        tail = await http.get("/v1/streams/greetings/records/tail", headers={"s2-basin": "my-first-basin"})
        assert tail.json()["tail"]["seq_num"] == 0


async def test_secure_a_token_is_issued_as_said(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data", PERDURE_ROOT_TOKEN="root") as server, server.client() as http:
        code = block("secure", "access_tokens.issue(").replace(f"http://127.0.0.1:{PORT}", server.url)
        secret, listed = await run_python(code, tmp_path, PERDURE_ROOT_TOKEN="root")
        assert listed.startswith("reader 20")
        token = {"authorization": f"Bearer {secret}", "s2-basin": "my-first-basin"}
        assert (await http.get("/v1/streams/any/records/tail", headers=token)).status_code == 404
        assert (await http.delete("/v1/streams/any", headers=token)).status_code == 403
        assert (await http.get("/v1/basins", headers=token)).status_code == 403


async def test_secure_sealed_records(tmp_path: Path) -> None:
    said_so = await run_python(block("secure", "Cipher.AEGIS_256"), tmp_path)
    assert said_so == ["Nobody reads this", "not with another key"]
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert b"Nobody reads this" not in kept


async def test_backups(tmp_path: Path) -> None:
    """The first two commands of the page, over a store with one record."""
    await run_python(
        block("from-s2-sdks", "S2.from_env() as s2").replace("S2.from_env()", 'S2.open("./data")'), tmp_path
    )
    (tmp_path / "backups").mkdir()
    for line in blocks("backups", "console")[0].code.splitlines():
        await run_command(line.removeprefix("$ "), tmp_path)
    async with S2.open(tmp_path / "restored") as s2:
        batch = await s2.basin("my-first-basin").stream("greetings").read(SeqNum(0))
    assert [record.text for record in batch.records] == ["Hello"]


# --- from-redis and from-s2-sdks ------------------------------------------------------------------------------------


async def test_from_redis(tmp_path: Path) -> None:
    async with application(block("from-redis", "create_resumable_stream_context"), tmp_path) as http:
        assert (await http.post("/texts/t1")).text == ANSWER


async def test_from_s2_sdks(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server:
        (exported,) = re.findall(r"^\$ export (S2_.*)$", PAGES["from-s2-sdks"].read_text(), re.MULTILINE)
        assert exported.count(f"http://127.0.0.1:{PORT}") == 2
        told = exported.replace(f"http://127.0.0.1:{PORT}", server.url).split()
        variables = dict(pair.split("=", 1) for pair in told)
        theirs = await run_python(block("from-s2-sdks", "from s2_sdk import"), tmp_path, **variables)
        assert theirs == ["stored as record 0", "[b'Hello']"]
        script = await run_javascript(block("from-s2-sdks", "S2Environment.parse()"), "", **variables)
        assert script == ["stored as record 1"]
        ours = await run_python(block("from-s2-sdks", "S2.from_env() as s2"), tmp_path, **variables)
        assert ours == ["stored as record 2", "[b'Hello']"]
        (tmp_path / "here").mkdir()
        copied = await run_python(block("from-s2-sdks", "S2.from_env() as there"), tmp_path / "here", **variables)
        assert copied == ["copied 3"]


# --- beyond-one-machine ---------------------------------------------------------------------------------------------


async def test_beyond_one_machine(tmp_path: Path, postgres_url: str) -> None:
    code = block("beyond-one-machine", "create_resumable_chat")
    places = [tmp_path / name for name in ("one", "two")]
    for place in places:
        place.mkdir()
    async with (
        application(code, places[0], PERDURE_ENGINE=postgres_url) as one,
        application(code, places[1], PERDURE_ENGINE=postgres_url) as two,
    ):
        assert (await one.post("/api/chat/c1")).status_code == 202
        told = (await two.get("/api/chat/c1/stream", params={"from": 0})).text
        assert re.findall(r'"word":"(\w+)"', told) == ANSWER.split()
        assert (await two.delete("/api/chat/c1")).status_code == 204


# --- tanstack-ai ----------------------------------------------------------------------------------------------------

TALK: Final = """
const connection = connectionTo("c1");
const { ChatClient } = await import("@tanstack/ai-client");
const until = async (isSo) => {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 20));
};
const texts = (client) => client.getMessages().map(({ parts }) => parts.map(({ content }) => content).join(""));
"""


async def test_tanstack_ai(tmp_path: Path) -> None:
    talk = """
        const mine = new ChatClient({ connection, threadId: "c1" }), other = connectionTo("c1");
        const theirs = new ChatClient({ connection: other, threadId: "c1" });
        theirs.subscribe();
        await mine.sendMessage("hi");
        await mine.sendMessage("more");
        await until(() => theirs.getMessages().length === 4 && !theirs.getSessionGenerating());
        console.log(JSON.stringify(texts(mine)));
        console.log(JSON.stringify(texts(theirs)));
        await connection.stop();
        process.exit();
    """
    async with application(block("tanstack-ai", "make_session_response"), tmp_path) as http:
        page = block("tanstack-ai", "createS2Connection") + TALK + talk
        shown = await run_javascript(page, str(http.base_url).rstrip("/"))
    assert [json.loads(line) for line in shown] == [["hi", ANSWER, "more", ANSWER]] * 2


async def test_tanstack_ai_without_a_connection_of_ours(tmp_path: Path) -> None:
    talk = """
        const mine = new ChatClient({ connection, threadId: "c1" });
        await mine.sendMessage("hi");
        const later = new ChatClient({ connection: connectionTo("c1"), threadId: "c1", persistence: true });
        later.attach();
        await until(() => later.getMessages().length === 2);
        console.log(JSON.stringify(texts(mine)));
        console.log(JSON.stringify(texts(later)));
        process.exit();
    """
    async with application(block("tanstack-ai", "handle_tanstack_request(request"), tmp_path) as http:
        page = block("tanstack-ai", "fetchServerSentEvents(`") + TALK + talk
        shown = await run_javascript(page, str(http.base_url).rstrip("/"))
    assert [json.loads(line) for line in shown] == [["hi", ANSWER]] * 2


SESSION: Final = """
from typing import Any

from fastapi import FastAPI, Request, Response
from perdure.resumable.tanstack_ai import create_resumable_chat, replay_options

chat = create_resumable_chat(path="./data", basin="my-app-chats", mode="session")
app = FastAPI(lifespan=chat.lifespan)


async def answer(messages, context):
    asks = messages[-1]["role"] == "user"
    run = {"threadId": "t", "runId": "r1" if asks else "r2"}
    yield {"type": "RUN_STARTED", **run}
    if asks:
        yield {"type": "TOOL_CALL_START", "toolCallId": "c1", "toolCallName": "look"}
        yield {"type": "TOOL_CALL_END", "toolCallId": "c1"}
        asked = {"id": "i1", "reason": "approval_required", "toolCallId": "c1"}
        yield {"type": "RUN_FINISHED", **run, "outcome": {"type": "interrupt", "interrupts": [asked]}}
        return
    yield {"type": "TOOL_CALL_RESULT", "toolCallId": "c1", "messageId": "x", "content": "seen"}
    yield {"type": "TEXT_MESSAGE_START", "messageId": "a2", "role": "assistant"}
    yield {"type": "TEXT_MESSAGE_CONTENT", "messageId": "a2", "delta": "Words from your model"}
    yield {"type": "RUN_FINISHED", **run}


@app.post("/api/chat")
async def send(body: dict[str, Any]) -> Response:
    return await chat.make_session_response(
        body["id"], messages=body["messages"], source=answer, wait_until=chat.background
    )


@app.get("/api/chat/replay")
async def replay(request: Request, id: str) -> Response:
    return await chat.replay(id, **replay_options(request))
"""


async def test_clients_a_session_of_tanstack_ai(tmp_path: Path) -> None:
    async with application(SESSION, tmp_path) as http:
        assert await run_python(at(http, block("clients", "create_tanstack_client")), tmp_path) == [ANSWER]


# --- anthropic and clients ------------------------------------------------------------------------------------------


@asynccontextmanager
async def anthropic_chat(directory: Path) -> AsyncIterator[tuple[MessagesApi, httpx.AsyncClient]]:
    """The server of the page, which asks a Messages API of this machine."""
    async with messages_api() as api:
        files = {"page.html": block("anthropic", "<!doctype html>")}
        variables = {"ANTHROPIC_BASE_URL": api.url, "ANTHROPIC_API_KEY": "test"}
        async with application(block("anthropic", "AsyncAnthropic"), directory, files=files, **variables) as http:
            yield api, http


def at(http: httpx.AsyncClient, code: str) -> str:
    """`code` with the address of the server in place of the one in the page."""
    return code.replace("http://127.0.0.1:8000", str(http.base_url).rstrip("/"))


async def test_anthropic_and_its_clients(tmp_path: Path) -> None:
    async with anthropic_chat(tmp_path) as (api, http):
        for words in ("Good ", "day"), ("And ", "again"):
            api.answer(*text_turn(*words))
        first = await run_python(at(http, block("anthropic", "messages_from_events")), tmp_path)
        assert first == ["0 turns so far", "[{'text': 'Good day', 'type': 'text'}]"]
        assert (await http.delete("/api/chat/c1")).status_code == 204
        second = await run_python(at(http, block("clients", "create_chat_client")), tmp_path)
        assert second == ["earlier: Hello", "And again"]
        assert [message["role"] for message in api.requests[-1]["messages"]] == ["user", "assistant", "user"]
        events = await run_javascript(block("clients", "/perdure/events.js"), str(http.base_url).rstrip("/"))
        assert events.count("user_message") == events.count("message_stop") == 2


@pytest.mark.browser
async def test_anthropic_page(tmp_path: Path) -> None:
    async with anthropic_chat(tmp_path) as (api, http), open_chromium() as chromium, asyncio.timeout(100):
        api.answer(*text_turn("Good ", "day"))
        tabs = [await chromium.new_page(), await chromium.new_page()]
        for tab in tabs:
            await tab.goto(str(http.base_url))
        await tabs[0].fill("input", "Hello")
        await tabs[0].press("input", "Enter")
        for tab in tabs:
            await tab.locator(".assistant", has_text="Good day").wait_for()
        assert await tabs[0].locator("p").all_inner_texts() == ["Hello", "Good day"]
        assert await tabs[0].locator("input").input_value() == ""
        await tabs[1].reload()
        await tabs[1].locator(".assistant", has_text="Good day").wait_for()
        assert await tabs[1].locator("p").all_inner_texts() == ["Hello", "Good day"]


# --- openai and events ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def openai_chat(directory: Path) -> AsyncIterator[tuple[MessagesApi, httpx.AsyncClient]]:
    """The server of the page, which asks a Responses API of this machine."""
    async with messages_api("/v1/responses") as api:
        files = {"page.html": block("openai", "<!doctype html>")}
        variables = {"OPENAI_BASE_URL": f"{api.url}/v1", "OPENAI_API_KEY": "test"}
        async with application(block("openai", "AsyncOpenAI"), directory, files=files, **variables) as http:
            yield api, http


async def test_openai(tmp_path: Path) -> None:
    async with openai_chat(tmp_path) as (api, http):
        for _ in range(2):
            api.answer(*text_response("Good ", "day"))
            assert (await http.post("/api/chat/c1", json={"text": "Hello"})).status_code == 202
            await http.get("/api/chat/c1/stream")  # ends with the turn
        assert (await http.delete("/api/chat/c1")).status_code == 204
    hello = {"role": "user", "content": "Hello"}
    assert [request["input"] for request in api.requests] == [
        [hello],
        [hello, {"role": "assistant", "content": "Good day"}, hello],
    ]


async def test_events(tmp_path: Path) -> None:
    async with application(block("events", "kind_of"), tmp_path) as http:
        run = await http.post("/api/runs/r1")
        said_as = re.findall(r"^event: (.*)$", run.text, re.MULTILINE)
        assert said_as == ["started", "step", "step", "step", "finished"]
        (told,) = re.findall(r"^id: 2\n.*?^data: .*?$", PAGES["events"].read_text(), re.MULTILINE | re.DOTALL)
        assert run.text.startswith(told)
        shown = await run_javascript(block("events", "/perdure/events.js"), str(http.base_url).rstrip("/"))
        assert shown == [f"earlier {kind}" for kind in said_as]
        history = (await http.get("/api/runs/r1/history", params={"limit": 2})).json()
        rest = (await http.get("/api/runs/r1/history", params={"start": history["nextSeqNum"]})).json()
        assert [event["event"]["kind"] for event in history["events"] + rest["events"]] == said_as
        async with http.stream("POST", "/api/runs/r2") as running:
            seen = events(running.aiter_lines())
            await anext(seen)
            assert (await http.post("/api/runs/r2/stop")).status_code == 202
            assert [event["kind"] async for event in seen][-1] == "stopped"


# --- generic-streams ------------------------------------------------------------------------------------------------


async def test_generic_streams(tmp_path: Path) -> None:
    files = {"page.html": block("generic-streams", "<!doctype html>")}
    async with application(block("generic-streams", "create_resumable_stream_context"), tmp_path, files=files) as http:
        assert (await http.get("/texts/t1")).status_code == 404
        assert (await http.post("/texts/t1")).text == ANSWER
        assert (await http.get("/texts/t1/all")).text == ANSWER  # ends once all of it is stored
        assert (await http.get("/texts/t1")).status_code == 422
        assert (await http.post("/texts/t1")).status_code == 422
        whole = await run_python(block("clients", "replay_text"), tmp_path, str(http.base_url.join("/texts/t1/all")))
        assert whole == [ANSWER]
        assert (await http.delete("/texts/t1")).status_code == 204


# --- frameworks -----------------------------------------------------------------------------------------------------

FRAMEWORKS: Final = {
    "starlette": (block("frameworks", "from starlette.requests"), "asgi"),
    "litestar": (block("frameworks", "from litestar"), "asgi"),
    "django": (block("frameworks", "get_asgi_application"), "asgi"),
    "flask": (block("frameworks", "from flask"), "wsgi"),
    "django-wsgi": (block("frameworks", "get_wsgi_application"), "wsgi"),
}


@pytest.mark.parametrize("name", FRAMEWORKS)
async def test_frameworks(name: str, tmp_path: Path) -> None:
    code, interface = FRAMEWORKS[name]
    async with application(code, tmp_path, interface=interface) as http:
        answer = await http.post("/api/chat", json=question(id="c1"))
        assert (answer.status_code, said(answer.text)) == (200, ANSWER)
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert (await http.get("/api/chat/c1/stream")).status_code == 204
        if '"/perdure' in code:
            module = await http.get("/perdure/anthropic.js")
            assert module.headers["content-type"].split(";")[0] == "text/javascript"
            assert module.text == (WEB / "anthropic.js").read_text()


async def test_django_collects_the_browser_modules(tmp_path: Path) -> None:
    collect = "\nfrom django.core.management import call_command\ncall_command('collectstatic', verbosity=0)"
    await run_python(block("frameworks", "get_wsgi_application") + collect, tmp_path)
    for module in WEB.glob("*.js"):
        assert (tmp_path / "static" / "perdure" / module.name).read_text() == module.read_text()


# --- operating-chats ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def operated(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """The program of the page as one process over `directory`."""
    port = free_port()
    variables = {"PORT": str(port), "CHATS": str(directory / "data")}
    code = block("operating-chats", "SECONDS_TO_FINISH")
    async with started(sys.executable, "-c", code, directory=directory, **variables) as server:
        url, user = f"http://127.0.0.1:{port}", {"x-user": "ann"}
        async with httpx.AsyncClient(base_url=url, headers=user, timeout=30) as http:
            await when_up(lambda: http.get("/"), server)
            yield server, http


async def events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def test_operating_chats(tmp_path: Path) -> None:
    """A turn that one process writes is stopped by another; one that runs at the end of its process is finished."""
    async with operated(tmp_path) as (first, mine), operated(tmp_path) as (_, other), asyncio.timeout(100):
        async with mine.stream("POST", "/api/chat/c1", json=question()) as answer:
            shown = events(answer.aiter_lines())
            while (await anext(shown))["type"] != "text-delta":
                pass
            assert (await other.get("/api/chat/c1/stream", headers={"x-user": "bob"})).status_code == 204
            assert (await other.post("/api/chat/c1/stop")).status_code == 202
            assert [chunk["type"] async for chunk in shown][-1] == "abort"
        assert (await mine.get("/api/chat/c1/history", headers={"x-user": ""})).status_code == 401

        async with mine.stream("GET", "/api/chat/c2/watch") as watching:
            seen = events(watching.aiter_lines())
            assert (await anext(seen))["event"] == "state"
            async with mine.stream("POST", "/api/chat/c2", json=question()) as answer:
                shown = events(answer.aiter_lines())
                await anext(shown)
                first.send_signal(signal.SIGTERM)
                assert [chunk["type"] async for chunk in shown][-1] == "finish"
            assert [event["event"] async for event in seen] == ["start", "end"]
        assert await first.wait() == 0
        history = (await other.get("/api/chat/c2/history")).json()
        assert [message["role"] for message in history["messages"]] == ["user", "assistant"]


async def test_operating_chats_on_a_server(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server:
        code = block("operating-chats", "access_token=os.environ").replace("http://127.0.0.1:3458", server.url)
        assert await run_python(code, tmp_path) == ["{'messages': [], 'nextSeqNum': 0, 'active': False}"]


# --- observability ----------------------------------------------------------------------------------------------------


async def test_observability(tmp_path: Path) -> None:
    told = await run_python(block("observability", "create_resumable_chat"), tmp_path)
    names = [line.partition(" {")[0] for line in told]
    assert sorted(names) == ["POST /api/chat", "perdure.generation"]
    assert "'perdure.outcome': 'end'" in told[names.index("perdure.generation")]
