"""Access tokens as entries, and the decisions that issue and revoke them (store API, sections 8.1 to 8.3).

A secret is 256 random bits. Only its SHA-256 is kept, and a token is found by that hash: nobody can choose a hash, so
how long a look-up takes tells nothing, and a secret of that size needs no slow hash against guessing.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ..errors import AccessTokenNotFound, Invalid, PermissionDenied, ResourceExists
from ..model.access_tokens import (
    AccessTokenInfo,
    AccessTokenScope,
    Operation,
    PrefixMatch,
    ResourceSet,
    is_subset,
    without_nothing,
)
from ..model.names import (
    check_access_token_id,
    check_access_token_prefix,
    check_basin_prefix,
    check_stream_prefix,
)

SECRET_BYTES: Final = 32

SECRET_PREFIX: Final = "perdure_"
"""Lets people, and programs that look for leaked secrets, see what a string is."""

KEPT_AFTER_EXPIRY: Final = timedelta(days=1)
"""How long an expired token stays listed at least, so that people can see why it is refused."""


class AccessTokenEntry(Struct, frozen=True):
    """A token as engines keep it."""

    info: AccessTokenInfo
    secret_hash: bytes


def new_secret() -> str:
    """A secret that nobody has seen before."""
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hash_secret(secret: bytes) -> bytes:
    """What is kept of a secret, which is given as it stands in a request."""
    return hashlib.sha256(secret).digest()


def is_forgettable(info: AccessTokenInfo, now: datetime) -> bool:
    """Whether an engine may remove the token without being asked."""
    return info.has_expired(now - KEPT_AFTER_EXPIRY)


def issue(
    existing: AccessTokenEntry | None,
    wanted: AccessTokenInfo,
    issuer: AccessTokenInfo | None,
    secret_hash: bytes,
    now: datetime,
) -> AccessTokenEntry:
    """The token that `issuer` may issue as `wanted`; no issuer means the root, which may issue anything.

    Raises `Invalid` for a token that permits nothing or whose parts contradict each other, `PermissionDenied` for one
    that goes beyond its issuer, `ResourceExists` for an id in use. An expired token does not use its id any more.
    """
    checked = _checked(wanted)
    if issuer is not None:
        checked = _within(issuer, checked)
    if existing is not None and not existing.info.has_expired(now):
        raise ResourceExists(f"access token `{checked.id}` already exists")
    return AccessTokenEntry(checked, secret_hash)


def revoke(existing: AccessTokenEntry | None, token_id: str) -> None:
    """What is left of the token: nothing. Raises `AccessTokenNotFound`."""
    if existing is None:
        raise AccessTokenNotFound(f"access token `{token_id}` not found")


def _checked(wanted: AccessTokenInfo) -> AccessTokenInfo:
    check_access_token_id(wanted.id)
    scope = wanted.scope
    for names, check, what in (
        (scope.basins, check_basin_prefix, "basins"),
        (scope.streams, check_stream_prefix, "streams"),
        (scope.access_tokens, check_access_token_prefix, "access_tokens"),
    ):
        if names is not None:
            # What is no prefix of any name is a mistake, and listings rely on it being none.
            check(names.value, f"the scope's `{what}`")
    if not scope.operations:
        raise Invalid("Access token permissions cannot be empty")
    if wanted.auto_prefix_streams and not isinstance(scope.streams, PrefixMatch):
        raise Invalid("Auto prefixing is only allowed for streams with prefix matching")
    return replace(
        wanted,
        scope=replace(
            scope,
            basins=without_nothing(scope.basins),
            streams=without_nothing(scope.streams),
            access_tokens=without_nothing(scope.access_tokens),
            ops=tuple(dict.fromkeys(scope.ops)),
        ),
        expires_at=None if wanted.expires_at is None else _in_utc(wanted.expires_at),
    )


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise Invalid(f"`expires_at` must lie within the years 1 to 9999 in UTC, got {time.isoformat()}") from None


def _within(issuer: AccessTokenInfo, wanted: AccessTokenInfo) -> AccessTokenInfo:
    """`wanted`, if it goes nowhere beyond `issuer`; names in its scope are full names, auto-prefix or not."""
    _check_operations(issuer.scope, wanted.scope)
    for what, outer, inner in _pairs(issuer.scope, wanted.scope):
        if not is_subset(inner, outer):
            raise PermissionDenied(f"the scope's `{what}` go beyond those of the issuing access token")
    if issuer.expires_at is None:
        return wanted
    if wanted.expires_at is None:
        return replace(wanted, expires_at=issuer.expires_at)
    if wanted.expires_at > issuer.expires_at:
        raise PermissionDenied("`expires_at` is later than the expiry of the issuing access token")
    return wanted


def _check_operations(issuer: AccessTokenScope, wanted: AccessTokenScope) -> None:
    beyond = wanted.operations - issuer.operations
    if beyond:
        missing = ", ".join(operation for operation in Operation if operation in beyond)
        raise PermissionDenied(f"the issuing access token itself does not permit: {missing}")


def _pairs(
    issuer: AccessTokenScope, wanted: AccessTokenScope
) -> tuple[tuple[str, ResourceSet | None, ResourceSet | None], ...]:
    return (
        ("basins", issuer.basins, wanted.basins),
        ("streams", issuer.streams, wanted.streams),
        ("access_tokens", issuer.access_tokens, wanted.access_tokens),
    )
