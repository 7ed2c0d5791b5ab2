"""`perdure` as a script calls it: a process of its own, with pipes. `tests.cli.terminal` has it on a terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.patience import PROCESS_SECONDS

COMMAND = (sys.executable, "-P", "-m", "perdure")


class Outcome(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    out: bytes
    err: str


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """That of the tests, without what would tell the command where a store is."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "S2_"))}
    return {**kept, **variables}


async def perdure(*arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> Outcome:
    """Run a command to its end. `env` is added to the environment."""
    async with started(*arguments, env=env) as process:
        async with asyncio.timeout(PROCESS_SECONDS):
            out, err = await process.communicate(stdin)
        assert process.returncode is not None
        return Outcome(process.returncode, out, err.decode())


@asynccontextmanager
async def started(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command with pipes at all ends, which is ended with the context if it has not ended before."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(env or {}),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
