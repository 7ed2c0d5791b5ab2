"""The rules that every request of these clients follows: headers, errors, what is done with an answer nobody wants."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import httpx

from ...errors import PerdureError, TransportError, UsageError

Headers: TypeAlias = Mapping[str, str] | Sequence[tuple[str, str]]
HeaderSource: TypeAlias = Headers | Callable[[], Headers | Awaitable[Headers]]
"""Headers, or a function that gives them; it is asked anew for every request, since tokens expire."""

Url: TypeAlias = str | Callable[[], str]

_CONNECT_SECONDS: Final = 10.0
_ANSWER_SECONDS: Final = 60.0
"""How long a whole answer that is no stream may take."""
_DISCARD_BYTES: Final = 64 * 1024
_DISCARD_SECONDS: Final = 1.0
_TIMEOUT: Final = httpx.Timeout(_CONNECT_SECONDS, read=None)
"""Silence is bounded by who reads: pings count, and a POST may be answered only when all is stored."""


class HttpError(PerdureError):
    """An answer outside 2xx. The text is `HTTP <status> <reason>`; the body is not kept."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status} {reason}".rstrip())
        self._status = status

    @property
    def status(self) -> int:
        return self._status

    @property
    def retry_is_safe(self) -> bool:
        """Whether the same request may be answered later: 408, 429 and 5xx."""
        return self._status >= 500 or self._status in (408, 429)

    def _changed_nothing(self) -> bool:
        return self._status < 500 and self._status != 408


def new_http_client() -> httpx.AsyncClient:
    """The client of those who bring none."""
    return httpx.AsyncClient()


class Requests:
    """Makes the requests of one client object."""

    def __init__(self, http: httpx.AsyncClient, headers: HeaderSource | None) -> None:
        self._http = http
        self._headers = headers

    async def prepare(self, method: str, url: str, *, json: bytes | None = None) -> httpx.Request:
        """The request with the headers that hold now. Raises `UsageError` for a URL that cannot be asked."""
        headers = self._headers() if callable(self._headers) else self._headers
        if inspect.isawaitable(headers):
            headers = await headers
        try:
            request = self._http.build_request(
                method, url, headers=None if headers is None else _as_httpx(headers), content=json, timeout=_TIMEOUT
            )
        except httpx.InvalidURL as exc:
            raise UsageError(f"{url!r} cannot be asked: {exc}") from exc
        if json is not None:
            request.headers["content-type"] = "application/json"
        return request

    async def open(self, request: httpx.Request) -> httpx.Response:
        """The answer, with its body still to be read, which is for the caller to close.

        Raises `HttpError` outside 2xx, and `TransportError` if there is no answer.
        """
        with translated(may_have_applied=request.method != "GET"):
            response = await self._http.send(request, stream=True, follow_redirects=True)
        if response.is_success:
            return response
        await discard(response)
        raise HttpError(response.status_code, response.reason_phrase)

    async def text(self, method: str, url: str, *, json: bytes | None = None) -> str:
        """The whole body of an answer; raises as `open` does, also for a body that breaks or takes too long."""
        may_have_applied = method != "GET"
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                response = await self.open(await self.prepare(method, url, json=json))
                try:
                    with translated(may_have_applied=may_have_applied):
                        return (await response.aread()).decode(errors="replace")
                finally:
                    await response.aclose()
        except TimeoutError:
            message = f"no whole answer within {_ANSWER_SECONDS:.0f} s"
            raise TransportError(message, may_have_applied=may_have_applied) from None


def resolved(url: Url) -> str:
    """The URL as it is now."""
    return url if isinstance(url, str) else url()


def _as_httpx(headers: Headers) -> Mapping[str, str] | list[tuple[str, str]]:
    return headers if isinstance(headers, Mapping) else list(headers)


@contextmanager
def translated(*, may_have_applied: bool) -> Iterator[None]:
    """Tell of failures of the network in our own words."""
    try:
        yield
    except httpx.UnsupportedProtocol as exc:
        raise UsageError(f"{exc} Give a whole URL, or an `http_client` that has a `base_url`.") from exc
    except httpx.HTTPError as exc:
        reason = str(exc) or type(exc).__name__
        raise TransportError(f"no answer, or a cut one: {reason}", may_have_applied=may_have_applied) from exc


def has_body(response: httpx.Response) -> bool:
    """Whether there is a body to read. An empty one that says so counts as none."""
    return response.status_code != 204 and response.headers.get("content-length") != "0"


async def discard(response: httpx.Response) -> None:
    """Read what is left of an answer, so that its connection can be used again; what is long or slow is cut."""
    size = 0
    try:
        async with asyncio.timeout(_DISCARD_SECONDS):
            async for piece in response.aiter_raw():
                size += len(piece)
                if size > _DISCARD_BYTES:
                    break
    except (TimeoutError, httpx.HTTPError):
        pass  # it is thrown away in any case
    finally:
        await response.aclose()
