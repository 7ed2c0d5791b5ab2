"""Channels that answer when a test says so: what a real store does not do on demand."""

import asyncio
from collections.abc import Callable

from perdure.model.batches import AppendAck, AppendInput, Part, ReadBatch
from perdure.model.positions import StreamPosition
from perdure.model.records import AppendRecord, SequencedRecord


class ScriptedAppends:
    """An append channel, and the peer at its other end."""

    def __init__(self) -> None:
        self.sent: list[AppendInput] = []
        self.opened = 0
        self.closed = 0
        self.refusal: Exception | None = None
        self._answers: list[asyncio.Future[AppendAck]] = []
        self._answered = 0
        self._tail = 0

    async def open(self) -> "ScriptedAppends":
        self.opened += 1
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        return self

    def send(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        future: asyncio.Future[AppendAck] = asyncio.get_running_loop().create_future()
        self.sent.append(batch)
        self._answers.append(future)
        return future

    async def aclose(self) -> None:
        self.closed += 1

    def acknowledge(self, batches: int = 1) -> None:
        """Answer the oldest batches that wait."""
        for _ in range(batches):
            future, batch = self._answers[self._answered], self.sent[self._answered]
            self._answered += 1
            start, self._tail = self._tail, self._tail + len(batch.records)
            if not future.done():
                end = StreamPosition(self._tail, 0)
                future.set_result(AppendAck(StreamPosition(start, 0), end, end))

    def fail(self, error: Exception) -> None:
        """Fail everything that waits, as a lane does."""
        for future in self._answers[self._answered :]:
            if not future.done():
                future.set_exception(error)
        self._answered = len(self._answers)

    @property
    def unanswered(self) -> list[asyncio.Future[AppendAck]]:
        return self._answers[self._answered :]

    @property
    def bodies(self) -> list[str]:
        return [record.body.decode() for batch in self.sent for record in batch.records]


class ScriptedReads:
    """A read channel that gives what was put into it."""

    def __init__(self) -> None:
        self.pulls = 0
        self.closed = 0
        self.interrupt: Callable[[], None] = lambda: None
        self._script: asyncio.Queue[ReadBatch | Exception | None] = asyncio.Queue()

    async def open(self, on_interruption: Callable[[], None]) -> "ScriptedReads":
        self.interrupt = on_interruption
        return self

    def put(self, *seq_nums: int, tail: int | None = None, commands: tuple[int, ...] = ()) -> None:
        """A batch of these records, timestamp ten times the number; a heartbeat without any."""
        fence = AppendRecord.fence("x")
        records = [
            SequencedRecord(n, 10 * n, fence.body, fence.headers)
            if n in commands
            else SequencedRecord(n, 10 * n, b"%d" % n)
            for n in seq_nums
        ]
        self._script.put_nowait(ReadBatch(tuple(records), None if tail is None else position(tail)))

    def end(self, error: Exception | None = None) -> None:
        self._script.put_nowait(error)

    async def next(self) -> ReadBatch | None:
        self.pulls += 1
        item = await self._script.get()
        if isinstance(item, Exception):
            raise item
        return item

    async def next_parts(self) -> tuple[Part, ...] | None:
        batch = await self.next()
        return None if batch is None else (batch,)

    async def aclose(self) -> None:
        self.closed += 1


def position(seq_num: int) -> StreamPosition:
    """The tail after the record before `seq_num`, in the time of `ScriptedReads`."""
    return StreamPosition(seq_num, 10 * (seq_num - 1) if seq_num else 0)


async def settle() -> None:
    """Let every task run until it waits for something that does not come by itself."""
    for _ in range(20):
        await asyncio.sleep(0)
