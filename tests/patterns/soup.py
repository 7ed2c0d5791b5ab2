"""Streams as writers leave them: messages cut into records, some sent twice, some never finished."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from perdure import AppendRecord, SequencedRecord
from perdure.patterns import Assembled, ReadCheckpoint, Reassembly, add_dedupe_headers, frame
from perdure.patterns.deduplication import new_writer_id

untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For properties: how long an example takes says more about the machine than about us."""

PAYLOADS = st.binary(min_size=1, max_size=40)
CHUNKS = st.integers(1, 12)


def in_stream(records: Iterable[AppendRecord], start: int = 0) -> list[SequencedRecord]:
    """The records with their sequence numbers."""
    return [SequencedRecord(seq, 0, record.body, record.headers) for seq, record in enumerate(records, start)]


def written(
    payloads: Sequence[bytes], chunk_bytes: int, *, dedupe_seq: int | None = 0, writer_id: str | None = None
) -> list[AppendRecord]:
    """The records of one writer."""
    records = list(chain.from_iterable(frame(payload, chunk_bytes=chunk_bytes) for payload in payloads))
    if dedupe_seq is None:
        return records
    return list(add_dedupe_headers(records, writer_id=writer_id or new_writer_id(), dedupe_seq=dedupe_seq))


def read(records: Iterable[SequencedRecord], reassembly: Reassembly | None = None) -> list[Assembled]:
    """The messages that a reader makes of these records."""
    reader = Reassembly() if reassembly is None else reassembly
    return [found for record in records if (found := reader.push(record)) is not None]


def payloads_of(found: Iterable[Assembled]) -> list[bytes]:
    return [message.payload for message in found]


def resumed(records: Sequence[SequencedRecord], checkpoint: ReadCheckpoint | None) -> list[Assembled]:
    """The messages that another reader finds from the checkpoint on."""
    start = records[0].seq_num if checkpoint is None else checkpoint.seq_num
    behind = [record for record in records if record.seq_num >= start]
    return read(behind, Reassembly(checkpoint=checkpoint))


@st.composite
def retried(draw: st.DrawFn, records: Sequence[AppendRecord]) -> list[AppendRecord]:
    """The records as they are in a stream whose writer now and then sent the last ones again."""
    found: list[AppendRecord] = []
    for end in range(1, len(records) + 1):
        found.append(records[end - 1])
        if draw(st.integers(0, 5)) == 0:
            found += records[draw(st.integers(max(0, end - 4), end - 1)) : end]
    return found


@st.composite
def succession(draw: st.DrawFn) -> tuple[list[AppendRecord], list[bytes]]:
    """Writers one after the other, each of which may crash in the middle of a message; and the whole messages."""
    stream: list[AppendRecord] = []
    whole: list[bytes] = []
    for _ in range(draw(st.integers(1, 4))):
        payloads = draw(st.lists(PAYLOADS, max_size=5))
        chunk_bytes = draw(CHUNKS)
        records = written(payloads, chunk_bytes, dedupe_seq=draw(st.sampled_from([0, 7, 2**53])))
        kept = draw(st.integers(0, len(records)))
        ends = 0
        for payload in payloads:
            ends += -(-len(payload) // chunk_bytes)
            if ends <= kept:
                whole.append(payload)
        stream += draw(retried(records[:kept]))
    return stream, whole


@st.composite
def interleaved(draw: st.DrawFn, writers: Sequence[Sequence[AppendRecord]]) -> list[AppendRecord]:
    """The records of several writers that append at once, each in its order."""
    left = [list(records) for records in writers if records]
    merged: list[AppendRecord] = []
    while left:
        chosen = draw(st.sampled_from(left))
        merged.append(chosen.pop(0))
        left = [records for records in left if records]
    return merged
