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
from .generation import GenerationInterrupted
from .tee import Branch
from .text_bodies import SkippingDecoder

CUT_OFF_TEXT: Final = "the server is about to stop while this text goes on: ask for it again"

CUT_OFF_GRACE_SECONDS: Final = 1.0
"""What readers have to get the rest of a text that has just been stored to its end."""


class Missing(Enum):
    """The type of `MISSING`, which is false like None."""

    MISSING = "missing"

    def __bool__(self) -> bool:
        return False


MISSING: Final = Missing.MISSING
"""There is no such stream; what `undefined` is in JavaScript."""


class Pieces(Protocol):
    """Where the text of one reader comes from."""

    def take(self) -> str | None:
        """The next piece; an empty one if it is not there yet, None at the end. Raises why there is no more."""
        ...

    def wait(self) -> Awaitable[object]:
        """Wait until there may be something to take. Raises why there is no more."""
        ...

    async def aclose(self) -> None:
        """Let go of it, while somebody waits as well. Idempotent."""
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
            text = self._pieces.take()
            if text:
                return text
            if text is None:
                await self.aclose()
            else:
                await self._pieces.wait()
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

    def take(self) -> str | None:
        """The next chunk of the source. Raises what the source raises."""
        while (chunk := self._branch.take()) is not None:
            if chunk.body:
                return chunk.body.decode()
        return None if self._branch.has_ended() else ""

    def wait(self) -> Awaitable[object]:
        """Wait for the source."""
        return self._branch.changed.wait()

    async def aclose(self) -> None:
        """The source goes on as long as it is stored."""
        self._branch.close()


class StoredText:
    """What is stored, from the first record on, and then what comes."""

    def __init__(self, body: FollowingBody, decoder: SkippingDecoder) -> None:
        self._body = body
        self._decoder: SkippingDecoder | None = decoder
        self._step: asyncio.Task[bytes | None] | None = None
        self._text = ""
        self._cutting: asyncio.TimerHandle | None = None
        self._cut_off = False

    def cut_off_soon(self) -> None:
        """The process is about to end: a text that is not over in a moment is cut off, by an error, never by an end."""
        if self._cutting is None:
            self._cutting = asyncio.get_running_loop().call_later(CUT_OFF_GRACE_SECONDS, self._cut)

    def _cut(self) -> None:
        self._cut_off = True
        if self._step is not None:
            self._step.cancel()

    def take(self) -> str | None:
        """The text of the records that were read last."""
        text, self._text = self._text, ""
        return None if not text and self._decoder is None else text

    async def wait(self) -> None:
        """Read the next records. Raises what reading raises, and `GenerationInterrupted` once it is cut off."""
        if self._decoder is None:
            return
        if self._cut_off:
            raise GenerationInterrupted(CUT_OFF_TEXT)
        # In a task of its own: a body ends with the wait that is cancelled, and who waits with a time-out comes again.
        step = self._step = self._step or asyncio.get_running_loop().create_task(self._next_bytes())
        await Settled(step)
        self._step = None
        if self._cut_off and step.cancelled():
            raise GenerationInterrupted(CUT_OFF_TEXT)
        body = None if step.cancelled() else step.result()
        if body is not None:
            self._text += self._decoder.feed(body)
        else:
            self._text += self._decoder.finish()
            self._decoder = None

    async def _next_bytes(self) -> bytes | None:
        return await anext(self._body, None)

    async def aclose(self) -> None:
        """Close the read session."""
        if self._cutting is not None:
            self._cutting.cancel()
        step, self._step = self._step, None
        if step is not None:
            step.cancel()
            await asyncio.wait((step,))
            if not step.cancelled():
                step.exception()  # of a read that nobody waits for any more
        await self._body.aclose()
