"""What carries the inspector's page to a browser.

The page is plain files, the same for everybody. What it shows, it asks of the S2 API of its own origin, with the access
token that its user gives it; so it may be public where the API is not. `Inspector` knows no HTTP server: it says what
to answer, and whoever has the connection sends it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from .._version import __version__
from ..wire import headers

PATH: Final = b"/ui"
"""Where the page is. The page itself names it, so it is no setting."""

STATIC: Final = Path(__file__).with_name("static")

Fields: TypeAlias = tuple[tuple[bytes, bytes], ...]

_PAGE: Final = b"index.html"
_ABOUT: Final = b"about.json"
_HTML: Final = b"text/html; charset=utf-8"
_CONTENT_TYPES: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": _HTML,
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".txt": headers.PLAIN_TEXT,
    ".woff2": b"font/woff2",
}
_POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Records are anybody's bytes: whatever of them might slip into the page can run nothing and reach no other origin."""

_CHECKED: Final = (headers.CACHE_CONTROL, b"no-cache")
_KEPT: Final = (headers.CACHE_CONTROL, b"public, max-age=31536000, immutable")
_NOT_KEPT: Final = (headers.CACHE_CONTROL, b"no-store")
_NO_SNIFFING: Final = (headers.X_CONTENT_TYPE_OPTIONS, b"nosniff")

_OK: Final = 200
_NOT_MODIFIED: Final = 304
_ELSEWHERE: Final = 307
_NOT_FOUND: Final = 404
_WRONG_METHOD: Final = 405


class Answer(Struct, frozen=True, gc=False):
    """What to send: a status, a body with its type if it has one, and the other header fields."""

    status: int
    body: bytes = b""
    content_type: bytes | None = None
    fields: Fields = ()


class Inspector:
    """The page with everything that it loads, read when this is made.

    `store` is what the page says that it shows, such as a directory. It is told to everybody who reaches the page, so
    it is for stores that are inspected where they are, not for servers.
    """

    def __init__(self, *, store: str | None = None) -> None:
        about = {"version": __version__} | ({} if store is None else {"store": store})
        self._about = Answer(_OK, msgspec.json.encode(about), headers.JSON, (_NOT_KEPT, _NO_SNIFFING))
        self._files = dict(_read(STATIC))

    def answer(self, method: str, path: bytes, query: bytes = b"", if_none_match: bytes | None = None) -> Answer | None:
        """The answer to a request, `path` as it stands in it; None if it is not for the inspector."""
        if path == b"/":
            name = None
        elif path == PATH or path.startswith(PATH + b"/"):
            name = path[len(PATH) + 1 :] or _PAGE
        else:
            return None
        if method not in ("GET", "HEAD"):
            return Answer(_WRONG_METHOD, fields=((headers.ALLOW, b"GET, HEAD"),))
        if name is None:
            return Answer(_ELSEWHERE, fields=((headers.LOCATION, PATH),))
        if name == _ABOUT:
            return self._about
        file = self._files.get(name)  # only whole names count, so there is no path to climb
        if file is None:
            return Answer(_NOT_FOUND, b"There is no such file.\n", headers.PLAIN_TEXT, (_NO_SNIFFING,))
        fields = (*file.fields, _KEPT if query and query == file.version else _CHECKED)
        if if_none_match is not None and _names(if_none_match, file.etag):
            return Answer(_NOT_MODIFIED, fields=fields)
        return Answer(_OK, file.body, file.content_type, fields)


class _File(Struct, frozen=True):
    body: bytes
    content_type: bytes
    etag: bytes
    fields: Fields
    version: bytes
    """The query with which the page asks for it: it changes with the bytes, so that answer may be kept for ever."""


def _read(folder: Path) -> Iterator[tuple[bytes, _File]]:
    for path in sorted(folder.rglob("*")):
        content_type = _CONTENT_TYPES.get(path.suffix)
        if content_type is None or not path.is_file():
            continue
        body = path.read_bytes()
        digest = hashlib.sha256(body).hexdigest().encode()
        etag = b'"%s"' % digest[:32]
        fields: Fields = ((headers.ETAG, etag), _NO_SNIFFING)
        if content_type == _HTML:
            fields = (
                *fields,
                (headers.CONTENT_SECURITY_POLICY, _POLICY),
                (headers.REFERRER_POLICY, b"no-referrer"),
                (headers.CROSS_ORIGIN_OPENER_POLICY, b"same-origin"),
            )
        name = path.relative_to(folder).as_posix().encode()
        yield name, _File(body, content_type, etag, fields, digest[:_VERSION_DIGITS])


_VERSION_DIGITS: Final = 10
"""How much of the hash `ui/build.mjs` writes behind the names of assets."""


def _names(if_none_match: bytes, etag: bytes) -> bool:
    """Whether the condition holds the tag, weak or not, as proxies that compress make it."""
    return if_none_match.strip() == b"*" or etag in re.findall(rb'(?:W/)?("[^"]*")', if_none_match)
