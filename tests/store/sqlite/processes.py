"""Other processes for tests of the store: started quickly, spoken to over a pipe, ended by their id."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Concatenate, ParamSpec

P = ParamSpec("P")

PATIENCE_SECONDS = 30.0
"""For an answer of another process, on a machine that is busy."""

# A server with everything imported forks the processes, so that starting one takes milliseconds.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["pytest", "tests.store.sqlite.workers"])


class Worker:
    """A process that runs `target(pipe, …)`. Use `worker` below, which ends it in any case."""

    def __init__(self, target: Callable[..., None], args: tuple[object, ...]) -> None:
        self.pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=target, args=(theirs, *args))
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def receive(self) -> Any:
        """What it says next. Raises `EOFError` when it has ended."""
        if not self.pipe.poll(PATIENCE_SECONDS):
            raise TimeoutError(f"process {self.pid} said nothing for {PATIENCE_SECONDS:.0f} s")
        return self.pipe.recv()

    def send(self, message: object) -> None:
        self.pipe.send(message)

    def remaining(self) -> Iterator[Any]:
        """What it still said before it ended."""
        while True:
            try:
                yield self.receive()
            except (EOFError, ConnectionResetError):
                return

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without any chance to clean up."""
        self.signal(signal.SIGKILL)
        self._process.join(PATIENCE_SECONDS)

    def join(self) -> int | None:
        """Wait for its end, and give its exit code."""
        self._process.join(PATIENCE_SECONDS)
        return self._process.exitcode

    def close(self) -> None:
        if self._process.is_alive():
            try:
                self.kill()
            except ProcessLookupError:
                self.join()  # it ended by itself just now
        self.pipe.close()
        self._process.close()


def start(target: Callable[Concatenate[Connection, P], None], *args: P.args, **kwargs: P.kwargs) -> Worker:
    assert not kwargs
    return Worker(target, args)


@contextmanager
def worker(target: Callable[Concatenate[Connection, P], None], *args: P.args, **kwargs: P.kwargs) -> Iterator[Worker]:
    process = start(target, *args, **kwargs)
    try:
        yield process
    finally:
        process.close()
