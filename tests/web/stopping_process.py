"""A process that stops answers of others: `python -m tests.web.stopping_process <directory>`.

It reads `<adapter> <mode> <stream>` line by line, and answers what `stop` gave.
"""

from __future__ import annotations

import asyncio
import sys

from perdure import S2
from tests.web.chats_served import BASIN, CREATE


async def serve(path: str) -> None:
    async with S2.open(path) as s2:
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            adapter, mode, stream = line.split()
            async with CREATE[adapter](s2=s2, basin=BASIN, mode=mode) as chat:
                print(await chat.stop(stream), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
