"""`perdure ui` as a user starts it: a process of its own on a free port."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.patience import PROCESS_SECONDS

COMMAND = (sys.executable, "-P", "-m", "perdure", "ui")


@dataclass(frozen=True)
class RunningUi:
    """The command while it runs: where its page is, and what it said."""

    url: str
    banner: str


def _environment(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "S2_"))} | variables


@asynccontextmanager
async def ui_command(*options: str, **variables: str) -> AsyncIterator[RunningUi]:
    """Start the command and wait for its banner; end it by SIGTERM, which it must take as its usual end."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "--port", "0", "--no-browser", *options),
        stdout=asyncio.subprocess.PIPE,
        env=_environment(variables),
    )
    try:
        assert process.stdout is not None
        banner = ""
        async with asyncio.timeout(PROCESS_SECONDS):
            while "Ctrl-C" not in banner:
                line = await process.stdout.readline()
                assert line, f"the command ended before it was ready: {banner}"
                banner += line.decode()
        found = re.search(r"(http://\S+)/ui", banner)
        assert found is not None
        yield RunningUi(found[1], banner)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PROCESS_SECONDS):
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def refused(*options: str, **variables: str) -> tuple[int, str]:
    """The exit status of a call that does not come to serving, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "--port", "0", "--no-browser", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(variables),
    )
    try:
        async with asyncio.timeout(PROCESS_SECONDS):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()
