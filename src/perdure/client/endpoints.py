"""Where a store is: addresses, checked and taken apart (store API, sections 2.1 and 10.1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from ..errors import UsageError

BASIN_PLACEHOLDER: Final = "{basin}"
CLOUD_ACCOUNT: Final = "https://a.s2.dev"
CLOUD_BASIN: Final = "https://{basin}.b.s2.dev"

ACCOUNT_VARIABLE: Final = "S2_ACCOUNT_ENDPOINT"
BASIN_VARIABLE: Final = "S2_BASIN_ENDPOINT"

_PORTS: Final = {"http": 80, "https": 443}
_PATHS: Final = ("", "/", "/v1", "/v1/")


class Origin(Struct, frozen=True, gc=False):
    """A server: what one connection leads to."""

    scheme: str
    host: str
    port: int

    @property
    def is_tls(self) -> bool:
        return self.scheme == "https"

    @property
    def authority(self) -> str:
        """As it stands in a request; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


class Endpoints(Struct, frozen=True):
    """The addresses of a store: `host`, `host:port` or a URL; `https` if no scheme is given.

    `account` answers for basins, access tokens, metrics and locations, `basin` for streams and records. With
    `{basin}` in its host name, the host tells the basin; without, one server has them all. Raises `UsageError`.
    """

    account: str = CLOUD_ACCOUNT
    basin: str = CLOUD_BASIN

    def __post_init__(self) -> None:
        schemes = {self.account_origin.scheme, self.basin_origin(_ANY_BASIN).scheme}
        if len(schemes) > 1:
            raise UsageError("the account and the basin endpoint must both use https, or both http")

    @classmethod
    def of(cls, endpoints: Endpoints | str | None) -> Endpoints:
        """The cloud's for None; a single address is that of a server that answers for everything."""
        if endpoints is None:
            return cls()
        if isinstance(endpoints, str):
            # In the cloud, basins have hosts of their own: its address alone can only mean the whole of it.
            return cls() if _origin(endpoints, "account") == _CLOUD else cls(endpoints, endpoints)
        if not isinstance(endpoints, Endpoints):
            raise UsageError(f"endpoints must be an address, or a value of Endpoints; got {endpoints!r}")
        return endpoints

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Endpoints:
        """From `S2_ACCOUNT_ENDPOINT` and `S2_BASIN_ENDPOINT`; the cloud's without them. Raises `UsageError`.

        `environment` is this process's own if not given. One without the other is refused: half of the requests would
        silently go to the cloud, with the token.
        """
        known = os.environ if environment is None else environment
        account, basin = known.get(ACCOUNT_VARIABLE), known.get(BASIN_VARIABLE)
        if not account and not basin:
            return cls()
        if not account or not basin:
            present, missing = (ACCOUNT_VARIABLE, BASIN_VARIABLE) if account else (BASIN_VARIABLE, ACCOUNT_VARIABLE)
            raise UsageError(f"{present} is set and {missing} is not: set both (to the same address, for one server)")
        return cls(account, basin)

    @property
    def account_origin(self) -> Origin:
        if BASIN_PLACEHOLDER in self.account:
            raise UsageError(f"an account endpoint names no basin, got {self.account!r}")
        return _origin(self.account, "account")

    def basin_origin(self, basin: str) -> Origin:
        return _origin(self.basin.replace(BASIN_PLACEHOLDER, basin), "basin")

    @property
    def basin_is_in_host(self) -> bool:
        """Whether the host tells the basin; otherwise each request names it in a header."""
        return BASIN_PLACEHOLDER in self.basin

    @property
    def is_cloud(self) -> bool:
        """Whether this is s2.dev, which answers nobody without a token."""
        return self.account_origin == _CLOUD or self.basin_origin(_ANY_BASIN).host == _CLOUD_BASIN_HOST


def _origin(text: str, what: str) -> Origin:
    url = text.strip() if "://" in text else f"https://{text.strip()}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise UsageError(f"the {what} endpoint {text!r} is no address: {exc}") from None
    if parts.scheme not in _PORTS:
        raise UsageError(f"the {what} endpoint must be http or https, got {parts.scheme!r}")
    if parts.username is not None or parts.password is not None:
        raise UsageError(f"the {what} endpoint must hold no user name or password; the token is given by itself")
    if not host or not host.isascii() or any(character.isspace() for character in host):
        raise UsageError(f"the {what} endpoint {text!r} names no host")
    if parts.path not in _PATHS or parts.query or parts.fragment:
        raise UsageError(f"the {what} endpoint must end with its host and port, got {text!r}; /v1 is added to it")
    return Origin(parts.scheme, host, _PORTS[parts.scheme] if port is None else port)


_ANY_BASIN: Final = "a-basin-name"
_CLOUD: Final = _origin(CLOUD_ACCOUNT, "account")
_CLOUD_BASIN_HOST: Final = _origin(CLOUD_BASIN.replace(BASIN_PLACEHOLDER, _ANY_BASIN), "basin").host
