"""Typed messages over a stream: a client that speaks of events, while the stream holds records.

::

    python examples/typed_messages.py ./data

An event may be larger than a record; it goes as several, and comes out whole or not at all. Any program with the npm
package `@s2-dev/streamstore-patterns` and a msgpack library reads and writes the same stream through `perdure serve`.
"""

import asyncio
import sys

from msgspec import Struct

from perdure import S2, SeqNum, Stream
from perdure.patterns import DeserializingReadSession, MsgpackSerializer, ReadCheckpoint, SerializingAppendSession


class Posted(Struct, tag="posted"):
    author: str
    text: str


class Uploaded(Struct, tag="uploaded"):
    name: str
    content: bytes


Event = Posted | Uploaded
EVENTS = MsgpackSerializer[Event](Event)


class Room:
    """The typed client: whoever uses it sees events."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def writer(self) -> SerializingAppendSession[Event]:
        # With `dedupe_seq`, an event that had to be sent again after a lost connection is read once.
        return SerializingAppendSession(self._stream.append_session(), EVENTS.serialize, dedupe_seq=0)

    def reader(self, checkpoint: ReadCheckpoint | None = None) -> DeserializingReadSession[Event]:
        """What happened since `checkpoint`, or everything. Without `wait=0` it would go on to follow live."""
        start = SeqNum(0 if checkpoint is None else checkpoint.seq_num)
        records = self._stream.read_session(start, clamp=True, wait=0)
        return DeserializingReadSession(records, EVENTS.deserialize, checkpoint=checkpoint)


def told(event: Event) -> str:
    match event:
        case Posted(author, text):
            return f"{author}: {text}"
        case Uploaded(name, content):
            return f"{name}, {len(content):,} bytes"


async def main(directory: str) -> None:
    async with S2.open(directory) as s2:
        basin = await s2.basins.ensure("typed-messages", create_stream_on_append=True)
        room = Room(basin.stream("room"))

        async with room.writer() as writer:
            where = await writer.submit(Posted("Ada", "Here is the picture."))
            print(f"the first event is record {where.start}")
            where = await writer.submit(Uploaded("picture.png", bytes(3_000_000)))
            print(f"the picture is records {where.start} to {where.end - 1}")
            await writer.submit(Posted("Bob", "Thank you!"))

        async with room.reader() as reader:
            print(told(await anext(reader)))
            checkpoint = reader.checkpoint  # kept with the effect of the event, say in the same row of a database

        print("later:")
        async with room.reader(checkpoint) as reader:
            async for event in reader:
                print(told(event))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "./data"))
