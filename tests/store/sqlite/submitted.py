"""Batches whose content tells who submitted them and when, so that a record can be checked by itself."""

import hashlib
from typing import NamedTuple

from perdure.model.batches import AppendInput
from perdure.model.limits import MAX_BATCH_BYTES
from perdure.model.records import AppendRecord
from perdure.store.sqlite.placement import LARGE_BYTES, MEDIUM_BYTES

_METERED_OVERHEAD = 8
_ENCODED_OVERHEAD = 64


class Origin(NamedTuple):
    """Record `part` of `parts` in the `number`-th batch that `writer` submitted to a stream."""

    writer: int
    number: int
    part: int
    parts: int


def body(origin: Origin, size: int) -> bytes:
    """`size` bytes that begin with the origin and depend on it to the last one."""
    head = b"%d.%d.%d.%d.%d|" % (*origin, size)
    pattern = hashlib.blake2b(head).digest()
    return (head + pattern * (size // len(pattern) + 1))[: max(size, len(head))]


def origin_of(content: bytes) -> Origin:
    """Where the record came from; fails unless the content is what was submitted, byte by byte."""
    *numbers, size = map(int, content.split(b"|", 1)[0].split(b"."))
    origin = Origin(*numbers)
    assert content == body(origin, size), f"{origin} came back changed"
    return origin


def small_batch(writer: int, number: int) -> AppendInput:
    """One to four records of up to a few hundred bytes."""
    count = 1 + number % 4
    return AppendInput.of(
        AppendRecord(body(Origin(writer, number, index, count), 30 + (number * 37 + index) % 400))
        for index in range(count)
    )


def full_batch(writer: int, number: int) -> AppendInput:
    """One record that fills a batch to the limit."""
    return AppendInput.of([AppendRecord(body(Origin(writer, number, 0, 1), MAX_BATCH_BYTES - _METERED_OVERHEAD))])


def row_batch(writer: int, number: int) -> AppendInput:
    """One record, as large as it can be with its block in the database and not in a segment, whatever comes with it."""
    return AppendInput.of([AppendRecord(body(Origin(writer, number, 0, 1), MEDIUM_BYTES - _ENCODED_OVERHEAD))])


def medium_batch(writer: int, number: int) -> AppendInput:
    """One record; the block is in the database if it is committed by itself, two of them together are in a segment."""
    return AppendInput.of([AppendRecord(body(Origin(writer, number, 0, 1), LARGE_BYTES // 2))])
