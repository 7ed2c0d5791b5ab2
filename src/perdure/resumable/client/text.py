"""The text of a generation of the generic context, read from an application's resume route."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, Sequence
from contextlib import nullcontext

import httpx

from ...errors import TransportError
from .requests import HeaderSource, HttpError, Requests, Url, discard, has_body, new_http_client, translated
from .waiting import RECONNECT_BACKOFF_MS, Backoff


async def replay_text(
    url: Url,
    *,
    headers: HeaderSource | None = None,
    reconnect_backoff_ms: Sequence[float] = RECONNECT_BACKOFF_MS,
    http_client: httpx.AsyncClient | None = None,
) -> AsyncGenerator[str, None]:
    """The text of a generation as it comes, from its beginning to its end.

    A replay always begins at the beginning. So when a connection breaks, it asks again and passes over what it has
    given already. An end of the body is the end of the text; a 204 is an end without text. There is no limit to a
    silence, since plain text has no pings.

    Args:
        url: the resume route, or a function that gives it; GET.
        headers, reconnect_backoff_ms, http_client: as for `subscribe`.

    Raises `HttpError` for an answer that another try would not mend, such as the 422 of a generation that is over and
    not replayed any more; without reconnect any error, `TransportError` too.
    """
    backoff = Backoff(reconnect_backoff_ms)
    given = 0
    async with nullcontext(http_client) if http_client else new_http_client() as http:
        requests = Requests(http, headers)
        while True:
            request = await requests.prepare("GET", url if isinstance(url, str) else url())
            try:
                response = await requests.open(request)
                try:
                    if not has_body(response):
                        await discard(response)
                        return
                    skipped = given
                    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
                    pieces = response.aiter_bytes()
                    while True:
                        with translated(may_have_applied=False):
                            piece = await anext(pieces, None)
                        text = decoder.decode(piece or b"", final=piece is None)
                        skip = min(skipped, len(text))
                        skipped -= skip
                        if text := text[skip:]:
                            backoff.reset()
                            given += len(text)
                            yield text
                        if piece is None:
                            return
                finally:
                    await response.aclose()
            except (TransportError, HttpError) as exc:
                wait_s = None if isinstance(exc, HttpError) and not exc.retry_is_safe else backoff.next_s()
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)
