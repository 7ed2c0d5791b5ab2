"""Debian's `redis-server` as a process of its own, on loopback, configured as it comes, or so that it syncs each write.

As it comes there is a snapshot every minute to every hour, by how much has changed, and no append-only file, so nothing
waits for the disk. `resumable-stream` keeps no chunk there in any case.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .scenario import check
from .served import STOP_SECONDS, cpu_seconds_of

HOST = "127.0.0.1"
SYNCED = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
"""Every command is on the disk before it is answered; then snapshots add nothing."""


@dataclass(frozen=True)
class RedisServer:
    """A server that answers."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}"

    def cpu_seconds(self) -> float:
        """What it has used so far."""
        return cpu_seconds_of(self.pid)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port


def version() -> str:
    """As the program tells it: `7.0.15`."""
    told = subprocess.run([_program(), "--version"], capture_output=True, text=True, check=True).stdout
    return next(word.removeprefix("v=") for word in told.split() if word.startswith("v="))


@contextmanager
def redis_server(directory: Path, *, synced: bool = False) -> Iterator[RedisServer]:
    """Run one that keeps its files in `directory`, until the block ends."""
    directory.mkdir(parents=True)
    port = free_port()
    command = [_program(), "--bind", HOST, "--port", str(port), "--dir", str(directory)]
    process = subprocess.Popen([*command, *(SYNCED if synced else ())], stdout=subprocess.DEVNULL)
    try:
        _wait_until_it_answers(process, port)
        yield RedisServer(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _program() -> str:
    found = shutil.which("redis-server")
    check(found is not None, "redis-server is not installed: sudo apt-get install redis-server")
    assert found is not None
    return found


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        check(process.poll() is None, f"redis-server ended with status {process.returncode}")
        try:
            with socket.create_connection((HOST, port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                if connection.recv(16).startswith(b"+PONG"):
                    return
        except OSError:
            time.sleep(0.01)
    check(False, "redis-server did not answer in time")
