"""Single records through batches (store API, section 10.8)."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from perdure import (
    AppendRecord,
    AppendSession,
    FencingTokenMismatch,
    Invalid,
    Producer,
    RecordTicket,
    SeqNum,
    SeqNumMismatch,
    SessionClosed,
    Stream,
    StreamNotFound,
    Unavailable,
)
from perdure.model.limits import MAX_BATCH_BYTES
from tests.client.scripted import ScriptedAppends, settle

LONG_MS = 3_600_000
"""A linger that no test sees the end of."""


@pytest.fixture
def peer() -> ScriptedAppends:
    return ScriptedAppends()


@pytest.fixture
async def producer(peer: ScriptedAppends) -> AsyncIterator[Producer]:
    """Batches of three records, two of them in flight, and no linger to speak of."""
    producer = Producer(AppendSession(peer.open, max_in_flight_batches=2), linger_ms=LONG_MS, max_batch_records=3)
    async with producer:
        yield producer
        peer.acknowledge(len(peer.unanswered))
        closing = asyncio.create_task(producer.aclose())
        while not closing.done():
            await settle()
            peer.acknowledge(len(peer.unanswered))
        closing.exception()


async def submit(producer: Producer, *bodies: str) -> list[RecordTicket]:
    return [await producer.submit(AppendRecord(body)) for body in bodies]


async def post(producer: Producer, *bodies: str) -> None:
    """Submit records and drop their tickets."""
    for body in bodies:
        _ = await producer.submit(AppendRecord(body))


class TestBatches:
    async def test_a_full_batch_goes_at_once(self, peer: ScriptedAppends, producer: Producer) -> None:
        tickets = await submit(producer, "a", "b", "c", "d")
        assert [[r.body for r in sent.records] for sent in peer.sent] == [[b"a", b"b", b"c"]]
        peer.acknowledge()
        acks = [await ticket for ticket in tickets[:3]]
        assert [ack.seq_num for ack in acks] == [0, 1, 2]
        assert acks[0].batch is acks[2].batch
        assert tickets[0].done()
        assert not tickets[3].done()

    @pytest.mark.jumping
    async def test_the_linger_sends_what_waits(self, peer: ScriptedAppends) -> None:
        async with Producer(AppendSession(peer.open), linger_ms=1) as producer:
            (ticket,) = await submit(producer, "a")
            assert peer.sent == []
            await asyncio.sleep(0.002)  # the passing of time is what is tested
            assert peer.bodies == ["a"]
            await post(producer, "b")
            await asyncio.sleep(0.002)
            assert peer.bodies == ["a", "b"]
            peer.acknowledge(2)
            assert (await ticket).seq_num == 0

    @pytest.mark.jumping
    async def test_a_timer_of_an_earlier_batch_does_not_cut_the_linger(self, peer: ScriptedAppends) -> None:
        async with Producer(AppendSession(peer.open), linger_ms=100, max_batch_records=2) as producer:
            await post(producer, "a", "b")
            await asyncio.sleep(0.06)
            await post(producer, "c")
            await asyncio.sleep(0.06)
            assert len(peer.sent) == 1
            flushing = asyncio.create_task(producer.flush())
            await settle()
            peer.acknowledge(2)
            await flushing

    async def test_without_linger_each_goes_alone(self, peer: ScriptedAppends) -> None:
        async with Producer(AppendSession(peer.open), linger_ms=0) as producer:
            tickets = await submit(producer, "a", "b")
            assert [len(sent.records) for sent in peer.sent] == [1, 1]
            peer.acknowledge(2)
            assert [(await ticket).seq_num for ticket in tickets] == [0, 1]

    async def test_a_record_that_does_not_fit_sends_the_others(self, peer: ScriptedAppends) -> None:
        async with Producer(AppendSession(peer.open), linger_ms=LONG_MS, max_batch_bytes=100) as producer:
            tickets = await submit(producer, "x" * 50, "y" * 50, "z" * 92, "w")
            assert [len(sent.records) for sent in peer.sent] == [1, 1, 1]
            flushing = asyncio.create_task(producer.flush())
            await settle()
            peer.acknowledge(4)
            await flushing
            assert [(await ticket).seq_num for ticket in tickets] == [0, 1, 2, 3]

    async def test_conditions_go_with_every_batch(self, peer: ScriptedAppends) -> None:
        session = AppendSession(peer.open)
        async with Producer(session, linger_ms=0, fencing_token="me", match_seq_num=7) as producer:
            await post(producer, "a", "b")
            assert [(sent.match_seq_num, sent.fencing_token) for sent in peer.sent] == [(7, "me"), (8, "me")]
            peer.acknowledge(2)

    async def test_a_record_above_the_limit_is_refused_alone(self, peer: ScriptedAppends) -> None:
        async with Producer(AppendSession(peer.open), linger_ms=LONG_MS, max_batch_bytes=100) as producer:
            (first,) = await submit(producer, "a")
            with pytest.raises(Invalid, match="exceeds maximum batch size"):
                await post(producer, "x" * 93)
            (second,) = await submit(producer, "b")
            flushing = asyncio.create_task(producer.flush())
            await settle()
            peer.acknowledge()
            await flushing
            assert ((await first).seq_num, (await second).seq_num) == (0, 1)


class TestRoom:
    async def test_submitting_waits_while_the_session_is_full(self, peer: ScriptedAppends, producer: Producer) -> None:
        await post(producer, *"abcdef")  # two batches in flight
        await post(producer, *"ghi")  # one more waits
        waiting = asyncio.create_task(post(producer, "j"))
        await settle()
        assert not waiting.done()
        assert len(peer.sent) == 2
        peer.acknowledge()
        await waiting
        assert peer.bodies == list("abcdefghi")

    async def test_records_keep_their_order_through_the_crowd(self, peer: ScriptedAppends, producer: Producer) -> None:
        tasks = [asyncio.create_task(submit(producer, str(n))) for n in range(30)]
        for _ in range(20):
            await settle()
            peer.acknowledge(len(peer.unanswered))
        assert peer.bodies == [str(n) for n in range(30)]
        tickets = [ticket for task in tasks for ticket in await task]
        assert [(await ticket).seq_num for ticket in tickets] == list(range(30))

    async def test_nobody_overtakes_those_who_wait(self, peer: ScriptedAppends, producer: Producer) -> None:
        await post(producer, *"abcdefghi")
        tasks = [asyncio.create_task(post(producer, body)) for body in "jk"]
        await settle()
        peer.acknowledge()
        while len(peer.sent) < 3:  # noqa: ASYNC110  # the very moment counts, not some time after it
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        await post(producer, "l")
        await asyncio.gather(*tasks)
        peer.acknowledge(2)
        await settle()
        assert peer.bodies[9:] == list("jkl")

    async def test_cancelling_a_submit_that_waits_takes_nothing(
        self, peer: ScriptedAppends, producer: Producer
    ) -> None:
        await post(producer, *"abcdefghi")
        tasks = [asyncio.create_task(post(producer, body)) for body in "jkl"]
        await settle()
        tasks[1].cancel()
        await settle()
        peer.acknowledge(2)
        await asyncio.gather(tasks[0], tasks[2])
        await post(producer, "m")
        assert peer.bodies == list("abcdefghijlm")


class TestFlush:
    async def test_it_waits_for_everything_submitted_before(self, peer: ScriptedAppends, producer: Producer) -> None:
        tickets = await submit(producer, *"abcdefgh")
        flushing = asyncio.create_task(producer.flush())
        for _ in range(3):
            await settle()
            assert not flushing.done()
            peer.acknowledge()
        await flushing
        assert all(ticket.done() for ticket in tickets)
        assert peer.bodies == list("abcdefgh")

    async def test_with_nothing_to_do(self, peer: ScriptedAppends, producer: Producer) -> None:
        await producer.flush()
        assert peer.sent == []


class TestFailure:
    async def test_it_reaches_every_ticket_and_every_later_call(self, peer: ScriptedAppends) -> None:
        producer = Producer(AppendSession(peer.open, max_in_flight_batches=1), linger_ms=LONG_MS, max_batch_records=2)
        tickets = await submit(producer, *"abcd")  # one batch in flight, one waits
        await settle()
        last = asyncio.create_task(submit(producer, "e"))
        await settle()
        peer.fail(SeqNumMismatch(9))
        for ticket in tickets:
            with pytest.raises(SeqNumMismatch):
                await ticket
        with pytest.raises(SeqNumMismatch):
            await last
        for call in (post(producer, "f"), producer.flush(), producer.aclose(), producer.aclose()):
            with pytest.raises(SeqNumMismatch):
                await call
        assert peer.bodies == ["a", "b"]
        assert peer.closed == 1

    async def test_records_that_wait_for_company_fail_with_the_rest(self, peer: ScriptedAppends) -> None:
        producer = Producer(AppendSession(peer.open), linger_ms=LONG_MS, max_batch_records=2)
        async with producer:
            await post(producer, *"ab")
            (waiting,) = await submit(producer, "c")
            peer.fail(Unavailable("gone"))
            with pytest.raises(Unavailable):
                await producer.flush()
            with pytest.raises(Unavailable):
                await waiting
            with pytest.raises(Unavailable):
                await producer.aclose()
            await producer.abandon()

    async def test_a_session_that_cannot_start(self, peer: ScriptedAppends) -> None:
        peer.refusal = StreamNotFound("no such stream")
        producer = Producer(AppendSession(peer.open), linger_ms=0)
        (ticket,) = await submit(producer, "a")
        with pytest.raises(StreamNotFound):
            await ticket
        with pytest.raises(StreamNotFound):
            await producer.aclose()
        with pytest.raises(StreamNotFound):
            async with Producer(AppendSession(peer.open)):
                pytest.fail("not reached")


class TestClosing:
    async def test_it_sends_and_awaits_everything(self, peer: ScriptedAppends) -> None:
        producer = Producer(AppendSession(peer.open), linger_ms=LONG_MS)
        tickets = await submit(producer, *"abc")
        closing = asyncio.create_task(producer.aclose())
        await settle()
        assert not closing.done()
        peer.acknowledge()
        await closing
        assert all(ticket.done() for ticket in tickets)
        await producer.aclose()
        assert peer.closed == 1
        with pytest.raises(SessionClosed, match="closed"):
            await post(producer, "d")

    async def test_those_who_wait_for_room_fail(self, peer: ScriptedAppends) -> None:
        producer = Producer(AppendSession(peer.open, max_in_flight_batches=1), linger_ms=0)
        await post(producer, "a")
        await settle()
        await post(producer, "b")
        waiting = asyncio.create_task(post(producer, "c"))
        await settle()
        closing = asyncio.create_task(producer.aclose())
        with pytest.raises(SessionClosed):
            await waiting
        peer.acknowledge()
        await settle()
        peer.acknowledge()
        await closing
        assert peer.bodies == ["a", "b"]

    async def test_an_error_in_the_block_does_not_wait(self, peer: ScriptedAppends) -> None:
        before = asyncio.all_tasks()
        tickets: list[RecordTicket] = []

        async def use() -> None:
            async with Producer(AppendSession(peer.open, max_in_flight_batches=1), linger_ms=LONG_MS) as producer:
                tickets.extend(await submit(producer, "a"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await use()
        with pytest.raises(SessionClosed, match="abandoned"):
            await tickets[0]
        assert peer.sent == []
        assert peer.closed == 1
        assert asyncio.all_tasks() == before

    async def test_cancelling_while_a_batch_waits_for_room(self, peer: ScriptedAppends) -> None:
        before = asyncio.all_tasks()

        async def use() -> None:
            async with Producer(AppendSession(peer.open, max_in_flight_batches=1), linger_ms=0) as producer:
                await post(producer, "a", "b", "c")

        task = asyncio.create_task(use())
        await settle()
        task.cancel()
        await settle()
        assert task.cancelled()
        assert peer.bodies == ["a"]
        assert peer.closed == 1
        assert asyncio.all_tasks() == before

    async def test_cancelling_the_closing_abandons_the_rest(self, peer: ScriptedAppends) -> None:
        before = asyncio.all_tasks()
        producer = Producer(AppendSession(peer.open), linger_ms=LONG_MS)
        (ticket,) = await submit(producer, "a")
        closing = asyncio.create_task(producer.aclose())
        await settle()
        closing.cancel()
        await settle()
        assert closing.cancelled()
        with pytest.raises(SessionClosed):
            await ticket
        assert asyncio.all_tasks() == before


class TestOnAStore:
    async def test_sequence_numbers_ascend_in_the_order_of_submits(self, stream: Stream) -> None:
        async with stream.producer(linger_ms=1, max_batch_records=7, max_in_flight_batches=2) as producer:
            tickets = [await producer.submit(AppendRecord(str(n))) for n in range(500)]
        assert [(await ticket).seq_num for ticket in tickets] == list(range(500))
        batch = await stream.read(SeqNum(0), count=1000)
        assert [record.text for record in batch.records] == [str(n) for n in range(500)]

    async def test_records_as_large_as_a_batch(self, stream: Stream) -> None:
        body = b"x" * (MAX_BATCH_BYTES - 8)
        async with stream.producer(max_in_flight_bytes=MAX_BATCH_BYTES) as producer:
            for _ in range(4):
                _ = await producer.submit(AppendRecord(body))
        assert (await stream.check_tail()).seq_num == 4

    async def test_conditions(self, stream: Stream) -> None:
        await stream.fence("me")
        async with stream.producer(fencing_token="me", match_seq_num=1, linger_ms=0) as producer:
            tickets = [await producer.submit(AppendRecord(str(n))) for n in range(20)]
        assert (await tickets[-1]).seq_num == 20
        stale = stream.producer(fencing_token="other", linger_ms=0)
        ticket = await stale.submit(AppendRecord("x"))
        with pytest.raises(FencingTokenMismatch) as caught:
            await ticket
        assert caught.value.expected == "me"
        with pytest.raises(FencingTokenMismatch):
            await stale.aclose()
        wrong = stream.producer(match_seq_num=3, linger_ms=0)
        ticket = await wrong.submit(AppendRecord("x"))
        with pytest.raises(SeqNumMismatch):
            await ticket
        with pytest.raises(SeqNumMismatch):
            await wrong.flush()
        await wrong.abandon()


class TestOptions:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"fencing_token": "x" * 37},
            {"fencing_token": 5},
            {"match_seq_num": -1},
            {"match_seq_num": "1"},
            {"linger_ms": "5"},
            {"linger_ms": -1},
            {"max_batch_records": 0},
            {"max_batch_records": 2.5},
            {"max_batch_bytes": 10.5},
            {"max_batch_bytes": 7},
        ],
    )
    def test_what_no_batch_can_be_made_with_is_refused_before_the_first(
        self, peer: ScriptedAppends, wrong: dict[str, object]
    ) -> None:
        """When a batch goes by itself, nobody would hear of it, and its tickets would wait for ever."""
        with pytest.raises(Invalid, match=next(iter(wrong)).replace("_", "[ _]")):
            Producer(AppendSession(peer.open), **wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("wrong", ["text", [AppendRecord("x")], None])
    async def test_what_is_no_record_is_refused_and_the_producer_goes_on(
        self, peer: ScriptedAppends, producer: Producer, wrong: object
    ) -> None:
        for bodies in ("", "a"):
            tickets = await submit(producer, *bodies)
            with pytest.raises(Invalid, match="AppendRecord"):
                _ = await producer.submit(wrong)  # type: ignore[arg-type]
            assert [ticket.done() for ticket in tickets] == [False] * len(bodies)
