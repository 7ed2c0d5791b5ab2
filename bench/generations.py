"""A thousand answers generated at once in one process, and a hundred clients that follow some of them.

The same sources run twice, each time in a fresh process: once for Perdure, and once for nobody, which shows what the
sources themselves cost in CPU time and memory. A source goes by the clock, so it never drifts: held up, it catches up.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import apsw

from perdure import S2
from perdure.resumable.aisdk import AiSdkChat, create_resumable_chat

from .children import Child, Door
from .measure import Samples, Usage, resident_bytes
from .metronome import Metronome
from .scenario import Row, Run, alone, at_least, at_most, check
from .warm_up import warm_up

TOKENS_A_SECOND = 25
GAP_SECONDS = 1 / TOKENS_A_SECOND
CLAIM_SECONDS = 5.0
"""From the first claim to the first token."""

EXTRA_SECONDS = 2.0
"""The sources go on for so long after the measured time, in which memory is looked at."""

_DELTA = re.compile(rb'"delta":"(\d+)"')


@dataclass(frozen=True)
class Load:
    """What one process is to do; `store` None for the sources alone."""

    store: Path | None
    generations: int
    readers: int
    seconds: int

    @property
    def tokens(self) -> int:
        """By each generation in all, those after the measured time included."""
        return int((self.seconds + EXTRA_SECONDS) * TOKENS_A_SECOND)


@dataclass
class Measured:
    """What one process saw."""

    delays: array[float] = field(default_factory=lambda: array("d"))
    lateness: array[float] = field(default_factory=lambda: array("d"))
    tokens: int = 0
    cpu: float = 0.0
    claiming: float = 0.0
    grown_bytes: int = 0
    cache_bytes: int = 0
    usage: str = ""


class Sources:
    """The models: each waits for its turn, and says when it gave each token."""

    def __init__(self, load: Load, measured: Measured) -> None:
        self._metronome = Metronome()
        self._load = load
        self._measured = measured
        self.start_at = time.perf_counter() + CLAIM_SECONDS
        self.end_at = self.start_at + load.seconds

    async def answer(self, number: int) -> AsyncIterator[dict[str, str]]:
        yield {"type": "start"}
        yield {"type": "start-step"}
        yield {"type": "text-start", "id": "text-1"}
        measured, until, due = self._measured, self._metronome.until, self.start_at
        due += GAP_SECONDS * number / self._load.generations
        for _ in range(self._load.tokens):
            await until(due)
            now = time.perf_counter()
            if now < self.end_at:
                measured.tokens += 1
                if number % 10 == 0:
                    measured.lateness.append(now - due)
            yield {"type": "text-delta", "id": "text-1", "delta": f"{int(now * 1e9)}"}
            due += GAP_SECONDS
        yield {"type": "text-end", "id": "text-1"}
        yield {"type": "finish-step"}
        yield {"type": "finish"}

    async def drain(self, number: int) -> None:
        """The source for nobody."""
        async for _ in self.answer(number):
            pass

    def close(self) -> None:
        self._metronome.close()


async def _follow(chat: AiSdkChat, name: str, load: Load, sources: Sources, measured: Measured) -> None:
    """Read one answer from its beginning to its end, by the route that resumes."""
    response = await chat.replay(name, active_only=True)
    chunks = response.chunks
    check(chunks is not None, f"{name}: nothing to follow")
    assert chunks is not None
    tokens = 0
    async for chunk in chunks:
        now = time.perf_counter()
        for sent in _DELTA.findall(chunk):
            tokens += 1
            sent_at = int(sent) / 1e9
            if sent_at < sources.end_at:
                measured.delays.append(now - sent_at)
    await response.aclose()
    check(tokens == load.tokens, f"{name}: {load.tokens} tokens were generated, {tokens} were followed")


async def _observe(sources: Sources, measured: Measured, before: int) -> None:
    """CPU time over the measured seconds, and memory right after them."""
    await asyncio.sleep(sources.start_at - time.perf_counter())
    usage = Usage()
    await asyncio.sleep(sources.end_at - time.perf_counter())
    usage.stop()
    measured.cpu, measured.usage = usage.cpu, usage.describe()
    measured.grown_bytes = resident_bytes() - before
    measured.cache_bytes = apsw.memory_used()


async def _with_perdure(chat: AiSdkChat, load: Load) -> Measured:
    measured, before = Measured(), resident_bytes()
    sources = Sources(load, measured)

    async def claim(number: int) -> None:
        response = await chat.make_resumable(
            f"chat-{number}", lambda: sources.answer(number), delivery="replay", wait_until=chat.background
        )
        check(response.status == 202, f"chat-{number} was not claimed")

    started = time.perf_counter()
    await asyncio.gather(*(claim(number) for number in range(load.generations)))
    measured.claiming = time.perf_counter() - started
    step = load.generations // load.readers
    async with asyncio.TaskGroup() as tasks:
        for number in range(0, load.generations, step):
            tasks.create_task(_follow(chat, f"chat-{number}", load, sources, measured))
        tasks.create_task(_observe(sources, measured, before))
    await chat.drain()
    sources.close()
    await _check_stored(chat, load)
    return measured


async def _check_stored(chat: AiSdkChat, load: Load) -> None:
    """That every answer is over, and some of them as a whole."""
    for number in range(load.generations):
        response = await chat.replay(f"chat-{number}", active_only=True)
        check(response.status == 204, f"chat-{number} has not ended")
    for number in range(1, load.generations, max(1, load.generations // 20)):
        history = await chat.history(f"chat-{number}")
        messages = history["messages"]
        assert isinstance(messages, list)
        check(len(messages) == 1, f"chat-{number} holds {len(messages)} messages")


async def _without(load: Load) -> Measured:
    measured, before = Measured(), resident_bytes()
    sources = Sources(load, measured)
    async with asyncio.TaskGroup() as tasks:
        for number in range(load.generations):
            tasks.create_task(sources.drain(number))
        tasks.create_task(_observe(sources, measured, before))
    sources.close()
    return measured


async def _generate(load: Load) -> Measured:
    if load.store is None:
        return await _without(load)
    async with S2.open(load.store) as s2:
        basin = await s2.basins.ensure("bench-warm-up", create_stream_on_append=True)
        await warm_up(basin.stream("warm-up"))
        async with create_resumable_chat(s2=s2, basin="bench-generations", mode="session") as chat:
            response = await chat.make_resumable("warm-up", [{"type": "start"}, {"type": "finish"}], delivery="replay")
            check(response.status == 202, "the store does not work")
            return await _with_perdure(chat, load)


def generate(_: Door, load: Load) -> Measured:
    return asyncio.run(_generate(load))


async def run(run: Run) -> list[Row]:
    seconds, generations, readers = run.pick(60, 10), 1000, 100
    measured: list[Measured] = []
    for store in (run.store(), None):
        whose = "alone" if store is None else "with Perdure"
        run.progress(f"{generations} sources {whose}: {seconds} s, and some to start and to check")
        child = Child(generate, Load(store, generations, readers, seconds))
        try:
            measured.append(child.result())
        finally:
            child.end()
    with_store, alone_ = measured
    delays, lateness = Samples(with_store.delays), Samples(with_store.lateness)
    what = f"{generations:,} generations"
    rate, wanted = with_store.tokens / seconds, generations * TOKENS_A_SECOND
    grown = (with_store.grown_bytes - alone_.grown_bytes) / generations / 1000
    added = (with_store.cpu / with_store.tokens - alone_.cpu / alone_.tokens) * 1e6
    return [
        Row(
            f"{what}: tokens",
            rate,
            "tokens/s",
            at_least(0.99 * wanted, f"{wanted:,} wanted"),
            f"all claimed in {with_store.claiming:.1f} s; {with_store.usage}; sources held up p50 "
            f"{lateness.p50_ms:.1f} ms, p99 {lateness.p99_ms:.1f} ms; sources alone {alone_.usage}",
        ),
        Row(
            f"{what}: source to reader, p99",
            delays.p99_ms,
            "ms",
            at_most(250),
            f"{readers} readers, {len(delays):,} tokens; p50 {delays.p50_ms:.1f} ms, longest {delays.max_ms:.0f} ms",
        ),
        Row(
            f"{what}: memory of each",
            grown,
            "KB",
            at_most(100),
            f"the sources' own {alone_.grown_bytes / generations / 1000:.0f} KB taken off; besides, the store's "
            f"caches, filled before: {with_store.cache_bytes / 1e6:.0f} MB",
        ),
        Row(
            f"{what}: added CPU a token",
            added,
            "µs",
            notes=f"the sources' own {alone_.cpu / alone_.tokens * 1e6:.1f} µs taken off",
        ),
    ]


if __name__ == "__main__":
    alone(run)
