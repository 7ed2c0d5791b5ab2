"""A stream of text, as those get it who started it and those who joined it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from types import TracebackType
from typing import Final, Protocol

from ..client.waiting import Settled
from .following import FollowingBody
from .tee import Branch
from .text_bodies import SkippingDecoder


class Missing(Enum):
    """The type of `MISSING`, which is false like None."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing.MISSING
"""There is no such stream; what `undefined` is in JavaScript."""


class Pieces(Protocol):
    """Where the text of one reader comes from."""

    async def next_text(self) -> str | None:
        """The next piece, perhaps an empty one; None at the end."""
        ...

    async def aclose(self) -> None:
        """Let go of it, while `next_text` waits as well. Idempotent."""
        ...


class TextStream:
    """An async iterator of text, in pieces of any size; together they are the text.

    `aclose` it, or use it with `async with`: that lets go of what it reads from, and ends nothing else. One that nobody
    refers to any more is closed as well.
    """

    def __init__(self, pieces: Pieces, keep: Callable[[Awaitable[object]], object]) -> None:
        self._pieces = pieces
        self._closed = False
        loop = asyncio.get_running_loop()

        def abandoned() -> None:
            # Collected wherever the collector happened to run: not on the loop, perhaps.
            try:
                loop.call_soon_threadsafe(lambda: keep(pieces.aclose()))
            except RuntimeError:
                return  # the loop is closed, and what was open on it

        self._abandoned = weakref.finalize(self, abandoned)
        self._abandoned.atexit = False

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        while not self._closed:
            text = await self._pieces.next_text()
            if text is None:
                await self.aclose()
            elif text:
                return text
        raise StopAsyncIteration

    async def __aenter__(self) -> TextStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Read no more; whoever waits for the next piece gets the end. Idempotent."""
        self._closed = True
        self._abandoned.detach()
        await self._pieces.aclose()


class ToldText:
    """What the source gives, as it gives it, for the caller who brought it."""

    def __init__(self, branch: Branch) -> None:
        self._branch = branch

    async def next_text(self) -> str | None:
        """The next chunk of the source. Raises what the source raises."""
        try:
            return (await anext(self._branch)).body.decode()
        except StopAsyncIteration:
            return None

    async def aclose(self) -> None:
        """The source goes on as long as it is stored."""
        self._branch.close()


class StoredText:
    """What is stored, from the first record on, and then what comes."""

    def __init__(self, body: FollowingBody, decoder: SkippingDecoder) -> None:
        self._body = body
        self._decoder: SkippingDecoder | None = decoder
        self._step: asyncio.Task[bytes | None] | None = None

    async def next_text(self) -> str | None:
        """The next records' text. Raises what reading raises."""
        if self._decoder is None:
            return None
        # In a task of its own: a body ends with the wait that is cancelled, and who waits with a time-out comes again.
        step = self._step = self._step or asyncio.get_running_loop().create_task(self._next_bytes())
        await Settled(step)
        self._step = None
        body = None if step.cancelled() else step.result()
        if body is not None:
            return self._decoder.feed(body)
        rest, self._decoder = self._decoder.finish(), None
        return rest

    async def _next_bytes(self) -> bytes | None:
        return await anext(self._body, None)

    async def aclose(self) -> None:
        """Close the read session."""
        step, self._step = self._step, None
        if step is not None:
            step.cancel()
            await asyncio.wait((step,))
            if not step.cancelled():
                step.exception()  # of a read that nobody waits for any more
        await self._body.aclose()
