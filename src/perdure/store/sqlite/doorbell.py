"""Telling other processes that something was committed, and hearing it from them.

Every process that follows a stream binds a datagram socket in the directory `bells`; a writer sends
one byte to each of them after its commit. A bell only says "look"; one that is lost, or that cannot
be bound on some platform, costs no more than the poll that stands behind it.
"""

from __future__ import annotations

import errno
import os
import secrets
import select
import socket
from pathlib import Path
from typing import Final

_RING: Final = b"!"
_LONGEST_ADDRESS: Final = 100
"""A socket's path may have 107 bytes; a deeper directory is reached through its open descriptor."""


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
        try:
            os.unlink(name, dir_fd=self._fd)
        except FileNotFoundError:
            return  # its owner or another writer was faster

    def close(self) -> None:
        os.close(self._fd)


class Ringer:
    """Rings the bells of all other processes; used by one thread. Never blocks."""

    def __init__(self, directory: BellDirectory) -> None:
        self._directory = directory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._seen_ns = -1
        self._names: list[str] = []
        self.own = ""
        """The name of this process's own bell, which needs no ringing; empty without one."""

    def ring(self) -> None:
        changed = self._directory.changed_ns()
        if changed != self._seen_ns:
            self._names = self._directory.names()
            self._seen_ns = changed
        for name in self._names:
            if name == self.own:
                continue
            try:
                self._socket.sendto(_RING, self._directory.address(name))
            except BlockingIOError:
                continue  # it has not taken the rings before this one: it will look anyway
            except OSError as exc:
                if exc.errno == errno.ECONNREFUSED:  # its process died without removing it
                    self._directory.remove(name)
                elif exc.errno not in (errno.ENOENT, errno.ENOBUFS):
                    raise

    def close(self) -> None:
        self._socket.close()


class Bell:
    """This process's bell: `wait` returns when it rings, is poked, or the time is up."""

    def __init__(self, directory: BellDirectory) -> None:
        self._directory = directory
        self.name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(directory.address(self.name))
        self._poke_read, self._poke_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def poke(self) -> None:
        """Wake the waiting thread of this process."""
        try:
            os.write(self._poke_write, _RING)
        except BlockingIOError:
            return  # pokes are waiting already

    def wait(self, seconds: float | None) -> bool:
        """Wait for a ring, a poke or the time; False when only time has passed."""
        ready, _, _ = select.select([self._socket, self._poke_read], [], [], seconds)
        for source in ready:
            while True:
                try:
                    if source is self._socket:
                        self._socket.recv(16)
                    else:
                        os.read(self._poke_read, 4096)
                except BlockingIOError:
                    break
        return bool(ready)

    def close(self) -> None:
        self._directory.remove(self.name)
        self._socket.close()
        os.close(self._poke_read)
        os.close(self._poke_write)
