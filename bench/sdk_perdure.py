"""Perdure's SDK, for the comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from perdure import S2, AppendRecord, Basin, Compression, SeqNum

from .measure import Samples
from .scenario import check
from .sdk_client import Target
from .served import BASIN

PACKINGS = {"none": Compression.NONE, "gzip": Compression.GZIP, "zstd": Compression.ZSTD}


class PerdureClient:
    def __init__(self, basin: Basin) -> None:
        self._basin = basin

    async def append_session(self, stream: str, bodies: Sequence[bytes], batches: int) -> None:
        async with self._basin.stream(stream).append_session() as session:
            tickets = [await session.submit([AppendRecord(body) for body in bodies]) for _ in range(batches)]
            acks = [await ticket for ticket in tickets]
        check(acks[-1].end.seq_num - acks[0].start.seq_num == batches * len(bodies), "acknowledgements with gaps")

    async def produce(self, stream: str, body: bytes, records: int) -> None:
        async with self._basin.stream(stream).producer() as producer:
            tickets = [await producer.submit(AppendRecord(body)) for _ in range(records)]
            acks = [await ticket for ticket in tickets]
        check(acks[-1].seq_num - acks[0].seq_num == records - 1, "acknowledgements with gaps")

    async def catch_up(self, stream: str, records: int, body_bytes: int) -> None:
        found = size = 0
        async with self._basin.stream(stream).read_session(SeqNum(0), wait=0) as session:
            async for batch in session.batches():
                for record in batch.records:
                    size += len(record.body)
                found += len(batch.records)
        check((found, size) == (records, records * body_bytes), f"{found} of {records} records were read")

    async def append(self, stream: str, body: bytes) -> None:
        await self._basin.stream(stream).append([AppendRecord(body)])

    async def read(self, stream: str, records: int) -> None:
        batch = await self._basin.stream(stream).read(SeqNum(0), count=records)
        check(len(batch.records) == records, "a read gave too little")

    async def check_tail(self, stream: str) -> None:
        await self._basin.stream(stream).check_tail()

    async def session_acks(self, stream: str, body: bytes, count: int) -> Samples:
        samples = Samples()
        async with self._basin.stream(stream).append_session() as session:
            for _ in range(count):
                with samples.timed():
                    await (await session.submit([AppendRecord(body)]))
        return samples

    async def follow(self, stream: str, body: bytes, count: int) -> Samples:
        samples = Samples()
        handle = self._basin.stream(stream)
        tail = await handle.check_tail()
        async with (
            handle.append_session() as appends,
            handle.read_session(SeqNum(tail.seq_num), clamp=True) as records,
        ):
            await records.caught_up()
            for number in range(count):
                with samples.timed():
                    ticket = await appends.submit([AppendRecord(body)])
                    record = await anext(records)
                check(record.seq_num == tail.seq_num + number, "a follower lost its place")
                await ticket
        return samples


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[PerdureClient]:
    address = f"http://{target.host}:{target.port}"
    async with S2(endpoints=address, compression=PACKINGS[target.packing]) as s2:
        yield PerdureClient(s2.basin(BASIN))
