"""Commands on access tokens."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from cyclopts import Group, Parameter
from msgspec import Struct

from ..errors import UsageError
from ..model.access_tokens import (
    AccessTokenInfo,
    AccessTokenScope,
    ExactMatch,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    ResourceSet,
)
from ..model.names import check_access_token_id
from ..model.resources import Page
from .asking import confirmed
from .common_options import IgnoreNotFound, JsonLines, Window, Yes, first
from .durations import parse_duration, parse_time, time_text
from .option_types import parsed_by
from .output import Column, print_listing, tell
from .targets import Target, Use

_SCOPE: Final = Group("What the token permits", sort_key=1)
_GROUPS: Final = ("account", "basin", "stream")
_PERMISSIONS: Final = {"r": Permission.READ, "w": Permission.WRITE, "rw": Permission.READ_WRITE}


def parse_names(text: str) -> ResourceSet:
    """A set of names: those that start with `text`, or with an equals sign before it this one."""
    if text.startswith("="):
        if text == "=":
            raise ValueError("expected =NAME or PREFIX, got '=' with no name behind it")
        return ExactMatch(text[1:])
    return PrefixMatch(text)


def parse_op_groups(text: str) -> OperationGroupPermissions:
    """From `account=r,basin=rw`. Raises `ValueError`."""
    expected = "expected GROUP=PERMISSION such as stream=rw,basin=r (groups: account, basin, stream; r, w or rw)"
    found: dict[str, Permission] = {}
    for part in text.split(","):
        name, _, permission = part.strip().partition("=")
        if name not in _GROUPS or permission not in _PERMISSIONS:
            raise ValueError(f"{expected}, got {part!r}")
        if name in found:
            raise ValueError(f"{expected}, and each group once; got {name} twice")
        found[name] = _PERMISSIONS[permission]
    return OperationGroupPermissions(**found)


def parse_operations(text: str) -> tuple[Operation, ...]:
    """From `read,check-tail`. Raises `ValueError`."""
    found = []
    for part in text.split(","):
        try:
            found.append(Operation(part.strip()))
        except ValueError:
            known = ", ".join(Operation)
            raise ValueError(f"{part.strip()!r} is no operation; they are {known}") from None
    return tuple(found)


def _names(what: str) -> Parameter:
    return Parameter(
        group=_SCOPE,
        converter=parsed_by(parse_names),
        n_tokens=1,
        accepts_keys=False,
        metavar="NAMES",
        help=f'{what} that start with this; =NAME for the one of this name, "" for all.',
    )


async def issue_access_token(
    id: Annotated[
        str | None,
        Parameter(name="ID", converter=parsed_by(check_access_token_id), help="What the token is called; no secret."),
    ] = None,
    /,
    *,
    id_option: Annotated[
        str | None, Parameter(name="--id", converter=parsed_by(check_access_token_id), show=False)
    ] = None,
    basins: Annotated[ResourceSet | None, _names("Basins")] = None,
    streams: Annotated[ResourceSet | None, _names("Streams")] = None,
    access_tokens: Annotated[ResourceSet | None, _names("Access tokens")] = None,
    op_group_perms: Annotated[
        OperationGroupPermissions | None,
        Parameter(
            group=_SCOPE,
            converter=parsed_by(parse_op_groups),
            n_tokens=1,
            accepts_keys=False,
            metavar="GROUPS",
            help="Whole groups of operations, to read (r), to write (w) or both: account=r,basin=rw,stream=rw.",
        ),
    ] = None,
    ops: Annotated[
        tuple[Operation, ...] | None,
        Parameter(
            group=_SCOPE,
            converter=parsed_by(parse_operations),
            n_tokens=1,
            metavar="OPERATIONS",
            help="Single operations: read,check-tail.",
        ),
    ] = None,
    auto_prefix_streams: Annotated[
        bool,
        Parameter(
            group=_SCOPE, help="Put the prefix of --streams before the name of each stream that is used with it."
        ),
    ] = False,
    expires_in: Annotated[
        int | None,
        Parameter(converter=parsed_by(parse_duration), metavar="DURATION", help="How long it is valid, such as 30d."),
    ] = None,
    expires_at: Annotated[
        datetime | None,
        Parameter(
            converter=parsed_by(parse_time), metavar="TIME", help="When it stops to be valid, 2026-12-01T00:00:00Z."
        ),
    ] = None,
    target: Target = Target(),
) -> None:
    """Issue a token. Its secret alone goes to the standard output, this once."""
    name = id or id_option
    if name is None or (id and id_option):
        raise UsageError("give the token's ID, once: `perdure issue-access-token reader-7 --op-group-perms stream=r …`")
    if expires_in is not None and expires_at is not None:
        raise UsageError("--expires-in and --expires-at both say how long; give one of them")
    if op_group_perms is None and not ops:
        raise UsageError("the token would permit nothing; give --op-group-perms (such as stream=rw) or --ops")
    scope = AccessTokenScope(
        basins=basins,
        streams=streams,
        access_tokens=access_tokens,
        op_groups=op_group_perms or OperationGroupPermissions(),
        ops=ops or (),
    )
    until = datetime.now(UTC) + timedelta(seconds=expires_in) if expires_in is not None else expires_at
    async with target.open(Use.CHANGES) as s2:
        secret = await s2.access_tokens.issue(
            name, scope=scope, expires_at=until, auto_prefix_streams=auto_prefix_streams
        )
    tell(f"issued {name}{f', valid until {time_text(until)}' if until else ''}; the token is shown this once")
    print(secret, flush=True)


async def list_access_tokens(*, window: Window = Window(), json: JsonLines = False, target: Target = Target()) -> None:
    """List access tokens, without their secrets, in the order of their IDs."""
    columns: list[Column[AccessTokenInfo]] = [
        Column("ID", lambda info: info.id, style="cyan"),
        Column("Expires", lambda info: time_text(info.expires_at) if info.expires_at else "never", whole=True),
        Column("Basins", lambda info: names_text(info.scope.basins)),
        Column(
            "Streams",
            lambda info: names_text(info.scope.streams) + (" (put before)" if info.auto_prefix_streams else ""),
        ),
        Column("Tokens", lambda info: names_text(info.scope.access_tokens)),
        Column("Permits", lambda info: permits_text(info.scope)),
    ]
    async with target.open(Use.LOOKS) as s2:
        found = s2.access_tokens.list_all(prefix=window.prefix, start_after=window.start_after, limit=window.page)
        await print_listing(first(found, window.limit), columns, _encoded if json else None, empty="No access tokens.")


def revoke_access_token(
    id: Annotated[
        str, Parameter(name="ID", converter=parsed_by(check_access_token_id), help="What the token is called.")
    ],
    /,
    *,
    yes: Yes = False,
    ignore_not_found: IgnoreNotFound = False,
    target: Target = Target(),
) -> Coroutine[object, object, None]:
    """Make a token worthless."""

    async def revoke() -> None:
        async with target.open(Use.CHANGES) as s2:
            await s2.access_tokens.revoke(id, ignore_not_found=ignore_not_found)
        tell(f"revoked {id}")

    return confirmed(f"Revoke {id}? Whoever uses it is locked out.", revoke, target, yes=yes)


def names_text(names: ResourceSet | None) -> str:
    """A set of names as its option takes it, but in words where that would be empty."""
    match names:
        case None:
            return "none"
        case ExactMatch(value=name):
            return f"={name}"
        case PrefixMatch(value=""):
            return "all"
        case PrefixMatch(value=prefix):
            return f"{prefix}…"


def permits_text(scope: AccessTokenScope) -> str:
    """Groups of operations and single ones, as their options take them."""
    texts = {permission: text for text, permission in _PERMISSIONS.items()}
    groups = [(name, getattr(scope.op_groups, name)) for name in _GROUPS]
    return ",".join([*(f"{name}={texts[given]}" for name, given in groups if given in texts), *scope.ops])


class _Entries(Struct):
    access_tokens: tuple[msgspec.Raw]


def _encoded(info: AccessTokenInfo) -> bytes:
    """One token as it stands in the API's listings, for which alone there is a form."""
    from ..wire.access_tokens_json import encode_access_tokens

    page = encode_access_tokens(Page((info,), False))
    return bytes(msgspec.json.decode(page, type=_Entries).access_tokens[0])
