"""Connections on which no request runs, and none has for a while: they are closed, whatever else comes on them.

The HTTP server underneath gives up a connection that takes too long over the head of an HTTP/1.1 request. All others it
keeps for ever: those that never say anything, that stop within HTTP/2's preface or within a head, or that idle on
HTTP/2. Since it accepts a bounded number of connections, a few idle machines could keep everybody else out.

It cannot be asked about its connections, so they are looked for among the descriptors of the process. Shutting a socket
down is to the HTTP server what it is when the client leaves.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
import socket
import stat
from collections.abc import Iterable
from typing import Final

from .limits import ServerLimits
from .request import Request
from .sessions import Peer

logger: Final = logging.getLogger("perdure.server")

_DESCRIPTORS: Final = "/dev/fd"

_LOOKS: Final = 4
"""How often a connection is looked at within the time that it has; it may take so much longer until it is closed."""

_MAX_PAUSE_SECS: Final = 10.0

_SLICE: Final = 256
"""How many descriptors are looked at in one step of the event loop, half a millisecond or so."""


class Activity:
    """Which connections have requests. Told of every request, so it is quick."""

    __slots__ = ("_recent", "_running", "_watched")

    def __init__(self) -> None:
        self._running: set[Request] = set()
        self._recent: set[Peer | None] = set()
        self._watched = False

    def begun(self, request: Request) -> None:
        """A request is answered from now on; this is followed by `ended`. A session is a request that takes long."""
        self._running.add(request)

    def ended(self, request: Request) -> None:
        self._running.discard(request)
        if self._watched:
            self._recent.add(request.client)

    def take(self) -> set[Peer]:
        """The clients that have a request now, or had one since this was called last (from the first call on)."""
        self._watched = True
        found, self._recent = self._recent, set()
        found.update([request.client for request in self._running])
        # granian gives the port as text, ASGI wants a number.
        return {(peer[0], int(peer[1])) for peer in found if peer is not None}


class _Connection:
    """One that was accepted: since when it has had no request, as far as is known, and whether it ever had one."""

    __slots__ = ("peer", "since", "used")

    def __init__(self, peer: Peer, since: float) -> None:
        self.peer = peer
        self.since = since
        self.used = False


class IdleConnections:
    """Watches what was accepted on `listener`; `watch` runs until it is cancelled.

    A connection has `header_timeout_secs` for its first request, and then `idle_timeout_secs` from one to the next.
    """

    def __init__(self, listener: socket.socket, activity: Activity, limits: ServerLimits) -> None:
        self._port: int = listener.getsockname()[1]
        self._activity = activity
        self._first_secs = limits.header_timeout_secs
        self._idle_secs = limits.idle_timeout_secs
        self._known: dict[int, _Connection] = {}
        """By the number that the system gives each socket for as long as that is open."""
        activity.take()  # from now on it is told
        # Copying a descriptor and opening a directory take one more, and where there is none left, idle connections may
        # be the reason. So there is always a place for the copy.
        self._nothing: int = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._copy: int = os.dup(self._nothing)

    async def watch(self) -> None:
        """Look again and again. To be called once."""
        pause = min(self._first_secs / _LOOKS, self._idle_secs / _LOOKS, _MAX_PAUSE_SECS)
        try:
            while True:
                await asyncio.sleep(pause)
                await self._look(await asyncio.to_thread(_open_descriptors))
        except OSError as exc:
            logger.warning("idle connections stay open, since %s cannot be read: %s", _DESCRIPTORS, exc.strerror)
        finally:
            os.close(self._copy)
            os.close(self._nothing)

    async def _look(self, descriptors: Iterable[int]) -> None:
        busy = self._activity.take()
        now = asyncio.get_running_loop().time()
        before, self._known = self._known, {}
        for count, descriptor in enumerate(descriptors, 1):
            number = _socket_number(descriptor)
            if number is None:
                continue
            found = before.get(number) or self._accepted(descriptor, now)
            if found is None:
                continue
            self._known[number] = found
            if found.peer in busy:
                found.since, found.used = now, True
            elif now - found.since >= (self._idle_secs if found.used else self._first_secs):
                self._shut_down(descriptor, number)
            if not count % _SLICE:
                await asyncio.sleep(0)

    def _accepted(self, descriptor: int, now: float) -> _Connection | None:
        """What a descriptor is that was not seen before; None if it is not one of the listener's connections."""
        # Any family will do: the system knows better, and says in each address which one it is of.
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=descriptor)
        try:
            own, peer = connection.getsockname(), connection.getpeername()
        except OSError:
            return None  # no connection, or gone by now
        finally:
            connection.detach()
        if not isinstance(own, tuple) or own[1] != self._port or not isinstance(peer, tuple):
            return None
        return _Connection((str(peer[0]).partition("%")[0], int(peer[1])), now)

    def _shut_down(self, descriptor: int, number: int) -> None:
        """Shut the socket with this number down. Its descriptor may be another's by now; a copy stays what it is."""
        try:
            os.dup2(descriptor, self._copy, inheritable=False)
        except OSError:
            return  # closed meanwhile
        if _socket_number(self._copy) == number:
            connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=self._copy)
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError as exc:
                logger.debug("an idle connection had ended by itself: %s", exc)
            finally:
                connection.detach()
        os.dup2(self._nothing, self._copy, inheritable=False)


def _open_descriptors() -> Iterable[int]:
    """All that are open, and perhaps a few that are not. Raises `OSError` where the system does not tell."""
    try:
        return map(int, os.listdir(_DESCRIPTORS))
    except OSError as exc:
        if exc.errno == errno.EMFILE:  # there is none left, so they are all these
            return range(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        if exc.errno == errno.ENFILE:  # the whole system has none left; it may have next time
            return ()
        raise


def _socket_number(descriptor: int) -> int | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None  # closed meanwhile
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else None
