"""The front door: an account with its basins, over whatever carries the requests."""

from __future__ import annotations

import os
import ssl
from collections.abc import Generator
from types import TracebackType
from typing import Any

from ..errors import UsageError
from ..wire.compression import Compression
from .access_tokens import AccessTokens
from .basin import Basin, Basins
from .endpoints import Endpoints
from .locations import Locations
from .metrics import Metrics
from .retries import RetryPolicy
from .settings import (
    DEFAULT_CONNECTION_TIMEOUT_SECS,
    DEFAULT_REQUEST_TIMEOUT_SECS,
    ForcedTransport,
    HttpSettings,
    token_from_env,
)
from .transport import Transport


class S2:
    """A store of durable streams, as one account sees it.

    `S2(…)` speaks to a store behind HTTP; `S2.open` embeds one in this process. Use it with `async with`, which
    opens and closes it; or `s2 = await S2.open(…)`, and `await s2.aclose()` at the end. All calls belong to one
    event loop.
    """

    def __init__(
        self,
        *,
        access_token: str | None = None,
        endpoints: Endpoints | str | None = None,
        retries: RetryPolicy | None = None,
        compression: Compression = Compression.NONE,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT_SECS,
        connection_timeout: float = DEFAULT_CONNECTION_TIMEOUT_SECS,
        ssl_context: ssl.SSLContext | None = None,
        force_transport: ForcedTransport | None = None,
        proxy: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        """A client for a store behind HTTP; nothing happens before it is entered.

        Args:
            access_token: what the store knows this account by; a server without access control needs none.
            endpoints: where the store is: `"https://host:port"` for one server, `Endpoints` for an account and a
                basin address; s2.dev if not given.
            retries: how failures are tried again; three attempts if not given.
            compression: how request bodies and batches are packed, and answers asked for.
            request_timeout: seconds for each attempt of a request, and for each acknowledgement of an append session. A
                read may take its `wait` more.
            connection_timeout: seconds for a new connection, until the server has shown which HTTP it speaks.
            ssl_context: how servers are verified; by the certificates of the system if not given. The client sets
                which protocols it offers (ALPN), so clients with different `force_transport` need one each.
            force_transport: `"s2s"` for HTTP/2 or an error, `"fetch"` for HTTP/1.1. If not given, it is HTTP/2 unless
                the server or a proxy speaks HTTP/1.1 only. Over HTTP/1.1 nothing is missing, but append sessions have
                one batch in flight at a time, and tell what is wrong with their stream with the first; and read
                sessions need a connection each.
            proxy: the HTTP proxy that leads to the store, as `"http://user:password@host:port"`; `"direct"` for none.
                If not given, the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, except for
                this machine's own addresses. An `http` address is reached through it by HTTP/1.1, or a tunnel with
                `force_transport="s2s"`; an `https` one always through a tunnel.
            transport: what carries the requests, for stores that this package does not know. The other
                arguments mean nothing then.

        Raises `UsageError` for arguments that make no sense.
        """
        if transport is None:
            from .transports.http import HttpTransport  # HTTP is loaded only by those who use it

            settings = HttpSettings(
                access_token=access_token,
                endpoints=endpoints,
                retries=retries,
                compression=compression,
                request_timeout=request_timeout,
                connection_timeout=connection_timeout,
                ssl_context=ssl_context,
                force_transport=force_transport,
                proxy=proxy,
            )
            transport = HttpTransport(settings)
        self._transport = transport
        self._opened = False
        self._closed = False
        self.basins: Basins = Basins(transport)
        """Creating, configuring, listing and deleting basins."""
        self.access_tokens: AccessTokens = AccessTokens(transport)
        """Issuing, listing and revoking access tokens."""
        self.metrics: Metrics = Metrics(transport)
        """How much the account, its basins and their streams are used."""
        self.locations: Locations = Locations(transport)
        """Where basins can be."""

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
    def from_env(
        cls,
        *,
        retries: RetryPolicy | None = None,
        compression: Compression = Compression.NONE,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT_SECS,
        connection_timeout: float = DEFAULT_CONNECTION_TIMEOUT_SECS,
        ssl_context: ssl.SSLContext | None = None,
        force_transport: ForcedTransport | None = None,
        proxy: str | None = None,
    ) -> S2:
        """A client for the store that the environment names; the arguments are those of `S2`.

        `S2_ACCESS_TOKEN` is the token, and `S2_ACCOUNT_ENDPOINT` with `S2_BASIN_ENDPOINT` the addresses; without these
        two it is s2.dev. Raises `UsageError` when the token is missing, or one of the addresses.
        """
        return cls(
            access_token=token_from_env(os.environ),
            endpoints=Endpoints.from_env(),
            retries=retries,
            compression=compression,
            request_timeout=request_timeout,
            connection_timeout=connection_timeout,
            ssl_context=ssl_context,
            force_transport=force_transport,
            proxy=proxy,
        )

    def __repr__(self) -> str:
        return f"<S2 {self._transport}>"

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
