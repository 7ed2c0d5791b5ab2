"""Telling other processes that something was committed, and hearing it from them.

Every process that follows a stream binds a datagram socket in the directory `bells`; a writer sends
one byte to each of them after its commit. A bell only says "look"; one that is lost, or that cannot
be bound, costs no more than the poll that stands behind it. So nothing in here fails loudly.
"""

from __future__ import annotations

import errno
import logging
import os
import secrets
import select
import socket
import time
from pathlib import Path
from typing import Final

logger: Final = logging.getLogger("perdure.store.sqlite")

_RING: Final = b"!"
_LONGEST_ADDRESS: Final = 100
"""A socket's path may have 107 bytes; a deeper directory is reached through its open descriptor."""

_SETTLED_NS: Final = 50_000_000
"""File times move in ticks of some milliseconds: a listing this fresh may lack an entry of the same tick."""


class BellDirectory:
    """The directory of bells, addressable however deep it lies."""

    def __init__(self, path: Path) -> None:
        path.mkdir(exist_ok=True)
        self._path = os.fspath(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def address(self, name: str) -> str:
        direct = os.path.join(self._path, name)
        return direct if len(os.fsencode(direct)) <= _LONGEST_ADDRESS else f"/proc/self/fd/{self._fd}/{name}"

    def names(self) -> list[str]:
        return os.listdir(self._fd)

    def changed_ns(self) -> int:
        """When an entry was last added or removed."""
        return os.fstat(self._fd).st_mtime_ns

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self._fd)

    def close(self) -> None:
        """Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Ringer:
    """Rings the bells of all other processes; used by one thread. Never blocks, never raises."""

    def __init__(self, directory: BellDirectory) -> None:
        self._directory = directory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._listed_ns = -1
        self._names: list[str] = []
        self.own = ""
        """The name of this process's own bell, which needs no ringing; empty without one."""

    def ring(self) -> None:
        try:
            self._list()
        except OSError as exc:
            logger.debug("other processes must find out by themselves: %s", exc)
            return
        for name in self._names:
            if name != self.own:
                self._ring_one(name)

    def _list(self) -> None:
        changed = self._directory.changed_ns()
        if changed != self._listed_ns:
            self._names = self._directory.names()
            age = time.time_ns() - changed
            self._listed_ns = changed if age > _SETTLED_NS else -1

    def _ring_one(self, name: str) -> None:
        try:
            self._socket.sendto(_RING, self._directory.address(name))
        except BlockingIOError:
            return  # it has not taken the rings before this one: it will look anyway
        except OSError as exc:
            if exc.errno == errno.ECONNREFUSED:  # its process died without removing it
                _remove(self._directory, name)
            elif exc.errno not in (errno.ENOENT, errno.ENOBUFS):
                logger.debug("the bell %s cannot be rung: %s", name, exc)

    def close(self) -> None:
        self._socket.close()


class Bell:
    """What the watching thread sleeps on: the pokes of its own process, and rings while it is hung out."""

    def __init__(self, directory: BellDirectory) -> None:
        self._directory = directory
        self._socket: socket.socket | None = None
        self._poke_read, self._poke_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.name: str = ""
        """Its name while it is hung out."""

    def hang_out(self) -> None:
        """Let other processes ring. Without luck the poll has to do."""
        if self._socket is not None:
            return
        name = f"{os.getpid()}-{secrets.token_hex(4)}"
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.bind(self._directory.address(name))
            self.name = name
        except OSError as exc:
            logger.warning("other processes cannot ring here, polling instead: %s", exc)

    def take_in(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.name:
            _remove(self._directory, self.name)
            self.name = ""

    def poke(self) -> None:
        """Wake the waiting thread of this process."""
        try:
            os.write(self._poke_write, _RING)
        except BlockingIOError:
            return  # pokes are waiting already

    def wait(self, seconds: float | None) -> bool:
        """Wait for a ring, a poke or the time; False when only time has passed."""
        poll = select.poll()  # `select` cannot take descriptors above 1023
        poll.register(self._poke_read, select.POLLIN)
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN)
        ready = poll.poll(None if seconds is None else seconds * 1000)
        if ready:
            self._drain()
        return bool(ready)

    def _drain(self) -> None:
        try:
            os.read(self._poke_read, 4096)
        except BlockingIOError:
            pass  # it was a ring
        while self._socket is not None:
            try:
                self._socket.recv(16)
            except BlockingIOError:
                break

    def close(self) -> None:
        """Idempotent."""
        self.take_in()
        self._close_pipe()

    def close_after_fork(self) -> None:
        """Let go in a child; the bell itself is the parent's."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._close_pipe()

    def _close_pipe(self) -> None:
        if self._poke_read >= 0:
            os.close(self._poke_read)
            os.close(self._poke_write)
            self._poke_read = self._poke_write = -1


def _remove(directory: BellDirectory, name: str) -> None:
    try:
        directory.remove(name)
    except OSError as exc:  # whoever was faster, or a directory that may not be changed
        logger.debug("the bell %s was not removed: %s", name, exc)
