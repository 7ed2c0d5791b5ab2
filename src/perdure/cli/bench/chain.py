"""A chain of records, each of which commits to all before it: whoever reads it sees what is not as it was written.

A body is::

    index, 8 bytes | when it was made, 8 bytes (ns) | link, 16 bytes | filling

and the link of a record is a hash over the link before it and over everything else in the body. So a record that is
lost, comes twice, in another place or changed, does not follow from those before it. The first link is random: what
another run has written is found as well.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from struct import Struct as Layout
from typing import Final

from msgspec import Struct

LINK_BYTES: Final = 16
_HEAD: Final = Layout(">QQ")
OVERHEAD_BYTES: Final = _HEAD.size + LINK_BYTES
"""What a body holds besides its filling."""

_FILLING_BYTES: Final = 1 << 20


class Fault(Struct, frozen=True):
    """The first thing that was not as it was written: at which sequence number, and what it is."""

    seq_num: int
    what: str

    def __str__(self) -> str:
        return f"at sequence number {self.seq_num:,}: {self.what}"


class ChainWriter:
    """Makes the bodies of a chain, each of `body_bytes`."""

    def __init__(self, body_bytes: int, origin: bytes | None = None) -> None:
        """`origin` is the link before the first; a random one if not given."""
        assert body_bytes >= OVERHEAD_BYTES, "a body has room for its link"
        self.origin: Final = secrets.token_bytes(LINK_BYTES) if origin is None else origin
        self.link: bytes = self.origin
        self.count: int = 0
        self._filling_bytes = body_bytes - OVERHEAD_BYTES
        # Cut from one long piece at ever new places: random enough that nothing is gained by compressing a batch of
        # them, for a fraction of the time that new random bytes take.
        self._filling = memoryview(random.randbytes(_FILLING_BYTES + self._filling_bytes))

    def next_body(self, now_ns: int) -> bytes:
        """The body of the next record, made at `now_ns`."""
        start = (self.count * 7_919 * 31) % _FILLING_BYTES
        head = _HEAD.pack(self.count, now_ns)
        filling = self._filling[start : start + self._filling_bytes]
        self.link = _link(self.link, head, filling)
        self.count += 1
        return b"".join((head, self.link, filling))


class ChainReader:
    """Follows a chain from its beginning, and finds the first fault in it."""

    def __init__(self, origin: bytes) -> None:
        self.link: bytes = origin
        self.count: int = 0
        """How many records were as they were written."""
        self.fault: Fault | None = None

    def read(self, seq_num: int, body: bytes) -> int:
        """Check the next record; gives when it was made, in nanoseconds.

        After a fault nothing is checked any more: nothing behind it follows from what was read.
        """
        view = memoryview(body)
        if len(body) < OVERHEAD_BYTES:
            self._found(seq_num, f"a record of {len(body)} bytes, which the bench has not written")
            return 0
        index, made_ns = _HEAD.unpack_from(body)
        if self.fault is not None:
            return int(made_ns)
        link = _link(self.link, view[: _HEAD.size], view[OVERHEAD_BYTES:])
        if link == view[_HEAD.size : OVERHEAD_BYTES]:
            if seq_num == self.count:
                self.link = link
                self.count += 1
            else:
                self._found(seq_num, f"the record that was given the sequence number {self.count:,}")
        elif index > self.count:
            last = f" to {index - 1:,}" if index - 1 > self.count else ""
            self._found(seq_num, f"record {index:,}, where {self.count:,} was expected: {self.count:,}{last} missing")
        elif index < self.count:
            self._found(seq_num, f"record {index:,} once more, where {self.count:,} was expected")
        else:
            self._found(seq_num, f"record {index:,} is not as it was written")
        return int(made_ns)

    def finish(self, count: int, link: bytes) -> None:
        """No more records come: compare with how many were written, and with the last one's link."""
        if self.fault is not None:
            return
        if self.count != count:
            self._found(self.count, f"the records end, where {count:,} were written and acknowledged")
        elif self.link != link:
            self._found(self.count, "the records follow from each other, but are not those that were written")

    def _found(self, seq_num: int, what: str) -> None:
        if self.fault is None:
            self.fault = Fault(seq_num, what)


def _link(before: bytes, head: bytes | memoryview, filling: memoryview) -> bytes:
    # SHA-256 for its speed: processors have instructions for it.
    hashed = hashlib.sha256(before)
    hashed.update(head)
    hashed.update(filling)
    return hashed.digest()[:LINK_BYTES]
