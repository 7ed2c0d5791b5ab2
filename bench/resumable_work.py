"""What is asked of each package that makes answers resumable, and the process in which one of them takes its turns.

A source gives chunks of the AI SDK as dicts, each token with the time at which it was given; what comes out is text in
the form of server-sent events. A package that takes text has its sources' chunks written as JSON by the application, as
its documentation shows. Each runs in one process, under uvloop as a web server would run it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import Enum, auto
from importlib import import_module
from typing import Protocol, TypeAlias

import uvloop

from .children import Door
from .measure import Samples, resident_bytes
from .scenario import check

CHAT, CONTEXT, THEIRS, LOG = "chat object", "context", "resumable-stream", "synced Redis log"
PACKAGES = {
    CHAT: "bench.resumable_chat",
    CONTEXT: "bench.resumable_context",
    THEIRS: "bench.resumable_redis",
    LOG: "bench.resumable_log",
}
"""Each module has `connect(place) -> AbstractAsyncContextManager[Package]`."""

_DELTA = re.compile(r'"delta":"(\d+)"')
_WARM_UP_ANSWERS = 20
_SETTLE_SECONDS = 0.5
"""Before tabs resume, and before the first token: who resumes before Redis has taken the answer's subscription is
never heard by `resumable-stream`."""

Chunk: TypeAlias = dict[str, str]
Source: TypeAlias = Callable[[], AsyncIterator[Chunk]]


class Package(Protocol):
    """What both packages can do."""

    async def start(self, name: str, source: Source) -> AsyncIterator[str]:
        """Generate an answer; gives it as the one who asked gets it."""
        ...

    async def resume(self, name: str) -> AsyncIterator[str]:
        """An answer that is being generated, from its beginning on."""
        ...

    async def stored_bytes(self) -> int:
        """What is kept outside of this process: files, or the memory of a server."""
        ...


class Connect(Protocol):
    def __call__(self, place: str) -> AbstractAsyncContextManager[Package]: ...


class Work(Enum):
    """What a turn may be."""

    FIRST_TOKEN = auto()
    """`answers` one after the other: from the call to the first token."""

    GENERATE = auto()
    """`answers` of `tokens` at once, each token after a `pause`, or else in the next round of the loop."""

    HOLD = auto()
    """`answers` of `tokens` that are not over: what they take, and how long one takes to resume."""


@dataclass(frozen=True)
class Job:
    """One turn of one package. `tabs`: how many resume each answer at its beginning and follow it."""

    work: Work
    answers: int = 1
    tokens: int = 3
    tabs: int = 0
    pause: float = 0.0
    resumes: int = 0


@dataclass
class Turn:
    """What a turn took: of time and of the process's CPU, how old tokens were on arrival, and what was held."""

    seconds: float = 0.0
    cpu: float = 0.0
    samples: list[float] = field(default_factory=list)
    """By the work: how long the first tokens took, or the resuming; or how old tokens were at who asked."""
    at_tabs: list[float] = field(default_factory=list)
    memory_bytes: int = 0
    stored_bytes: int = 0


class Answer:
    """A model's answer: some tokens, each after a `pause` or else in the next round of the loop."""

    def __init__(self, tokens: int, *, pause: float = 0.0, hold: asyncio.Event | None = None) -> None:
        self._tokens = tokens
        self._pause = pause
        self._hold = hold

    async def __call__(self) -> AsyncIterator[Chunk]:
        yield {"type": "start"}
        yield {"type": "text-start", "id": "text-1"}
        for _ in range(self._tokens):
            await asyncio.sleep(self._pause)
            yield {"type": "text-delta", "id": "text-1", "delta": f"{time.perf_counter_ns()}"}
        if self._hold is not None:
            await self._hold.wait()
        yield {"type": "text-end", "id": "text-1"}
        yield {"type": "finish"}


async def as_text(source: Source) -> AsyncIterator[str]:
    """What an application makes of its chunks for a package that takes text."""
    async for chunk in source():
        yield f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"


