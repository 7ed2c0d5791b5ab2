"""A process that starts a text stream, for tests that kill it: gives its words, says so, and then waits for ever."""

import asyncio
import sys

from perdure.resumable import create_resumable_stream_context
from tests.resumable.texts import Words


async def main(basin: str, stream_id: str, lease_ms: str, *words: str) -> None:
    async with create_resumable_stream_context(basin=basin, lease_ms=int(lease_ms) or None) as context:
        source = Words(*words)
        started = await context.resumable_stream(stream_id, source)
        assert started is not None
        await source.given.wait()
        print("given", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
