"""Perdure servers and the proxy in front of them, as plain processes on loopback."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx

from .daemon import Daemon, wait_until
from .nodes import DEPLOY, START_SECONDS
from .programs import HOST, ProgramFailed, find_program, free_port

ENGINE_VARIABLE: Final = "PERDURE_ENGINE"
PROXIED_SERVERS: Final = 3
"""As many as `deploy/haproxy.cfg` names."""


class _Served:
    """A process that answers on a port of loopback. Entering it waits until it does; leaving it ends it."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self.daemon = daemon
        self.port = port
        self.url = f"http://{HOST}:{port}"

    async def start(self) -> None:
        """Begin, and wait for an answer; on the same port each time. Raises `ProgramFailed`."""
        self.daemon.start()
        try:
            await wait_until(self._answers_or_is_over, f"{self.daemon.name} answers", START_SECONDS)
        except ProgramFailed as failed:
            raise ProgramFailed(f"{failed}\n{self.daemon.said()}") from failed
        if not self.daemon.is_running:
            raise ProgramFailed(f"{self.daemon.name} ended: {self.daemon.said()}")

    async def _answers_or_is_over(self) -> bool:
        return not self.daemon.is_running or await self.answers()

    async def answers(self) -> bool:
        """Whether it says that it is well."""
        try:
            async with httpx.AsyncClient(timeout=2) as http:
                return (await http.get(f"{self.url}/health")).is_success
        except httpx.HTTPError:
            return False

    async def kill(self) -> None:
        """End it and its workers, without warning."""
        await self.daemon.kill()

    async def aclose(self) -> None:
        """End it in order."""
        await self.daemon.stop()

    async def __aenter__(self) -> _Served:
        try:
            await self.start()
        except BaseException:
            await self.kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class PerdureServer(_Served):
    """`perdure serve` on an engine."""

    def __init__(self, name: str, engine: str, log: Path, *options: str) -> None:
        port = free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PERDURE_")}
        # The address holds a password, and arguments are for all to see.
        environment = kept | {ENGINE_VARIABLE: engine}
        command = [sys.executable, "-P", "-m", "perdure", "serve", "--host", HOST, "--port", str(port), *options]
        super().__init__(Daemon(name, command, log, environment), port)


@asynccontextmanager
async def running(servers: Sequence[PerdureServer]) -> AsyncIterator[None]:
    """The servers, all started at once, until the block ends."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for server in servers:
                tasks.create_task(server.start())
        yield
    finally:
        await asyncio.gather(*[server.aclose() for server in servers])


class Proxy(_Served):
    """HAProxy with the configuration of `deploy/`, in front of three servers."""

    def __init__(self, servers: list[PerdureServer], log: Path) -> None:
        assert len(servers) == PROXIED_SERVERS, f"the proxy is for {PROXIED_SERVERS} servers"
        port = free_port()
        environment = dict(os.environ) | {"PERDURE_LISTEN": f"{HOST}:{port}"}
        environment |= {f"PERDURE_{number}": f"{HOST}:{server.port}" for number, server in enumerate(servers, 1)}
        command = [find_program("haproxy", "haproxy"), "-db", "-f", str(DEPLOY / "haproxy.cfg")]
        super().__init__(Daemon("haproxy", command, log, environment), port)
