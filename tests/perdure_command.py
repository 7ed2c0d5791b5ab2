"""`perdure` as a user calls it: a process of its own, with pipes or on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.patience import PATIENCE_SECONDS, PROCESS_SECONDS

COMMAND = (sys.executable, "-P", "-m", "perdure")
_ON_TERMINAL = (
    *(sys.executable, "-P", "-c"),
    "import sys, fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"  # so that Ctrl-C reaches it
    "from perdure.cli import main; sys.exit(main())",
)


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


class Terminal:
    """A command on a terminal of its own: what it shows, and keys to press."""

    def __init__(self, fd: int, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.shown = ""
        self._fd = fd
        self._news = asyncio.Event()
        self._ended = False
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # on Linux, that the other end is closed
            data = b""
        if not data:
            self.close()
        self.shown += data.decode(errors="replace")
        self._news.set()

    def close(self) -> None:
        """Read no more."""
        self._ended = True
        asyncio.get_running_loop().remove_reader(self._fd)

    def press(self, keys: str) -> None:
        """As if somebody typed it."""
        os.write(self._fd, keys.encode())

    async def wait_for(self, text: str) -> None:
        """Until `text` was shown."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while text not in self.shown:
                assert not self._ended, f"{text!r} was never shown: {self.shown!r}"
                self._news.clear()
                await self._news.wait()

    async def status(self) -> int:
        """The exit status, once the command has ended and all that it has shown was read."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            status = await self.process.wait()
            while not self._ended:
                self._news.clear()
                await self._news.wait()
        return status


@asynccontextmanager
async def on_terminal(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Terminal]:
    """A command on a terminal of 120 columns, with all three of its files there, and Ctrl-C as a key."""
    main, other = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *_ON_TERMINAL,
        *arguments,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
        env=environment({"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40", **(env or {})}),
    )
    os.close(other)
    terminal = Terminal(main, process)
    try:
        yield terminal
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        terminal.close()
        os.close(main)
