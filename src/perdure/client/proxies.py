"""Which HTTP proxy leads to a server: what the caller says, or else the environment, as other programs read it.

`http_proxy`, `https_proxy` and `all_proxy` name a proxy by the scheme of the server's address, `no_proxy` the hosts
that are reached without; each in lower or upper case. No standard says what they mean: this follows curl and Go.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from ..errors import UsageError
from .endpoints import Origin

DIRECT: Final = "direct"
"""Given as a proxy: none, whatever the environment says."""

_PORT: Final = 80
_CGI_VARIABLE: Final = "REQUEST_METHOD"
"""Says that the process answers a web request. Then anyone may set `HTTP_PROXY`, by the request header `Proxy`."""


class Proxy(Struct, frozen=True):
    """An HTTP proxy. `credentials` is what it knows us by: a secret, which shows nowhere."""

    host: str
    port: int
    credentials: bytes | None = None

    def __repr__(self) -> str:
        return f"<Proxy {self}>"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str, source: str) -> Proxy:
        """From `http://user:password@host:port`, or `host:port`. `source` is who gave it, for the error.

        Raises `UsageError`, which does not repeat the address: a password may be in it.
        """
        try:
            parts = urlsplit(text if "://" in text else f"http://{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise UsageError(f"{source} is no address of a proxy; one looks like http://host:port") from None
        if parts.scheme != "http":
            raise UsageError(
                f"{source} names a proxy of the kind {parts.scheme!r}; only http://host:port is supported, "
                f'and proxy="{DIRECT}" does without one'
            )
        if not host:
            raise UsageError(f"{source} names no host; a proxy looks like http://host:port")
        credentials = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            credentials = b"Basic " + b64encode(pair.encode())
        return cls(host, port or _PORT, credentials)


class Proxies:
    """The proxies of one client.

    `given` is the caller's: an address for all servers, `DIRECT` for none, or None for what the environment says.
    Raises `UsageError` when that is no proxy that we can use; `of` does so for the environment's, when it is needed.
    """

    __slots__ = ("_by_scheme", "_exempt", "_given")

    def __init__(self, given: str | None, environment: Mapping[str, str]) -> None:
        self._given = None if given is None or given == DIRECT else Proxy.parse(given, "proxy=…")
        self._exempt: tuple[str, ...] = ()
        self._by_scheme: dict[str, tuple[str, str]] = {}
        """The address of a proxy, and the variable that names it."""
        if given is not None:
            return
        exempt = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
        self._exempt = tuple(entry for part in exempt.split(",") if (entry := part.strip().lower()))
        for scheme in ("http", "https"):
            for name in _variables(scheme, environment):
                if value := environment.get(name):
                    self._by_scheme[scheme] = (value, name)
                    break

    def of(self, origin: Origin) -> Proxy | None:
        """The proxy on the way to a server, if there is one. The environment's never is on the way to this machine."""
        found = self._by_scheme.get(origin.scheme)
        if found is None:
            return self._given
        if is_this_machine(origin.host) or any(covers(entry, origin.host, origin.port) for entry in self._exempt):
            return None
        return Proxy.parse(*found)


def is_this_machine(host: str) -> bool:
    """Whether a host's name or address can only mean this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `no_proxy` means this server.

    `*` means all; a name means itself and all below it, with or without a dot before it; an address itself, and a block
    (`10.0.0.0/8`) the addresses in it. With `:port` it means that port only.
    """
    host = host.lower().rstrip(".")
    if entry == "*":
        return True
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass
    entry = entry.removeprefix("*").removeprefix(".")
    return bool(entry) and (host == entry or host.endswith("." + entry))


def _variables(scheme: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where the proxy for a scheme may stand, the first that is set counts."""
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    return tuple([name for name in names if name != "HTTP_PROXY" or _CGI_VARIABLE not in environment])
