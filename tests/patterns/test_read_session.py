"""Messages out of a stream: order, errors, going on elsewhere, closing (patterns, section G.4)."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from perdure import AppendRecord, ReadBatch, ReadSession, SeqNum, Stream, Unavailable
from perdure.patterns import (
    DeserializingReadSession,
    FrameSizeError,
    JsonSerializer,
    MessageRange,
    ReadCheckpoint,
    SerializingAppendSession,
    frame,
)
from tests.client.scripted import ScriptedReads, settle
from tests.patience import PATIENCE_SECONDS
from tests.patterns.soup import in_stream, written

Reader = DeserializingReadSession[str]


def reading(stream: Stream, checkpoint: ReadCheckpoint | None = None) -> Reader:
    start = SeqNum(0 if checkpoint is None else checkpoint.seq_num)
    return DeserializingReadSession(stream.read_session(start, wait=0, clamp=True), bytes.decode, checkpoint=checkpoint)


class ScriptedRecords(ScriptedReads):
    """A read channel that gives records of a test's own."""

    def give(self, *records: AppendRecord, start: int = 0) -> None:
        self._script.put_nowait(ReadBatch(tuple(in_stream(records, start))))


@pytest.fixture
def peer() -> ScriptedRecords:
    return ScriptedRecords()


@pytest.fixture
async def reader(peer: ScriptedRecords) -> AsyncIterator[Reader]:
    async with DeserializingReadSession(ReadSession(peer.open), bytes.decode, max_frame_bytes=20) as reader:
        yield reader


class TestMessages:
    async def test_they_come_in_order_and_end_with_the_read(self, peer: ScriptedRecords, reader: Reader) -> None:
        records = written([b"abcdef", b"g", b"hijklmnop"], 3)
        peer.give(*records[:1])
        peer.give(*records[1:4], start=1)
        peer.give(*records[4:], start=4)
        peer.end()
        assert [(message, reader.message_range) async for message in reader] == [
            ("abcdef", MessageRange(0, 2)),
            ("g", MessageRange(2, 3)),
            ("hijklmnop", MessageRange(3, 6)),
        ]
        assert [message async for message in reader] == []
        assert peer.closed == 1

    async def test_they_arrive_while_one_follows(self, stream: Stream) -> None:
        async with (
            DeserializingReadSession(stream.read_session(SeqNum(0)), bytes.decode) as reader,
            SerializingAppendSession(stream.append_session(), str.encode, chunk_bytes=2) as writer,
            asyncio.timeout(PATIENCE_SECONDS),
        ):
            for message in ("one", "two and more"):
                await writer.submit(message)
                assert await anext(reader) == message

    async def test_nothing_is_a_message_too(self, stream: Stream) -> None:
        values = JsonSerializer[int | None](int | None)
        async with SerializingAppendSession(stream.append_session(), values.serialize) as writer:
            await writer.write_all([None, 1, None])
        reads = stream.read_session(SeqNum(0), wait=0)
        async with DeserializingReadSession(reads, values.deserialize) as reader:
            assert [value async for value in reader] == [None, 1, None]

    async def test_cancelling_within_a_message_loses_nothing(self, peer: ScriptedRecords, reader: Reader) -> None:
        for seq, record in enumerate(written([b"abcdef"], 2)):
            waiting = asyncio.ensure_future(anext(reader))
            await settle()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            peer.give(record, start=seq)
        assert await anext(reader) == "abcdef"

    async def test_tasks_that_share_it_get_each_message_once(self, peer: ScriptedRecords, reader: Reader) -> None:
        messages = [letter * 5 for letter in "abcdef"]
        waiting = [asyncio.ensure_future(anext(reader)) for _ in messages]
        for seq, record in enumerate(written([message.encode() for message in messages], 2)):
            peer.give(record, start=seq)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert sorted(await asyncio.gather(*waiting)) == messages

    async def test_it_tells_what_was_passed_over(self, peer: ScriptedRecords, reader: Reader) -> None:
        unfinished, whole = written([b"abcdef"], 4), written([b"ghi"], 4)
        peer.give(unfinished[0], *whole, *whole)
        peer.end()
        assert [message async for message in reader] == ["ghi"]
        assert (reader.dropped_frames, reader.duplicate_records) == (1, 1)


class TestErrors:
    async def test_one_of_the_deserialiser_ends_the_session_and_says_where(
        self, peer: ScriptedRecords, reader: Reader
    ) -> None:
        peer.give(*written([b"fine", b"\xff\xff\xff", b"not reached"], 2, writer_id="w"), start=7)
        assert await anext(reader) == "fine"
        for _ in range(2):
            with pytest.raises(UnicodeDecodeError) as caught:
                await anext(reader)
            assert caught.value.__notes__ == [
                "in records 9 to 10 of the stream; to go on behind it, read from sequence number 11"
            ]
        assert peer.closed == 1
        assert reader.checkpoint == ReadCheckpoint(9, "w", 1)

    async def test_a_claim_beyond_the_bound_ends_the_session(self, peer: ScriptedRecords, reader: Reader) -> None:
        peer.give(*frame(b"fine"), *frame(b"x" * 21), *frame(b"not reached"))
        assert await anext(reader) == "fine"
        for _ in range(2):
            with pytest.raises(FrameSizeError, match="21 bytes") as caught:
                await anext(reader)
            assert caught.value.__notes__ == [
                "in record 1 of the stream; to go on behind it, read from sequence number 2"
            ]
        assert peer.closed == 1
        assert reader.checkpoint == ReadCheckpoint(1)

    async def test_one_of_the_read_comes_through(self, peer: ScriptedRecords, reader: Reader) -> None:
        peer.give(*frame(b"fine"))
        peer.end(Unavailable("gone"))
        assert await anext(reader) == "fine"
        for _ in range(2):
            with pytest.raises(Unavailable, match="gone"):
                await anext(reader)
        assert peer.closed == 1


class TestGoingOn:
    async def test_a_session_goes_on_behind_any_message_of_another(self, stream: Stream) -> None:
        messages = ["first", "second one", "third", "fourth"]
        records = written([message.encode() for message in messages], 4)
        await stream.append(records + records[-5:])
        for seen in range(len(messages) + 1):
            async with reading(stream) as before:
                found = [await anext(before) for _ in range(seen)]
                kept = msgspec.json.encode(before.checkpoint)
            checkpoint = msgspec.json.decode(kept, type=ReadCheckpoint | None)
            async with reading(stream, checkpoint) as behind:
                assert behind.checkpoint == checkpoint
                assert found + [message async for message in behind] == messages


class TestClosing:
    async def test_it_closes_the_read_and_whoever_waits_sees_the_end(
        self, peer: ScriptedRecords, reader: Reader
    ) -> None:
        peer.give(written([b"abcdef"], 4)[0])
        waiting = asyncio.ensure_future(anext(reader, None))
        await settle()
        await reader.aclose()
        peer.end()
        assert await waiting is None
        assert [message async for message in reader] == []
        assert peer.closed == 1
