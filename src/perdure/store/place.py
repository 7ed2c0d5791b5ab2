"""One location: its store, opened when it can be, however long that takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final

from ..errors import Unavailable
from ..model.names import check_location_name
from .engine import Engine
from .service import StreamStore
from .usage_recorder import UsageRecorder

logger: Final = logging.getLogger("perdure.store.locations")

START_SECS: Final = 10.0
"""How long the start waits for a location; it goes on without one that takes longer."""

FIRST_PAUSE_SECS: Final = 0.5
LONGEST_PAUSE_SECS: Final = 15.0
"""Between attempts to open a location that could not be opened, doubling from the first to the longest."""


class Place:
    """A location by its name. `open` it, and `aclose` it.

    While its engine cannot be opened, `store` and `engine` raise `Unavailable`, and it is tried again and again. One
    that refuses to go on is opened anew.
    """

    def __init__(self, name: str, open_engine: Callable[[], Awaitable[Engine]]) -> None:
        self.name: Final = check_location_name(name)
        self.opened: Final = asyncio.Event()
        """Set while the engine is open."""
        self._open_engine = open_engine
        self._owned = AsyncExitStack()
        self._engine: Engine | None = None
        self._store: StreamStore | None = None
        self._failure = "it is not open yet"
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise self._unavailable()
        return self._engine

    @property
    def store(self) -> StreamStore:
        """The operations on what is kept here."""
        if self._store is None:
            raise self._unavailable()
        return self._store

    async def open(self) -> None:
        """Open the engine, or begin to try; returns after the first attempt, or after `START_SECS`."""
        self._task = asyncio.create_task(self._keep_open(), name=f"perdure-location-{self.name}")
        tried = asyncio.create_task(self._tried.wait())
        try:
            await asyncio.wait((tried, self._task), timeout=START_SECS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tried.cancel()

    async def aclose(self) -> None:
        """Close the engine, or stop trying. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))  # it ends as soon as its attempt does
            self._task = None
        await self._close("it is closed")

    async def _close(self, why: str) -> None:
        self.opened.clear()
        owned, self._owned, self._engine, self._store = self._owned, AsyncExitStack(), None, None
        self._failure = why
        await owned.aclose()

    async def _keep_open(self) -> None:
        while True:
            await self._open()
            await self.engine.stopped.wait()  # for as long as all is well
            logger.error("location %s refuses to go on, and is opened anew", self.name)
            try:
                await self._close("its store refused to go on")
            except Exception:  # it is not used any more, whatever became of it
                logger.exception("the store of location %s did not close in order", self.name)

    async def _open(self) -> None:
        pause = FIRST_PAUSE_SECS
        while True:
            try:
                await self._attempt()
            except Exception as exc:  # of whatever kind: a location that nobody tries any more is lost for good
                failure = str(exc) or type(exc).__name__
                if self._failure != failure:
                    logger.error("location %s cannot be opened, and is tried again: %s", self.name, failure)
                self._failure = failure
            else:
                logger.info("location %s is open", self.name)
                self.opened.set()
                return
            finally:
                self._tried.set()
            await asyncio.sleep(pause)  # between attempts, since nothing tells when one would succeed
            pause = min(2 * pause, LONGEST_PAUSE_SECS)

    async def _attempt(self) -> None:
        async with AsyncExitStack() as opening:
            engine = await self._open_engine()
            opening.push_async_callback(engine.aclose)
            usage = await opening.enter_async_context(UsageRecorder(engine.usage))
            self._engine, self._store = engine, StreamStore(engine, usage, location=self.name)
            self._owned = opening.pop_all()

    def _unavailable(self) -> Unavailable:
        return Unavailable(f"location `{self.name}` cannot be reached: {self._failure}")
