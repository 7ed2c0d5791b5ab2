"""In what pieces a read is sent: large ones to clients that take them fast, since granian queues whole pieces.

About nine of them wait beside what hyper and the system hold, which made megabytes for a client that takes nothing. So
what waits for a client is about as much as it takes in some tenths of a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

PIECE_BYTES: Final = 256 * 1024
"""What is sent at a time at most: the time that a client has is for each piece, so one that is slow takes something in
it.

A whole batch of a megabyte takes a client on a poor line longer than it takes another one to be given up. A piece is
also copied while it is still in the processor's cache.
"""

SMALLEST_PIECE_BYTES: Final = 32 * 1024
"""What every client begins with; still smaller ones would cost more for themselves than for their bytes."""

QUEUED_PIECES: Final = 16
"""What is queued somewhere before a client has taken anything: less than so many pieces of the next size."""

SLOW_SECS: Final = 0.02
"""A client is to take about one piece in such a time."""


class PieceSize:
    """How large the next piece for one client is: `bytes`. It is told of each piece that was sent."""

    __slots__ = ("_total", "bytes")

    def __init__(self) -> None:
        self._total = 0
        self.bytes: int = SMALLEST_PIECE_BYTES

    def sent(self, size: int, waited_secs: float) -> None:
        """A piece of this size is in the queue, for which it had to wait so long for room."""
        self._total += size
        if waited_secs > SLOW_SECS:
            self.bytes = max(self.bytes // 2, SMALLEST_PIECE_BYTES)
        elif waited_secs < SLOW_SECS / 2 and self._total >= QUEUED_PIECES * 2 * self.bytes:
            # There is room at once as long as the queue is not full, so only what exceeds it tells of the client.
            self.bytes = min(self.bytes * 2, PIECE_BYTES)


def pieces(parts: Sequence[bytes], size: PieceSize) -> Iterator[bytes]:
    """`parts` one after the other, in the pieces in which they are sent, at least one.

    Each is made when it is its turn, so what is copied is never more than a piece; what is one small part is not.
    """
    if len(parts) == 1 and len(parts[0]) <= size.bytes:
        yield parts[0]
        return
    gathered: list[bytes | memoryview] = []
    room = size.bytes
    for part in parts:
        rest = memoryview(part)
        while len(rest) > room:
            gathered.append(rest[:room])
            yield b"".join(gathered)
            gathered, rest, room = [], rest[room:], size.bytes
        gathered.append(rest)
        room -= len(rest)
    yield b"".join(gathered)
