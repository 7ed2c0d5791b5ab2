"""Clients that write and read through whatever happens to their server, and notice what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from perdure import AppendAck, AppendInput, AppendRecord, SeqNum, SeqNumMismatch, Stream
from perdure.client.retries import RetryPolicy
from perdure.patterns import DeserializingReadSession, SerializingAppendSession

EACH: Final = 2
PATIENT: Final = RetryPolicy(max_attempts=3000, min_delay_ms=10, max_delay_ms=100)
END: Final = "the end"


class Progress:
    """How many records of each writer are known to be stored, and when they may stop."""

    def __init__(self) -> None:
        self.counts = {"conditions": 0, "messages": 0, "producer": 0}
        self.over = False
        self._news = asyncio.Event()

    def reached(self, writer: str, count: int) -> None:
        self.counts[writer] = count
        self._news.set()

    async def of_each(self, more: int) -> None:
        """Wait until every writer has stored so many more."""
        wanted = {writer: count + more for writer, count in self.counts.items()}
        while any(self.counts[writer] < count for writer, count in wanted.items()):
            self._news.clear()
            await self._news.wait()


async def write_conditionally(stream: Stream, progress: Progress) -> int:
    """Every record at the place that its number says. Gives how often it was in doubt what had become of a batch."""

    def batches(at: int) -> Iterator[AppendInput]:
        while not progress.over:
            yield AppendInput.of([AppendRecord(str(at + index)) for index in range(EACH)], match_seq_num=at)
            at += EACH
        yield AppendInput.of([AppendRecord(END)], match_seq_num=at)

    async def report(acks: AsyncIterator[AppendAck]) -> None:
        try:
            async for ack in acks:
                progress.reached("conditions", ack.end.seq_num)
        except SeqNumMismatch:
            pass  # the writer hears of it as well

    at = doubts = 0
    while True:
        session = stream.append_session(max_in_flight_batches=10)
        reporting = asyncio.create_task(report(session.acks()))
        doubt = None
        try:
            async with session:
                await session.write_all(batches(at))
        except SeqNumMismatch as exc:
            doubt = exc
        await reporting
        if doubt is None:
            return doubts
        assert doubt.in_doubt, "nobody else writes"
        assert doubt.expected >= progress.counts["conditions"], "what was acknowledged is there"
        at, doubts = doubt.expected, doubts + 1


async def follow(stream: Stream) -> int:
    """Read while all of this goes on; gives how many records there are before the last one."""
    async with stream.read_session(SeqNum(0)) as records:
        number = 0
        async for record in records:
            if record.text == END:
                break
            assert (record.seq_num, record.text) == (number, str(number))
            number += 1
        return number


async def write_messages(stream: Stream, progress: Progress) -> int:
    """Without conditions, so that some records come twice; they are counted."""
    number = 0
    appends = stream.append_session(max_in_flight_batches=10)
    async with SerializingAppendSession[str](appends, str.encode, chunk_bytes=5, dedupe_seq=0) as session:
        while not progress.over:
            await session.write(f"message {number}")
            number += 1
            progress.reached("messages", number)
        await session.write(END)
    return number


async def read_messages(stream: Stream) -> int:
    async with DeserializingReadSession(stream.read_session(SeqNum(0)), bytes.decode) as session:
        number = 0
        async for message in session:
            if message == END:
                break
            assert message == f"message {number}"
            number += 1
        return number


async def produce(stream: Stream, progress: Progress) -> list[int]:
    """Gives where each record is, by its ticket."""
    acked: list[int] = []
    async with stream.producer(linger_ms=0.5) as producer:
        while not progress.over:
            tickets = [await producer.submit(AppendRecord(str(len(acked) + index))) for index in range(20)]
            acked += [(await ticket).seq_num for ticket in tickets]
            progress.reached("producer", len(acked))
    return acked


async def check_produced(stream: Stream, acked: list[int]) -> None:
    async with stream.read_session(SeqNum(0), wait=0) as records:
        found = [int(record.text) async for record in records]
    assert acked == sorted(set(acked))
    assert [found[seq_num] for seq_num in acked] == list(range(len(acked))), "each is where its ticket says"
