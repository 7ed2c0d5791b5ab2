"""What is particular to reading from a store in this process."""

from perdure import S2, AppendRecord, SeqNum


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
