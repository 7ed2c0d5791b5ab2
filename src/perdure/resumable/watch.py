"""Telling open tabs when a generation starts and ends.

All watchers of a stream in one process share one read session, and one knowledge of the stream's state. A watcher's
first event tells that state, so a reconnect needs no cursor, and a watcher that is too slow is simply told the state
anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from ..errors import PerdureError, StreamNotFound
from ..model.positions import SeqNum
from ..model.records import CommandKind
from ..telemetry.log_fields import about
from ..wire.sse import KEEP_ALIVE
from . import frames, tokens
from .following import POLL_SECONDS
from .lease import LeaseWarden, silence_ms
from .tail_search import StreamHead, find_head

if TYPE_CHECKING:
    from ..client import Stream
    from .settings import Surroundings

logger: Final = logging.getLogger("perdure.resumable")

MAX_WAITING_EVENTS: Final = 64
"""Events that wait for a slow watcher before it is told the state instead."""

_EVENT_NAMES: Final = {
    tokens.FenceKind.HOLDER: "start",
    tokens.FenceKind.END: "end",
    tokens.FenceKind.STOP: "stop",
    tokens.FenceKind.ERROR: "error",
}


class _Event(Struct, rename="camel", frozen=True, gc=False):
    event: str
    active: bool
    generation_start: int | None
    next_seq_num: int


def event_frame(name: str, head: StreamHead) -> bytes:
    """The frame that tells `head`, the state after what `name` names."""
    event = _Event(name, head.active, head.active_start, head.next_seq_num)
    return frames.named("generation", msgspec.json.encode(event))


class Watcher:
    """The body of one watch response: an async iterator that never ends by itself."""

    def __init__(self, room: WatchRoom, keep_alive_ms: float | None) -> None:
        self._room = room
        self._keep_alive = None if keep_alive_ms is None else keep_alive_ms / 1000
        self._waiting: list[bytes] = []
        self._wanted: asyncio.Future[None] | None = None
        self._closed = False
        self._failure: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise StopAsyncIteration
            try:
                async with asyncio.timeout(self._keep_alive):
                    self._wanted = asyncio.get_running_loop().create_future()
                    await self._wanted
            except TimeoutError:
                return KEEP_ALIVE
        waiting, self._waiting = self._waiting, []
        return b"".join(waiting)

    def tell(self, frame: bytes) -> None:
        """Queue an event."""
        if len(self._waiting) >= MAX_WAITING_EVENTS:
            self._waiting = [self._room.state_frame()]
        else:
            self._waiting.append(frame)
        self._wake()

    def fail(self, failure: Exception) -> None:
        """The room cannot go on; the response is cut off, so that the client connects again."""
        self._failure = failure
        self._wake()

    async def aclose(self) -> None:
        """Leave. Idempotent."""
        if not self._closed:
            self._closed = True
            self._wake()
            await self._room.leave(self)

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.done():
            self._wanted.set_result(None)


class WatchRoom:
    """The watchers of one stream in this process, and the task that follows it for them."""

    def __init__(
        self,
        stream: Stream,
        warden: LeaseWarden,
        surroundings: Surroundings,
        on_empty: Callable[[WatchRoom], None],
    ) -> None:
        self._stream = stream
        self._on_empty = on_empty
        self._warden = warden
        self._surroundings = surroundings
        self._watchers: set[Watcher] = set()
        self._head: StreamHead | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """The name of the stream."""
        return self._stream.name

    def state_frame(self) -> bytes:
        """The state as it is known now."""
        assert self._head is not None
        return event_frame("state", self._head)

    def enter(self, keep_alive_ms: float | None) -> Watcher:
        """A new watcher, whose first event is the state."""
        watcher = Watcher(self, keep_alive_ms)
        self._watchers.add(watcher)
        if self._head is not None:
            watcher.tell(self.state_frame())
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"watch of {self._stream.name}")
        return watcher

    async def leave(self, watcher: Watcher) -> None:
        """One watcher less; with the last one the read session ends."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._on_empty(self)
            await self._stop_following()

    async def aclose(self) -> None:
        """End the task, and the watchers' bodies."""
        for watcher in tuple(self._watchers):
            await watcher.aclose()
        await self._stop_following()

    async def _stop_following(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def _tell(self, name: str, head: StreamHead) -> None:
        self._head = head
        frame = event_frame(name, head)
        for watcher in self._watchers:
            watcher.tell(frame)

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                head = await self._warden.end_if_over(self._stream, await find_head(self._stream))
                if head != self._head:
                    self._tell("state", head)
                await self._follow(head)
                failures = 0
            except StreamNotFound:
                # Not before its first record is there a stream, unless the basin creates it when it is read.
                await asyncio.sleep(POLL_SECONDS[min(failures, len(POLL_SECONDS) - 1)])
                failures += 1
            except PerdureError as exc:
                logger.warning(
                    *("the watch of %r is interrupted: %s", self._stream.name, exc),
                    extra=about(self._stream.name, error=exc),
                )
                await asyncio.sleep(POLL_SECONDS[min(failures, len(POLL_SECONDS) - 1)])
                failures += 1
            except Exception as exc:
                logger.exception("the watch of %r failed", self._stream.name, extra=about(self._stream.name))
                self._on_empty(self)  # whoever comes next gets a room that works
                for watcher in tuple(self._watchers):
                    watcher.fail(exc)
                return

    async def _follow(self, head: StreamHead) -> None:
        """Fold what comes after `head`, and tell of the fences in it, until the read session ends."""
        look_after_ms = self._silence_ms(head)
        async with self._stream.read_session(SeqNum(head.next_seq_num), clamp=True) as session:
            while True:
                timeout = asyncio.timeout(None if look_after_ms is None else look_after_ms / 1000)
                try:
                    async with timeout:
                        batch = await session.next_batch()
                except TimeoutError:
                    if not timeout.expired():
                        raise
                    look_after_ms = await self._warden.silence_noticed(self._stream, head.lease_ms)
                    continue
                if batch is None:
                    return
                for record in batch.records:
                    head = head.after(record)
                    if record.command is CommandKind.FENCE:
                        self._tell(_EVENT_NAMES[tokens.kind_of(record.text)], head)
                self._head = head
                if batch.records:
                    look_after_ms = self._silence_ms(head)

    def _silence_ms(self, head: StreamHead) -> float | None:
        lease_ms = head.lease_ms
        return None if lease_ms is None else silence_ms(lease_ms, self._surroundings.jitter())


class WatchRooms:
    """The watch rooms of a chat object, by stream; they are there while somebody watches."""

    def __init__(self, warden: LeaseWarden, surroundings: Surroundings) -> None:
        self._warden = warden
        self._surroundings = surroundings
        self._rooms: dict[str, WatchRoom] = {}

    def enter(self, stream: Stream, keep_alive_ms: float | None) -> Watcher:
        """A new watcher of `stream`."""
        room = self._rooms.get(stream.name)
        if room is None:
            room = self._rooms[stream.name] = WatchRoom(stream, self._warden, self._surroundings, self._forget)
        return room.enter(keep_alive_ms)

    def _forget(self, room: WatchRoom) -> None:
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]

    async def aclose(self) -> None:
        """End all watching."""
        rooms, self._rooms = list(self._rooms.values()), {}
        for room in rooms:
            await room.aclose()
