"""The demo as a user starts it: `perdure demo`, a process of its own on a free port."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.patience import PATIENCE_SECONDS

COMMAND: Final = (sys.executable, "-c", "import sys; from perdure.cli import main; sys.exit(main())", "demo")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class DemoServer:
    """A demo server over one data directory, which can be killed and started again on the same port."""

    def __init__(
        self, data: Path, *, tokens_per_second: float = 40, command: Sequence[str] = COMMAND, **environment: str
    ) -> None:
        self._command = command
        self._data = data
        self._port = free_port()
        self._process: asyncio.subprocess.Process | None = None
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ANTHROPIC_"))
        }
        self._environment |= {"PERDURE_DEMO_TOKENS_PER_SECOND": str(tokens_per_second), **environment}

    @property
    def data(self) -> Path:
        return self._data

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def chat_url(self, chat_id: str) -> str:
        return f"{self.url}/?chat={chat_id}"

    def anthropic_url(self, chat_id: str) -> str:
        return f"{self.url}/anthropic?chat={chat_id}"

    def tanstack_url(self, chat_id: str) -> str:
        return f"{self.url}/tanstack?chat={chat_id}"

    async def start(self) -> str:
        """Start the process and wait for its banner, which it prints once it accepts connections."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            *("--data", str(self._data), "--port", str(self._port), "--no-browser"),
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )
        assert self._process.stdout is not None
        banner = ""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "Ctrl-C" not in banner:
                line = await self._process.stdout.readline()
                assert line, f"the demo ended before it was ready: {banner}"
                banner += line.decode()
        return banner

    async def kill(self) -> None:
        """End the process as a crash would."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """End the process as a user would; gives its exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await process.communicate()
        assert process.returncode is not None
        return process.returncode

    async def __aenter__(self) -> DemoServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.kill()
