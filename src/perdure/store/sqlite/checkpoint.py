"""Keeping the write-ahead log small without making anybody wait.

A thread copies the log into the database in the background whenever this process has written a few
megabytes. While others keep writing, such a copy never reaches the end, and only a log that was copied
to its end, and that nobody reads any more, can be used anew. So when it has grown to its limit, the
writer finishes the copy between two groups, when nobody else writes. What is left to copy by then is
little: the thread goes on copying until it is.

While a backup reads the database, the log cannot begin anew however long one waits; so nobody does, and it grows
until the backup has what it needs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

from .database_file import DatabaseFile
from .failures import is_fatal
from .schema import BUSY_TIMEOUT_MS, PAGE_BYTES

logger: Final = logging.getLogger("perdure.store.sqlite")

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

LONG_BYTES: Final = 128 * 1024 * 1024
"""The file of a log that got away from the thread, because the machine is busy, or somebody reads for long."""

LONG_PATIENCE_MS: Final = 2000
"""How long the writer then waits, for a slow copy or a reader. In vain, it waits so again at twice the size."""


class Checkpointer:
    """Owns the checkpoint thread and its connection; `on_failure` hears of failed writes and syncs."""

    def __init__(
        self,
        connect: Callable[[], apsw.Connection],
        log: Path,
        is_pinned: Callable[[], bool],
        on_failure: Callable[[apsw.Error], None],
    ) -> None:
        self._connect = connect
        self._log = log
        self._is_pinned = is_pinned
        self._on_failure = on_failure
        self._wake = threading.Event()
        self._stopping = False
        self._written = 0
        self._copying = threading.Lock()
        self._finish = False
        self._too_long = False
        self._long_bytes = LONG_BYTES
        self._thread = threading.Thread(target=self._run, name="perdure-checkpoint", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wrote(self, size: int) -> None:
        """The writer committed about this many bytes."""
        self._written += size
        if self._written >= STEP_BYTES:
            self._written = 0
            self._wake.set()
            if self._log_bytes() >= self._long_bytes:
                if self._is_pinned():
                    self._long_bytes *= 2  # time to catch up, too, before anybody is made to wait
                else:
                    self._finish = self._too_long = True

    def _log_bytes(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:  # somebody deleted it; that is not for us to tell
            return 0

    def due(self) -> bool:
        """Whether the writer should `finish` now; asking takes the request."""
        if self._finish:
            self._finish = False
            return True
        return False

    def finish(self, connection: apsw.Connection) -> None:
        """Copy the rest, so that the log begins anew. On the writer's thread, while nobody else writes."""
        patience_ms = LONG_PATIENCE_MS if self._too_long else READER_PATIENCE_MS
        finished = False
        if self._copying.acquire(timeout=patience_ms / 1000):
            try:
                finished = self._restart(connection, patience_ms)
            finally:
                self._copying.release()
        if finished:
            self._long_bytes = LONG_BYTES
        elif self._too_long:
            self._long_bytes *= 2
        self._too_long = False

    def _restart(self, connection: apsw.Connection, patience_ms: int) -> bool:
        connection.set_busy_timeout(patience_ms)
        try:
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            logger.debug("somebody still reads the write-ahead log, or copies it; it grows a little more")
            return False
        finally:
            connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        return True

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
            database = DatabaseFile(connection)
            while True:
                self._wake.wait()  # no time-out: `close` sets it
                self._wake.clear()
                if self._stopping:
                    break
                self._copy(connection, database)
        except apsw.Error as exc:
            logger.error("copying the write-ahead log failed: %s", exc)
            self._on_failure(exc)
        finally:
            connection.close()

    def _copy(self, connection: apsw.Connection, database: DatabaseFile) -> None:
        """Copy what is there; ask for the finish if the log is long. Raises what must stop the writer."""
        copied_before = 0
        for _ in range(MAX_COPIES):
            try:
                with self._copying:
                    frames, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                    database.sync()
            except apsw.BusyError:
                return  # another process is at it
            except apsw.Error as exc:
                if is_fatal(exc):
                    raise
                logger.warning("copying the write-ahead log failed: %s", exc)
                return
            if frames * PAGE_BYTES < FINISH_BYTES or self._is_pinned():
                return
            # `frames` is the log as it was when the copy began. What came in since is about what came in
            # during the copy before.
            if (frames - copied_before) * PAGE_BYTES <= SMALL_BYTES or self._stopping:
                break
            copied_before = copied
        self._finish = True
