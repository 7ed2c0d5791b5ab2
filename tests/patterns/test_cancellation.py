"""Whatever is cancelled or closed at whatever moment, messages are whole, and nothing is left running."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from perdure import S2, SeqNum, Stream
from perdure.patterns import DeserializingReadSession, SerializingAppendSession

MESSAGES = [letter * 9 for letter in "abcd"]


def writer_to(stream: Stream) -> SerializingAppendSession[str]:
    appends = stream.append_session(max_in_flight_batches=2)
    return SerializingAppendSession(appends, str.encode, chunk_bytes=2, dedupe_seq=0)


def reader_of(stream: Stream, *, wait: float | None = 0) -> DeserializingReadSession[str]:
    return DeserializingReadSession(stream.read_session(SeqNum(0), clamp=True, wait=wait), bytes.decode)


async def submits(stream: Stream) -> None:
    async with writer_to(stream) as session:
        await asyncio.gather(*(session.submit(message) for message in MESSAGES))


async def writes(stream: Stream) -> None:
    async with writer_to(stream) as session:
        await session.write_all(MESSAGES)


async def reads(stream: Stream) -> None:
    async with reader_of(stream, wait=None) as session:
        async for _ in session:
            pass


async def left_after(work: Callable[[Stream], Awaitable[None]], steps: int) -> list[str]:
    """The messages in the stream after the work was cancelled so many steps of the loop in, and another one."""
    async with S2.open(":memory:") as s2:
        stream = await (await s2.basins.create("patterns-basin")).streams.create("s")
        before = asyncio.all_tasks()
        task = asyncio.ensure_future(work(stream))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        while asyncio.all_tasks() - before:
            await asyncio.wait(asyncio.all_tasks() - before)  # those that the work itself made and cancelled
        async with writer_to(stream) as session:
            await session.submit("after")
        async with reader_of(stream) as reader:
            return [message async for message in reader]


# What the work awaits leaves the loop now and then, so that the steps past the first ones are not the same every time.
@pytest.mark.parametrize("steps", [*range(8), 12, 20, 40, 100])
@pytest.mark.parametrize("work", [submits, writes, reads])
def test_messages_are_whole_whenever_the_work_is_cancelled(
    work: Callable[[Stream], Awaitable[None]], steps: int
) -> None:
    with asyncio.Runner(debug=True) as runner:
        found = runner.run(left_after(work, steps))
    assert found == [*MESSAGES[: len(found) - 1], "after"]
