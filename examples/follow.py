"""Follow a stream: print what is in it, and then whatever is appended, until Ctrl-C.

::

    python examples/follow.py ./data greetings        # everything, and on
    python examples/follow.py ./data greetings 40     # from record 40 on

Append from another process meanwhile, for instance with quickstart.py: this one hears of it within milliseconds.
"""

import asyncio
import sys

from perdure import S2, ReadSession, SeqNum


async def tell_when_caught_up(records: ReadSession) -> None:
    tail = await records.caught_up()  # everything that was there has been handed out; now it is live
    print(f"-- caught up at {tail.seq_num}", flush=True)


async def main(directory: str, name: str, start: int) -> None:
    async with S2.open(directory) as s2:
        # A reader may come before the first writer, and waits for it then.
        basin = await s2.basins.ensure("quickstart", create_stream_on_append=True, create_stream_on_read=True)
        # Without `clamp`, a start beyond the end of the stream is an error; with it, the read begins at the end.
        # With `wait=5`, it would end when nothing came for five seconds; with `wait=0`, as soon as it has caught up.
        session = basin.stream(name).read_session(SeqNum(start), clamp=True)
        async with session as records, asyncio.TaskGroup() as tasks:
            tasks.create_task(tell_when_caught_up(records))
            try:
                async for record in records:
                    print(record.seq_num, record.text, flush=True)
            finally:
                # Ctrl-C comes as a cancellation. Whoever keeps this number can go on without a gap.
                position = records.next_read_position
                print(f"-- the next one is {position.seq_num if position else start}", flush=True)


if __name__ == "__main__":
    directory, name, start = [*sys.argv[1:], *["./data", "greetings", "0"][len(sys.argv) - 1 :]]
    try:
        asyncio.run(main(directory, name, int(start)))
    except KeyboardInterrupt:
        pass
