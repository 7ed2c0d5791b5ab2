"""The pages that are plain files: HTML, style sheets and ES modules, which browsers load as they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

from perdure.web import BrowserModules

PAGES: Final = Path(__file__).with_name("pages")
NAMES: Final = ("demos", "anthropic", "agent")

_REVALIDATE: Final = {"cache-control": "no-cache"}
"""A browser asks whether its copy is still right: the files keep their names when the package is upgraded."""


class _CurrentFiles(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_REVALIDATE)
        return response


def add_pages(app: FastAPI) -> None:
    """Serve each page at `/<its name>`, its files below `/pages`, and the browser modules of Perdure below `/web`."""
    for name in NAMES:
        app.get(f"/{name}")(_page(name))
    app.mount("/pages", _CurrentFiles(directory=PAGES))
    app.mount("/web", BrowserModules())


def _page(name: str) -> Callable[[], Awaitable[Response]]:
    async def page() -> Response:
        return FileResponse(PAGES / f"{name}.html", headers=_REVALIDATE)

    return page
