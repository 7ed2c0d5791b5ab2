"""Whatever is cancelled, or closed underneath, at whatever moment: no task, no socket and no complaint is left."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from perdure import S2, AppendInput, AppendRecord, PerdureError, SeqNum, Stream, TailOffset
from perdure.client.retries import RetryPolicy
from perdure.client.settings import ForcedTransport
from perdure.patterns import DeserializingReadSession, SerializingAppendSession
from perdure.store.sqlite import SqliteEngine
from tests.client.http_server import HOST, serving_engine
from tests.patience import PATIENCE_SECONDS

BASIN = "cancelled-basin"
STEPS = [*range(40), 50, 60, 80, 100, 150, 200, 300, 500, 1000]
"""After so many turns of the event loop; most of what happens, happens in the first ones."""
QUICK = RetryPolicy(max_attempts=3, min_delay_ms=1, max_delay_ms=2)
RECORDS = [AppendRecord("x")]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server in a thread of its own, so that the loop of a test holds nothing but the client's tasks."""
    ready: Future[tuple[int, asyncio.Event]] = Future()

    async def serve() -> None:
        engine = await SqliteEngine.open(":memory:")
        try:
            async with serving_engine(engine) as port:
                async with S2(endpoints=f"http://{HOST}:{port}") as s2:
                    stream = await (await s2.basins.create(BASIN)).streams.create("s")
                    await stream.append([AppendRecord(str(number)) for number in range(20)])
                over = asyncio.Event()
                ready.set_result((port, over))
                await over.wait()
        finally:
            await engine.aclose()

    with asyncio.Runner() as runner:
        thread = threading.Thread(target=runner.run, args=(serve(),), name="server")
        loop = runner.get_loop()
        thread.start()
        port, over = ready.result(30)
        yield port
        loop.call_soon_threadsafe(over.set)
        thread.join(30)


Work = Callable[[Stream], Awaitable[object]]


async def calls(stream: Stream) -> None:
    await stream.check_tail()
    await stream.append(RECORDS)
    await stream.read(SeqNum(0))


async def waiting_read(stream: Stream) -> None:
    await stream.read(TailOffset(0), wait=60)


async def reads(stream: Stream) -> None:
    async with stream.read_session(SeqNum(0)) as records:
        async for _ in records:
            pass


async def reads_without_a_block(stream: Stream) -> None:
    records = stream.read_session(SeqNum(0))
    try:
        async for _ in records.batches():
            pass
    finally:
        await records.aclose()


async def catches_up(stream: Stream) -> None:
    async with stream.read_session(SeqNum(0)) as records, asyncio.TaskGroup() as tasks:
        tasks.create_task(records.caught_up())
        async for _ in records:
            pass


async def submits(stream: Stream) -> None:
    async with stream.append_session(max_in_flight_batches=2) as session:
        for _ in range(5):
            ticket = await session.submit(RECORDS)
        await ticket
        await (await session.submit(RECORDS))


async def submits_without_a_block(stream: Stream) -> None:
    session = stream.append_session()
    try:
        for _ in range(5):
            await (await session.submit(RECORDS))
    except BaseException:
        await session.abandon()
        raise
    await session.aclose()


async def writes(stream: Stream) -> None:
    def batches() -> Iterator[AppendInput]:
        while True:
            yield AppendInput.of(RECORDS)

    session = stream.append_session(max_in_flight_batches=3)
    acks = session.acks()
    async with session, asyncio.TaskGroup() as tasks:
        tasks.create_task(session.write_all(batches()))
        async for _ in acks:
            pass


async def produces(stream: Stream) -> None:
    async with stream.producer(linger_ms=0, max_in_flight_batches=2) as producer:
        for _ in range(20):
            ticket = await producer.submit(RECORDS[0])
        await producer.flush()
        await ticket


async def writes_messages(stream: Stream) -> None:
    appends = stream.append_session(max_in_flight_batches=2)
    async with SerializingAppendSession[str](appends, str.encode, chunk_bytes=1, dedupe_seq=0) as session:
        await session.submit("abc")
        await session.write_all(["abc"] * 5)


async def reads_messages(stream: Stream) -> None:
    async with DeserializingReadSession(stream.read_session(SeqNum(0)), bytes.decode) as session:
        async for _ in session:
            pass


WORKS: list[Work] = [
    calls, waiting_read, reads, reads_without_a_block, catches_up, submits, submits_without_a_block, writes, produces,
    writes_messages, reads_messages,
]  # fmt: skip


class Complaints:
    """What the event loop is told that nobody looked after."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.messages.append(f"{context.get('message')}: {context.get('exception')!r}")


@pytest.fixture
async def complaints() -> AsyncIterator[Complaints]:
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    complaints = Complaints()
    loop.set_exception_handler(complaints)
    yield complaints
    gc.collect()  # an unclosed socket, or a coroutine that nobody awaited, is a warning here, and so an error
    assert complaints.messages == []


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
async def test_cancelling_at_any_turn_leaves_nothing(
    port: int, work: Work, complaints: Complaints, forced: ForcedTransport
) -> None:
    for steps in STEPS:
        async with S2(endpoints=f"http://{HOST}:{port}", retries=QUICK, force_transport=forced) as s2:
            before = asyncio.all_tasks()
            task = asyncio.ensure_future(work(s2.basin(BASIN).stream("s")))
            await turns(steps)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
            assert asyncio.all_tasks() == before, f"after {steps} turns"


@pytest.mark.parametrize("work", WORKS, ids=lambda work: work.__name__)
async def test_closing_the_client_at_any_turn_ends_it(
    port: int, work: Work, complaints: Complaints, forced: ForcedTransport
) -> None:
    for steps in STEPS[::2]:
        before = asyncio.all_tasks()
        s2 = await S2(endpoints=f"http://{HOST}:{port}", retries=QUICK, force_transport=forced)
        task = asyncio.ensure_future(work(s2.basin(BASIN).stream("s")))
        await turns(steps)
        await s2.aclose()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait([task])
        failure = task.exception()
        assert failure is None or not _others(failure), f"after {steps} turns"
        assert asyncio.all_tasks() == before, f"after {steps} turns"


def _others(failure: BaseException) -> bool:
    """Whether it holds anything but what the package raises on purpose."""
    if isinstance(failure, BaseExceptionGroup):
        return failure.split(PerdureError)[1] is not None
    return not isinstance(failure, PerdureError)
