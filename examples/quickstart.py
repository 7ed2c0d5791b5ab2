"""The first five minutes: a store in a directory, a stream in it, some records, and reading them back.

::

    python examples/quickstart.py ./data

Run it twice: the directory keeps what was written.
"""

import asyncio
import sys

from perdure import S2, AppendRecord, SeqNum, SeqNumMismatch


async def main(directory: str) -> None:
    # The store is this directory; there is no server to start. Other processes may use it at the same time.
    async with S2.open(directory) as s2:
        # A basin is a namespace of streams. `ensure` makes it, or configures it so if it is there.
        basin = await s2.basins.ensure("quickstart", create_stream_on_append=True)
        stream = basin.stream("greetings")  # only a handle; the first append makes the stream

        # The records of one append are stored together or not at all. When it returns, they are on disk.
        ack = await stream.append(
            [
                AppendRecord("Hello", headers={"lang": "en"}),
                AppendRecord("Grüß Gott", headers={"lang": "de"}),
                AppendRecord(b"\x00\xff"),  # text is a convenience; bodies are bytes
            ]
        )
        print(f"stored as records {ack.start.seq_num} to {ack.end.seq_num - 1}")

        # Records are numbered without gaps. A writer that knows the next number can insist on it, so that of
        # two writers who both think that it is their turn, one is told that it is not.
        try:
            await stream.append([AppendRecord("too late")], match_seq_num=ack.start.seq_num)
        except SeqNumMismatch as error:
            print(f"refused: the next record is {error.expected}")

        # One read gives up to 1000 records. `read_session` goes on and on: see follow.py.
        batch = await stream.read(SeqNum(ack.start.seq_num))
        for record in batch.records:
            print(record.seq_num, record.body, dict(record.headers))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "./data"))
