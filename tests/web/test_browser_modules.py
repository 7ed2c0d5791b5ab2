"""The application that serves the browser modules, mounted in others and alone, over real HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from perdure.server import serving
from perdure.web import DIRECTORY, BrowserModules
from tests.patience import PATIENCE_SECONDS

MODULES = sorted(path.name for path in DIRECTORY.glob("*.js"))
SHIPPED = sorted(path.name for path in DIRECTORY.iterdir() if path.name.endswith((".js", ".d.ts")))


def mounted_in_fastapi() -> object:
    app = FastAPI()
    app.mount("/perdure", BrowserModules())
    return app


def mounted_twice() -> object:
    return Starlette(routes=[Mount("/a", routes=[Mount("/perdure", BrowserModules())])])


PLACES = {
    "alone": (BrowserModules, ""),
    "FastAPI": (mounted_in_fastapi, "/perdure"),
    "Starlette": (mounted_twice, "/a/perdure"),
}


@asynccontextmanager
async def served(app: object) -> AsyncIterator[str]:
    listener = serving.listen("127.0.0.1", 0)
    with listener:
        async with serving.Serving(app, listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(params=PLACES)
async def modules(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the modules, wherever they are mounted."""
    make, place = PLACES[request.param]
    async with served(make()) as url, httpx.AsyncClient(base_url=url + place) as http:
        yield http


async def test_each_module_is_served_with_its_type(modules: httpx.AsyncClient) -> None:
    assert {"anthropic.js", "aisdk.js", "sse.js"} <= set(MODULES)
    for name in SHIPPED:
        answer = await modules.get(name)
        assert answer.status_code == 200
        assert answer.content == (DIRECTORY / name).read_bytes()
        kind = "text/javascript" if name.endswith(".js") else "application/typescript"
        assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_each_module_names_its_declarations(modules: httpx.AsyncClient) -> None:
    for name in MODULES:
        declarations = (await modules.get(name)).headers["x-typescript-types"]
        assert (await modules.get(declarations.removeprefix("./"))).status_code == 200


def test_modules_import_only_each_other() -> None:
    for name in SHIPPED:
        imported = re.findall(r' from "([^"]+)"', (DIRECTORY / name).read_text())
        assert {f"./{module}" for module in MODULES} >= set(imported), name


async def test_a_browser_asks_whether_its_copy_is_current(modules: httpx.AsyncClient) -> None:
    first = await modules.get("sse.js")
    assert first.headers["cache-control"] == "no-cache"
    etag = first.headers["etag"]
    for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = await modules.get("sse.js", headers={"if-none-match": condition})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    assert (await modules.get("sse.js", headers={"if-none-match": '"other"'})).status_code == 200
    assert (await modules.get("request.js")).headers["etag"] != etag


async def test_a_head_has_no_body(modules: httpx.AsyncClient) -> None:
    answer = await modules.head("sse.js")
    assert answer.status_code == 200
    assert answer.content == b""
    assert answer.headers["etag"] == (await modules.get("sse.js")).headers["etag"]


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "nothing.js", "SSE.js", "__init__.py", "sse.js/", "sse.js/x", "/sse.js", "sse.js%00", "sse"),
        *(
            "%2e%2e/errors.py",
            "..%2ferrors.py",
            "%2e%2e%2f%2e%2e%2fpyproject.toml",
            "x/%2e%2e/sse.js",
            "%2fetc%2fpasswd",
        ),
    ],
)
async def test_anything_else_is_not_found(path: str) -> None:
    async with served(mounted_in_fastapi()) as url:
        assert await status_of(url, f"/perdure/{path}") == 404


async def status_of(url: str, target: str) -> int:
    """The status for a target that no client tidies up first."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    writer.write(f"GET {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n".encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        head = await reader.readline()
    writer.close()
    return int(head.split()[1])


async def test_what_can_only_be_read_is_only_read(modules: httpx.AsyncClient) -> None:
    answer = await modules.post("sse.js", content=b"x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


async def test_a_query_changes_nothing(modules: httpx.AsyncClient) -> None:
    assert (await modules.get("sse.js?v=1")).status_code == 200


async def test_a_middleware_that_compresses_changes_no_later_answer() -> None:
    """Starlette's middlewares write into the list of headers that an application sends."""
    app = Starlette(routes=[Mount("/perdure", BrowserModules())])
    app.add_middleware(GZipMiddleware, minimum_size=1)
    async with served(app) as url, httpx.AsyncClient(base_url=url) as http:
        compressed = await http.get("/perdure/sse.js", headers={"accept-encoding": "gzip"})
        assert compressed.headers["content-encoding"] == "gzip"
        plain = await http.get("/perdure/sse.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.content == compressed.content == (DIRECTORY / "sse.js").read_bytes()
