"""What a server holds in memory under a mixed load does not grow with what it has served.

One worker is driven by clients that append, read, follow, trim, make streams and delete them; some leave in the middle
of what they do. Half of the load fills what is filled once: caches, pools, buffers as large as the busiest moment needs
them. The other half must find all it needs there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias

import httpx
import pytest
from s2_sdk import (
    S2,
    AppendInput,
    BasinConfig,
    CommandRecord,
    Endpoints,
    ReadLimit,
    Record,
    S2Basin,
    S2Stream,
    SeqNum,
    TailOffset,
)

from tests.serve_command import ServeCommand

BASIN: Final = "mixed-load"
STREAMS: Final = 6
KEPT_RECORDS: Final = 2_000
"""What a trim leaves of a stream, about: the data directory stays small, too."""

LONG_SECS: Final = 600.0

SHORT_TURNS: Final = 25
"""How many times every client does what it does, in each half of the short form."""

BOUND_BYTES: Final = 24 * 1024 * 1024
"""By how much resident memory may be larger after the second half.

malloc keeps some of what was freed (see `perdure.server.heap`), and how much that is when one looks is chance: 7 MiB
were seen. The long form takes some 70,000 steps a half, so it notices what forgets a few hundred bytes in each.
"""

GoesOn: TypeAlias = Callable[[int], bool]
"""Whether a client that has done its part so many times does it again."""

Part: TypeAlias = Callable[[S2Stream, int], Awaitable[None]]
"""What a client does in one turn. It waits for nothing that only another client would do."""


class Load:
    """The clients of one server, and how many steps they have taken."""

    def __init__(self, basin: S2Basin, http: httpx.AsyncClient) -> None:
        self._basin = basin
        self._http = http
        self.steps = 0

    async def run(self, goes_on: GoesOn) -> None:
        """All clients at once, until they have done their parts."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(STREAMS):
                stream = self._basin.stream(f"stream-{number}")
                parts: list[Part] = [
                    self._append_unary,
                    self._append_by_session,
                    self._read_unary,
                    self._read_by_session,
                    self._follow_events,
                    self._trim,
                ]
                for part in parts:
                    tasks.create_task(self._repeat(part, stream, goes_on))
            tasks.create_task(self._repeat(self._make_and_delete, self._basin.stream("short-lived"), goes_on))

    async def _repeat(
        self, part: Callable[[S2Stream, int], Awaitable[None]], stream: S2Stream, goes_on: GoesOn
    ) -> None:
        turn = 0
        while goes_on(turn):
            await part(stream, turn)
            turn += 1
            self.steps += 1

    async def _append_unary(self, stream: S2Stream, turn: int) -> None:
        await stream.append(AppendInput([Record(b"u" * (turn * 2_900 % 50_000), headers=[(b"turn", b"%d" % turn)])]))

    async def _append_by_session(self, stream: S2Stream, turn: int) -> None:
        async with stream.append_session() as session:
            tickets = [await session.submit(AppendInput([Record(b"s" * 1_000) for _ in range(50)])) for _ in range(4)]
            if turn % 10 == 0 and stream.name == "stream-0":
                tickets.append(await session.submit(AppendInput([Record(b"l" * 1_000_000)])))
            for ticket in tickets:
                await ticket

    async def _read_unary(self, stream: S2Stream, turn: int) -> None:
        await stream.append(AppendInput([Record(b"to be read")]))
        batch = await stream.read(start=TailOffset(50), limit=ReadLimit(count=1 + turn % 50), clamp_to_tail=True)
        assert batch.records

    async def _read_by_session(self, stream: S2Stream, turn: int) -> None:
        """Catch up, and leave when the tail is reached; every third time before that."""
        seen = 0
        tail = (await stream.append(AppendInput([Record(b"the end")]))).tail.seq_num
        limit = ReadLimit(count=500)
        async with stream.read_session(start=SeqNum(max(0, tail - 500)), limit=limit, wait=0) as session:
            async for batch in session:
                seen += len(batch.records)
                if turn % 3 == 0 and seen > 100:
                    break

    async def _follow_events(self, stream: S2Stream, turn: int) -> None:
        """A browser that comes, follows live until it has seen what was appended meanwhile, and goes without a word."""
        path = f"/v1/streams/{stream.name}/records?tail_offset={turn % 20}&clamp=true"
        async with self._http.stream("GET", path, headers={"accept": "text/event-stream"}) as answer:
            assert answer.status_code == 200
            wanted = f"for the follower in turn {turn}".encode()
            await stream.append(AppendInput([Record(wanted)]))
            last = b""
            async for piece in answer.aiter_raw():
                last = last[-len(wanted) :] + piece
                if wanted in last:
                    break

    async def _trim(self, stream: S2Stream, turn: int) -> None:
        tail = (await stream.append(AppendInput([Record(b"last")]))).tail.seq_num
        await stream.append(AppendInput([CommandRecord.trim(max(0, tail - KEPT_RECORDS))]))

    async def _make_and_delete(self, stream: S2Stream, turn: int) -> None:
        name = f"{stream.name}-{time.time_ns()}"
        await self._basin.stream(name).append(AppendInput([Record(b"only")]))
        await self._basin.delete_stream(name)


@asynccontextmanager
async def loaded(data: Path) -> AsyncIterator[tuple[ServeCommand, Load]]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ServeCommand(data))
        s2 = await stack.enter_async_context(S2("none", endpoints=Endpoints(account=server.url, basin=server.url)))
        await s2.create_basin(BASIN, config=BasinConfig(create_stream_on_append=True, create_stream_on_read=True))
        http = await stack.enter_async_context(server.client())
        http.headers["s2-basin"] = BASIN
        yield server, Load(s2.basin(BASIN), http)


def resident_bytes(server: ServeCommand) -> int:
    """What the server's one worker holds in memory that is backed by no file."""
    (worker,) = server.worker_pids()
    for line in Path(f"/proc/{worker}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the system does not tell")


@pytest.mark.timeout(180)
async def test_memory_stays_flat_under_a_mixed_load(tmp_path: Path) -> None:
    async with loaded(tmp_path / "data") as (server, load):
        await load.run(lambda turn: turn < SHORT_TURNS)
        first = resident_bytes(server)
        await load.run(lambda turn: turn < SHORT_TURNS)
        assert resident_bytes(server) - first <= BOUND_BYTES
        assert await server.stop() == 0


@pytest.mark.soak
@pytest.mark.timeout(1_200)
async def test_memory_stays_flat_under_a_mixed_load_for_ten_minutes(tmp_path: Path) -> None:
    async with loaded(tmp_path / "data") as (server, load):

        async def half() -> int:
            end = time.monotonic() + LONG_SECS / 2
            await load.run(lambda _: time.monotonic() < end)
            return resident_bytes(server)

        first, steps = await half(), load.steps
        second = await half()
        print(f"{steps:,} steps, {first / 2**20:.1f} MiB; then {load.steps - steps:,} more, {second / 2**20:.1f} MiB")
        assert second - first <= BOUND_BYTES
        assert await server.stop() == 0
