"""The server that other people's clients are driven against: `perdure serve`, started as a user starts it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

ROOT_TOKEN = "root-" + "0" * 40
STOP_SECONDS = 30


class ServedStore(Struct, frozen=True):
    """A server that runs: its address (without `/v1`), and its process."""

    url: str
    process: subprocess.Popen[str]

    def workers(self) -> set[int]:
        """The process ids of its workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {int(pid) for pid in children.split()}

    def kill(self) -> None:
        """End the server and its workers as a crash would."""
        for pid in [self.process.pid, *self.workers()]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)


@contextmanager
def serve(data: Path, *options: str, port: int = 0) -> Iterator[ServedStore]:
    """`perdure serve` on `data` with a root token, until the block ends; then it must end well within its time."""
    with _serve("--data", str(data), "--port", str(port), *options) as server:
        yield server


@contextmanager
def serve_engine(url: str) -> Iterator[ServedStore]:
    """As `serve`, on a PostgreSQL database."""
    with _serve("--engine", url, "--port", "0") as server:
        yield server


@contextmanager
def _serve(*options: str) -> Iterator[ServedStore]:
    command = [sys.executable, "-m", "perdure", "serve", *options]
    environment = os.environ | {"PERDURE_ROOT_TOKEN": ROOT_TOKEN}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield ServedStore(_address(process), process)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise
        if process.stdout is not None:
            process.stdout.close()


def _address(process: subprocess.Popen[str]) -> str:
    """The address in the banner, which the server prints once it answers."""
    assert process.stdout is not None
    shown: list[str] = []
    for line in process.stdout:
        shown.append(line)
        found = re.search(r'S2_ACCOUNT_ENDPOINT="(\S+)"', line)
        if found:
            return found[1]
    raise AssertionError(f"the server ended with status {process.wait()} after printing: {''.join(shown)}")
