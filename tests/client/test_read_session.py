"""Reading record by record and batch by batch, and knowing when one is caught up (store API, 10.6 and 11.7)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure import (
    S2,
    AppendRecord,
    Basin,
    ReadSession,
    ReadUnwritten,
    SeqNum,
    SessionClosed,
    Stream,
    StreamDeletionPending,
    StreamNotFound,
    StreamPosition,
    TailOffset,
    Unavailable,
)
from perdure.client.transports.local import LocalTransport
from tests.client.scripted import ScriptedReads, position, settle
from tests.patience import PATIENCE_SECONDS
from tests.store.stores import Store


@pytest.fixture
def peer() -> ScriptedReads:
    return ScriptedReads()


@pytest.fixture
async def session(peer: ScriptedReads) -> AsyncIterator[ReadSession]:
    async with ReadSession(peer.open) as session:
        yield session


async def rest(session: ReadSession) -> list[int]:
    return [record.seq_num async for record in session]


class TestRecords:
    async def test_they_come_one_by_one_in_order(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, 1, 2)
        peer.put(3)
        peer.put(tail=4)
        peer.put(4, 5, tail=6)
        peer.end()
        assert await rest(session) == [0, 1, 2, 3, 4, 5]
        assert await rest(session) == []
        assert peer.closed == 1

    async def test_at_most_one_batch_is_held(self, peer: ScriptedReads, session: ReadSession) -> None:
        for number in range(0, 10, 2):
            peer.put(number, number + 1)
        for number in range(4):
            assert (await anext(session)).seq_num == number
        assert peer.pulls == 2

    async def test_without_a_block_the_first_record_connects(self, peer: ScriptedReads) -> None:
        session = ReadSession(peer.open)
        peer.put(0)
        assert (await anext(session)).seq_num == 0
        await session.aclose()
        assert peer.closed == 1

    async def test_an_error_comes_after_what_was_received(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, 1)
        peer.end(Unavailable("gone"))
        assert [(await anext(session)).seq_num for _ in range(2)] == [0, 1]
        for _ in range(2):
            with pytest.raises(Unavailable, match="gone"):
                await anext(session)
        assert peer.closed == 1

    async def test_cancelling_loses_nothing(self, peer: ScriptedReads, session: ReadSession) -> None:
        for number in range(5):
            waiting = asyncio.ensure_future(anext(session))
            await settle()
            waiting.cancel()
            await settle()
            peer.put(number)
            assert (await anext(session)).seq_num == number

    async def test_two_readers_share_the_records(self, peer: ScriptedReads, session: ReadSession) -> None:
        readers = [asyncio.create_task(rest(session)) for _ in range(2)]
        for number in range(20):
            peer.put(number)
            await settle()
        peer.end()
        seen = await asyncio.gather(*readers)
        assert sorted(seen[0] + seen[1]) == list(range(20))


class TestBatches:
    async def test_they_come_as_they_are_with_heartbeats(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, 1)
        peer.put(tail=2)
        peer.put(2, tail=3)
        peer.end()
        found = [([r.seq_num for r in batch.records], batch.tail) async for batch in session.batches()]
        assert found == [([0, 1], None), ([], position(2)), ([2], position(3))]
        assert await session.next_batch() is None

    async def test_what_is_left_of_a_batch_is_a_batch(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, 1, 2, tail=3)
        assert (await anext(session)).seq_num == 0
        batch = await session.next_batch()
        assert batch is not None
        assert ([r.seq_num for r in batch.records], batch.tail) == ([1, 2], position(3))


class TestCommands:
    @pytest.fixture
    async def session(self, peer: ScriptedReads) -> AsyncIterator[ReadSession]:
        async with ReadSession(peer.open, ignore_command_records=True) as session:
            yield session

    async def test_they_are_left_out_and_still_count(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, 1, commands=(0, 1))
        peer.put(2, 3, 4, commands=(3, 4))
        assert (await anext(session)).seq_num == 2
        assert session.next_read_position == position(5)
        peer.put(5, tail=6, commands=(5,))
        peer.end()
        assert await rest(session) == []
        assert session.is_caught_up
        assert session.next_read_position == session.last_observed_tail == position(6)

    async def test_a_batch_of_nothing_else_is_left_out_unless_it_tells_the_tail(
        self, peer: ScriptedReads, session: ReadSession
    ) -> None:
        peer.put(0, commands=(0,))
        peer.put(1, tail=2, commands=(1,))
        peer.end()
        assert [(batch.records, batch.tail) async for batch in session.batches()] == [((), position(2))]


class TestCaughtUp:
    async def test_a_heartbeat_with_nothing_before_it(self, peer: ScriptedReads, session: ReadSession) -> None:
        assert not session.is_caught_up
        assert session.last_observed_tail is None
        assert session.next_read_position is None
        peer.put(tail=0)
        assert await session.caught_up() == StreamPosition(0, 0)
        assert session.is_caught_up
        assert session.last_observed_tail == StreamPosition(0, 0)
        assert session.next_read_position == StreamPosition(0, 0)

    async def test_not_before_the_last_record_was_taken(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, 1)
        peer.put(2, 3, tail=4)
        waiting = asyncio.create_task(session.caught_up())
        for number in range(4):
            await settle()
            assert not waiting.done()
            assert not session.is_caught_up
            assert (await anext(session)).seq_num == number
            assert session.next_read_position == position(number + 1)
        assert session.is_caught_up
        assert await waiting == position(4)

    async def test_a_batch_below_the_tail_does_not_count(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(tail=0)
        await session.caught_up()
        peer.put(0, tail=2)
        assert (await anext(session)).seq_num == 0
        assert not session.is_caught_up
        peer.put(1, tail=2)
        assert (await anext(session)).seq_num == 1
        assert session.is_caught_up

    async def test_a_new_batch_ends_it_until_it_is_taken(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(tail=0)
        await session.caught_up()
        peer.put(0, 1, tail=2)
        await anext(session)
        assert not session.is_caught_up
        await anext(session)
        assert session.is_caught_up

    async def test_a_lost_connection_ends_it(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(tail=0)
        await session.caught_up()
        peer.interrupt()
        assert not session.is_caught_up
        peer.put(tail=0)
        assert await session.caught_up() == StreamPosition(0, 0)

    async def test_asking_drives_the_session_until_there_are_records(
        self, peer: ScriptedReads, session: ReadSession
    ) -> None:
        waiting = asyncio.create_task(session.caught_up())
        await settle()
        assert peer.pulls == 1
        peer.put(0, tail=1)
        peer.put(1, tail=2)
        await settle()
        assert peer.pulls == 1
        assert not waiting.done()
        await anext(session)
        assert await waiting == position(1)

    async def test_a_reader_and_one_who_asks_do_not_disturb_each_other(
        self, peer: ScriptedReads, session: ReadSession
    ) -> None:
        asking = asyncio.create_task(session.caught_up())
        await settle()
        reading = asyncio.create_task(rest(session))
        await settle()
        asking.cancel()  # while it is the one that waits for the channel
        await settle()
        peer.put(0)
        peer.put(tail=1)
        peer.end()
        assert await reading == [0]
        assert await session.caught_up() == position(1)

    async def test_it_outlives_a_clean_end(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, tail=1)
        peer.end()
        assert await rest(session) == [0]
        assert await session.caught_up() == position(1)

    async def test_an_end_before_it_is_an_error(self, peer: ScriptedReads, session: ReadSession) -> None:
        waiting = asyncio.create_task(session.caught_up())
        peer.put(0)
        peer.end()
        assert await rest(session) == [0]
        with pytest.raises(SessionClosed, match="caught up"):
            await waiting
        with pytest.raises(SessionClosed):
            await session.caught_up()

    async def test_a_failure_is_raised(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.end(Unavailable("gone"))
        for _ in range(2):
            with pytest.raises(Unavailable):
                await session.caught_up()


class TestClosing:
    async def test_it_ends_whoever_waits(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0)
        await anext(session)
        reading = asyncio.create_task(rest(session))
        await settle()
        asking = asyncio.create_task(session.caught_up())
        await settle()
        await session.aclose()
        with pytest.raises(SessionClosed):
            await asking
        peer.put(1)  # what a channel gives after it was closed is too late
        assert await reading == []
        assert peer.closed == 1

    async def test_it_drops_what_was_not_taken(self, peer: ScriptedReads, session: ReadSession) -> None:
        peer.put(0, 1, 2)
        await anext(session)
        await session.aclose()
        await session.aclose()
        assert await rest(session) == []
        assert session.next_read_position == position(1)
        with pytest.raises(SessionClosed, match="closed"):
            async with session:
                pytest.fail("not reached")


class TestOnAStore:
    async def test_it_reads_what_is_there_and_follows(self, stream: Stream) -> None:
        await stream.append([AppendRecord("a"), AppendRecord("b")])
        async with asyncio.timeout(PATIENCE_SECONDS), stream.read_session(SeqNum(0)) as records:
            assert [(await anext(records)).text for _ in range(2)] == ["a", "b"]
            assert await records.caught_up() == await stream.check_tail()
            ack = await stream.append([AppendRecord("c")])
            assert (await anext(records)).text == "c"
            assert await records.caught_up() == ack.tail
            assert records.next_read_position == ack.end

    async def test_an_empty_stream_is_caught_up_at_once(self, stream: Stream) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), stream.read_session(TailOffset(10), clamp=True) as records:
            assert await records.caught_up() == StreamPosition(0, 0)

    async def test_limits_and_filters(self, stream: Stream) -> None:
        await stream.append([AppendRecord("a"), AppendRecord("b")])
        await stream.fence("me")
        await stream.append([AppendRecord("c"), AppendRecord("d")])
        async with stream.read_session(SeqNum(1), count=3, ignore_command_records=True) as records:
            assert [record.text async for record in records] == ["b", "c"]
        async with stream.read_session(SeqNum(0), wait=0) as records:
            assert [record.seq_num async for record in records] == [0, 1, 2, 3, 4]
        batch = await stream.read(SeqNum(1), count=2, ignore_command_records=True)
        assert [record.text for record in batch.records] == ["b"]

    async def test_what_keeps_it_from_starting_is_raised_on_entering(self, basin: Basin, stream: Stream) -> None:
        with pytest.raises(StreamNotFound):
            async with basin.stream("unknown").read_session(SeqNum(0)):
                pytest.fail("not reached")
        with pytest.raises(ReadUnwritten) as caught:
            async with stream.read_session(SeqNum(5)):
                pytest.fail("not reached")
        assert caught.value.tail == StreamPosition(0, 0)
        with pytest.raises(ReadUnwritten):
            await anext(stream.read_session(SeqNum(0), count=1))

    async def test_leaving_the_block_ends_the_following(self, stream: Stream) -> None:
        async with stream.read_session() as records:
            await records.caught_up()
            reading = asyncio.create_task(rest(records))
            await settle()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await reading == []

    async def test_a_reader_and_a_producer_for_thousands_of_records(self, stream: Stream) -> None:
        total = 5000

        async def read() -> list[int]:
            async with stream.read_session(SeqNum(0), count=total, wait=PATIENCE_SECONDS) as records:
                return [int(record.text) async for record in records]

        async def write() -> None:
            async with stream.producer(linger_ms=1) as producer:
                for number in range(total):
                    _ = await producer.submit(AppendRecord(str(number)))

        async with asyncio.TaskGroup() as tasks:
            readers = [tasks.create_task(read()) for _ in range(3)]
            tasks.create_task(write())
        for reader in readers:
            assert reader.result() == list(range(total))

    async def test_a_stream_that_is_deleted_while_it_is_read(self, basin: Basin, stream: Stream) -> None:
        await stream.append([AppendRecord("a")])
        async with stream.read_session(SeqNum(0)) as records:
            assert (await anext(records)).text == "a"
            await records.caught_up()
            await basin.streams.delete(stream.name)
            # Over HTTP the reader asks again, and hears that the stream is gone for good.
            with pytest.raises((Unavailable, StreamDeletionPending, StreamNotFound)):
                await rest(records)

    async def test_closing_the_store_ends_the_following(self, store: Store) -> None:
        s2 = await S2(transport=LocalTransport(store.open))
        basin = await s2.basins.ensure("client-basin", create_stream_on_read=True)
        async with basin.stream("s").read_session() as records:
            await records.caught_up()
            reading = asyncio.create_task(rest(records))
            await settle()
            await s2.aclose()
            with pytest.raises(Unavailable):
                await reading
