"""The watcher: a thread that hands what *other* processes committed to the followers of this one.

It sleeps for good while nobody here follows anything. Otherwise it waits for the doorbell, with a poll
behind it as the safety net, and looks for blocks with a commit id above the last one it knows.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias, cast

import apsw

from ..catalogue import StreamId
from ..hub import MAILBOX_BLOCKS, Hub
from ..sequencing import Block
from .doorbell import Bell, Ringer
from .schema import from_i64
from .segments import BODY_SQL, SegmentGone

logger: Final = logging.getLogger("perdure.store.sqlite")

POLL_SECONDS: Final = 0.05
"""How long a commit of another process can go unnoticed when its ring was lost."""

HANGING_SECONDS: Final = 2.0
"""The bell stays out this long after the last follower, since the next one is often near."""

_ROWS: Final = 512
_HANDED_BYTES: Final = 4 * 1024 * 1024
"""Of blocks that are read ahead for followers in one look; beyond it they read by themselves."""

_MAX_RANGES: Final = 1024

_NewRow: TypeAlias = tuple[int, int, int, int, int, int, int, int | None]

_HEAD: Final = "SELECT ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'block'), 0)"
"""The last commit id that was given out; its block may be gone already."""

_NEW: Final = (
    "SELECT commit_id, stream_id, start_seq, end_seq, last_timestamp, metered_bytes, stored_ms, expires_ms "
    "FROM block WHERE commit_id > ? ORDER BY commit_id LIMIT ?"
)
_BODY: Final = (
    f"SELECT {BODY_SQL} FROM block WHERE commit_id = ?1 AND "
    "(SELECT deleted_at IS NULL FROM stream s WHERE s.stream_id = block.stream_id)"
)


def _read_body(connection: apsw.Connection, commit_id: int) -> bytes | None:
    """The block's body; None if it is gone, or cannot be read."""
    try:
        return cast(bytes | None, connection.execute(_BODY, (commit_id,)).get)
    except (SegmentGone, OSError) as exc:
        logger.debug("a block of another process could not be handed over: %s", exc)
        return None


def newest_commit(connection: apsw.Connection) -> int:
    """The highest commit id so far."""
    return cast(int, connection.execute(_HEAD).get)


class LocalCommits:
    """The commit ids of this process's own groups, which its followers are given without the watcher.

    Shared by the writer's thread, which adds, and the watcher, which takes; the lock is held for moments.
    If there are too many ranges, the oldest are forgotten: those blocks are handed over once more, and
    followers pass over what they have.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ranges: deque[tuple[int, int]] = deque(maxlen=_MAX_RANGES)

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


class Watcher:
    """Owns the bell and the watching thread, which starts with the first follower."""

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        bell: Bell,
        ringer: Ringer,
        loop: asyncio.AbstractEventLoop,
        *,
        seen: int,
        on_followers: Callable[[int], None],
    ) -> None:
        self._connect = connect
        self._bell = bell
        self._ringer = ringer
        self._loop = loop
        self._seen = seen
        """Commits up to this one need no more looking at."""
        self._version = -1
        self._hub = Hub(self._first_follower, self._last_follower, on_followers)
        self._local = LocalCommits()
        self._active = False
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def hub(self) -> Hub:
        return self._hub

    def note_local(self, first_commit_id: int, last_commit_id: int) -> None:
        """A group of this process is durable and is being published. On the writer's thread."""
        self._local.add(first_commit_id, last_commit_id)

    def _first_follower(self) -> None:
        self._active = True
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="perdure-watcher", daemon=True)
            self._thread.start()
        else:
            self._bell.poke()

    def _last_follower(self) -> None:
        self._active = False

    async def close(self) -> None:
        self._stopping = True
        if self._thread is not None:
            self._bell.poke()
            await asyncio.to_thread(self._thread.join)

    # On the watcher's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            connection = self._connect()
        except apsw.Error:
            logger.exception("following other processes is not possible; followers see only this one's appends")
            return
        watched, last_watched = False, 0.0
        try:
            while not self._stopping:
                if self._active:
                    watched, last_watched = self._watch(connection, watched), time.monotonic()
                    self._bell.wait(POLL_SECONDS)
                else:
                    watched = False
                    if self._bell.name and time.monotonic() >= last_watched + HANGING_SECONDS:
                        self._ringer.own = ""
                        self._bell.take_in()
                    self._bell.wait(HANGING_SECONDS if self._bell.name else None)
        finally:
            self._bell.take_in()
            connection.close()

    def _watch(self, connection: apsw.Connection, watched: bool) -> bool:
        """One look; tells whether everything up to it is known now."""
        try:
            if not watched:
                self._bell.hang_out()
                self._ringer.own = self._bell.name
                self._catch_up(connection)
            version = connection.execute("PRAGMA data_version").get
            if version != self._version:
                self._look(connection)
                self._version = version  # only now: a look that failed is made up for
        except apsw.Error as exc:
            logger.warning("looking for other processes' appends failed: %s", exc)
            return False
        return True

    def _catch_up(self, connection: apsw.Connection) -> None:
        """After a time without followers: those of now may have missed what others committed meanwhile."""
        head = newest_commit(connection)
        if head > self._local.skip_from(self._seen):
            self._on_loop(self._hub.nudge)
        self._seen = self._local.skip_from(head)

    def _look(self, connection: apsw.Connection) -> None:
        """Hand over what is new."""
        while True:
            seen = self._local.skip_from(self._seen)
            head = newest_commit(connection)
            if head <= seen:
                self._seen = seen
                return
            rows = cast(list[_NewRow], connection.execute(_NEW, (seen, _ROWS)).fetchall())
            # Whoever begins to follow after this reads a tail that knows of these rows.
            followed = self._hub.followed()
            full = len(rows) == _ROWS
            last = rows[-1][0] if full else max(head, rows[-1][0] if rows else 0)
            self._hand_over(connection, [row for row in rows if StreamId(row[1]) in followed])
            if last - seen > len(rows):
                # Some were removed again already, perhaps with their streams.
                self._on_loop(self._hub.nudge)
            self._seen = self._local.skip_from(last)
            if not full:
                return

    def _hand_over(self, connection: apsw.Connection, rows: list[_NewRow]) -> None:
        blocks: list[tuple[StreamId, Block]] = []
        look: set[StreamId] = set()
        counts: dict[StreamId, int] = {}
        size = 0
        for commit_id, stream, start, end, last, metered, stored, expires in rows:
            stream_id = StreamId(stream)
            size += metered
            counts[stream_id] = counts.get(stream_id, 0) + 1
            body = None
            if size <= _HANDED_BYTES and counts[stream_id] <= MAILBOX_BLOCKS:
                body = _read_body(connection, commit_id)
            if body is None:  # too much, or it was trimmed, or the stream deleted
                look.add(stream_id)
            else:
                block = Block(start, end, from_i64(last), metered, stored, expires, body)
                blocks.append((stream_id, block))
        if rows:
            self._on_loop(lambda: self._publish(blocks, look))

    def _publish(self, blocks: list[tuple[StreamId, Block]], look: set[StreamId]) -> None:
        self._hub.publish(blocks)
        self._hub.nudge(look)

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            logger.debug("the event loop is closed; nobody follows any more")
