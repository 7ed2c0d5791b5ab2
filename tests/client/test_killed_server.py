"""`perdure serve`, killed without warning and started again under a client that goes on."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from perdure import S2
from tests.client.enduring import (
    PATIENT,
    Progress,
    check_produced,
    follow,
    produce,
    read_messages,
    write_conditionally,
    write_messages,
)
from tests.serve_command import ServeCommand

BASIN = "killed-basin"
KILLS = 3
BETWEEN_KILLS = 500
"""So many records of each writer are acknowledged before the next kill, and after the last one."""


async def kill(server: ServeCommand) -> None:
    """All of its processes at once, the parent first, which would otherwise start the others anew."""
    workers = server.worker_pids()
    server.send(signal.SIGKILL)
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    await server.wait()


@pytest.mark.timeout(180)
async def test_kills_cost_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    progress = Progress()
    server = ServeCommand(tmp_path / "data")
    try:
        await server.start()
        url = server.url
        async with S2(endpoints=url, retries=PATIENT, request_timeout=3) as s2:
            basin = await s2.basins.create(BASIN)
            conditions, messages, produced = [await basin.streams.create(name) for name in progress.counts]
            async with asyncio.TaskGroup() as tasks:
                writing = tasks.create_task(write_conditionally(conditions, progress))
                following = tasks.create_task(follow(conditions))
                writing_messages = tasks.create_task(write_messages(messages, progress))
                reading_messages = tasks.create_task(read_messages(messages))
                producing = tasks.create_task(produce(produced, progress))
                for _ in range(KILLS):
                    await progress.of_each(BETWEEN_KILLS)
                    await kill(server)
                    server = ServeCommand(tmp_path / "data", "--port", url.rpartition(":")[2])
                    await server.start()
                await progress.of_each(BETWEEN_KILLS)
                progress.over = True
            assert writing.result() <= KILLS
            assert (await conditions.check_tail()).seq_num == following.result() + 1 > KILLS * BETWEEN_KILLS
            assert reading_messages.result() == writing_messages.result() > KILLS * BETWEEN_KILLS
            await check_produced(produced, producing.result())
        assert await server.stop() == 0
    finally:
        await server.aclose()
