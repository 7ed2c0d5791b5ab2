"""Real histories, of clients that overlap in all they do, are linearizable.

Each test prints its seed; what the clients do follows from it, their timing does not.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from perdure import S2, Stream
from perdure.client.transports.local import LocalTransport
from tests.linearizable.checker import check
from tests.linearizable.clients import NEVER_TWICE, Client, run_clients
from tests.linearizable.history import Appended, Call, Operation, from_lines
from tests.linearizable.model import NotLinearizable
from tests.linearizable.worker import BASIN
from tests.serve_command import ServeCommand
from tests.store.stores import KINDS, Kind, store_maker

pytestmark = pytest.mark.timeout(240)

CLIENTS = 6
TIMES = 60
STREAMS = ("busy", "calm")
PROCESSES = 3
SEVERAL_PROCESSES: tuple[Kind, ...] = ("sqlite", "postgres")
PROCESS_SECONDS = 120.0


@pytest.fixture
def seed() -> int:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return seed


async def make_streams(s2: S2) -> list[Stream]:
    basin = await s2.basins.create(BASIN)
    return [await basin.streams.create(name) for name in STREAMS]


def outcomes(history: list[Call]) -> Counter[type]:
    """How often each kind of answer was given."""
    kinds: Counter[type] = Counter()
    for call in history:
        operation: Operation = call.operation
        kinds[type(operation.outcome if isinstance(operation, Appended) else operation)] += 1
    return kinds


def assert_linearizable(history: list[Call], calls: int) -> None:
    """And that it is about something: most calls were answered, in more than one way."""
    kinds = outcomes(history)
    print(dict(kinds))
    assert check(history) >= calls
    assert len(kinds) >= 5


@pytest.mark.parametrize("kind", KINDS)
async def test_two_engines_on_one_store(kind: Kind, request: pytest.FixtureRequest, tmp_path: Path, seed: int) -> None:
    store = store_maker(request)(kind, tmp_path / "data")
    async with S2(transport=LocalTransport(store.open)) as one, S2(transport=LocalTransport(store.open)) as two:
        streams = await make_streams(one)
        others = [two.basin(BASIN).stream(name) for name in STREAMS]
        clients = [Client(f"c{number}", (streams, others)[number % 2], seed) for number in range(CLIENTS)]
        history = await run_clients(clients, TIMES)
    assert_linearizable(history, CLIENTS * TIMES)


async def test_a_server_with_two_workers(tmp_path: Path, seed: int) -> None:
    async with ServeCommand(tmp_path, "--workers", "2") as server, client_of(server.url) as first:
        streams = await make_streams(first)
        async with client_of(server.url) as second, client_of(server.url) as third:
            handles = [streams, *([s2.basin(BASIN).stream(name) for name in STREAMS] for s2 in (second, third))]
            clients = [Client(f"c{number}", handles[number % 3], seed) for number in range(CLIENTS)]
            followers = [asyncio.create_task(client.follow(client.streams[0])) for client in clients[:2]]
            history = await run_clients(clients, TIMES)
            for follower in followers:
                follower.cancel()
            await asyncio.wait(followers)
    assert_linearizable(history, CLIENTS * TIMES)


@asynccontextmanager
async def client_of(url: str) -> AsyncIterator[S2]:
    """A client with a connection of its own, and so perhaps with another worker."""
    async with S2(endpoints=url, retries=NEVER_TWICE) as s2:
        yield s2


@pytest.mark.parametrize("kind", SEVERAL_PROCESSES)
async def test_several_processes_on_one_store(
    kind: Kind, request: pytest.FixtureRequest, tmp_path: Path, seed: int
) -> None:
    location = str(tmp_path / "data") if kind == "sqlite" else request.getfixturevalue("postgres_url")
    history = await history_of_processes(location, seed, TIMES)
    assert_linearizable(history, PROCESSES * 2 * TIMES)
    with pytest.raises(NotLinearizable):
        check(without_one_that_was_read(history))


async def history_of_processes(location: str, seed: int, times: int) -> list[Call]:
    """Of a few processes with two clients each, and of one client that reads everything at the end."""
    async with S2.open(location) as s2:
        streams = await make_streams(s2)
        processes = []
        try:
            for number in range(PROCESSES):
                arguments = [location, str(seed), f"p{number}c", "2", str(times), *STREAMS]
                processes.append(
                    await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "tests.linearizable.worker", *arguments,
                        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                        cwd=Path(__file__).parents[2],
                    )
                )  # fmt: skip
            async with asyncio.timeout(PROCESS_SECONDS + times / 10):
                told = await asyncio.gather(*[process.communicate(b"go\n") for process in processes])
        finally:
            for process in processes:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        assert [process.returncode for process in processes] == [0] * PROCESSES
        last = Client("last", streams, seed)
        await last.read_all()
    return [call for out, _ in told for call in from_lines(out)] + last.recorder.calls


def without_one_that_was_read(history: list[Call]) -> list[Call]:
    """The history as if nobody had made one of the appends."""
    first = next(
        call
        for call in history
        if isinstance(call.operation, Appended)
        and call.returned is not None
        and call.operation.match_seq_num is None
        and call.operation.fencing_token is None
    )
    return [call for call in history if call is not first]


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", SEVERAL_PROCESSES)
async def test_several_processes_on_one_store_for_long(
    kind: Kind, request: pytest.FixtureRequest, tmp_path: Path, seed: int
) -> None:
    location = str(tmp_path / "data") if kind == "sqlite" else request.getfixturevalue("postgres_url")
    assert check(await history_of_processes(location, seed, 4000)) > PROCESSES * 2 * 4000


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_server_for_long(tmp_path: Path, seed: int) -> None:
    async with ServeCommand(tmp_path, "--workers", "2") as server, client_of(server.url) as first:
        streams = await make_streams(first)
        clients = [Client(f"c{number}", streams, seed) for number in range(20)]
        assert_linearizable(await run_clients(clients, 1000), 20_000)
