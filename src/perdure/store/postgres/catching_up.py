"""Reads, and those that go on where an earlier one ended: what comes next is fetched while that is handed out.

Who reads a long stream asks for it piece by piece. Without this PostgreSQL would rest while a piece is decoded, and the
reader while the next is fetched. A block never changes, and the id of a stream is never used again, so blocks that
were fetched before they were asked for are as good as new. What may have changed meanwhile, the trim point, the tail
and whether the stream is deleted, is asked for when they are handed out, and what has expired is left out then.

For the same reason they may come from a standby, if there is one: what is fetched ahead is far behind the tail.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from ...errors import PerdureError, Unavailable
from ...model.limits import MAX_READ_BYTES, MAX_READ_RECORDS
from ..catalogue import StreamId
from ..engine import BlockRange
from ..sequencing import Block, StreamState
from . import queries
from .pool import Pool
from .replica import Anchor, Replica, state_beside

logger: Final = logging.getLogger("perdure.store.postgres")

MOST_AHEAD: Final = 8
"""Pieces that wait to be asked for, of at most `MAX_READ_BYTES` each (but for a single block that is larger)."""

AHEAD_SECONDS: Final = 1.0
"""How long one waits: who has not come by then reads slowly, or not at all any more."""

MOST_PLACES: Final = 1024
"""Places where a read ended with more behind it that are remembered: from there, the next one goes on."""

_Place: TypeAlias = "tuple[StreamId, int]"


class _Fetched(Struct, frozen=True):
    """What was fetched ahead, and by what anchor it is believed if it comes from a standby."""

    blocks: tuple[Block, ...] = ()
    anchor: Anchor | None = None


def still_wanted(blocks: Sequence[Block], max_records: int, max_bytes: int, now_ms: int) -> tuple[Block, ...]:
    """What a read within these bounds gives of blocks that follow each other: one at least, if any has not expired."""
    wanted: list[Block] = []
    records = size = 0
    for block in blocks:
        if block.expires_ms is not None and block.expires_ms <= now_ms:
            continue
        records += block.end_seq - block.start_seq
        size += block.metered_bytes
        if wanted and (records > max_records or size > max_bytes):
            break
        wanted.append(block)
    return tuple(wanted)


class Reader:
    """Reads blocks over the connections of `pool`, and from a standby what may come from there. Used on one event
    loop."""

    def __init__(self, pool: Pool, replica: Replica | None, now_ms: Callable[[], int]) -> None:
        self._pool = pool
        self._replica = replica
        self._now_ms = now_ms
        self._places: OrderedDict[_Place, None] = OrderedDict()
        self._ahead: dict[_Place, tuple[asyncio.Task[_Fetched], asyncio.TimerHandle]] = {}
        self._tasks: set[asyncio.Task[_Fetched]] = set()
        self._closed = False

    async def read_blocks(self, stream: StreamId, start_seq: int, max_records: int, max_bytes: int) -> BlockRange:
        """See `Engine.read_blocks`."""
        place = (stream, start_seq)
        ahead = self._take(place)
        goes_on = ahead is not None or place in self._places
        self._places.pop(place, None)
        is_whole = max_records >= MAX_READ_RECORDS and max_bytes >= MAX_READ_BYTES
        if ahead is not None:
            fetched = await _found_ahead(ahead)
            blocks = still_wanted(fetched.blocks, max_records, max_bytes, self._now_ms())
            if blocks:
                if is_whole:
                    self._fetch_ahead(stream, blocks[-1].end_seq)
                known = await self._known_now(stream, fetched.anchor)
                if known is not None:
                    state, deleted = known
                    return BlockRange(state, deleted, blocks, more=blocks[-1].end_seq < state.tail)
        found = await self._read(stream, start_seq, max_records, max_bytes)
        if is_whole and found.more:
            end = found.blocks[-1].end_seq
            if goes_on:
                self._fetch_ahead(stream, end)
            else:
                self._remember((stream, end))
        return found

    async def _known_now(self, stream: StreamId, anchor: Anchor | None) -> tuple[StreamState, bool] | None:
        """The state now, and whether the stream is deleted; None if what came from a standby must not be believed."""
        if anchor is None or self._replica is None:
            return await self._pool.run(lambda connection: queries.known_state(connection, stream))
        state, deleted, is_believed = await self._pool.run(lambda connection: state_beside(connection, stream, anchor))
        if not is_believed:
            self._replica.doubt(anchor)
            return None
        return state, deleted

    def _take(self, place: _Place) -> asyncio.Task[_Fetched] | None:
        task, timer = self._ahead.pop(place, (None, None))
        if timer is not None:
            timer.cancel()  # it holds on to the blocks
        return task

    async def _read(self, stream: StreamId, start_seq: int, max_records: int, max_bytes: int) -> BlockRange:
        now = self._now_ms()
        return await self._pool.run(
            lambda connection: queries.read_blocks(connection, stream, start_seq, max_records, max_bytes, now)
        )

    def _remember(self, place: _Place) -> None:
        self._places[place] = None
        if len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)

    def _fetch_ahead(self, stream: StreamId, start_seq: int) -> None:
        place = (stream, start_seq)
        if self._closed or place in self._ahead:
            return
        if len(self._ahead) >= MOST_AHEAD:
            self._remember(place)
            return
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._fetch(stream, start_seq), name="perdure-read-ahead")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ahead[place] = task, loop.call_later(AHEAD_SECONDS, self._forget, place)

    async def _fetch(self, stream: StreamId, start_seq: int) -> _Fetched:
        if self._replica is not None:
            found = await self._replica.blocks(stream, start_seq, MAX_READ_RECORDS, MAX_READ_BYTES, self._now_ms())
            if found is not None:
                anchor, blocks = found
                return _Fetched(blocks, anchor)
        return _Fetched((await self._read(stream, start_seq, MAX_READ_RECORDS, MAX_READ_BYTES)).blocks)

    def _forget(self, place: _Place) -> None:
        """A read that is still going on comes to its end, since to break it off would cost its connection."""
        task = self._take(place)
        if task is not None:
            task.add_done_callback(_unasked)
            self._remember(place)

    async def aclose(self) -> None:
        """Break off what is fetched ahead."""
        self._closed = True
        for place in list(self._ahead):
            self._take(place)
        tasks = list(self._tasks)
        for task in tasks:
            task.add_done_callback(_unasked)
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _found_ahead(task: asyncio.Task[_Fetched]) -> _Fetched:
    """No blocks if they could not be fetched: then whoever asks reads by themselves.

    Who asks may go away without breaking the read off, which would cost its connection. Raises `Unavailable` if it was
    broken off since the store is being closed: that is not the end of who asks.
    """
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.add_done_callback(_unasked)
        raise
    if task.cancelled():
        raise Unavailable("the store is closed")
    try:
        return task.result()
    except PerdureError as exc:
        logger.debug("nothing could be fetched ahead: %s", exc)
        return _Fetched()


def _unasked(task: asyncio.Task[_Fetched]) -> None:
    """Nobody asks for this one any more, so its failure concerns nobody."""
    if not task.cancelled():
        task.exception()
