"""Batches in a pipeline: order, room, failure, closing (store API, sections 10.5 and 11.5)."""

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from perdure import (
    S2,
    AppendAck,
    AppendRecord,
    AppendSession,
    AppendTicket,
    Basin,
    Invalid,
    SeqNum,
    SeqNumMismatch,
    SessionClosed,
    Stream,
    StreamDeletionPending,
    StreamNotFound,
    Unavailable,
)
from perdure.client.transports.local import LocalTransport
from perdure.model.batches import AppendInput
from tests.client.conftest import Carrier
from tests.client.scripted import ScriptedAppends, settle
from tests.store.stores import Store

MIB = 1024 * 1024
HALF = [AppendRecord(b"x" * (MIB // 2 - 8))]


def one(body: str) -> list[AppendRecord]:
    return [AppendRecord(body)]


@pytest.fixture
def peer() -> ScriptedAppends:
    return ScriptedAppends()


@pytest.fixture
async def session(peer: ScriptedAppends) -> AsyncIterator[AppendSession]:
    """A session with room for two batches."""
    session = AppendSession(peer.open, max_in_flight_batches=2)
    yield session
    await session.abandon()


async def submit(session: AppendSession, body: str) -> AppendTicket:
    return await session.submit(one(body))


async def post(session: AppendSession, body: str) -> None:
    """Submit a batch and drop its ticket."""
    _ = await session.submit(one(body))


class TestOrder:
    async def test_batches_are_sent_as_they_are_submitted(self, peer: ScriptedAppends, session: AppendSession) -> None:
        async with session:
            tickets = [await submit(session, "a"), await submit(session, "b")]
            assert peer.bodies == ["a", "b"]
            assert not tickets[0].done()
            peer.acknowledge(2)
            assert [(await ticket).start.seq_num for ticket in tickets] == [0, 1]
            assert tickets[0].done()
        assert peer.closed == 1

    async def test_conditions_go_with_the_batch(self, peer: ScriptedAppends, session: AppendSession) -> None:
        _ = await session.submit(one("a"), match_seq_num=0, fencing_token="")
        _ = await session.submit_batch(AppendInput.of(one("b"), match_seq_num=7))
        assert [(sent.match_seq_num, sent.fencing_token) for sent in peer.sent] == [(0, ""), (7, None)]

    async def test_the_first_submit_connects(self, peer: ScriptedAppends, session: AppendSession) -> None:
        assert peer.opened == 0
        tasks = [asyncio.create_task(post(session, str(n))) for n in range(2)]
        await settle()
        assert peer.opened == 1
        assert peer.bodies == ["0", "1"]
        assert all(task.done() for task in tasks)

    async def test_those_who_wait_are_served_in_their_order(
        self, peer: ScriptedAppends, session: AppendSession
    ) -> None:
        async with session:
            tasks = [asyncio.create_task(post(session, str(n))) for n in range(7)]
            for sent in range(2, 8):
                await settle()
                assert peer.bodies == [str(n) for n in range(min(sent, 7))]
                peer.acknowledge()
            for task in tasks:
                await task
            peer.acknowledge(len(peer.unanswered))

    async def test_nobody_overtakes_those_who_wait(self, peer: ScriptedAppends, session: AppendSession) -> None:
        async with session:
            for body in "ab":
                await post(session, body)
            waiting = asyncio.create_task(post(session, "c"))
            await settle()
            peer.acknowledge(2)
            # There is room now, but the one who waited has not run yet.
            late = asyncio.create_task(post(session, "d"))
            await asyncio.gather(waiting, late)
            assert peer.bodies == ["a", "b", "c", "d"]
            peer.acknowledge(2)


class TestRoom:
    async def test_bytes_are_bounded(self, peer: ScriptedAppends) -> None:
        session = AppendSession(peer.open, max_in_flight_bytes=MIB)
        for _ in range(2):
            _ = await session.submit(HALF)
        assert (session.in_flight_bytes, session.in_flight_batches) == (MIB, 2)
        waiting = asyncio.create_task(post(session, ""))
        await settle()
        assert not waiting.done()
        peer.acknowledge()
        await waiting
        assert session.in_flight_bytes == MIB // 2 + 8
        peer.acknowledge(2)
        assert (session.in_flight_bytes, session.in_flight_batches) == (0, 0)
        await session.aclose()

    async def test_a_batch_that_waits_for_room_does_not_let_a_smaller_one_pass(self, peer: ScriptedAppends) -> None:
        session = AppendSession(peer.open, max_in_flight_bytes=MIB)
        _ = await session.submit([AppendRecord(b"x" * (MIB - 100))])
        large = asyncio.create_task(session.submit(HALF))
        await settle()
        small = asyncio.create_task(post(session, "small"))
        await settle()
        assert len(peer.sent) == 1
        peer.acknowledge()
        await asyncio.gather(large, small)
        assert [len(sent.records[0].body) for sent in peer.sent[1:]] == [MIB // 2 - 8, 5]
        await session.abandon()

    async def test_cancelling_a_submit_gives_its_place_up(self, peer: ScriptedAppends, session: AppendSession) -> None:
        async with session:
            for body in "ab":
                await post(session, body)
            tasks = [asyncio.create_task(post(session, body)) for body in "cdef"]
            await settle()
            tasks[0].cancel()
            tasks[2].cancel()
            await settle()
            peer.acknowledge(2)
            await settle()
            assert peer.bodies == ["a", "b", "d", "f"]
            assert [task.cancelled() for task in tasks] == [True, False, True, False]
            peer.acknowledge(2)

    async def test_cancelling_at_the_moment_of_room_passes_it_on(
        self, peer: ScriptedAppends, session: AppendSession
    ) -> None:
        async with session:
            for body in "ab":
                await post(session, body)
            first, second = (asyncio.create_task(post(session, body)) for body in "cd")
            await settle()
            peer.acknowledge()
            first.cancel()
            await settle()
            assert peer.bodies == ["a", "b", "d"]
            assert second.done()
            peer.acknowledge(2)

    async def test_trying_does_not_wait(self, peer: ScriptedAppends, session: AppendSession) -> None:
        batch = AppendInput.of(one("x"))
        assert session.try_submit(batch) is None  # not connected
        async with session:
            assert session.try_submit(batch) is not None
            assert session.try_submit(batch) is not None
            assert session.try_submit(batch) is None
            assert len(peer.sent) == 2
            peer.acknowledge(2)
            assert session.try_submit(batch) is not None
            peer.acknowledge()

    async def test_a_bad_batch_is_refused_and_costs_nothing(
        self, peer: ScriptedAppends, session: AppendSession
    ) -> None:
        async with session:
            with pytest.raises(Invalid, match="must not be empty"):
                _ = await session.submit([])
            with pytest.raises(Invalid, match="1 MiB"):
                _ = await session.submit(HALF * 3)
            assert peer.sent == []
            await post(session, "a")
            peer.acknowledge()


class TestFailure:
    async def test_it_reaches_every_ticket_and_every_later_call(
        self, peer: ScriptedAppends, session: AppendSession
    ) -> None:
        session = AppendSession(peer.open)
        tickets = [await submit(session, str(n)) for n in range(3)]
        peer.acknowledge()
        error = SeqNumMismatch(5)
        peer.fail(error)
        assert (await tickets[0]).start.seq_num == 0
        for ticket in tickets[1:]:
            with pytest.raises(SeqNumMismatch):
                await ticket
        for _ in range(2):
            with pytest.raises(SeqNumMismatch) as caught:
                await post(session, "late")
            assert caught.value is error
        assert session.failure is error
        for _ in range(2):
            with pytest.raises(SeqNumMismatch):
                await session.aclose()
        assert len(peer.sent) == 3
        assert peer.closed == 1

    async def test_it_wakes_those_who_wait_for_room(self, peer: ScriptedAppends, session: AppendSession) -> None:
        for body in "ab":
            await post(session, body)
        tasks = [asyncio.create_task(post(session, body)) for body in "cd"]
        await settle()
        peer.fail(Unavailable("gone"))
        for task in tasks:
            with pytest.raises(Unavailable, match="gone"):
                await task
        assert peer.bodies == ["a", "b"]

    async def test_a_session_that_cannot_start_says_why_each_time(
        self, peer: ScriptedAppends, session: AppendSession
    ) -> None:
        peer.refusal = StreamNotFound("no such stream")
        for _ in range(2):
            with pytest.raises(StreamNotFound):
                await post(session, "a")
        with pytest.raises(StreamNotFound):
            await session.aclose()
        assert peer.opened == 1
        with pytest.raises(StreamNotFound):
            async with AppendSession(peer.open):
                pytest.fail("not reached")

    async def test_an_error_that_nobody_asked_for_makes_no_noise(self, peer: ScriptedAppends) -> None:
        reported: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        session = AppendSession(peer.open)
        for body in "ab":
            await post(session, body)
        peer.fail(Unavailable("gone"))
        with pytest.raises(Unavailable):
            await session.aclose()
        del session
        peer.sent.clear()
        peer._answers.clear()
        gc.collect()
        await settle()
        assert reported == []


class TestTickets:
    async def test_dropping_one_has_no_effect(self, peer: ScriptedAppends, session: AppendSession) -> None:
        async with session:
            await post(session, "dropped")
            ticket = await submit(session, "kept")
            peer.acknowledge(2)
            assert (await ticket).start.seq_num == 1

    async def test_cancelling_the_wait_for_one_has_no_effect(
        self, peer: ScriptedAppends, session: AppendSession
    ) -> None:
        async with session:
            ticket = await submit(session, "a")

            async def wait() -> AppendAck:
                return await ticket

            waiting, other = asyncio.create_task(wait()), asyncio.create_task(wait())
            await settle()
            waiting.cancel()
            await settle()
            assert waiting.cancelled()
            peer.acknowledge()
            assert (await other).start.seq_num == (await ticket).start.seq_num == 0


class TestClosing:
    async def test_it_waits_for_what_is_in_flight(self, peer: ScriptedAppends, session: AppendSession) -> None:
        tickets = [await submit(session, body) for body in "ab"]
        closing = asyncio.create_task(session.aclose())
        await settle()
        assert not closing.done()
        peer.acknowledge()
        await settle()
        assert not closing.done()
        peer.acknowledge()
        await closing
        assert all(ticket.done() for ticket in tickets)
        assert peer.closed == 1
        await session.aclose()
        assert peer.closed == 1

    async def test_afterwards_nothing_is_taken(self, peer: ScriptedAppends, session: AppendSession) -> None:
        await session.aclose()
        with pytest.raises(SessionClosed, match="closed"):
            await post(session, "a")
        with pytest.raises(SessionClosed, match="closed"):
            async with session:
                pytest.fail("not reached")
        assert peer.opened == 0

    async def test_those_who_wait_for_room_fail_at_once(self, peer: ScriptedAppends, session: AppendSession) -> None:
        for body in "ab":
            await post(session, body)
        tasks = [asyncio.create_task(post(session, body)) for body in "cd"]
        await settle()
        closing = asyncio.create_task(session.aclose())
        for task in tasks:
            with pytest.raises(SessionClosed):
                await task
        assert not closing.done()
        peer.acknowledge(2)
        await closing
        assert peer.bodies == ["a", "b"]

    async def test_closing_while_it_connects(self, peer: ScriptedAppends, session: AppendSession) -> None:
        first = asyncio.create_task(post(session, "a"))
        await asyncio.sleep(0)
        assert peer.opened == 1
        await session.aclose()
        with pytest.raises(SessionClosed):
            await first
        assert peer.closed == 1

    async def test_several_may_close_it_together(self, peer: ScriptedAppends, session: AppendSession) -> None:
        await post(session, "a")
        closing = [asyncio.create_task(session.aclose()) for _ in range(3)]
        await settle()
        peer.acknowledge()
        await asyncio.gather(*closing)
        assert peer.closed == 1

    async def test_an_error_in_the_block_does_not_wait(self, peer: ScriptedAppends) -> None:
        session = AppendSession(peer.open)

        async def use() -> None:
            async with session:
                await post(session, "a")
                raise ZeroDivisionError

        ticket = await submit(session, "a")
        with pytest.raises(ZeroDivisionError):
            await use()
        assert peer.closed == 1
        with pytest.raises(SessionClosed, match="abandoned") as in_flight:
            await ticket
        with pytest.raises(SessionClosed) as refused:
            await post(session, "b")
        assert [caught.value.has_no_side_effects for caught in (in_flight, refused)] == [False, True]
        await session.aclose()

    async def test_cancelling_the_block_does_not_wait(self, peer: ScriptedAppends) -> None:
        async def use() -> None:
            async with AppendSession(peer.open) as session:
                await (await submit(session, "a"))

        task = asyncio.create_task(use())
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
        assert peer.closed == 1

    async def test_cancelling_the_closing_abandons_the_rest(
        self, peer: ScriptedAppends, session: AppendSession
    ) -> None:
        ticket = await submit(session, "a")
        closing = asyncio.create_task(session.aclose())
        await settle()
        closing.cancel()
        await settle()
        assert closing.cancelled()
        assert peer.closed == 1
        with pytest.raises(SessionClosed):
            await ticket
        await session.aclose()

    async def test_a_failure_is_raised_on_leaving(self, peer: ScriptedAppends) -> None:
        async def use() -> None:
            async with AppendSession(peer.open) as session:
                await post(session, "a")
                peer.fail(Unavailable("gone"))

        with pytest.raises(Unavailable, match="gone"):
            await use()


class TestOnAStore:
    async def test_a_bad_batch_among_good_ones(self, stream: Stream) -> None:
        session = stream.append_session()
        good = [await submit(session, str(n)) for n in range(4)]
        bad = await session.submit(one("x"), match_seq_num=1)
        late: list[AppendTicket] = []

        async def go_on() -> None:
            while True:
                late.append(await submit(session, "y"))
                await asyncio.sleep(0)

        with pytest.raises(SeqNumMismatch):
            await go_on()
        assert [(await ticket).start.seq_num for ticket in good] == [0, 1, 2, 3]
        with pytest.raises(SeqNumMismatch) as caught:
            await bad
        assert caught.value.expected == 4
        for ticket in late:
            with pytest.raises(SeqNumMismatch):
                await ticket
        with pytest.raises(SeqNumMismatch):
            await session.aclose()
        assert (await stream.check_tail()).seq_num == 4

    async def test_acks_have_no_gaps_whatever_the_room(self, stream: Stream) -> None:
        async with stream.append_session(max_in_flight_batches=3) as session:
            tickets = [await session.submit([AppendRecord(str(n))] * (1 + n % 4)) for n in range(300)]
        position = 0
        for number, ticket in enumerate(tickets):
            ack = await ticket
            assert (ack.start.seq_num, ack.end.seq_num) == (position, position + 1 + number % 4)
            position = ack.end.seq_num

    async def test_several_sessions_interleave_whole_batches(self, stream: Stream) -> None:
        async def write(name: str) -> None:
            async with stream.append_session() as session:
                for number in range(100):
                    _ = await session.submit([AppendRecord(f"{name} {number} {part}") for part in range(3)])

        async with asyncio.TaskGroup() as tasks:
            for name in "abc":
                tasks.create_task(write(name))
        bodies = [record.text for record in (await stream.read(SeqNum(0), count=1000)).records]
        assert len(bodies) == 900
        for name in "abc":
            assert [b for b in bodies if b[0] == name] == [f"{name} {n} {p}" for n in range(100) for p in range(3)]
        for begin in range(0, 900, 3):
            name, number, _ = bodies[begin].split()
            assert bodies[begin : begin + 3] == [f"{name} {number} {part}" for part in range(3)]

    async def test_an_unknown_stream(self, basin: Basin, carrier: Carrier) -> None:
        if carrier != "http1":  # there, nothing is asked before there is a batch
            with pytest.raises(StreamNotFound):
                async with basin.stream("unknown").append_session():
                    pytest.fail("not reached")
        session = basin.stream("unknown").append_session()
        with pytest.raises(StreamNotFound):
            await (await submit(session, "x"))

    async def test_a_stream_that_is_deleted_underneath(self, basin: Basin, stream: Stream) -> None:
        async with stream.append_session() as session:
            await (await submit(session, "a"))
            await basin.streams.delete(stream.name)
            with pytest.raises((StreamDeletionPending, StreamNotFound)) as caught:
                await (await submit(session, "b"))
            assert session.failure is caught.value
            await session.abandon()

    async def test_a_store_that_is_closed_answers_what_waits(self, store: Store) -> None:
        async with S2(transport=LocalTransport(store.open)) as s2:
            basin = await s2.basins.ensure("client-basin", create_stream_on_append=True)
            session = basin.stream("s").append_session()
            tickets = [await submit(session, str(n)) for n in range(50)]
        assert [(await ticket).start.seq_num for ticket in tickets] == list(range(50))
        with pytest.raises(Unavailable):
            await post(session, "late")
        with pytest.raises(Unavailable):
            await session.aclose()
