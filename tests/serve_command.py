"""`perdure serve` as a user starts it: a process of its own on a free port."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 30.0
COMMAND: Final = (sys.executable, "-P", "-m", "perdure", "serve")
"""-P, as for the command that is installed: what is in the current directory is not imported."""


class ServeCommand:
    """A server over one data directory, or what the options say. Entering it waits for the banner; leaving it ends all
    of its processes.
    """

    def __init__(
        self,
        data: Path | str | None,
        *options: str,
        cwd: Path | None = None,
        command: Sequence[str] = COMMAND,
        **environment: str,
    ) -> None:
        self._cwd = cwd
        self._command = command
        port = () if "--port" in options else ("--port", "0")
        self._arguments = (*(() if data is None else ("--data", str(data))), *port, *options)
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PERDURE_")}
        self._environment |= environment
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._news = asyncio.Condition()
        self.log: list[str] = []
        self.banner = ""
        self.url = ""

    @property
    def process(self) -> asyncio.subprocess.Process:
        assert self._process is not None, "the server is not started"
        return self._process

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, timeout=START_SECONDS)

    def worker_pids(self) -> list[int]:
        """The processes that the server has started and that still run."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            *self._arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._cwd,
            env=self._environment,
        )
        self._reading = asyncio.create_task(self._read_log())
        assert self._process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            while "Ctrl-C" not in self.banner:
                line = await self._process.stdout.readline()
                if not line:
                    await self._process.wait()
                    await self._reading
                    raise AssertionError(f"the server ended before it was ready: {self.log}")
                self.banner += line.decode()
        found = re.search(r"https?://\S+", self.banner)
        assert found is not None
        self.url = found[0]

    async def _read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._news:
                self.log.append(line.decode().rstrip("\n"))
                self._news.notify_all()

    async def wait_for_log(self, text: str, *, times: int = 1) -> None:
        """Until the server has logged so many lines that hold `text`."""
        async with asyncio.timeout(START_SECONDS), self._news:
            await self._news.wait_for(lambda: sum(text in line for line in self.log) >= times)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the server by a signal; gives its exit status once its log is complete."""
        self.send(number)
        return await self.wait()

    async def wait(self) -> int:
        async with asyncio.timeout(STOP_SECONDS):
            status = await self.process.wait()
            if self._reading is not None:
                await self._reading
        return status

    async def __aenter__(self) -> ServeCommand:
        try:
            await self.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await self.wait()
            except TimeoutError:
                self._process.kill()
                await self.wait()


async def run_to_end(*options: str, **environment: str) -> tuple[int, str]:
    """Run the command until it ends by itself; gives its exit status and what it said on the standard error."""
    command = ServeCommand("unused", cwd=None, **environment)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=command._environment
    )
    try:
        async with asyncio.timeout(START_SECONDS):
            _, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, said.decode()
