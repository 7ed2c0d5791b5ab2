"""Perdure's context for text streams on the embedded store, for the comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from perdure.resumable import ResumableStreamContext, TextStream, create_resumable_stream_context

from .resumable_chat import directory_bytes
from .resumable_work import Source, as_text


class Context:
    def __init__(self, context: ResumableStreamContext, directory: Path) -> None:
        self._context = context
        self._directory = directory

    async def start(self, name: str, source: Source) -> AsyncIterator[str]:
        pieces = await self._context.resumable_stream(name, lambda: as_text(source))
        assert pieces is not None, f"{name} is over"
        return pieces

    async def resume(self, name: str) -> AsyncIterator[str]:
        pieces = await self._context.resume_existing_stream(name)
        assert isinstance(pieces, TextStream), f"{name} is over, or was not found"
        return pieces

    async def stored_bytes(self) -> int:
        return directory_bytes(self._directory)


@asynccontextmanager
async def connect(place: str) -> AsyncIterator[Context]:
    """On a store in the directory `place`, kept open."""
    async with create_resumable_stream_context(path=place, basin="bench-texts") as context:
        yield Context(context, Path(place))
