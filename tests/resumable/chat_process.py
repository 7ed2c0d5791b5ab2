"""A process that generates answers, for tests of several: it does what its standard input says, line by line.

`start <name>` claims and generates a few chunks and then nothing; it answers `<status> <calls of the source>`.
`end <name>` lets that source end, and answers `done` when the end is durable. `closed <name>` answers when the source
was closed.
"""

import asyncio
import sys
from collections.abc import Awaitable
from functools import partial

from perdure.resumable.anthropic import user_message
from tests.resumable.anthropic_scripts import block_start, message_start, text_delta
from tests.resumable.chats import CREATE, START, TEXT_START, Source, text

BEGINNINGS = {
    "aisdk": [START, TEXT_START, text("Hel")],
    "anthropic": [user_message("hi"), message_start(), block_start(), text_delta("Hel")],
    "events": [START, TEXT_START, text("Hel")],
    "tanstack_ai": [
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
        {"type": "TEXT_MESSAGE_START", "messageId": "m", "role": "assistant"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "m", "delta": "Hel"},
    ],
}
"""What a source gives before it waits."""


async def serve(path: str, lease_ms: int, adapter: str) -> None:
    sources: dict[str, Source] = {}
    stored: dict[str, Awaitable[None]] = {}
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    options = {"path": path, "basin": "test-chats", "mode": "session", "session_lease_ms": lease_ms}
    async with CREATE[adapter](**options) as chat:
        print("ready", flush=True)
        while line := (await reader.readline()).decode().split():
            command, name = line
            if command == "start":
                source = sources[name] = Source(*BEGINNINGS[adapter])
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
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
