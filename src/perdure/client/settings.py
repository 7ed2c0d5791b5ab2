"""How a client over HTTP behaves."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, TypeVar, get_args

from ..errors import UsageError
from ..wire.compression import Compression, compress
from .endpoints import Endpoints
from .proxies import Proxies
from .retries import RetryPolicy

T = TypeVar("T")

ForcedTransport: TypeAlias = Literal["s2s", "fetch"]
"""How requests are carried, in the words of other SDKs: `"s2s"` is HTTP/2, with sessions of that name; `"fetch"`
is HTTP/1.1, with append sessions as calls one after the other, and read sessions as server-sent events."""

TOKEN_VARIABLE: Final = "S2_ACCESS_TOKEN"

DEFAULT_REQUEST_TIMEOUT_SECS: Final = 5.0
DEFAULT_CONNECTION_TIMEOUT_SECS: Final = 3.0


class HttpSettings:
    """Everything that `S2` is told about a store behind HTTP. Raises `UsageError`. The token shows nowhere."""

    __slots__ = (
        "access_token", "compression", "connection_timeout", "endpoints", "force_transport", "proxies",
        "request_timeout", "retries", "ssl_context",
    )  # fmt: skip

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
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`environment` names proxies if `proxy` does not; this process's own if not given."""
        self.access_token: str | None = _token(access_token)
        self.endpoints: Endpoints = Endpoints.of(endpoints)
        self.retries: RetryPolicy = _of_type(retries, RetryPolicy, "retries") or RetryPolicy()
        if not isinstance(compression, Compression):
            known = ", ".join(f"Compression.{each.name}" for each in Compression)
            raise UsageError(f"compression must be one of {known}; got {compression!r}")
        self.compression: Compression = compression
        self.request_timeout: float = _seconds(request_timeout, "request_timeout")
        self.connection_timeout: float = _seconds(connection_timeout, "connection_timeout")
        self.ssl_context: ssl.SSLContext | None = _of_type(ssl_context, ssl.SSLContext, "ssl_context")
        if force_transport is not None and force_transport not in get_args(ForcedTransport):
            raise UsageError(
                f"force_transport must be one of {get_args(ForcedTransport)}, or None for what works; "
                f"got {force_transport!r}"
            )
        self.force_transport: ForcedTransport | None = force_transport
        self.proxies: Proxies = Proxies(proxy, os.environ if environment is None else environment)
        self.proxies.of(self.endpoints.account_origin)  # tells now whether it is one that we can use
        compress(b"", compression)  # tells now whether a package is missing
        if self.access_token is None and self.endpoints.is_cloud:
            raise UsageError(
                "s2.dev needs an access token; give access_token=…, "
                'or endpoints="http://host:port" for a server of your own, or embed a store with `S2.open("./data")`'
            )

    def __repr__(self) -> str:
        return f"<HttpSettings {self.endpoints.account}>"


def token_from_env(environment: Mapping[str, str]) -> str:
    """The token in `S2_ACCESS_TOKEN`. Raises `UsageError` without one."""
    token = environment.get(TOKEN_VARIABLE)
    if not token:
        raise UsageError(f"{TOKEN_VARIABLE} is not set; a server without access control takes any value")
    return token


def _of_type(value: T | None, kind: type[T], what: str) -> T | None:
    """`value`. Raises `UsageError` now for what would fail much later: when it is used first."""
    if value is not None and not isinstance(value, kind):
        raise UsageError(f"{what} must be a value of {kind.__name__}, got {value!r}")
    return value


def _token(token: str | None) -> str | None:
    if token is None:
        return None
    if not isinstance(token, str):
        raise UsageError(f"access_token must be a string, got {type(token).__name__}")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("an access token is visible ASCII without spaces, and not empty; this one is not")
    return token


def _seconds(value: float, what: str) -> float:
    if not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise UsageError(f"{what} must be a positive number of seconds, got {value!r}")
    return value
