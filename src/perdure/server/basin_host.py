"""The basin of a request: by the name of the host, or by a header (store API, section 2.1)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..errors import BadRequest, Invalid
from ..model.names import check_basin_name
from ..wire import headers

REMEMBERED_BASINS: Final = 1024
"""How many answers of `basin_of` are remembered, since most requests are about a few basins."""


@lru_cache(REMEMBERED_BASINS)
def basin_of(header: bytes | None, host: bytes | None, domain: str | None) -> str:
    """The basin that a `/streams…` request is about.

    Raises `BadRequest` (`bad_header`): neither names one, what names it is no basin name, or the two differ.
    """
    from_host = _in_host(host, domain)
    if header is None:
        if from_host is None:
            raise BadRequest(f"Missing header `{headers.S2_BASIN.decode()}`", "bad_header")
        return from_host
    name = header.decode("latin-1")
    try:
        check_basin_name(name)
    except Invalid as exc:
        raise BadRequest(f"Invalid header `{headers.S2_BASIN.decode()}`: {exc.message}", "bad_header") from None
    if from_host is not None and from_host != name:
        raise BadRequest(
            f"Invalid header `{headers.S2_BASIN.decode()}`: it names {name!r} but the host names {from_host!r}; "
            "send the request to the other host, or leave the header out",
            "bad_header",
        )
    return name


def _in_host(host: bytes | None, domain: str | None) -> str | None:
    """The basin before `domain` in the host's name; None if the host is another one."""
    if host is None or domain is None:
        return None
    name = host.decode("latin-1").lower()
    if not name.startswith("["):
        name = name.partition(":")[0]
    basin, dot, rest = name.removesuffix(".").partition(".")
    if not dot or rest != domain.lower():
        return None
    try:
        return check_basin_name(basin)
    except Invalid as exc:
        raise BadRequest(f"Invalid host name: {exc.message}", "bad_header") from None
