"""One source, read once, for two: what stores it, and the caller who started it.

A task of its own reads the source, so that neither of the two can take it from the other: a caller that goes away
does not end what is stored, and the end of storing, when somebody stops the stream, does not end what the caller
reads. The source waits for the one that stores, and only when nothing is stored any more, for the caller. When both are
gone it is closed.

The writer of a generation takes chunks by a call, in the step in which the source gives them: to wake a task for each
of them, only to hand them on, would cost as much as to store them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from ..client.waiting import Bell
from .chunks import SourceChunk
from .sources import Source

MAX_WAITING_CHUNKS: Final = 64
MAX_WAITING_BYTES: Final = 1024 * 1024
"""How far the source may be ahead of the one that it waits for."""


class Sink(Protocol):
    """What stores the chunks, as `GenerationWriter` does."""

    on_answer: Callable[[], None] | None
    """Called whenever there may be room again."""

    @property
    def has_room(self) -> bool:
        """Whether the next record may come."""
        ...

    def put(self, body: bytes) -> None:
        """Take the body of one record."""
        ...


class Branch:
    """One of the two readers of a `Tee`. Iterate it once; `close` it when nobody wants more."""

    def __init__(self, tee: Tee) -> None:
        self._tee = tee
        self._sink: Sink | None = None
        self._waiting: deque[SourceChunk] = deque()
        self._waiting_bytes = 0
        self.changed: Bell = Bell()
        """Rung when there is something new to take."""
        self.is_open: bool = True
        """Whether anybody wants more."""

    @property
    def is_full(self) -> bool:
        """Whether the source is far enough ahead of this branch."""
        sink = self._sink
        if sink is not None:
            return not sink.has_room
        return len(self._waiting) >= MAX_WAITING_CHUNKS or self._waiting_bytes >= MAX_WAITING_BYTES

    def put(self, chunk: SourceChunk) -> None:
        """Take the next chunk, if anybody wants it."""
        if self._sink is not None:
            self._sink.put(chunk.body)
        elif self.is_open:
            self._waiting.append(chunk)
            self._waiting_bytes += len(chunk.body)
            self.changed.ring()

    def pour_into(self, sink: Sink) -> None:
        """Let `sink` take the chunks, from what waits on; iterating gives no more of them, and tells of the end."""
        while self._waiting:
            sink.put(self._waiting.popleft().body)
        self._waiting_bytes = 0
        sink.on_answer = self._tee.room.ring
        self._sink = sink
        self._tee.room.ring()

    def __aiter__(self) -> AsyncIterator[SourceChunk]:
        return self

    async def __anext__(self) -> SourceChunk:
        """The next chunk. Raises what the source raised, after its chunks."""
        while (chunk := self.take()) is None:
            if self.has_ended():
                raise StopAsyncIteration
            await self.changed.wait()
        return chunk

    def take(self) -> SourceChunk | None:
        """The next chunk, if it is there."""
        waiting = self._waiting
        if not waiting:
            return None
        was_full = self.is_full
        chunk = waiting.popleft()
        self._waiting_bytes -= len(chunk.body)
        if was_full:
            self._tee.room.ring()
        return chunk

    def has_ended(self) -> bool:
        """Whether nothing comes after what waits. Raises what the source raised instead, unless nobody wants more."""
        if not self.is_open or not self._tee.has_ended:
            return not self.is_open
        if self._tee.failure is not None:
            raise self._tee.failure
        return True

    def close(self) -> None:
        """Want no more; whoever waits here gets the end. Idempotent."""
        self.is_open = False
        self._waiting.clear()
        self._waiting_bytes = 0
        sink, self._sink = self._sink, None
        if sink is not None:
            sink.on_answer = None
        self.changed.ring()
        self._tee.branch_closed()

    async def aclose(self) -> None:
        """`close`, as sources have it."""
        self.close()


class Tee:
    """Reads `source` for `stored` and `told`. `cut_off` is what the caller is told when the reading is cancelled."""

    def __init__(self, source: Source, cut_off: Exception) -> None:
        self._source = source
        self._cut_off = cut_off
        self._task: asyncio.Task[None] | None = None
        self.room: Bell = Bell()
        """Rung when the source may be asked for more."""
        self.has_ended: bool = False
        """Whether the source gives no more."""
        self.failure: Exception | None = None
        """What the source raised."""
        self.stored: Branch = Branch(self)
        self.told: Branch = Branch(self)

    def start(self, name: str) -> asyncio.Task[None]:
        """Start reading. The caller keeps the task; cancelling it closes the source."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"source of {name}")
        self._task.add_done_callback(self._done)
        return self._task

    def branch_closed(self) -> None:
        """One of the two wants no more."""
        self.room.ring()
        if self._task is not None and self._is_unwanted:
            self._task.cancel()

    @property
    def _is_unwanted(self) -> bool:
        return not (self.stored.is_open or self.told.is_open)

    @property
    def _is_far_ahead(self) -> bool:
        branch = self.stored if self.stored.is_open else self.told
        return branch.is_open and branch.is_full

    async def _run(self) -> None:
        try:
            try:
                async for chunk in self._source:
                    self.told.put(chunk)  # first, so that its reader runs before the append is made
                    self.stored.put(chunk)
                    while self._is_far_ahead:
                        await self.room.wait()
            finally:
                await self._source.aclose()
        except asyncio.CancelledError:
            self.failure = self._cut_off
            raise
        except Exception as exc:
            self.failure = exc

    def _done(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.failure = self._cut_off  # also if it never began
        self.has_ended = True
        self.stored.changed.ring()
        self.told.changed.ring()
