"""What else one may build on Redis: each answer a Redis stream, written to the disk before anybody is shown a chunk.

`resumable-stream` keeps an answer in the memory of the process that makes it. This keeps it where it survives that
process, and the machine: the server syncs its append-only file for each command. So it promises what the chat object
promises: a chunk is shown once it is on the disk, to who asked as to a tab. Chunks that come while a write is on its
way go out together in the next one, as many as there are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import redis.asyncio

from .resumable_redis import MAX_CONNECTIONS
from .resumable_work import Source, as_text
from .scenario import check

_Entries: TypeAlias = list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]
"""By stream, the id of each entry and its fields: what the client's own types leave open."""

_TEXT: Final = b"t"
_AT_ONCE: Final = 1_000
"""How many chunks a tab asks for at once."""


class RedisLog:
    def __init__(self, server: redis.asyncio.Redis) -> None:
        self._server = server
        self._writing: set[asyncio.Task[None]] = set()

    async def start(self, name: str, source: Source) -> AsyncIterator[str]:
        check(bool(await self._server.set(f"{name}:claim", "1", nx=True)), f"{name} was claimed before")
        shown: asyncio.Queue[str | None] = asyncio.Queue()
        writing = asyncio.get_running_loop().create_task(self._write(name, source, shown))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return _shown(shown)

    async def _write(self, name: str, source: Source, shown: asyncio.Queue[str | None]) -> None:
        waiting: list[str | None] = []
        more = asyncio.Event()

        async def read() -> None:
            async for piece in as_text(source):
                waiting.append(piece)
                more.set()
            waiting.append(None)
            more.set()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            over = False
            while not over:
                await more.wait()
                more.clear()
                pieces, waiting[:] = tuple(waiting), ()
                async with self._server.pipeline(transaction=False) as writes:
                    for piece in pieces:
                        await writes.xadd(name, {_TEXT: piece or b""})
                    await writes.execute()
                for piece in pieces:
                    shown.put_nowait(piece)
                    over = piece is None

    async def resume(self, name: str) -> AsyncIterator[str]:
        return self._follow(name)

    async def _follow(self, name: str) -> AsyncIterator[str]:
        last = b"0"
        while True:
            answer: _Entries = await self._server.xread({name: last}, count=_AT_ONCE, block=0)  # type: ignore[assignment]
            for _, entries in answer:
                last = entries[-1][0]
                yield b"".join([fields[_TEXT] for _, fields in entries]).decode()
                if not entries[-1][1][_TEXT]:
                    return

    async def stored_bytes(self) -> int:
        size = (await self._server.info("persistence"))["aof_current_size"]
        check(isinstance(size, int), "Redis did not tell the size of its append-only file")
        return int(size)


async def _shown(pieces: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    while (piece := await pieces.get()) is not None:
        yield piece


@asynccontextmanager
async def connect(place: str) -> AsyncIterator[RedisLog]:
    """On the Redis server at `place`, which syncs what it is given."""
    server = redis.asyncio.from_url(f"{place}?max_connections={MAX_CONNECTIONS}")
    try:
        check((await server.config_get("appendfsync"))["appendfsync"] == "always", "Redis does not sync each write")
        yield RedisLog(server)
    finally:
        await server.aclose()
