"""Other processes that take part in a scenario."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_spawning = multiprocessing.get_context("spawn")  # no fork: a store does not survive one


class ChildFailed(Exception):
    """A child process ended without a result; it has printed why."""


class Door:
    """The child's side: say that it is ready, and wait for the start."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ready(self) -> None:
        self._connection.send(None)

    def wait(self) -> None:
        self._connection.recv()

    def called(self) -> bool:
        """Whether the parent has called again."""
        return self._connection.poll()

    def receive(self, kind: type[R]) -> R | None:
        """What the parent asks for next, of this kind; None: nothing more."""
        asked = self._connection.recv()
        return asked if isinstance(asked, kind) else None

    def answer(self, value: object) -> None:
        self._connection.send(value)


class Child(Generic[T]):
    """`function(door, *args)` in a process of its own. It must be importable, its result picklable."""

    def __init__(self, function: Callable[Concatenate[Door, P], T], *args: P.args, **kwargs: P.kwargs) -> None:
        self._connection, theirs = _spawning.Pipe()
        self._process = _spawning.Process(target=_run, args=(theirs, function, args, kwargs))
        self._process.start()
        theirs.close()

    def wait_ready(self) -> None:
        self._receive()

    def call(self) -> None:
        """Let the child go on that waits at its door."""
        self._connection.send(None)

    def ask(self, request: object, kind: type[R]) -> R:
        """Give the child that receives at its door something to do, and wait for its answer of this kind."""
        self._connection.send(request)
        answer = self._receive()
        assert isinstance(answer, kind), f"a child was asked for {kind.__name__} and gave {answer!r}"
        return answer

    def result(self) -> T:
        value = cast(T, self._receive())
        self._process.join()
        return value

    def end(self) -> None:
        """Stop it if it still runs."""
        if self._process.is_alive():
            self._process.terminate()
        self._process.join()

    def _receive(self) -> object:
        try:
            return self._connection.recv()
        except EOFError:
            self._process.join()
            raise ChildFailed(f"a process of the benchmark ended with exit code {self._process.exitcode}") from None


def _run(connection: Connection, function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    connection.send(function(Door(connection), *args, **kwargs))
    connection.close()
