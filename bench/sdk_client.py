"""What the SDK comparison asks of each client, and the process in which one of them takes its turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, auto
from importlib import import_module
from typing import Protocol

import uvloop

from .children import Door
from .measure import Samples, peak_resident_bytes, reset_peak, resident_bytes
from .payload import MIB, numbered, text

OURS, THEIRS, RAW = "perdure", "s2-sdk", "raw"
CLIENTS = {OURS: "bench.sdk_perdure", THEIRS: "bench.sdk_official", RAW: "bench.sdk_raw"}
"""Each module has `connect(target) -> AbstractAsyncContextManager[Client]`."""

IN_FLIGHT_BYTES = 5 * MIB
"""The default of both SDKs; 5 ms of linger and no compression are the same in both, too."""

WARM_UP_REQUESTS = 20


@dataclass(frozen=True)
class Target:
    """The server, and how bodies and batches are packed: "none", "gzip" or "zstd"."""

    host: str
    port: int
    packing: str = "none"


class Work(Enum):
    """What a turn may be, as `Client` says."""

    APPEND_SESSION = auto()
    PRODUCE = auto()
    CATCH_UP = auto()
    APPEND = auto()
    READ = auto()
    CHECK_TAIL = auto()
    SESSION_ACKS = auto()
    FOLLOW = auto()


class Client(Protocol):
    """One SDK, used as its documentation says, with its defaults; each call checks its answers."""

    async def append_session(self, stream: str, bodies: Sequence[bytes], batches: int) -> None:
        """So many batches of these bodies, pipelined; returns when all are acknowledged."""

    async def produce(self, stream: str, body: bytes, records: int) -> None:
        """Single records through a producer, and the acknowledgement of each."""

    async def catch_up(self, stream: str, records: int, body_bytes: int) -> None:
        """A read session from the first record to the tail."""

    async def append(self, stream: str, body: bytes) -> None: ...

    async def read(self, stream: str, records: int) -> None:
        """The first records of a stream, by one request."""

    async def check_tail(self, stream: str) -> None: ...

    async def session_acks(self, stream: str, body: bytes, count: int) -> Samples:
        """How long each batch of one record takes in a session, one at a time."""

    async def follow(self, stream: str, body: bytes, count: int) -> Samples:
        """From a submit to the record at a reader in the same process, one at a time."""


class Connect(Protocol):
    def __call__(self, target: Target) -> AbstractAsyncContextManager[Client]: ...


@dataclass(frozen=True)
class Bodies:
    """How large the records of a batch are, and how many; `is_text`: something that a codec can shrink."""

    records: int
    size: int
    is_text: bool = False

    @property
    def batch_bytes(self) -> int:
        return self.records * self.size

    def make(self) -> list[bytes]:
        return [(text if self.is_text else numbered)(number, self.size) for number in range(self.records)]


@dataclass(frozen=True)
class Job:
    """One turn of one client: what it does, on which stream, how often."""

    work: Work
    stream: str
    bodies: Bodies
    count: int
    packing: str = "none"
    at_once: int = 1

    @property
    def reads(self) -> bool:
        """Whether it reads what somebody else wrote: `count` batches of `bodies`."""
        return self.work in (Work.CATCH_UP, Work.READ)


@dataclass(frozen=True)
class Turn:
    """What a turn took: seconds of time and of the client's CPU, the median of its samples, and memory at its peak."""

    seconds: float
    cpu: float
    p50_ms: float
    peak_bytes: int


async def _repeat(job: Job, call: Callable[[], Awaitable[None]]) -> Samples:
    """Call it `count` times, `at_once` callers sharing them."""
    samples = Samples()

    async def caller() -> None:
        for _ in range(job.count // job.at_once):
            with samples.timed():
                await call()

    await asyncio.gather(*(caller() for _ in range(job.at_once)))
    return samples


async def _do(client: Client, job: Job, bodies: list[bytes]) -> Samples | None:
    match job.work:
        case Work.APPEND_SESSION:
            await client.append_session(job.stream, bodies, job.count)
        case Work.PRODUCE:
            await client.produce(job.stream, bodies[0], job.count)
        case Work.CATCH_UP:
            await client.catch_up(job.stream, job.count * job.bodies.records, job.bodies.size)
        case Work.APPEND:
            return await _repeat(job, lambda: client.append(job.stream, bodies[0]))
        case Work.READ:
            return await _repeat(job, lambda: client.read(job.stream, job.bodies.records))
        case Work.CHECK_TAIL:
            return await _repeat(job, lambda: client.check_tail(job.stream))
        case Work.SESSION_ACKS:
            return await client.session_acks(job.stream, bodies[0], job.count)
        case Work.FOLLOW:
            return await client.follow(job.stream, bodies[0], job.count)
    return None


async def _turn(connect: Connect, host: str, port: int, job: Job) -> Turn:
    async with connect(Target(host, port, job.packing)) as client:
        bodies = job.bodies.make()
        for _ in range(WARM_UP_REQUESTS):
            await client.check_tail(job.stream)
        held = resident_bytes()
        reset_peak()
        started, cpu = time.perf_counter(), time.process_time()
        samples = await _do(client, job, bodies)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        return Turn(seconds, cpu, samples.p50_ms if samples else 0.0, peak_resident_bytes() - held)


def take_turns(door: Door, name: str, host: str, port: int) -> None:
    """The body of a client's process: a turn for each job, until there is None."""
    connect: Connect = import_module(CLIENTS[name]).connect
    while True:
        job = door.receive(Job)
        if job is None:
            return
        with asyncio.Runner(loop_factory=uvloop.new_event_loop if name == RAW else None) as runner:
            door.answer(runner.run(_turn(connect, host, port, job)))
