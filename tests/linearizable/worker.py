"""A process of its own with some clients, which writes their history to its standard output.

python -m tests.linearizable.worker DIRECTORY SEED NAME CLIENTS TIMES STREAM...
"""

from __future__ import annotations

import asyncio
import sys

from perdure import S2
from tests.linearizable.clients import Client
from tests.linearizable.history import to_lines

BASIN = "checked-basin"


async def run(location: str, seed: int, name: str, count: int, times: int, streams: list[str]) -> bytes:
    async with S2.open(location) as s2:
        handles = [s2.basin(BASIN).stream(stream) for stream in streams]
        clients = [Client(f"{name}{number}", handles, seed) for number in range(count)]
        await asyncio.to_thread(sys.stdin.readline)  # all processes begin at once
        async with asyncio.TaskGroup() as tasks:
            for client in clients:
                tasks.create_task(client.act(times))
    return to_lines(call for client in clients for call in client.recorder.calls)


def main() -> None:
    location, seed, name, count, times, *streams = sys.argv[1:]
    sys.stdout.buffer.write(asyncio.run(run(location, int(seed), name, int(count), int(times), streams)))


if __name__ == "__main__":
    main()
