"""An application with the routes of TanStack AI's clients, and a page with the stock clients in a browser."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from playwright.async_api import Browser, Page
from starlette.responses import Response

from perdure import S2
from perdure.resumable.tanstack_ai import Asked, SourceContext, TanstackChat, create_resumable_chat, replay_options
from perdure.server import serving
from perdure.web import BrowserModules
from tests.patience import PROCESS_SECONDS
from tests.resumable.chats import BASIN, Source
from tests.resumable.tanstack_scripts import Event

NPM: Final = Path(__file__).parents[1] / "npm"
SOURCE: Final = Path(__file__).with_name("tanstack_page.mjs")
PAGE: Final = (
    '<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">'
    '<script type="module" src="/page/page.js"></script>'
)
WAIT_MS: Final = 1000 * PROCESS_SECONDS

STOP_FROM_OUTSIDE: Final = f"""
import asyncio, sys
from perdure.resumable.tanstack_ai import create_resumable_chat

async def main():
    async with create_resumable_chat(path=sys.argv[1], basin="{BASIN}", mode="session") as chat:
        print((await chat.stop_session(sys.argv[2])).status)

asyncio.run(main())
"""

Version = Literal["newest", "older"]
Form = Literal["session", "stock"]


BUNDLE: Final = """
import { build } from "esbuild";
const [source, outfile] = process.argv.slice(1);
const stdin = { contents: source, resolveDir: process.cwd() };
await build({ stdin, outfile, bundle: true, format: "esm", external: ["/web/*"], logLevel: "error" });
"""


def bundle_page(folder: Path) -> None:
    """Bundle the page's script into `folder`."""
    assert (NPM / "node_modules" / "esbuild").is_dir(), "esbuild is missing: run `make test`"
    beside = Path(sys.executable).with_name("node")
    subprocess.run(
        [
            *(str(beside) if beside.exists() else "node", "--input-type=module", "--eval", BUNDLE),
            *(SOURCE.read_text(), str(folder / "page.js")),
        ],
        cwd=NPM,  # where the packages are
        check=True,
        timeout=60,
    )


class App:
    """Chats in session mode. `sources` are used one after another, by the chat's id."""

    def __init__(self, chat: TanstackChat, store: Path) -> None:
        self.chat = chat
        self.store = store
        self.url = ""
        self.sources: defaultdict[str, list[Source]] = defaultdict(list)
        self.posted: list[Any] = []
        """The bodies of the turns that were taken."""

    def generate(self, chat_id: str, *events: Event, ends: bool = True) -> Source:
        """What the next turn of a chat gives."""
        source = Source(*events)
        if ends:
            source.end()
        self.sources[chat_id].append(source)
        return source

    async def messages(self, chat_id: str) -> list[Any]:
        return [*(await self.chat.history(f"c-{chat_id}"))["messages"]]

    async def stop_from_another_process(self, chat_id: str) -> int:
        """The status that a stop route of another process would give."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", STOP_FROM_OUTSIDE, str(self.store), f"c-{chat_id}", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return int(out)

    def _started(self, chat_id: str, body: object) -> AsyncIterator[Event]:
        self.posted.append(body)
        return self.sources[chat_id].pop(0)()

    def routes(self, page: Path) -> FastAPI:
        app = FastAPI()
        app.mount("/web", BrowserModules())
        app.mount("/page", StaticFiles(directory=page))

        @app.get("/")
        async def index() -> Response:
            return HTMLResponse(PAGE)

        @app.post("/session")
        async def send(body: dict[str, Any]) -> Response:
            def source(messages: list[Any], context: SourceContext) -> AsyncIterator[Event]:
                return self._started(body["id"], body)

            return await self.chat.make_session_response(
                f"c-{body['id']}", messages=body["messages"], source=source, wait_until=self.chat.background
            )

        @app.get("/session/replay")
        async def replay(request: Request, id: str) -> Response:
            return await self.chat.replay(f"c-{id}", **replay_options(request))

        @app.delete("/session")
        async def stop(body: dict[str, Any]) -> Response:
            return await self.chat.stop_session(f"c-{body['id']}")

        @app.api_route("/stock", methods=["GET", "POST"])
        async def stock(request: Request, id: str) -> Response:
            def start(asked: Asked) -> AsyncIterator[Event]:
                return self._started(id, asked.body)

            return await self.chat.handle_tanstack_request(request, stream_name_for=lambda _: f"c-{id}", start=start)

        return app


@asynccontextmanager
async def application(store: Path, page: Path) -> AsyncIterator[App]:
    """An application over an embedded store, which other processes may open as well."""
    async with S2.open(store) as s2, create_resumable_chat(s2=s2, basin=BASIN, mode="session") as chat:
        app = App(chat, store)
        listener = serving.listen("127.0.0.1", 0)
        with listener:
            async with serving.Serving(app.routes(page), listener):
                app.url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
                yield app
                await chat.aclose(timeout=0)  # bodies that have no end would keep the server


class Tab:
    """A tab with one stock client."""

    def __init__(self, page: Page, options: dict[str, object]) -> None:
        self.page = page
        self._options = options
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    @classmethod
    async def open(cls, browser: Browser, app: App, version: Version, form: Form, chat: str, **more: object) -> Tab:
        """Open the page and start its client."""
        tab = cls(await browser.new_page(), {"version": version, "form": form, "chat": chat, **more})
        await tab.page.goto(app.url)
        await tab._start()
        return tab

    async def reload(self) -> None:
        await self.page.reload()
        await self._start()

    async def _start(self) -> None:
        await self.page.wait_for_function("() => window.isReady", timeout=WAIT_MS)
        await self.page.evaluate("options => window.start(options)", self._options)

    async def send(self, text: str) -> None:
        await self.page.evaluate("text => window.send(text)", text)

    async def stop(self) -> None:
        await self.page.evaluate("() => window.stop()")

    async def decide(self, approval_id: str, *, approved: bool) -> None:
        await self.page.evaluate("([id, approved]) => window.approve(id, approved)", [approval_id, approved])

    async def state(self) -> Any:
        return await self.page.evaluate("() => window.state()")

    async def told(self) -> list[Any]:
        return told((await self.state())["messages"])

    async def until(self, condition: str) -> None:
        """Wait until an expression of the state holds."""
        try:
            await self.page.wait_for_function(f"() => (s => {condition})(window.state())", timeout=WAIT_MS)
        except Exception as exc:
            raise AssertionError(f"{condition} did not come true: {await self.state()}") from exc

    async def until_text(self, text: str) -> None:
        """Wait until the last message ends with this text."""
        await self.until(f"s.messages.at(-1)?.parts.at(-1)?.content?.endsWith({text!r})")

    async def until_rest(self) -> None:
        """Wait until nothing is generated any more."""
        await self.until("!s.isLoading && !s.sessionGenerating")


def told(messages: list[Any]) -> list[Any]:
    """Who says what: the texts, thoughts and calls of messages, without ids and times."""
    return [(message["role"], [*filter(None, map(_part, message["parts"]))]) for message in messages]


def _part(part: Any) -> Any:
    match part["type"]:
        case "text" | "thinking":
            return (part["type"], part["content"])
        case "tool-call":
            return ("call", part["name"], part["arguments"], part["state"], part.get("output"))
    return None
