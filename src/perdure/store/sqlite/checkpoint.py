"""Keeping the write-ahead log small without making anybody wait.

A thread copies the log into the database in the background whenever this process has written a few
megabytes. While others keep writing, such a copy never reaches the end, and only a log that was copied
to its end, and that nobody reads any more, can be used anew. So when it has grown to its limit, the
writer finishes the copy between two groups, when nobody else writes. What is left to copy by then is
little: the thread goes on copying until it is.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

import apsw

from .failures import is_fatal
from .schema import BUSY_TIMEOUT_MS, PAGE_BYTES

logger = logging.getLogger("perdure.store.sqlite")

STEP_BYTES: Final = 8 * 1024 * 1024
"""Bytes that this process writes between two copies in the background."""

FINISH_BYTES: Final = 48 * 1024 * 1024
"""The size of the log from which the writer finishes the copy."""

SMALL_BYTES: Final = 2 * 1024 * 1024
"""What may be left for the writer to copy; a matter of some milliseconds."""

MAX_COPIES: Final = 5
"""Copies in a row that try to get there."""

READER_PATIENCE_MS: Final = 5
"""How long the writer waits for those who still read the log. Reads of ours are shorter."""


class Checkpointer:
    """Owns the checkpoint thread and its connection; `on_failure` hears of failed writes and syncs."""

    def __init__(self, connect: Callable[[], apsw.Connection], on_failure: Callable[[apsw.Error], None]) -> None:
        self._connect = connect
        self._on_failure = on_failure
        self._wake = threading.Event()
        self._stopping = False
        self._written = 0
        self._finish = False
        self._thread = threading.Thread(target=self._run, name="perdure-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wrote(self, size: int) -> None:
        """The writer committed about this many bytes."""
        self._written += size
        if self._written >= STEP_BYTES:
            self._written = 0
            self._wake.set()

    def due(self) -> bool:
        """Whether the writer should `finish` now; asking takes the request."""
        if self._finish:
            self._finish = False
            return True
        return False

    def finish(self, connection: apsw.Connection) -> None:
        """Copy the rest, so that the log begins anew. On the writer's thread, while nobody else writes."""
        connection.set_busy_timeout(READER_PATIENCE_MS)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            logger.debug("somebody still reads the write-ahead log, or copies it; it grows a little more")
        finally:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)

    def close(self) -> None:
        """End the thread after the copy that it may be in. Blocks; call it off the event loop."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            connection = self._connect()
        except apsw.Error:
            logger.exception("no background checkpoints: the write-ahead log is copied when the store closes")
            return
        try:
            while True:
                self._wake.wait()  # no time-out: `close` sets it
                self._wake.clear()
                if self._stopping:
                    break
                self._copy(connection)
        except apsw.Error as exc:
            logger.error("copying the write-ahead log failed: %s", exc)
            self._on_failure(exc)
        finally:
            connection.close()

    def _copy(self, connection: apsw.Connection) -> None:
        """Copy what is there; ask for the finish if the log is long. Raises what must stop the writer."""
        for _ in range(MAX_COPIES):
            try:
                frames, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.BusyError:
                return  # another process is at it
            except apsw.Error as exc:
                if is_fatal(exc):
                    raise
                logger.warning("copying the write-ahead log failed: %s", exc)
                return
            if frames * PAGE_BYTES < FINISH_BYTES:
                return
            if (frames - copied) * PAGE_BYTES <= SMALL_BYTES or self._stopping:
                break
        self._finish = True
