"""The browser modules that this package ships, and an application that serves them.

They are plain ES modules with TypeScript declarations beside them: no build step, and no dependency. `BrowserModules`
serves them from your own application, so that a page imports what fits the server that it talks to:

    app.mount("/perdure", BrowserModules())                        # FastAPI, Starlette, any ASGI framework that mounts

    <script type="module">
      import { createChatClient } from "/perdure/anthropic.js";

`anthropic.js` is the client of chats of the Anthropic adapter, `aisdk.js` keeps a stock `useChat` in step with other
tabs, `tanstack-ai.js` connects TanStack AI's `useChat` to a chat, `events.js` reads any JSON events, `sse.js` is the
parser alone. The others are what these are made of.

Where ASGI applications are not mounted, serve the files of `DIRECTORY` as your framework serves its own: in Django,
`STATICFILES_DIRS = [("perdure", perdure.web.DIRECTORY)]`. A bundler may import them from there as well.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

__all__ = ["DIRECTORY", "BrowserModules"]

DIRECTORY: Final = Path(__file__).parent
"""Where the modules and their declarations are."""

_CONTENT_TYPES: Final = {".js": "text/javascript; charset=utf-8", ".d.ts": "application/typescript; charset=utf-8"}

# The names that ASGI gives them.
_Scope: TypeAlias = MutableMapping[str, object]
_Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, object]]]
_Send: TypeAlias = Callable[[MutableMapping[str, object]], Awaitable[None]]
_Headers: TypeAlias = list[tuple[bytes, bytes]]


class BrowserModules:
    """An ASGI application that serves the browser modules and their declarations, and nothing else.

    The modules name each other without a version, so browsers keep them but ask each time whether they are current (an
    ETag, a 304): an upgrade never mixes two versions. They are public, for pages of any origin. Mounted or alone, it
    needs no clean-up. The files are read once, when it is made.
    """

    def __init__(self) -> None:
        self._files = {path.name: _File.read(path, suffix) for path, suffix in _shipped()}

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request, as ASGI asks for it."""
        if scope["type"] == "http":
            status, headers, body = self._answer(scope)
            # A copy for each answer: middlewares, such as Starlette's for gzip and CORS, write into it.
            await send({"type": "http.response.start", "status": status, "headers": list(headers)})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
        elif scope["type"] == "lifespan":
            for moment in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{moment}.complete"})
        else:
            await send({"type": "websocket.close", "code": 1000})

    def _answer(self, scope: _Scope) -> tuple[int, _Headers, bytes]:
        # Only whole names count, so there is no path to climb.
        file = self._files.get(_name(str(scope["path"]), str(scope.get("root_path", ""))))
        if file is None:
            return _refusal(404, b"Not Found")
        if scope["method"] not in ("GET", "HEAD"):
            return _refusal(405, b"Method Not Allowed", (b"allow", b"GET, HEAD"))
        if _names(_header(scope, b"if-none-match"), file.etag):
            return 304, file.validators, b""
        return 200, file.headers, file.body


class _File(Struct, frozen=True):
    body: bytes
    etag: bytes
    validators: _Headers
    """What a 304 carries too."""
    headers: _Headers

    @classmethod
    def read(cls, path: Path, suffix: str) -> _File:
        body = path.read_bytes()
        etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
        validators = [(b"etag", etag), (b"cache-control", b"no-cache"), (b"access-control-allow-origin", b"*")]
        headers = [
            (b"content-type", _CONTENT_TYPES[suffix].encode()),
            (b"content-length", str(len(body)).encode()),
            (b"x-content-type-options", b"nosniff"),
            *validators,
        ]
        if suffix == ".js":  # where Deno looks for the declarations of a module
            headers.append((b"x-typescript-types", f"./{path.stem}.d.ts".encode()))
        return cls(body, etag, validators, headers)


def _shipped() -> Iterator[tuple[Path, str]]:
    """The files that are served, with the suffix that says what they are."""
    for suffix in _CONTENT_TYPES:
        for path in sorted(DIRECTORY.glob(f"*{suffix}")):
            yield path, suffix


def _name(path: str, root_path: str) -> str:
    """What is asked for: the path beneath the place where the application is mounted."""
    below = path.removeprefix(root_path) if path.startswith(f"{root_path.rstrip('/')}/") else path
    return below.removeprefix("/")


def _header(scope: Mapping[str, object], wanted: bytes) -> bytes:
    headers = scope["headers"]
    assert isinstance(headers, Iterable), "ASGI: pairs of names and values"
    return b", ".join([bytes(value) for name, value in headers if bytes(name).lower() == wanted])


def _names(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the condition holds the tag, weak or not, as proxies that compress make it."""
    return if_none_match.strip() == b"*" or etag in re.findall(rb'(?:W/)?("[^"]*")', if_none_match)


def _refusal(status: int, text: bytes, *more: tuple[bytes, bytes]) -> tuple[int, _Headers, bytes]:
    length = str(len(text)).encode()
    return status, [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", length), *more], text
