"""Ending a generation that is written somewhere else: another process, another machine, or nowhere any more.

The closing records depend on what the writer has written, and it goes on writing. So they are appended, together with
the terminal fence, only if nothing came after what was looked at; otherwise one looks again. The writer learns of it
by its next append, or by following its own stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import FencingTokenMismatch, PerdureError, ReadUnwritten, SeqNumMismatch, StreamNotFound
from ..model.limits import MAX_READ_RECORDS
from ..model.positions import SeqNum
from ..model.records import AppendRecord, CommandKind
from . import tokens
from .adapter import ClosingFold
from .settings import Surroundings
from .tail_search import find_head

if TYPE_CHECKING:
    from ..client import Stream

MAX_RACES: Final = 20
"""Races lost against the writer before the stop no longer insists on having seen its last word."""


class FixedClosing:
    """The same closing record whatever was generated; for recovery tools."""

    def __init__(self, body: bytes | None) -> None:
        self._bodies = [] if body is None else [body]

    def feed(self, body: bytes) -> None:
        """Nothing depends on it."""

    def records(self) -> list[bytes]:
        """The given record."""
        return self._bodies

    def essential(self) -> list[bytes]:
        """The given record."""
        return self._bodies


async def feed_generation(stream: Stream, fold: ClosingFold, start_seq: int, end_seq: int | None = None) -> int | None:
    """Give the data records from `start_seq` on to `fold`, up to `end_seq` or the tail.

    Gives the sequence number that comes next; None if a fence says that the generation is over.
    """
    cursor = start_seq
    while end_seq is None or cursor < end_seq:
        count = MAX_READ_RECORDS if end_seq is None else min(MAX_READ_RECORDS, end_seq - cursor)
        try:
            batch = await stream.read(SeqNum(cursor), count=count, clamp=True, wait=0)
        except (ReadUnwritten, StreamNotFound):
            break
        if not batch.records:
            break
        for record in batch.records:
            if record.command is CommandKind.FENCE:
                return None
            if record.command is None and record.body:
                fold.feed(record.body)
            cursor = record.seq_num + 1
    return cursor


async def stop_from_outside(stream: Stream, fold: ClosingFold, surroundings: Surroundings) -> bool:
    """End the active generation of `stream` as stopped; False if there is none, or it ended by itself."""
    head = await find_head(stream)
    if not head.active or head.active_start is None or head.held_token is None:
        return False
    token = tokens.terminal_token(tokens.FenceKind.STOP, surroundings.random_bytes)
    fence = AppendRecord.fence(token)
    cursor = head.active_start + 1
    for race in range(MAX_RACES + 1):
        tail = await feed_generation(stream, fold, cursor)
        if tail is None:
            return await _is_ended_by(stream, token)
        cursor = tail
        insists = race < MAX_RACES
        bodies = fold.records() if insists else fold.essential()
        try:
            await stream.append(
                [*map(AppendRecord, bodies), fence],
                fencing_token=head.held_token,
                match_seq_num=cursor if insists else None,
            )
        except SeqNumMismatch:
            continue
        except FencingTokenMismatch as exc:
            return exc.expected == token
        except PerdureError as exc:
            if exc.has_no_side_effects or not await _is_ended_by(stream, token):
                raise
        return True
    return False


async def _is_ended_by(stream: Stream, token: str) -> bool:
    """Whether our own fence is the last one: its acknowledgement may have been lost."""
    return (await find_head(stream)).reusable_token == token
