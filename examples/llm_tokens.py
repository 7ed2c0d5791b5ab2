"""The tokens of a language model through a stream: readers may come late, leave, and come back, and miss nothing.

::

    python examples/llm_tokens.py ./data

The model is a stand-in; put your own loop over its tokens in its place. For whole chats, with `useChat` in the browser,
a Stop button, a history and what happens when the process dies, there is `perdure.resumable`; see the README.
"""

import asyncio
import secrets
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from perdure import S2, AppendRecord, SeqNum, Stream


async def model(prompt: str) -> AsyncIterator[str]:
    for word in f"You asked: {prompt} The answer is on disk before you read it.".split():
        await asyncio.sleep(0.01)  # it thinks
        yield word + " "


async def generate(stream: Stream, prompt: str) -> None:
    """Write an answer. It goes on whether anybody reads it or not."""
    # Small pieces that should be seen soon: no waiting for company. Several appends are under way at once, in
    # order, so that a token never waits for the disk.
    async with stream.producer(linger_ms=0) as producer:
        try:
            async for token in model(prompt):
                # What comes back is a ticket: awaiting it would tell when, and as which record, it was stored.
                _ = await producer.submit(AppendRecord(token, headers={"type": "token"}))
            end = "completed"
        except Exception as error:
            end = f"failed: {type(error).__name__}"
        # A stream does not end by itself. This record tells the readers that the answer does.
        _ = await producer.submit(AppendRecord(end, headers={"type": "end"}))


async def answer(stream: Stream, start: int) -> AsyncGenerator[tuple[int, str], None]:
    """The tokens from record `start` on, live until the answer is complete, each with its number."""
    async with stream.read_session(SeqNum(start), clamp=True) as records:
        async for record in records:
            if (b"type", b"end") in record.headers:
                if record.text != "completed":
                    raise RuntimeError(record.text)
                return
            yield record.seq_num, record.text


async def main(directory: str) -> None:
    async with S2.open(directory) as s2:
        basin = await s2.basins.ensure("llm-answers", create_stream_on_append=True, create_stream_on_read=True)
        stream = basin.stream(f"answer-{secrets.token_hex(4)}")  # one for each answer
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(generate(stream, "Why?"))

            # A reader that loses its connection after three tokens …
            cursor = 0
            first = ""
            async with aclosing(answer(stream, 0)) as tokens:
                async for seq_num, token in tokens:
                    first += token
                    cursor = seq_num + 1  # what a browser would send when it comes back
                    if cursor == 3:
                        break
            print(f"before the reload: {first}")

            # … comes back with the number that it had reached, and gets the rest, what it missed and what is to come.
            rest = "".join([token async for _, token in answer(stream, cursor)])
            print(f"after the reload:  {rest}")

        # And later, anybody reads the whole of it again.
        print("replayed:         ", "".join([token async for _, token in answer(stream, 0)]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "./data"))
