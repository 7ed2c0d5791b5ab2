"""Record bodies that can be told apart, and checked."""

from __future__ import annotations

import random
from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024

_PAD: Final = random.Random(1).randbytes(MIB)  # nothing that a disk could compress, the same in every process
_NUMBER: Final = 8

LARGEST_BODY: Final = MIB - _NUMBER
"""A record has 8 metered bytes besides its body, and a batch may have 1 MiB."""


def numbered(number: int, size: int) -> bytes:
    """A body of `size` bytes that begins with `number`."""
    return number.to_bytes(_NUMBER, "big") + _PAD[: size - _NUMBER]


def text(number: int, size: int) -> bytes:
    """A body of `size` bytes that begins with `number` and is UTF-8: mostly ASCII, as most text in JSON is."""
    line = f'{number} an answer that streams, word by word, with “quotes”, a café and "escapes" in it\n'.encode()
    whole = (line * (size // len(line) + 1))[:size]
    return whole.decode(errors="ignore").encode().ljust(size)


def number_of(body: bytes) -> int:
    return int.from_bytes(body[:_NUMBER], "big")


def is_numbered(body: bytes, number: int, size: int) -> bool:
    return len(body) == size and number_of(body) == number and body.endswith(_PAD[size - 2 * _NUMBER : size - _NUMBER])
