"""The run itself: one writer, one reader that follows it, and then a reader of all that was written."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

from ...client import AppendSession, Producer, ReadSession, Stream
from ...client.in_flight import DEFAULT_MAX_IN_FLIGHT_BYTES
from ...model.batches import AppendAck
from ...model.limits import MAX_BATCH_BYTES
from ...model.metering import RECORD_OVERHEAD_BYTES
from ...model.positions import SeqNum
from ...model.records import AppendRecord
from .chain import ChainReader, ChainWriter
from .measured import MIB, Flow, Phase, Run

WINDOW_BYTES: Final = DEFAULT_MAX_IN_FLIGHT_BYTES - MAX_BATCH_BYTES
"""In flight when the next record is made: its batch finds room, and its latency is not that of a queue of our own."""

TURN_BYTES: Final = 128 * 1024
"""Made in one go at most, before the readers in the same event loop have their turn."""

TAIL_SECS: Final = 30.0
"""How long the reader that follows may take for the rest once everything is acknowledged."""


def pause_secs(sent_bytes: int, elapsed_secs: float, target_mibps: float | None) -> float:
    """How long to wait before the next record, so that no more than the target is sent; 0 for not at all."""
    return 0.0 if target_mibps is None else max(0.0, sent_bytes / (target_mibps * MIB) - elapsed_secs)


async def run_bench(run: Run, stream: Stream, stop: asyncio.Event) -> None:
    """Measure on an empty stream of its own, until all is done or `stop` is set; `run` tells at any time how far it is.

    What is in flight when it is stopped is waited for. Raises what the stream raises.
    """
    try:
        await _run(run, stream, stop)
    except BaseExceptionGroup as failures:
        raise _first(failures) from None  # of the writer and the reader; the others are mostly its consequences


def _first(failure: BaseException) -> BaseException:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


async def _run(run: Run, stream: Stream, stop: asyncio.Event) -> None:
    chain = ChainWriter(run.settings.record_bytes - RECORD_OVERHEAD_BYTES)
    async with stream.read_session(SeqNum(0)) as following:
        async with asyncio.TaskGroup() as tasks:
            tail = _Reader(run, run.tail, following, ChainReader(chain.origin), "the tail", stop)
            reading = tasks.create_task(tail.read(), name="bench tail")
            run.enter(Phase.WRITING, time.perf_counter_ns())
            await _write(run, stream, chain, stop)
            await tail.wait_for(chain.count)
            await following.aclose()
            await reading
        tail.finish(chain)
    if stop.is_set():
        return
    run.enter(Phase.WAITING, time.perf_counter_ns())
    if await _is_set_within(stop, run.settings.catchup_delay_secs):
        return
    run.enter(Phase.CATCHING_UP, time.perf_counter_ns())
    async with stream.read_session(SeqNum(0), wait=0) as everything:
        again = _Reader(run, run.catch_up, everything, ChainReader(chain.origin), "the catch-up read", stop)
        await again.read(ends_with=stop)
        if stop.is_set() and run.fault is None:
            return
        again.finish(chain)
    run.complete = run.fault is None


async def _write(run: Run, stream: Stream, chain: ChainWriter, stop: asyncio.Event) -> None:
    """Append records of `chain` until the time is over or `stop` is set; returns when all are acknowledged."""
    settings, made = run.settings, deque[int]()
    session = stream.append_session()
    acks = session.acks()
    acknowledged = asyncio.Event()

    async def count_acks() -> None:
        async for ack in acks:
            _count(run, ack, made)
            acknowledged.set()

    begun = time.perf_counter_ns()
    run.append.begin(begun)
    sent_bytes = turn_bytes = 0
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(count_acks(), name="bench acks")
        # `match_seq_num` keeps a batch whose answer was lost from being appended twice.
        async with Producer(session, match_seq_num=0) as producer:
            while not stop.is_set():
                now = time.perf_counter_ns()
                elapsed = (now - begun) / 1e9
                if elapsed >= settings.duration_secs:
                    break
                pause = pause_secs(sent_bytes, elapsed, settings.target_mibps)
                if pause > 0:
                    await _is_set_within(stop, min(pause, settings.duration_secs - elapsed))
                    continue
                if session.in_flight_bytes > WINDOW_BYTES:
                    await _some_room(session, acknowledged)
                    continue
                if turn_bytes >= TURN_BYTES:
                    turn_bytes = 0
                    await asyncio.sleep(0)
                    continue
                made.append(now)
                _ = await producer.submit(AppendRecord(chain.next_body(now)))
                sent_bytes += settings.record_bytes
                turn_bytes += settings.record_bytes


async def _some_room(session: AppendSession, acknowledged: asyncio.Event) -> None:
    acknowledged.clear()
    if session.in_flight_bytes > WINDOW_BYTES and session.failure is None:
        await acknowledged.wait()  # a session that fails raises in the task that counts, which ends this one


def _count(run: Run, ack: AppendAck, made: deque[int]) -> None:
    now, records = time.perf_counter_ns(), ack.end.seq_num - ack.start.seq_num
    run.append.add(records, run.settings.record_bytes, now)
    for _ in range(records):
        run.append.latencies.add(now - made.popleft())


class _Reader:
    """Reads a chain from one session, and counts what came."""

    def __init__(
        self, run: Run, flow: Flow, session: ReadSession, chain: ChainReader, name: str, stop: asyncio.Event
    ) -> None:
        self._run = run
        self._flow = flow
        self._session = session
        self._chain = chain
        self._name = name
        self._stop = stop
        self._news = asyncio.Event()
        flow.begin(time.perf_counter_ns())

    async def read(self, *, ends_with: asyncio.Event | None = None) -> None:
        """Until the session ends, or a fault is found, which stops the run."""
        async for batch in self._session.batches():
            now = time.perf_counter_ns()
            for record in batch.records:
                made = self._chain.read(record.seq_num, record.body)
                self._flow.latencies.add(now - made)
            self._flow.add(len(batch.records), self._run.settings.record_bytes, now)
            self._news.set()
            if self._chain.fault is not None:
                self._run.found(self._chain.fault, self._name)
                self._stop.set()
                return
            if ends_with is not None and ends_with.is_set():
                return

    async def wait_for(self, count: int) -> None:
        """Until so many records were read, a fault was found, or it took too long."""
        try:
            async with asyncio.timeout(TAIL_SECS):
                while self._chain.fault is None and self._chain.count < count:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return  # what is missing is a fault, which `finish` finds

    def finish(self, written: ChainWriter) -> None:
        """Compare with what was written."""
        self._chain.finish(written.count, written.link)
        self._run.found(self._chain.fault, self._name)
        if self._chain.fault is not None:
            self._stop.set()


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
