"""What became of batches of a generation whose answer was lost.

A connection that breaks between an append and its answer leaves the client to send the batch again, and the store to
refuse it, because the records of the first time are there (store API, section 5.4). From the refusal alone nobody can
tell that from somebody else's records. The stream tells it: the records at the place that the batch was to get are
the batch's own, or they are not. Another writer's can hardly be the same, since they are written under another token.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from ..errors import ReadUnwritten
from ..model.batches import AppendAck
from ..model.limits import MAX_READ_RECORDS
from ..model.positions import SeqNum, StreamPosition
from ..model.records import AppendRecord, SequencedRecord
from ..telemetry.log_fields import about

if TYPE_CHECKING:
    from ..client import AppendSession, Stream
    from .writer import GenerationWriter

logger: Final = logging.getLogger("perdure.resumable")


def acks_of_applied(
    start_seq: int, batches: Iterable[Sequence[AppendRecord]], found: Sequence[SequencedRecord]
) -> list[AppendAck]:
    """Acknowledgements for the batches, from the first on, that are in the stream from `start_seq` on.

    `found` is what is retained there; the first ones may be missing, as a generation may trim what it wrote.
    """
    if not found:
        return []
    at = {record.seq_num: record for record in found}
    written_end = found[-1].seq_num + 1
    acks: list[AppendAck] = []
    timestamp = found[0].timestamp
    seq_num = start_seq
    for batch in batches:
        end = seq_num + len(batch)
        if end > written_end:
            break
        start = None
        for record in batch:
            there = at.get(seq_num)
            if there is not None:
                if there.body != record.body or there.headers != record.headers:
                    return acks
                timestamp = there.timestamp
            start = start or StreamPosition(seq_num, timestamp)
            seq_num += 1
        assert start is not None, "a batch has records"
        tail = StreamPosition(end, timestamp)
        acks.append(AppendAck(start, tail, tail))
    return acks


async def read_back(stream: Stream, start_seq: int, count: int) -> list[SequencedRecord]:
    """What is retained of the `count` records from `start_seq` on. Raises as `Stream.read` does."""
    found: list[SequencedRecord] = []
    cursor, end = start_seq, start_seq + count
    while cursor < end:
        try:
            batch = await stream.read(SeqNum(cursor), count=min(MAX_READ_RECORDS, end - cursor), clamp=True, wait=0)
        except ReadUnwritten:
            break
        if not batch.records:
            break
        found += [record for record in batch.records if record.seq_num < end]
        cursor = batch.records[-1].seq_num + 1
    return found


async def go_on_after_doubt(stream: Stream, writer: GenerationWriter) -> AppendSession | None:
    """Find out what became of the writer's batches in flight, and let it go on behind those that were applied.

    Gives the session that it goes on in, for the caller to close; None if it has failed, or needs none any more.
    """
    batches = writer.in_flight
    session: AppendSession | None = None
    try:
        found = await read_back(stream, writer.durable_end, sum(map(len, batches)))
        applied = acks_of_applied(writer.durable_end, batches, found)
        if applied and not (writer.has_ended and len(applied) == len(batches)):
            session = await stream.append_session().__aenter__()
    except Exception as exc:
        logger.warning(
            *("nobody can tell what became of an append to %r", stream.name),
            exc_info=exc,
            extra=about(stream.name, error=exc),
        )
        applied = []
    if applied:
        writer.resume(session, applied)
    else:
        writer.fail()  # the records that are there are somebody else's
    return session
