"""The `resumable-stream` from PyPI, for the comparison: used as its own documentation says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import redis.asyncio
from resumable_stream import (  # type: ignore[import-untyped]  # it has annotations, but no py.typed
    RedisPublisher,
    RedisSubscriber,
    ResumableStreamContext,
    create_resumable_stream_context,
)

from .resumable_work import Source, as_text
from .scenario import check

MAX_CONNECTIONS: Final = 1_000
"""By default redis-py refuses the 101st command that waits for its answer, and two hundred answers begin at once."""


class RedisContext:
    def __init__(self, context: ResumableStreamContext, server: redis.asyncio.Redis) -> None:
        self._context = context
        self._server = server

    async def start(self, name: str, source: Source) -> AsyncIterator[str]:
        pieces: AsyncIterator[str] | None = await self._context.resumable_stream(name, lambda: as_text(source))
        assert pieces is not None, f"{name} is over"
        return pieces

    async def resume(self, name: str) -> AsyncIterator[str]:
        pieces: AsyncIterator[str] | str | None = await self._context.resume_existing_stream(name)
        assert pieces is not None, f"{name} is over"
        assert not isinstance(pieces, str), f"{name} was not found"
        return pieces

    async def stored_bytes(self) -> int:
        used = (await self._server.info("memory"))["used_memory"]
        check(isinstance(used, int), "Redis did not tell its memory")
        return int(used)


async def _ignore(message: str) -> None:
    """What is published on a channel that nobody publishes on."""


@asynccontextmanager
async def connect(place: str) -> AsyncIterator[RedisContext]:
    """On the Redis server at `place`, with connections that are there before the first answer."""
    url = f"{place}?max_connections={MAX_CONNECTIONS}"
    publisher, subscriber = RedisPublisher(url), RedisSubscriber(url)
    await publisher.connect()
    await subscriber.connect()
    # A subscriber whose last channel goes stops to listen, and one that comes at that moment is never heard.
    await subscriber.subscribe("never-used", _ignore)
    server = redis.asyncio.from_url(place)
    try:
        yield RedisContext(create_resumable_stream_context(publisher=publisher, subscriber=subscriber), server)
    finally:
        await subscriber.close()
        await publisher.close()
        await server.aclose()
