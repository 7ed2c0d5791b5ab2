"""Perdure's chat object for the AI SDK on the embedded store, for the comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import apsw

from perdure import S2
from perdure.resumable.aisdk import AiSdkChat, create_resumable_chat
from perdure.resumable.responses import ChatResponse

from .resumable_work import Source
from .scenario import check


class Chat:
    def __init__(self, chat: AiSdkChat, directory: Path) -> None:
        self._chat = chat
        self._directory = directory

    async def start(self, name: str, source: Source) -> AsyncIterator[str]:
        return _text(await self._chat.make_resumable(name, source, wait_until=self._chat.background))

    async def resume(self, name: str) -> AsyncIterator[str]:
        return _text(await self._chat.replay(name, active_only=True))

    async def stored_bytes(self) -> int:
        return directory_bytes(self._directory)


async def _text(response: ChatResponse) -> AsyncIterator[str]:
    check(response.status == 200, f"the chat answered {response.status}")
    assert response.chunks is not None
    try:
        async for chunk in response.chunks:
            yield chunk.decode()
    finally:
        await response.aclose()


def directory_bytes(directory: Path) -> int:
    """What the files of a store take on the disk, but for the write-ahead log.

    That is a few mebibytes which are written over and over; what is still in it is moved to where it stays first.
    """
    with closing(apsw.Connection(str(directory / "streams.db"))) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    files = (path for path in directory.rglob("*") if path.is_file() and not path.name.endswith("-wal"))
    return sum(path.stat().st_blocks * 512 for path in files)


@asynccontextmanager
async def connect(place: str) -> AsyncIterator[Chat]:
    """On a store in the directory `place`, kept open."""
    directory = Path(place)
    async with S2.open(place) as s2, create_resumable_chat(s2=s2, basin="bench-chats", mode="session") as chat:
        yield Chat(chat, directory)
