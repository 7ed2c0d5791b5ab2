"""`perdure serve` as a process of its own, started as a user starts it."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from .scenario import check

BASIN = "bench-served"
STOP_SECONDS = 30

_ESTABLISHED = "01"
"""In `/proc/net/tcp`, where a connection has no inode before somebody has accepted it."""


class Address(Protocol):
    """Where a server listens."""

    @property
    def host(self) -> str: ...

    @property
    def port(self) -> int: ...


@dataclass(frozen=True)
class Served:
    """A server that runs: where it listens, and its process with those that it started."""

    host: str
    port: int
    process: subprocess.Popen[str]

    def pids(self) -> list[int]:
        """The server's process and the workers below it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [self.process.pid, *map(int, children)]

    def workers(self) -> list[int]:
        """The processes that serve: all below the server's own."""
        return self.pids()[1:]

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let `worker` alone accept the connections that are made in the block. All must be idle."""
        others = [pid for pid in self.workers() if pid != worker]
        for pid in others:
            os.kill(pid, signal.SIGSTOP)
        try:
            for pid in others:
                _wait(lambda pid=pid: _stat(pid)[0] == "T")  # type: ignore[misc]  # mypy cannot type a default
            yield
            _wait(self._has_accepted_all)
        finally:
            for pid in others:
                os.kill(pid, signal.SIGCONT)

    def _has_accepted_all(self) -> bool:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        ours = f":{self.port:04X}"
        return all(row[9] != "0" for row in rows if row[1].endswith(ours) and row[3] == _ESTABLISHED)

    def cpu_seconds(self) -> float:
        """What all processes of the server have used so far."""
        return sum(map(cpu_seconds_of, self.pids()))

    def resident_bytes(self) -> int:
        """What all processes of the server hold in memory, shared pages counted once for each."""
        total = 0
        for pid in self.pids():
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total


def cpu_seconds_of(pid: int) -> float:
    """What one process has used so far."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """What the kernel tells of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while not holds():
        check(time.monotonic() < deadline, "a worker did not do its part")
        time.sleep(0.001)


@contextmanager
def served(directory: Path, *, workers: int = 1) -> Iterator[Served]:
    """Serve `directory` until the block ends; the basin `BASIN` creates streams as they are used."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory.parent.mkdir(parents=True, exist_ok=True)
    init = directory.parent / f"{directory.name}.init.json"
    config = {"create_stream_on_append": True, "create_stream_on_read": True}
    init.write_text(json.dumps({"basins": [{"name": BASIN, "config": config}]}))
    command = [
        sys.executable, "-m", "perdure", "serve", "--data", str(directory), "--port", "0",
        "--workers", str(workers), "--init-file", str(init),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        server = _ready(process)
        _wait(lambda: len(server.workers()) == workers)  # the first one answers before the others are there
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _ready(process: subprocess.Popen[str]) -> Served:
    """Read the banner, which the server prints once it answers."""
    assert process.stdout is not None
    for line in process.stdout:
        found = re.search(r'S2_ACCOUNT_ENDPOINT="(\S+)"', line)
        if found:
            url = urlsplit(found[1])
            assert url.hostname is not None
            assert url.port is not None
            return Served(url.hostname, url.port, process)
    check(False, f"the server ended with status {process.wait()} before it was ready")
    raise AssertionError
