"""Bringing a new store into the state in which it spends its life."""

from __future__ import annotations

from perdure import AppendRecord, SeqNum, Stream

from .payload import KIB, numbered

BATCHES = 80_000


async def warm_up(stream: Stream) -> None:
    """Append small batches until the write-ahead log has begun anew and the caches, of fixed sizes, are full.

    From then on a commit does not make the log's file longer, so syncing it is cheaper, and what memory grows by
    belongs to those who use the store. It takes a second or two.
    """
    async with stream.append_session() as session:
        for number in range(BATCHES):
            _ = await session.submit([AppendRecord(numbered(number, KIB))])
    async with stream.read_session(SeqNum(0), wait=0) as records:
        async for _ in records.batches():
            pass
