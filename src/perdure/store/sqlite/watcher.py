"""The watcher: a thread that hands what *other* processes committed to the followers of this one.

It sleeps for good while nobody here follows anything. Otherwise it waits for the doorbell, with a poll
behind it as the safety net, and looks for blocks with a commit id above the last one it knows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import apsw

from ..catalogue import StreamId
from ..hub import Hub
from ..sequencing import Block
from .doorbell import Bell, BellDirectory, Ringer

logger = logging.getLogger("perdure.store.sqlite")

POLL_SECONDS: Final = 0.05
"""How long a commit of another process can go unnoticed when its ring was lost."""

_ROWS: Final = 512

_NewRow: TypeAlias = tuple[int, int, int, int, int, int, int, int | None]

_NEW: Final = (
    "SELECT commit_id, stream_id, start_seq, end_seq, last_timestamp, metered_bytes, stored_ms, expires_ms "
    "FROM block WHERE commit_id > ? ORDER BY commit_id LIMIT ?"
)


class LocalCommits:
    """The commit ids of this process's own groups, which its followers have been given already.

    Shared by the event loop, which adds, and the watcher, which takes; the lock is held for moments.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ranges: deque[tuple[int, int]] = deque()

    def add(self, first: int, last: int) -> None:
        with self._lock:
            if self._ranges and self._ranges[-1][1] + 1 == first:
                self._ranges[-1] = (self._ranges[-1][0], last)
            else:
                self._ranges.append((first, last))

    def skip_from(self, seen: int) -> int:
        """The highest commit id that is known without looking, when everything up to `seen` is."""
        with self._lock:
            while self._ranges and self._ranges[0][0] <= seen + 1:
                seen = max(seen, self._ranges.popleft()[1])
        return seen

    def clear(self) -> None:
        with self._lock:
            self._ranges.clear()


class Watcher:
    """Owns the bell and the watching thread, while there are followers."""

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        directory: BellDirectory,
        ringer: Ringer,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._connect = connect
        self._directory = directory
        self._ringer = ringer
        self._loop = loop
        self._hub = Hub(self._first_follower, self._last_follower)
        self._local = LocalCommits()
        self._active = False
        self._stopping = False
        self._idle = threading.Event()
        self._bell: Bell | None = None
        self._thread: threading.Thread | None = None

    @property
    def hub(self) -> Hub:
        return self._hub

    def note_local(self, first_commit_id: int, last_commit_id: int) -> None:
        """A group of this process is durable and was published. On the event loop."""
        if self._active:
            self._local.add(first_commit_id, last_commit_id)

    def _first_follower(self) -> None:
        self._local.clear()
        self._active = True
        if self._thread is None:
            self._bell = Bell(self._directory)
            self._ringer.own = self._bell.name
            self._thread = threading.Thread(target=self._run, name="perdure-watcher", daemon=True)
            self._thread.start()
        else:
            self._poke()

    def _last_follower(self) -> None:
        self._active = False

    def _poke(self) -> None:
        if self._bell is not None:
            self._bell.poke()

    async def close(self) -> None:
        self._stopping = True
        self._poke()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        if self._bell is not None:
            self._bell.close()
            self._bell = None

    # On the watcher's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        bell = self._bell
        assert bell is not None, "the bell hangs before the thread starts"
        try:
            connection = self._connect()
        except apsw.Error:
            logger.exception("following other processes is not possible; followers see only this one's appends")
            return
        seen, version, was_active = 0, -1, False
        while not self._stopping:
            active = self._active
            try:
                if active and not was_active:
                    seen = connection.execute("SELECT ifnull(max(commit_id), 0) FROM block").get
                    # A follower may have looked before this, and missed what came in between.
                    self._on_loop(self._hub.nudge)
                if active:
                    current = connection.execute("PRAGMA data_version").get
                    if current != version:
                        version = current
                        seen = self._look(connection, self._local.skip_from(seen))
            except apsw.Error as exc:
                logger.warning("looking for other processes' appends failed: %s", exc)
            was_active = active
            bell.wait(POLL_SECONDS if active else None)
        connection.close()

    def _look(self, connection: apsw.Connection, seen: int) -> int:
        """Hand over what is new above `seen`; gives the highest commit id seen now."""
        followed = self._hub.followed()
        blocks: list[tuple[StreamId, Block]] = []
        while True:
            rows = connection.execute(_NEW, (seen, _ROWS)).fetchall()
            for row in rows:
                commit_id, stream, start, end, last, metered, stored, expires = cast(_NewRow, row)
                seen = commit_id
                if StreamId(stream) not in followed:
                    continue
                body = connection.execute("SELECT body FROM block WHERE commit_id = ?", (commit_id,)).get
                if body is not None:  # it may have been trimmed since
                    block = Block(start, end, last, metered, stored, expires, cast(bytes, body))
                    blocks.append((StreamId(stream), block))
            if len(rows) < _ROWS:
                break
        if blocks:
            self._on_loop(lambda: self._hub.publish(blocks))
        return self._local.skip_from(seen)

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            logger.debug("the event loop is closed; nobody follows any more")
