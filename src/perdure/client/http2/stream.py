"""One request and its answer, as the connection knows them."""

from __future__ import annotations

from collections import deque
from typing import Final

from ..exchange import Listener

STREAM_WINDOW_BYTES: Final = 10 * 1024 * 1024
"""What a stream may send before it is read (store API, section 10.1)."""


class Http2Stream:
    """One request and its answer, as the connection sees them."""

    __slots__ = (
        "id",
        "is_open",
        "listener",
        "outgoing",
        "owed",
        "receivable",
        "sendable",
        "sent_all",
        "sent_some",
        "told",
    )

    def __init__(self, stream_id: int, listener: Listener, sendable: int) -> None:
        self.id: int = stream_id
        self.listener: Listener = listener
        self.is_open: bool = True
        """Until the answer has ended, or the stream was reset."""
        self.sendable: int = sendable
        self.receivable: int = STREAM_WINDOW_BYTES
        self.owed: int = 0
        """Bytes that were read, and not yet given back to the peer's window."""
        self.outgoing: deque[memoryview] | None = deque()
        """What waits for windows; None when no more will come."""
        self.sent_all: bool = False
        self.sent_some: bool = False
        """Whether the server may have begun to act: of the request's body, something went out, or there is none."""
        self.told: bool = False
        """Whether the final head has come."""
