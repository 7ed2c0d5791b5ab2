"""A file's lines into a stream: as fast as the disk takes them, in bounded memory, each line once.

::

    python examples/bulk_load.py ./data README.md

Run it again: the lines are there, so nothing is written. Stop it half-way and run it again: it goes on where it was.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path

from perdure import S2, AppendAck, AppendInput, AppendRecord

LINES_A_BATCH = 100


def batches(file: Path, at: int) -> Iterator[AppendInput]:
    """The lines from number `at` on, a batch at a time; each says which record its first line must become."""
    with file.open() as lines:
        rest = islice(lines, at, None)
        while records := [AppendRecord(line) for line in islice(rest, LINES_A_BATCH)]:
            yield AppendInput.of(records, match_seq_num=at)
            at += len(records)


async def report(acks: AsyncIterator[AppendAck]) -> None:
    # Acknowledgements come in the order of the batches: what is printed here is on disk. After a batch that was
    # refused, the loop raises the reason.
    async for ack in acks:
        print(f"lines {ack.start.seq_num} to {ack.end.seq_num - 1} are stored")


async def main(directory: str, file: str) -> None:
    async with S2.open(directory) as s2:
        basin = await s2.basins.ensure("bulk-loads", create_stream_on_append=True, create_stream_on_read=True)
        stream = basin.stream(Path(file).name)
        there = (await stream.check_tail()).seq_num
        print(f"{there} lines are there already")
        async with asyncio.TaskGroup() as tasks, stream.append_session() as session:
            tasks.create_task(report(session.acks()))  # of all batches from here on
            # The file is read on only while the session has room: for 5 MiB that are under way, unless told otherwise.
            await session.write_all(batches(Path(file), there))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
