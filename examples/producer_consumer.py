"""A producer and a consumer that remembers how far it got, in the same store.

::

    python examples/producer_consumer.py ./data

Run it again: the consumer goes on where it was. The two run side by side here; in processes of their own, on the same
directory, they would do the same.
"""

import asyncio
import sys

from perdure import S2, AppendRecord, Basin, ReadUnwritten, SeqNum, StreamNotFound, TailOffset

ORDERS = 500


async def produce(basin: Basin) -> None:
    # The producer takes single records and gathers them into batches: a record waits a few milliseconds for
    # company. `submit` returns at once, or waits while too much is under way, so memory stays bounded.
    async with basin.stream("orders").producer() as producer:
        for number in range(ORDERS):
            ticket = await producer.submit(AppendRecord(f"order {number}", headers={"kind": "book"}))
        # Leaving the block waits until all of them are on disk. A ticket tells about one record.
    print(f"the last order is record {(await ticket).seq_num}")


async def saved_position(basin: Basin) -> int:
    """Where the consumer has to go on: the last record of a stream that holds nothing else."""
    try:
        batch = await basin.stream("orders-done").read(TailOffset(1))
    except (StreamNotFound, ReadUnwritten):
        return 0  # it never ran
    return int(batch.records[-1].text)


async def consume(basin: Basin) -> None:
    position = await saved_position(basin)
    print(f"the consumer begins at record {position}")
    done = basin.stream("orders-done")
    handled = 0
    # `count` ends the session after so many records; a real consumer would follow for ever.
    async with basin.stream("orders").read_session(SeqNum(position), count=ORDERS, wait=30) as session:
        # In batches, as they were stored or came in: the position is saved once for each, not for every record.
        async for batch in session.batches():
            if not batch.records:
                continue  # a heartbeat: nothing is new
            handled += len(batch.records)  # the work would be done here
            # Saved after the work: when this process dies between the two, the batch is handled again (at least once).
            # Saved before it, the batch would be skipped (at most once).
            await done.append([AppendRecord(str(batch.records[-1].seq_num + 1))])
    print(f"handled {handled} orders")


async def main(directory: str) -> None:
    async with S2.open(directory) as s2:
        basin = await s2.basins.ensure("shop-floor", create_stream_on_append=True, create_stream_on_read=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(consume(basin))
            tasks.create_task(produce(basin))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "./data"))
