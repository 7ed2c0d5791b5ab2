"""Messages into a stream: order, counters, what is refused, failure and closing (patterns, section G.3)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure import AppendSession, Invalid, SeqNum, SeqNumMismatch, SessionClosed, Stream, Unavailable
from perdure.model.limits import MAX_BATCH_RECORDS
from perdure.patterns import (
    DEFAULT_MAX_FRAME_BYTES,
    MAX_CHUNK_BODY_BYTES,
    DeserializingReadSession,
    FrameSizeError,
    JsonSerializer,
    MessageRange,
    SerializingAppendSession,
    dedupe_mark,
)
from tests.client.scripted import ScriptedAppends, settle

Session = SerializingAppendSession[str]


def over(
    peer: ScriptedAppends,
    *,
    chunk_bytes: int = MAX_CHUNK_BODY_BYTES,
    match_seq_num: int | None = None,
    dedupe_seq: int | None = None,
    max_frame_bytes: int = DEFAULT_MAX_FRAME_BYTES,
) -> Session:
    return SerializingAppendSession(
        AppendSession(peer.open),
        str.encode,
        chunk_bytes=chunk_bytes,
        match_seq_num=match_seq_num,
        dedupe_seq=dedupe_seq,
        max_frame_bytes=max_frame_bytes,
    )


@pytest.fixture
def peer() -> ScriptedAppends:
    return ScriptedAppends()


@pytest.fixture
async def session(peer: ScriptedAppends) -> AsyncIterator[Session]:
    """Chunks of four bytes, and every option that counts."""
    async with over(peer, chunk_bytes=4, match_seq_num=10, dedupe_seq=0, max_frame_bytes=20) as session:
        yield session
        await session.abandon()


async def messages_of(stream: Stream) -> list[str]:
    async with DeserializingReadSession(stream.read_session(SeqNum(0), wait=0), bytes.decode) as session:
        return [message async for message in session]


def counts(peer: ScriptedAppends) -> list[int]:
    marks = [dedupe_mark(record.headers) for batch in peer.sent for record in batch.records]
    return [mark[1] for mark in marks if mark is not None]


class TestSubmit:
    async def test_a_record_is_a_batch_and_both_counters_follow(self) -> None:
        peer = ScriptedAppends()
        values = JsonSerializer(dict[str, int])
        session = SerializingAppendSession(
            AppendSession(peer.open), values.serialize, chunk_bytes=4, match_seq_num=10, dedupe_seq=0
        )
        async with session:
            submits = [asyncio.ensure_future(session.submit(value)) for value in ({"n": 1}, {"number": 2})]
            await settle()
            assert peer.bodies == ['{"n"', ":1}", '{"nu', "mber", '":2}']
            assert [len(batch.records) for batch in peer.sent] == [1] * 5
            assert [batch.match_seq_num for batch in peer.sent] == [10, 11, 12, 13, 14]
            marks = {dedupe_mark(record.headers) for batch in peer.sent for record in batch.records}
            assert marks == {(session.writer_id, seq) for seq in range(5)}
            peer.acknowledge(5)
            assert [await submit for submit in submits] == [MessageRange(0, 2), MessageRange(2, 5)]
        assert peer.closed == 1

    async def test_it_returns_when_all_records_are_durable(self, peer: ScriptedAppends, session: Session) -> None:
        submit = asyncio.ensure_future(session.submit("abcdefgh"))
        await settle()
        peer.acknowledge()
        await settle()
        assert not submit.done()
        peer.acknowledge()
        assert await submit == MessageRange(0, 2)

    async def test_messages_of_several_tasks_stay_whole(self, stream: Stream) -> None:
        appends = stream.append_session(max_in_flight_batches=1)
        wanted = [letter * 11 for letter in "abcdefgh"]
        async with SerializingAppendSession(appends, str.encode, chunk_bytes=2, dedupe_seq=0) as session:
            ranges = await asyncio.gather(*(session.submit(message) for message in wanted))
        assert [found.start for found in ranges] == list(range(0, 48, 6))
        assert await messages_of(stream) == wanted

    @pytest.mark.parametrize(
        ("message", "error", "said"),
        [
            ("", Invalid, "Serialized message is empty; the serializer must produce at least one byte"),
            ("x" * 21, FrameSizeError, "21 bytes, more than max_frame_bytes .20.* raise max_frame_bytes"),
            ("\ud800", UnicodeEncodeError, "surrogate"),
        ],
    )
    async def test_what_is_refused_counts_for_nothing(
        self, peer: ScriptedAppends, session: Session, message: str, error: type[Exception], said: str
    ) -> None:
        with pytest.raises(error, match=said):
            await session.submit(message)
        assert peer.sent == []
        submit = asyncio.ensure_future(session.submit("ab"))
        await settle()
        peer.acknowledge()
        await submit
        assert (peer.sent[0].match_seq_num, counts(peer)) == (10, [0])

    async def test_a_cancelled_message_counts_only_what_was_sent(self, stream: Stream) -> None:
        peer = ScriptedAppends()
        session: Session = SerializingAppendSession(
            AppendSession(peer.open, max_in_flight_batches=2), str.encode, chunk_bytes=1, match_seq_num=0, dedupe_seq=0
        )
        cancelled = asyncio.ensure_future(session.submit("abc"))
        await settle()
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        peer.acknowledge(2)
        submit = asyncio.ensure_future(session.submit("d"))
        await settle()
        peer.acknowledge()
        assert await submit == MessageRange(2, 3)
        assert ([batch.match_seq_num for batch in peer.sent], counts(peer)) == ([0, 1, 2], [0, 1, 2])
        await session.aclose()
        for batch in peer.sent:
            await stream.append(batch.records)
        assert await messages_of(stream) == ["d"]

    async def test_the_first_failure_ends_the_session(self, peer: ScriptedAppends, session: Session) -> None:
        submits = [asyncio.ensure_future(session.submit(message)) for message in ("abcdef", "gh")]
        await settle()
        peer.acknowledge()
        peer.fail(Unavailable("gone"))
        for submit in submits:
            with pytest.raises(Unavailable, match="gone"):
                await submit
        with pytest.raises(Unavailable, match="gone"):
            await session.submit("more")

    async def test_a_second_writer_fails_where_positions_are_matched(self, stream: Stream) -> None:
        first = SerializingAppendSession(stream.append_session(), str.encode, match_seq_num=0)
        second = SerializingAppendSession(stream.append_session(), str.encode, match_seq_num=0)
        async with first:
            await first.submit("a")
            await first.submit("b")
            with pytest.raises(SeqNumMismatch):
                await second.submit("c")
        await second.abandon()
        assert await messages_of(stream) == ["a", "b"]

    async def test_the_fencing_token_goes_along(self, stream: Stream) -> None:
        await stream.fence("mine")
        async with SerializingAppendSession(stream.append_session(), str.encode, fencing_token="mine") as session:
            assert await session.submit("a") == MessageRange(1, 2)


class TestWrite:
    async def test_a_message_is_a_batch(self, peer: ScriptedAppends, session: Session) -> None:
        await session.write_all(["abcdefgh", "ij"])
        assert [len(batch.records) for batch in peer.sent] == [2, 1]
        assert [batch.match_seq_num for batch in peer.sent] == [10, 12]
        assert counts(peer) == [0, 1, 2]

    async def test_a_message_larger_than_a_batch_is_several(self, stream: Stream) -> None:
        many = "m" * (2 * MAX_BATCH_RECORDS + 1)
        large = "l" * (2 * MAX_CHUNK_BODY_BYTES + 1)
        async with SerializingAppendSession(stream.append_session(), str.encode, chunk_bytes=1) as session:
            await session.write(many)
        async with SerializingAppendSession(stream.append_session(), str.encode, dedupe_seq=0) as session:
            await session.write(large)
        assert await messages_of(stream) == [many, large]
        assert (await stream.check_tail()).seq_num == 2 * MAX_BATCH_RECORDS + 4

    async def test_it_returns_when_there_is_room_and_the_source_waits(self) -> None:
        peer = ScriptedAppends()
        session: Session = SerializingAppendSession(AppendSession(peer.open, max_in_flight_batches=2), str.encode)
        asked = 0

        async def source() -> AsyncIterator[str]:
            nonlocal asked
            for letter in "abcde":
                asked += 1
                yield letter

        writing = asyncio.ensure_future(session.write_all(source()))
        await settle()
        assert (peer.bodies, asked) == (["a", "b"], 3)
        peer.acknowledge(2)
        await settle()
        assert (peer.bodies, asked) == (["a", "b", "c", "d"], 5)
        peer.acknowledge(2)
        await writing
        closing = asyncio.ensure_future(session.aclose())
        await settle()
        assert not closing.done()
        peer.acknowledge()
        await closing

    async def test_a_failure_is_the_end_of_writing_and_not_of_submitting(
        self, peer: ScriptedAppends, session: Session
    ) -> None:
        for message in ("", "fine"):
            with pytest.raises(Invalid, match="empty"):
                await session.write(message)
        submit = asyncio.ensure_future(session.submit("fine"))
        await settle()
        peer.acknowledge()
        await submit
        assert (peer.bodies, counts(peer)) == (["fine"], [0])

    async def test_closing_tells_that_what_was_written_is_not_durable(self, peer: ScriptedAppends) -> None:
        session = over(peer)
        await session.write("a")
        peer.fail(Unavailable("gone"))
        with pytest.raises(Unavailable, match="gone"):
            await session.aclose()
        assert peer.closed == 1


class TestClosing:
    async def test_nothing_is_taken_afterwards(self, peer: ScriptedAppends) -> None:
        async with over(peer) as session:
            pass
        with pytest.raises(SessionClosed):
            await session.submit("a")
        assert (peer.opened, peer.closed) == (1, 1)

    async def test_an_error_in_the_block_does_not_wait(self, peer: ScriptedAppends) -> None:
        async def fails_within() -> None:
            async with over(peer) as session:
                await session.write("never acknowledged")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await fails_within()
        assert peer.closed == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"chunk_bytes": 0}, "chunk_bytes must be"),
        ({"max_frame_bytes": 0}, "max_frame_bytes must be"),
        ({"match_seq_num": -1}, "match_seq_num must be"),
        ({"dedupe_seq": 2**64}, "dedupe_seq must be"),
    ],
)
def test_options_have_bounds(peer: ScriptedAppends, options: dict[str, int], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        over(peer, **options)