async def _read(pieces: AsyncIterator[str], tokens: int, reached: asyncio.Event | None = None) -> list[float]:
    """Read an answer to its end; gives how old each token was. `reached`: when all tokens are there."""
    delays: list[float] = []
    async for piece in pieces:
        now = time.perf_counter()
        delays += [now - int(sent) / 1e9 for sent in _DELTA.findall(piece)]
        if reached is not None and len(delays) >= tokens:
            reached.set()
    check(len(delays) == tokens, f"{tokens} tokens were generated, {len(delays)} arrived")
    return delays


async def _first_tokens(package: Package, job: Job, prefix: str) -> list[float]:
    samples: list[float] = []
    for number in range(job.answers):
        started = time.perf_counter()
        pieces = await package.start(f"{prefix}-{number}", Answer(job.tokens))
        async for piece in pieces:
            if _DELTA.search(piece):
                break
        samples.append(time.perf_counter() - started)
        async for _ in pieces:
            pass
    return samples


async def _generate(package: Package, job: Job, prefix: str, turn: Turn) -> None:
    """All answers at once, with their tabs; the time counts from the first token on."""
    begin = asyncio.Event()

    async def source() -> AsyncIterator[Chunk]:
        await begin.wait()
        async for chunk in Answer(job.tokens, pause=job.pause)():
            yield chunk

    names = [f"{prefix}-{number}" for number in range(job.answers)]
    asked = await asyncio.gather(*(package.start(name, source) for name in names))
    await asyncio.sleep(_SETTLE_SECONDS)
    tabs = await asyncio.gather(*(package.resume(name) for name in names for _ in range(job.tabs)))
    reading = [asyncio.create_task(_read(pieces, job.tokens)) for pieces in (*asked, *tabs)]
    await asyncio.sleep(_SETTLE_SECONDS)
    started, cpu = time.perf_counter(), time.process_time()
    begin.set()
    delays = await asyncio.gather(*reading)
    turn.seconds, turn.cpu = time.perf_counter() - started, time.process_time() - cpu
    turn.samples = [delay for answer in delays[: len(names)] for delay in answer]
    turn.at_tabs = [delay for answer in delays[len(names) :] for delay in answer]


async def _hold(package: Package, job: Job, prefix: str, turn: Turn) -> None:
    over = asyncio.Event()
    before, stored = resident_bytes(), await package.stored_bytes()
    reading: list[asyncio.Task[list[float]]] = []
    for number in range(job.answers):
        complete = asyncio.Event()
        pieces = await package.start(f"{prefix}-{number}", Answer(job.tokens, hold=over))
        reading.append(asyncio.create_task(_read(pieces, job.tokens, complete)))
        await complete.wait()
    turn.memory_bytes = resident_bytes() - before
    turn.stored_bytes = await package.stored_bytes() - stored
    resumed: list[asyncio.Task[list[float]]] = []
    for number in range(job.resumes):
        complete = asyncio.Event()
        started = time.perf_counter()
        tab = await package.resume(f"{prefix}-{number % job.answers}")
        resumed.append(asyncio.create_task(_read(tab, job.tokens, complete)))
        await complete.wait()
        turn.samples.append(time.perf_counter() - started)
    over.set()
    await asyncio.gather(*reading, *resumed)


async def _turn(package: Package, job: Job, prefix: str) -> Turn:
    turn = Turn()
    started, cpu = time.perf_counter(), time.process_time()
    match job.work:
        case Work.FIRST_TOKEN:
            turn.samples = await _first_tokens(package, job, prefix)
        case Work.GENERATE:
            await _generate(package, job, prefix, turn)
            return turn
        case Work.HOLD:
            await _hold(package, job, prefix, turn)
    turn.seconds, turn.cpu = time.perf_counter() - started, time.process_time() - cpu
    return turn


async def _take_turns(door: Door, package: str, place: str) -> None:
    connect: Connect = import_module(PACKAGES[package]).connect
    async with connect(place) as connected:
        await _turn(connected, Job(Work.FIRST_TOKEN, _WARM_UP_ANSWERS), "warm-up")
        number = 0
        while (job := await asyncio.to_thread(door.receive, Job)) is not None:
            number += 1
            door.answer(await _turn(connected, job, f"turn-{number}"))


def take_turns(door: Door, package: str, place: str) -> None:
    """The body of a package's process: a turn for each job, until there is None."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_take_turns(door, package, place))


def p50_ms(samples: Sequence[float]) -> float:
    return Samples(samples).p50_ms
