"""Which store a command works on: a data directory, a database, or a service behind HTTP."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Group, Parameter
from msgspec import Struct

from ..client.endpoints import ACCOUNT_VARIABLE, BASIN_VARIABLE, Endpoints
from ..client.settings import TOKEN_VARIABLE, token_from_env
from ..errors import UsageError
from .option_types import directory, engine, parsed_by

if TYPE_CHECKING:
    from ..client import S2

ENGINE_VARIABLE: Final = "PERDURE_ENGINE"
"""What --engine is if no option says where the data is."""

DATA_VARIABLE: Final = "PERDURE_DATA"
"""What --data is if no option says where the data is."""

_MAX_SECRET_BYTES: Final = 4096


class Use(Enum):
    """What a command does with the store."""

    LOOKS = "it reads; a directory that is missing stays missing, and nothing that expired is removed"
    CHANGES = "it changes what is there"
    MAKES = "it may make the store"


class Embedded(Struct, frozen=True):
    """A store that this process opens: a directory, `:memory:`, or the URL of a database."""

    where: str


class Service(Struct, frozen=True):
    """A store behind HTTP."""

    endpoints: Endpoints
    token: str | None

    def __repr__(self) -> str:
        return f"<Service {self.endpoints.account}>"


@Parameter(name="*", group=Group("Which store", sort_key=8))
@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The options of every command that works on a store; without any of them, the environment says which one."""

    data: Annotated[
        str | None,
        Parameter(converter=parsed_by(directory), metavar="DIR", help=f"A data directory (or {DATA_VARIABLE})."),
    ] = None
    engine: Annotated[
        str | None,
        Parameter(
            converter=parsed_by(engine),
            metavar="URL",
            help=f"A database, postgres://… (or {ENGINE_VARIABLE}, which shows its password to nobody else).",
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        Parameter(
            metavar="URL",
            help=f"A service, http(s)://host:port (or {ACCOUNT_VARIABLE} and {BASIN_VARIABLE}, or {TOKEN_VARIABLE} "
            "alone for s2.dev).",
        ),
    ] = None
    token_file: Annotated[
        str | None,
        Parameter(metavar="FILE", help=f"The file that holds the service's access token (or {TOKEN_VARIABLE})."),
    ] = None

    def place(self, environment: Mapping[str, str] = os.environ) -> Embedded | Service:
        """Where the store is: what an option says, else PERDURE_ENGINE or PERDURE_DATA, else the variables of the SDK.

        Raises `UsageError` when nothing says it, or two things do.
        """
        given = [f"--{name}" for name in ("data", "engine", "endpoint") if getattr(self, name) is not None]
        if len(given) > 1:
            raise UsageError(f"{given[0]} and {given[1]} are two stores; give one of them")
        if self.token_file is not None and (self.data or self.engine):
            raise UsageError(f"--token-file is for a service, and {given[0]} needs no token; leave one of them out")
        if self.data is not None or self.engine is not None:
            return Embedded(self.data or self.engine or "")
        if self.endpoint is not None:
            return Service(Endpoints.of(self.endpoint), self._token(environment))
        if self.token_file is None:
            variables = [name for name in (ENGINE_VARIABLE, DATA_VARIABLE) if environment.get(name)]
            if len(variables) > 1:
                raise UsageError(
                    f"{variables[0]} and {variables[1]} are two stores; unset one, or give --data or --engine"
                )
            if variables:
                return Embedded(environment[variables[0]])
        if self.token_file or any(environment.get(name) for name in (ACCOUNT_VARIABLE, BASIN_VARIABLE, TOKEN_VARIABLE)):
            endpoints = Endpoints.from_env(environment)
            token = self._token(environment)
            return Service(endpoints, token_from_env(environment) if token is None else token)
        raise UsageError(
            f"no store is given: name a data directory with --data (or {DATA_VARIABLE}), a database with --engine (or "
            f"{ENGINE_VARIABLE}), or a service with {ACCOUNT_VARIABLE}, {BASIN_VARIABLE} and {TOKEN_VARIABLE} (or "
            "--endpoint)"
        )

    @asynccontextmanager
    async def open(self, use: Use) -> AsyncIterator[S2]:
        """The store, open. Raises `UsageError` for a directory that is not there, unless the command may make it."""
        s2 = _client(self.place(), use)
        async with s2:
            yield s2

    def _token(self, environment: Mapping[str, str]) -> str | None:
        if self.token_file is None:
            return environment.get(TOKEN_VARIABLE) or None
        try:
            with Path(self.token_file).open("rb") as file:
                secret = file.read(_MAX_SECRET_BYTES + 1)
        except OSError as exc:
            raise UsageError(f"cannot read the access token from {self.token_file}: {exc.strerror}") from exc
        token = secret.decode("utf-8", "replace").strip()
        if (
            len(secret) > _MAX_SECRET_BYTES
            or not token
            or not token.isascii()
            or not token.isprintable()
            or " " in token
        ):
            raise UsageError(f"{self.token_file} holds no access token: expected one line of visible ASCII characters")
        return token


def _client(place: Embedded | Service, use: Use) -> S2:
    from ..client import S2

    if isinstance(place, Service):
        return S2(access_token=place.token, endpoints=place.endpoints)

    from ..client.transports.local import LocalTransport
    from ..store.opening import check_exists, check_where, open_engine, shown

    if use is Use.MAKES:
        check_where(place.where)
    else:
        try:
            check_exists(place.where)
        except UsageError as exc:
            raise UsageError(f"{exc.message}, or make a store with `perdure create-basin`") from None
    opening = partial(open_engine, place.where, maintain=use is not Use.LOOKS, create=use is Use.MAKES)
    return S2(transport=LocalTransport(opening, shown(place.where)))
