"""A process that generates answers, for tests of several: it does what its standard input says, line by line.

`start <name>` claims and generates three chunks and then nothing; it answers `<status> <calls of the source>`.
`end <name>` lets that source end, and answers `done` when the end is durable. `closed <name>` answers when the source
was closed.
"""

import asyncio
import sys
from collections.abc import Awaitable
from functools import partial

from perdure.resumable.aisdk import create_resumable_chat
from tests.resumable.chats import START, TEXT_START, Source, text


async def serve(path: str, lease_ms: int) -> None:
    sources: dict[str, Source] = {}
    stored: dict[str, Awaitable[None]] = {}
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    async with create_resumable_chat(path=path, basin="test-chats", mode="session", session_lease_ms=lease_ms) as chat:
        print("ready", flush=True)
        while line := (await reader.readline()).decode().split():
            command, name = line
            if command == "start":
                source = sources[name] = Source(START, TEXT_START, text("Hel"))
                keep = partial(stored.__setitem__, name)
                response = await chat.make_resumable(name, source, delivery="replay", wait_until=keep)
                if response.status == 202:
                    await source.given.wait()
                print(response.status, source.calls, flush=True)
            elif command == "end":
                sources[name].end()
                await stored[name]
                print("done", flush=True)
            elif command == "closed":
                await sources[name].closed.wait()
                print("closed", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
