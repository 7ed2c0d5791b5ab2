"""Readers that take nothing any more, on a server over PostgreSQL: what they hold is bounded, and others are served."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import httpx
import pytest

from perdure import S2, AppendRecord, SeqNum, TailOffset
from tests.compat.test_memory import resident_bytes
from tests.patience import PATIENCE_SECONDS
from tests.serve_command import ServeCommand

MIB: Final = 1 << 20
BASIN: Final = "slow-readers"
BATCHES: Final = 40
READERS: Final = 16
BOUND_BYTES: Final = 4 * READERS * MIB
"""A piece that is sent, one behind it and what encodes them, for each; all of the stream would be ten times that."""


async def begin_to_read(http: httpx.AsyncClient, stack: AsyncExitStack) -> None:
    """Ask for everything, see the answer begin, and take nothing more."""
    path = "/v1/streams/long/records?seq_num=0"
    headers = {"accept": "text/event-stream", "s2-basin": BASIN, "s2-format": "base64"}
    answer = await stack.enter_async_context(http.stream("GET", path, headers=headers))
    assert answer.status_code == 200
    await anext(answer.aiter_raw())


@pytest.mark.timeout(180)
async def test_their_memory_is_bounded_and_others_are_served(postgres_url: str) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(ServeCommand(None, "--engine", postgres_url))
        s2 = await stack.enter_async_context(S2(endpoints=server.url))
        stream = await (await s2.basins.create(BASIN)).streams.create("long")
        async with stream.append_session() as session:
            for _ in range(BATCHES):
                _ = await session.submit([AppendRecord(b"x" * (MIB - 100))])
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            assert await everything(s2) == BATCHES
        before = resident_bytes(server)
        limits = httpx.Limits(max_connections=READERS)
        http = httpx.AsyncClient(base_url=server.url, timeout=PATIENCE_SECONDS, limits=limits)
        await stack.enter_async_context(http)
        await asyncio.gather(*[begin_to_read(http, stack) for _ in range(READERS)])
        async with asyncio.timeout(2 * PATIENCE_SECONDS):
            assert await everything(s2) == BATCHES
            async with stream.read_session(TailOffset(0)) as following:
                await following.caught_up()
                await stream.append([AppendRecord("news")])
                assert (await anext(following)).text == "news"
        held = resident_bytes(server) - before
        assert held <= BOUND_BYTES, f"{held / MIB:.1f} MiB"
        print(f"{held / MIB:.1f} MiB are held for {READERS} readers")


async def everything(s2: S2) -> int:
    """How many records a reader finds who takes what comes."""
    async with s2.basin(BASIN).stream("long").read_session(SeqNum(0), wait=0) as records:
        return len([None async for _ in records])
