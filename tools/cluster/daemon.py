"""A process that runs until it is told to end: started, watched, paused and killed by its id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from .programs import ProgramFailed

STOP_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05


class Daemon:
    """One process, its output in a file. Starting it anew is the same command again."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self._command = list(command)
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begin. Does not wait for anything. To be called from the thread that lasts longest."""
        assert not self.is_running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd="/",
                start_new_session=True,  # Ctrl-C in a terminal is for whoever started us
            )

    def tree(self) -> list[int]:
        """The process and all that it has started, and they, and so on; nothing if it is over."""
        return tree_of(self.pid) if self.is_running else []

    def send(self, number: signal.Signals) -> None:
        if self.is_running:
            os.kill(self.pid, number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in order, or by force if that takes too long. Idempotent."""
        self.send(number)
        try:
            await self.wait(STOP_SECONDS)
        except TimeoutError:
            await self.kill()

    async def kill(self) -> None:
        """End it and all that it has started, without warning. Idempotent."""
        kill_all(self.tree())
        await self.wait(STOP_SECONDS)

    async def wait(self, seconds: float) -> None:
        """Until it is over. Raises `TimeoutError`."""
        async with asyncio.timeout(seconds):
            while self.is_running:  # noqa: ASYNC110  # a child has no event to wait for but its end
                await asyncio.sleep(POLL_SECONDS)

    def said(self, lines: int = 20) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


def tree_of(pid: int) -> list[int]:
    """A process and its descendants, parents first."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def signal_all(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all(pids: Sequence[int]) -> None:
    """End processes without warning, so that none of them can do anything about the end of another."""
    signal_all(pids, signal.SIGSTOP)
    signal_all(pids, signal.SIGKILL)


async def wait_until(holds: Callable[[], Awaitable[bool]], what: str, seconds: float) -> float:
    """Look again and again; gives how long it took, in seconds. Raises `ProgramFailed` when it is too long."""
    begun = time.monotonic()
    while not await holds():
        if time.monotonic() - begun > seconds:
            raise ProgramFailed(f"after {seconds:g} s still not: {what}")
        await asyncio.sleep(POLL_SECONDS)
    return time.monotonic() - begun
