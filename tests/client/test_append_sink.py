"""An append session as a sink: batches from a loop or a source, acknowledgements in a loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from perdure import (
    AppendAck,
    AppendInput,
    AppendRecord,
    AppendSession,
    Invalid,
    SeqNum,
    SeqNumMismatch,
    SessionClosed,
    Stream,
)
from tests.client.scripted import ScriptedAppends, settle

BATCHES = 50


def batch(number: int, *, match_seq_num: int | None = None) -> AppendInput:
    return AppendInput.of([AppendRecord(str(number))], match_seq_num=match_seq_num)


def numbered(*, wrong: int | None = None) -> Iterator[AppendInput]:
    for number in range(BATCHES):
        yield batch(number, match_seq_num=number if number != wrong else 10_000)


class Asked:
    """A source that tells how often it was asked, and whether it was closed."""

    def __init__(self, *, wrong: int | None = None) -> None:
        self.given = 0
        self.closed = False
        self._wrong = wrong

    async def batches(self) -> AsyncIterator[AppendInput]:
        try:
            for item in numbered(wrong=self._wrong):
                self.given += 1
                yield item
        finally:
            await asyncio.sleep(0)  # closing may wait
            self.closed = True

    def plain(self) -> Iterator[AppendInput]:
        try:
            for item in numbered(wrong=self._wrong):
                self.given += 1
                yield item
        finally:
            self.closed = True


async def take(acks: AsyncIterator[AppendAck], found: list[int]) -> None:
    async for ack in acks:
        found.append(ack.start.seq_num)  # noqa: PERF401 - those that come before an error are wanted


async def bodies(stream: Stream) -> list[str]:
    async with stream.read_session(SeqNum(0), wait=0, clamp=True) as records:
        return [record.text async for record in records]


class TestWriting:
    async def test_what_a_loop_writes_is_durable_when_the_block_is_left(self, stream: Stream) -> None:
        async with stream.append_session() as session:
            for number in range(BATCHES):
                await session.write(batch(number, match_seq_num=number))
        assert await bodies(stream) == [str(number) for number in range(BATCHES)]

    @pytest.mark.parametrize("form", ["batches", "plain"])
    async def test_a_source_is_written_and_closed(self, stream: Stream, form: str) -> None:
        source = Asked()
        async with stream.append_session() as session:
            await session.write_all(source.batches() if form == "batches" else source.plain())
            assert source.closed
        assert await bodies(stream) == [str(number) for number in range(BATCHES)]

    async def test_records_are_no_batch(self, stream: Stream) -> None:
        async with stream.append_session() as session:
            with pytest.raises(Invalid, match="`submit` takes records"):
                await session.write([AppendRecord("x")])  # type: ignore[arg-type]
            await session.write(batch(0))
        assert await bodies(stream) == ["0"]

    async def test_a_list_is_a_source_too(self, stream: Stream) -> None:
        async with stream.append_session() as session:
            await session.write_all([*numbered()])
        assert len(await bodies(stream)) == BATCHES

    async def test_the_source_is_asked_only_while_there_is_room(self) -> None:
        peer, source = ScriptedAppends(), Asked()
        session = AppendSession(peer.open, max_in_flight_batches=3)
        writing = asyncio.create_task(session.write_all(source.batches()))
        await settle()
        assert source.given == 4, "three are in flight, and one waits"
        peer.acknowledge(2)
        await settle()
        assert source.given == 6
        writing.cancel()
        await asyncio.wait([writing])
        await session.abandon()

    @pytest.mark.parametrize("form", ["batches", "plain"])
    async def test_a_failure_ends_the_loop_and_closes_the_source(self, stream: Stream, form: str) -> None:
        source = Asked(wrong=10)
        with pytest.raises(SeqNumMismatch):
            async with stream.append_session(max_in_flight_batches=2) as session:
                await session.write_all(source.batches() if form == "batches" else source.plain())
        assert source.closed
        assert source.given < BATCHES
        assert await bodies(stream) == [str(number) for number in range(10)]

    async def test_a_failure_of_the_source_passes_through(self, stream: Stream) -> None:
        async def broken() -> AsyncIterator[AppendInput]:
            yield batch(0)
            raise LookupError("the source is broken")

        with pytest.raises(LookupError):
            async with stream.append_session() as session:
                await session.write_all(broken())

    @pytest.mark.parametrize("form", ["batches", "plain"])
    async def test_cancelling_it_closes_the_source(self, form: str) -> None:
        peer, source = ScriptedAppends(), Asked()
        session = AppendSession(peer.open, max_in_flight_batches=1)
        writing = asyncio.create_task(session.write_all(source.batches() if form == "batches" else source.plain()))
        await settle()
        writing.cancel()
        await asyncio.wait([writing])
        assert writing.cancelled()
        assert source.closed
        await session.abandon()


class TestAcks:
    async def test_they_come_in_order_and_end_with_the_session(self, stream: Stream) -> None:
        session = stream.append_session()
        acks = session.acks()

        async def write() -> None:
            async with session:
                await session.write_all(numbered())

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write())
            found = [ack.start.seq_num async for ack in acks]
        assert found == [*range(BATCHES)]

    async def test_those_before_a_failure_come_first(self, stream: Stream) -> None:
        session = stream.append_session(max_in_flight_batches=4)
        acks = session.acks()
        found: list[int] = []
        with pytest.raises(SeqNumMismatch):
            await session.write_all(numbered(wrong=20))
        with pytest.raises(SeqNumMismatch):
            await take(acks, found)
        assert found == [*range(20)]
        with pytest.raises(SeqNumMismatch):
            await anext(acks)
        await session.abandon()

    async def test_they_begin_with_the_call(self) -> None:
        peer = ScriptedAppends()
        session = AppendSession(peer.open)
        await session.write(batch(0))
        acks = session.acks()
        await session.write(batch(1))
        peer.acknowledge(2)
        assert (await anext(acks)).start.seq_num == 1
        await session.aclose()
        assert [ack async for ack in acks] == []

    async def test_cancelling_the_wait_loses_none(self) -> None:
        peer = ScriptedAppends()
        session = AppendSession(peer.open)
        acks = session.acks()
        for with_batch in (False, True):
            if with_batch:
                await session.write(batch(0))
            waiting = asyncio.ensure_future(anext(acks))
            await settle()
            waiting.cancel()
            await asyncio.wait([waiting])
        peer.acknowledge()
        assert (await anext(acks)).start.seq_num == 0
        await session.aclose()

    async def test_each_comes_to_one_of_two_loops(self, stream: Stream) -> None:
        session = stream.append_session()
        acks = session.acks()
        found: list[int] = []
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(take(acks, found))
            tasks.create_task(take(acks, found))
            async with session:
                await session.write_all(numbered())
        assert sorted(found) == [*range(BATCHES)]

    async def test_abandoning_says_that_the_rest_is_open(self) -> None:
        peer = ScriptedAppends()
        session = AppendSession(peer.open)
        acks = session.acks()
        await session.write(batch(0))
        waiting = asyncio.ensure_future(anext(acks))
        await settle()
        await session.abandon()
        with pytest.raises(SessionClosed, match="may be applied") as caught:
            await waiting
        assert not caught.value.has_no_side_effects
        assert [ack async for ack in acks] == []

    async def test_a_session_that_cannot_start(self) -> None:
        peer = ScriptedAppends()
        peer.refusal = SeqNumMismatch(3)
        session = AppendSession(peer.open)
        waiting = asyncio.ensure_future(anext(session.acks()))
        await settle()
        with pytest.raises(SeqNumMismatch):
            await session.write(batch(0))
        with pytest.raises(SeqNumMismatch):
            await waiting
        await session.abandon()
