"""A whole store, or a part of it, copied from one engine to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from enum import Enum
from typing import Final

from msgspec import Struct

from ..errors import BasinNotFound, Invalid, StreamDeletionPending, StreamNotFound
from ..model.names import check_basin_name
from .catalogue import StreamEntry
from .engine import Engine
from .stream_copies import basins, copy_basin, copy_stream, streams, verify_stream

AT_A_TIME: Final = 16
"""Streams that are copied at once: most of the work on a short one is waiting for the target's disk."""


class Selection(Struct, frozen=True):
    """The streams of a basin whose names start with `prefix`."""

    basin: str
    prefix: str = ""

    @classmethod
    def parse(cls, address: str) -> Selection:
        """From `s2://basin`, or `s2://basin/prefix`. Raises `Invalid` for anything else."""
        scheme, separator, rest = address.partition("://")
        if scheme != "s2" or not separator:
            raise Invalid(f"expected s2://basin or s2://basin/prefix, got {address!r}")
        basin, _, prefix = rest.partition("/")
        return cls(check_basin_name(basin), prefix)


class Verify(Enum):
    """What a pass reads back and compares, of the streams of which it copied something."""

    ALL = "all of the stream, also what earlier passes copied"
    COPIED = "what this pass has copied"
    NOTHING = "nothing"


class Totals(Struct):
    """What one pass amounted to. `behind`: streams of which something was copied."""

    streams: int = 0
    behind: int = 0
    blocks: int = 0
    stored_bytes: int = 0
    verified_blocks: int = 0


async def copy_pass(
    source: Engine,
    target: Engine,
    selections: Sequence[Selection] = (),
    *,
    verify: Verify = Verify.ALL,
    show: Callable[[Totals], None] = lambda _: None,
) -> Totals:
    """Bring the copy of what is selected, or of everything, to where the original is.

    The original may be written to meanwhile; a stream that is deleted meanwhile is passed over. `verify` says
    what is then read back on both sides. `show` is told after every stream.

    Raises `BasinNotFound` for a selected basin that does not exist, what `stream_copies.copy_stream` raises, and
    `StorageFailed` if a copy is not the same. What was copied before stays, and is not copied again.
    """
    totals = Totals()
    turn = asyncio.Lock()
    async with aclosing(_selected(source, target, selections)) as found:

        async def copy_some() -> None:
            while True:
                async with turn:
                    entry = await anext(found, None)
                if entry is None:
                    return
                try:
                    await _copy(source, target, entry, totals, verify)
                except (StreamNotFound, StreamDeletionPending):
                    if not await _is_gone(source, entry):
                        raise
                    continue
                show(totals)

        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(AT_A_TIME):
                    tasks.create_task(copy_some())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return totals


async def _is_gone(source: Engine, entry: StreamEntry) -> bool:
    """Whether the original is deleted by now, or another stream has its name."""
    found = await source.stream(entry.basin, entry.name)
    return found is None or found.stream_id != entry.stream_id or found.deleted_at is not None


async def _copy(source: Engine, target: Engine, entry: StreamEntry, totals: Totals, verify: Verify) -> None:
    done = await copy_stream(source, target, entry)
    verified = 0
    if done.blocks and verify is not Verify.NOTHING:
        since = done.since if verify is Verify.COPIED else 0
        verified = await verify_stream(source, target, entry, done.tail, since=since)
    totals.verified_blocks += verified  # in one go with the rest: others count meanwhile
    totals.streams += 1
    totals.behind += done.blocks > 0
    totals.blocks += done.blocks
    totals.stored_bytes += done.stored_bytes


async def _selected(source: Engine, target: Engine, selections: Sequence[Selection]) -> AsyncGenerator[StreamEntry]:
    """The streams to copy; their basins are made at the target on the way."""
    if not selections:
        async for basin in basins(source):
            await copy_basin(target, basin)
            async for entry in streams(source, basin.name):
                yield entry
        return
    for selection in selections:
        found = await source.basin(selection.basin)
        if found is None or found.deleted_at is not None or found.location is not None:
            raise BasinNotFound(f"basin `{selection.basin}` not found; nothing is to be copied from it")
        await copy_basin(target, found)
        async for entry in streams(source, found.name, selection.prefix):
            yield entry
