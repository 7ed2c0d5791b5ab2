"""Keeping the write-ahead log small without making anybody wait.

A thread copies the log into the database in the background whenever this process has written a few
megabytes. While others keep writing, such a copy never reaches the end, and only a log that was copied
to its end can be used anew; so when it has grown to its limit, the writer is told to finish the copy
between two transactions, when nobody else writes and only a little is left.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

import apsw

from .schema import PAGE_BYTES, WAL_LIMIT_BYTES

logger = logging.getLogger("perdure.store.sqlite")

STEP_BYTES: Final = 8 * 1024 * 1024
"""Bytes that this process writes between two copies in the background."""


class Checkpointer:
    """Owns the checkpoint thread and its connection."""

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
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
        """Whether the writer should finish the copy now; asking takes the request."""
        if self._finish:
            self._finish = False
            return True
        return False

    def close(self) -> None:
        """End the thread after the copy that it may be in. Blocks; call it off the event loop."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            connection = self._connect()
        except apsw.Error:
            logger.exception("no background checkpoints: the write-ahead log is copied when the store closes")
            return
        while True:
            self._wake.wait()  # no time-out: `close` sets it
            self._wake.clear()
            if self._stopping:
                break
            try:
                frames, copied = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            except apsw.BusyError:
                continue  # another process is at it
            except apsw.Error as exc:
                logger.warning("copying the write-ahead log failed: %s", exc)
                continue
            if copied < frames and frames * PAGE_BYTES >= WAL_LIMIT_BYTES:
                self._finish = True
        connection.close()
