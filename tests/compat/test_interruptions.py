"""The server dies or is replaced under the hands of other people's clients; what was acknowledged stays."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from s2_sdk import S2, AppendInput, BasinConfig, Endpoints, ReadLimit, Record, Retry, S2Stream, SeqNum

from tests.compat.serving import ROOT_TOKEN, ServedStore, serve
from tests.web.test_web_modules import find_node

BASIN = "interrupted"
PATIENCE = Retry(max_attempts=60, min_base_delay=timedelta(milliseconds=50), max_base_delay=timedelta(milliseconds=200))
WRITERS = 4
LOST_SECS = 20.0
"""A batch that has no ack after so long gets none: the SDK's own patience is a quarter of that."""
MOVING = Path(__file__).with_name("moving.mjs")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def write_until(stop: asyncio.Event, stream: S2Stream, acked: dict[int, bytes], moved: asyncio.Event) -> int:
    """Append numbered records through sessions; `acked` holds what was acknowledged, by sequence number.

    Gives how many batches the SDK lost: one that is submitted while its session handles a broken connection may be in
    none of its queues afterwards, and is then neither sent nor ever answered. A batch that it has it sends again when
    no ack has come for 5 seconds, whatever the server does. After a loss, the writer goes on in a new session.
    """
    number = lost = 0
    while not stop.is_set():
        session = stream.append_session()
        try:
            while not stop.is_set():
                bodies = [b"%d/%d" % (number, index) for index in range(5)]
                number += 1
                ticket = await session.submit(AppendInput([Record(body) for body in bodies]))
                async with asyncio.timeout(LOST_SECS):
                    ack = await ticket
                acked.update(zip(range(ack.start.seq_num, ack.end.seq_num), bodies, strict=True))
                moved.set()
            await session.close()
        except TimeoutError:
            lost += 1
            closing = asyncio.create_task(session.close())
            await asyncio.sleep(0)
            closing.cancel()  # it waits for the batch, too, and takes what runs in the session with it
            await asyncio.wait((closing,))
    return lost


async def follow(stream: S2Stream, seen: dict[int, bytes], moved: asyncio.Event) -> None:
    """Read for ever; a sequence number that comes twice or out of order fails."""
    expected = 0
    async with stream.read_session(start=SeqNum(0)) as session:
        async for batch in session:
            for record in batch.records:
                assert record.seq_num == expected
                expected += 1
                seen[record.seq_num] = record.body
            moved.set()


async def under_load(url: str, interrupt: Callable[[Callable[[int], Awaitable[None]]], Awaitable[None]]) -> int:
    """Write and follow through one client while `interrupt` does its worst; then compare all with the store.

    Gives how many batches the writers' SDK lost.
    """
    acked: list[dict[int, bytes]] = [{} for _ in range(WRITERS)]
    seen: list[dict[int, bytes]] = [{} for _ in range(WRITERS)]
    stop, moved = asyncio.Event(), asyncio.Event()

    async def wait_for_more(records: int) -> None:
        """Until every writer has so many more records acknowledged than now, and every reader has seen more."""
        wanted = [len(found) + records for found in (*acked, *seen)]
        while any(len(found) < want for found, want in zip((*acked, *seen), wanted, strict=True)):
            moved.clear()
            await moved.wait()

    async with S2(ROOT_TOKEN, endpoints=Endpoints(account=url, basin=url), retry=PATIENCE) as s2:
        await s2.ensure_basin(BASIN, config=BasinConfig(create_stream_on_append=True, create_stream_on_read=True))
        streams = [s2.basin(BASIN).stream(f"stream-{number}") for number in range(WRITERS)]
        async with asyncio.TaskGroup() as tasks:
            writers = [
                tasks.create_task(write_until(stop, stream, found, moved))
                for stream, found in zip(streams, acked, strict=True)
            ]
            readers = [
                tasks.create_task(follow(stream, found, moved)) for stream, found in zip(streams, seen, strict=True)
            ]
            await interrupt(wait_for_more)
            stop.set()
            await asyncio.wait(writers)
            for reader in readers:
                reader.cancel()
        for stream, answered, read in zip(streams, acked, seen, strict=True):
            tail = (await stream.check_tail()).seq_num
            stored: dict[int, bytes] = {}
            async for batch in stream.read_session(start=SeqNum(0), limit=ReadLimit(count=tail)):
                stored |= {record.seq_num: record.body for record in batch.records}
            assert list(stored) == list(range(tail)), "the stream has gaps"
            assert {number: stored[number] for number in answered} == answered, "what was acknowledged is not there"
            assert {number: stored[number] for number in read} == read, "a reader saw what is not there"
        return sum(writer.result() for writer in writers)


@pytest.mark.timeout(180)
async def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as servers:

        def start() -> ServedStore:
            return servers.enter_context(serve(tmp_path / "data", port=port))

        server = await asyncio.to_thread(start)

        async def interrupt(wait_for_more: Callable[[int], Awaitable[None]]) -> None:
            nonlocal server
            for _ in range(3):
                await wait_for_more(100)
                server.kill()
                server = await asyncio.to_thread(start)
            await wait_for_more(100)

        await under_load(server.url, interrupt)


@pytest.mark.timeout(120)
async def test_replacing_the_workers_loses_nothing(tmp_path: Path) -> None:
    with serve(tmp_path / "data", "--workers", "2") as server:

        async def interrupt(wait_for_more: Callable[[int], Awaitable[None]]) -> None:
            for _ in range(2):
                await wait_for_more(100)
                before = server.workers()
                server.process.send_signal(signal.SIGHUP)
                while server.workers() & before:  # both are replaced once none of the old ones is left
                    await wait_for_more(5)
            await wait_for_more(100)

        lost = await under_load(server.url, interrupt)
        assert lost == 0, "a session did not end in the way that its client bears"


@pytest.mark.timeout(120)
async def test_replacing_the_workers_loses_nothing_of_the_typescript_sdk(tmp_path: Path) -> None:
    with serve(tmp_path / "data", "--workers", "2") as server:
        node = await asyncio.create_subprocess_exec(
            find_node(), str(MOVING), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env=os.environ | {"PERDURE_URL": server.url, "PERDURE_TOKEN": ROOT_TOKEN},
        )  # fmt: skip
        assert node.stdin is not None
        assert node.stdout is not None
        try:
            for _ in range(2):
                assert await node.stdout.readline() == b"further\n", await node.communicate()
                before = server.workers()
                server.process.send_signal(signal.SIGHUP)
                while server.workers() & before:
                    assert await node.stdout.readline() == b"further\n", await node.communicate()
            assert await node.stdout.readline() == b"further\n", await node.communicate()
            node.stdin.close()
            _, said = await node.communicate()
        finally:
            if node.returncode is None:
                node.kill()
                await node.wait()
        assert node.returncode == 0, said.decode()
