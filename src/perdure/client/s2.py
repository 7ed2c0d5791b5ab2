"""The front door: an account with its basins, over whatever carries the requests."""

from __future__ import annotations

import os
from collections.abc import Generator
from types import TracebackType
from typing import Any

from ..errors import UsageError
from .basin import Basin, Basins
from .transport import Transport


class S2:
    """A store of durable streams, as one account sees it.

    `S2.open` embeds the store in this process. Use it with `async with`, which opens and closes it; or
    `s2 = await S2.open(…)`, and `await s2.aclose()` at the end. All calls belong to one event loop.
    """

    def __init__(
        self, *, access_token: str | None = None, endpoints: object = None, transport: Transport | None = None
    ) -> None:
        """Prepare a client; nothing happens before it is entered.

        `transport` is what carries the requests, for stores that this package does not know. Raises
        `UsageError` for `access_token` and `endpoints`: this version does not speak HTTP yet.
        """
        if access_token is not None or endpoints is not None or transport is None:
            raise UsageError(
                "a store behind HTTP is not available in this version yet; "
                'embed one in this process with `S2.open("./data")`'
            )
        self._transport = transport
        self._opened = False
        self._closed = False
        self.basins: Basins = Basins(transport)
        """Creating, configuring, listing and deleting basins."""

    @classmethod
    def open(cls, location: str | os.PathLike[str]) -> S2:
        """The store in a directory on this machine's disk, opened when the client is entered.

        Args:
            location: the directory, made if it is missing; other processes may use it at the same time.
                ":memory:" is a private store that is gone when it is closed.

        Raises `UsageError` for a location that this version has no engine for. Entering raises
        `StorageFailed` when the directory cannot be used.
        """
        from .transports.local import LocalTransport  # the store is loaded only by those who embed it

        return cls(transport=LocalTransport.at(location))

    @classmethod
    def from_env(cls) -> S2:
        """A client for the store that the environment names. Raises `UsageError`: see `S2`."""
        return cls()

    def basin(self, name: str) -> Basin:
        """A handle on the basin of this name, without asking whether it exists. Raises `Invalid`."""
        return Basin(self._transport, name)

    async def _open(self) -> S2:
        if self._opened:
            raise UsageError("this client was opened before; make another one")
        self._opened = True
        await self._transport.open()
        return self

    def __await__(self) -> Generator[Any, None, S2]:
        return self._open().__await__()

    async def __aenter__(self) -> S2:
        return self if self._opened and not self._closed else await self._open()

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Answer what waits and let go of the store. Idempotent. Sessions that are open fail."""
        self._closed = True
        await self._transport.aclose()
