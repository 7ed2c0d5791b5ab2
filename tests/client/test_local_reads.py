"""What is particular to reading from a store in this process."""

from perdure import S2, AppendRecord, SeqNum
from perdure.model.batches import Part, PlainRecords, ReadBatch
from perdure.model.limits import MAX_READ_RECORDS


async def test_a_block_is_decoded_once_for_all_who_follow() -> None:
    async with S2.open(":memory:") as s2:
        basin = await s2.basins.ensure("local-reads", create_stream_on_append=True)
        stream, other = basin.stream("followed"), basin.stream("other")
        for each in (stream, other):
            await each.append([AppendRecord("first")])
        async with (
            stream.read_session(SeqNum(1)) as one,
            stream.read_session(SeqNum(1)) as two,
            other.read_session(SeqNum(1)) as three,
        ):
            sessions = (one, two, three)
            for session in sessions:
                await session.caught_up()
            await stream.append([AppendRecord("a"), AppendRecord("b")])
            await other.append([AppendRecord("c"), AppendRecord("d")])
            batches = [await session.next_batch() for session in sessions]
    bodies = [None if batch is None else [record.text for record in batch.records] for batch in batches]
    assert bodies == [["a", "b"], ["a", "b"], ["c", "d"]]
    assert batches[0] is not None
    assert batches[1] is not None
    assert batches[0].records is batches[1].records


async def test_what_is_read_in_parts_is_all_of_it_and_counts_as_read() -> None:
    async with S2.open(":memory:") as s2:
        stream = (await s2.basins.ensure("local-parts", create_stream_on_append=True)).stream("s")
        await stream.append([AppendRecord.fence("x")])
        for headers in ({}, {"n": "1"}, {}):
            await stream.append([AppendRecord(f"{number}", headers=headers) for number in range(200)])
        async with stream.read_session(SeqNum(0)) as session:
            parts: list[Part] = []
            while not session.is_caught_up:
                parts += await session.next_parts() or ()
            assert session.next_read_position == await stream.check_tail()
            await stream.append([AppendRecord("last")])
            parts += await session.next_parts() or ()
    everything: list[bytes] = []
    for part in parts:
        everything += part.bodies if isinstance(part, PlainRecords) else [record.body for record in part.records]
    assert everything == [b"x", *[b"%d" % number for number in range(200)] * 3, b"last"]
    assert sum(isinstance(part, PlainRecords) for part in parts) >= 2


async def test_a_long_read_in_parts_begins_with_little_and_takes_more_in_each_step() -> None:
    async with S2.open(":memory:") as s2:
        stream = (await s2.basins.ensure("local-steps", create_stream_on_append=True)).stream("s")
        for _ in range(12):
            await stream.append([AppendRecord("x")] * MAX_READ_RECORDS)
        steps: list[int] = []
        async with stream.read_session(SeqNum(0), wait=0) as session:
            while parts := await session.next_parts():
                steps.append(sum(len(part.bodies) for part in parts if isinstance(part, PlainRecords)))
                steps[-1] += sum(len(part.records) for part in parts if isinstance(part, ReadBatch))
    assert [step for step in steps if step] == [1000, 2000, 4000, 4000, 1000]
