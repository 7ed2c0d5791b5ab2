"""Reading and writing what a command is given by the shell, while the event loop goes on.

Standard input and output may be pipes, terminals, files or devices, and other processes share them: none is made
non-blocking, which would be so for all of them. Instead nothing is read before there is something, and nothing written
before there is room. Regular files, for which an event loop cannot wait, always have both.
"""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

_PIECE_BYTES: Final = 64 * 1024
"""What a pipe holds on Linux."""

_SURE_BYTES: Final = 4096
"""PIPE_BUF: a pipe that can be written to takes so much at once."""


async def read_pieces(fd: int) -> AsyncIterator[bytes]:
    """What can be read, as soon as there is some, until the end. Cancelling the wait loses nothing."""
    while True:
        await _readable(fd)
        piece = os.read(fd, _PIECE_BYTES)
        if not piece:
            return
        yield piece


async def write_all(fd: int, data: bytes) -> None:
    """Write `data`, waiting for whoever reads it. Raises `BrokenPipeError` when nobody does any more.

    A cancelled call has written some of it.
    """
    left = memoryview(data)
    while left:
        if not _is_writable(fd):
            await _writable(fd)
        left = left[os.write(fd, left[:_SURE_BYTES]) :]


async def _readable(fd: int) -> None:
    """Until a read would not block: also at the end of what there is."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    try:
        loop.add_reader(fd, _set, ready)
    except (PermissionError, ValueError):
        await asyncio.sleep(0)  # a file, which never blocks for long; others get their turn
        return
    try:
        await ready  # for as long as it takes: nobody knows when the other side writes
    finally:
        loop.remove_reader(fd)


async def _writable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(fd, _set, ready)
    try:
        await ready  # for as long as the reader likes, which is how it holds us up
    finally:
        loop.remove_writer(fd)


def _is_writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


@contextmanager
def cancelled_when_closed(fd: int) -> Iterator[None]:
    """Cancel the current task once nobody can read what it writes to the pipe `fd`, and raise `BrokenPipeError` then.

    Who follows a quiet stream would otherwise learn of it with the next record. It works where the system has epoll;
    for what is no pipe it does nothing.
    """
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None, "only a task can be cancelled"
    if not hasattr(select, "epoll"):
        yield
        return
    closed = False

    def cancel() -> None:
        nonlocal closed
        closed = True
        loop.remove_reader(watch)
        task.cancel()

    with select.epoll() as watch:
        try:
            watch.register(fd, 0)  # errors are always told, and that the other end was closed is one
        except PermissionError:
            yield
            return
        loop.add_reader(watch, cancel)
        try:
            yield
        except asyncio.CancelledError:
            if closed and task.uncancel() == 0:
                raise BrokenPipeError("nobody reads the output any more") from None
            raise
        finally:
            loop.remove_reader(watch)
