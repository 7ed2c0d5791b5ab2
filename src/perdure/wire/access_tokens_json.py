"""The JSON form of access tokens, both ways (store API, sections 8.1 and 8.2).

In requests every level of a scope may be absent or null, which means that it permits nothing. In answers everything is
written out: all six halves of the operation groups, the operations (maybe none), and null for a set of nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from ..errors import BadRequest, Invalid
from ..model.access_tokens import (
    AccessTokenInfo,
    AccessTokenScope,
    ExactMatch,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    ResourceSet,
    without_nothing,
)
from ..model.names import check_access_token_id
from ..model.resources import Page
from .strict_json import decode_json


class _SetBody(Struct):
    exact: str | UnsetType = UNSET
    prefix: str | UnsetType = UNSET


class _HalvesBody(Struct):
    read: bool | None = None
    write: bool | None = None


class _GroupsBody(Struct):
    account: _HalvesBody | None = None
    basin: _HalvesBody | None = None
    stream: _HalvesBody | None = None


class _ScopeBody(Struct):
    basins: _SetBody | None = None
    streams: _SetBody | None = None
    access_tokens: _SetBody | None = None
    op_groups: _GroupsBody | None = None
    ops: list[Operation] | None = None


class _AnsweredScopeBody(_ScopeBody):
    """A newer server may name operations that are not known here; whoever reads an answer passes over them."""

    ops: list[str] | None = None  # type: ignore[assignment]  # wider on purpose


class _TokenBody(Struct):
    id: str
    scope: _ScopeBody
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    auto_prefix_streams: bool | None = None


class _AnsweredTokenBody(Struct):
    id: str
    scope: _AnsweredScopeBody
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    auto_prefix_streams: bool | None = None


class _PageBody(Struct):
    access_tokens: list[_TokenBody]
    has_more: bool


class _AnsweredPageBody(Struct):
    access_tokens: list[_AnsweredTokenBody]
    has_more: bool


class _SecretBody(Struct):
    access_token: str


_token: Final = msgspec.json.Decoder(_TokenBody)
_page: Final = msgspec.json.Decoder(_AnsweredPageBody)
_secret: Final = msgspec.json.Decoder(_SecretBody)
_encoder: Final = msgspec.json.Encoder()


def decode_issue_request(data: bytes) -> AccessTokenInfo:
    """What a request wants to be issued.

    Raises `BadRequest` (`bad_json`) for what is no such body, an id that is none, an unknown operation, an expiry
    without an offset, and a set that is not exactly one of `exact` and `prefix`.
    """
    body = decode_json(data, _token)
    try:
        check_access_token_id(body.id)
    except Invalid as exc:
        raise BadRequest(f"{exc.message} - at `$.id`", "bad_json") from None
    return _info(body, tuple(body.scope.ops or ()))


def encode_issue_request(wanted: AccessTokenInfo) -> bytes:
    """The body of a request to issue `wanted`."""
    return _encoder.encode(_body(wanted))


def encode_secret(secret: str) -> bytes:
    """The answer to a request to issue a token."""
    return _encoder.encode(_SecretBody(secret))


def decode_secret(data: bytes) -> str:
    """The secret that a server issued. Raises `BadRequest` (`bad_json`)."""
    return decode_json(data, _secret).access_token


def encode_access_tokens(page: Page[AccessTokenInfo]) -> bytes:
    """One page of a listing."""
    return _encoder.encode(_PageBody([_body(info) for info in page.items], page.has_more))


def decode_access_tokens(data: bytes) -> Page[AccessTokenInfo]:
    """One page of a listing as a server sent it. Raises `BadRequest` (`bad_json`)."""
    body = decode_json(data, _page)
    known = frozenset[str](Operation)
    return Page(
        tuple(
            _info(token, tuple(Operation(name) for name in token.scope.ops or () if name in known))
            for token in body.access_tokens
        ),
        body.has_more,
    )


def _info(body: _TokenBody | _AnsweredTokenBody, ops: tuple[Operation, ...]) -> AccessTokenInfo:
    scope = body.scope
    groups = scope.op_groups or _GroupsBody()
    return AccessTokenInfo(
        body.id,
        AccessTokenScope(
            _names(scope.basins, "basins"),
            _names(scope.streams, "streams"),
            _names(scope.access_tokens, "access_tokens"),
            OperationGroupPermissions(_halves(groups.account), _halves(groups.basin), _halves(groups.stream)),
            ops,
        ),
        body.expires_at,
        bool(body.auto_prefix_streams),
    )


def _names(body: _SetBody | None, where: str) -> ResourceSet | None:
    if body is None:
        return None
    if body.exact is not UNSET and body.prefix is UNSET:
        return ExactMatch(body.exact)
    if body.prefix is not UNSET and body.exact is UNSET:
        return PrefixMatch(body.prefix)
    raise BadRequest(f"Expected an object with either `exact` or `prefix` - at `$.scope.{where}`", "bad_json")


def _halves(body: _HalvesBody | None) -> Permission:
    return Permission() if body is None else Permission(bool(body.read), bool(body.write))


def _body(info: AccessTokenInfo) -> _TokenBody:
    scope, groups = info.scope, info.scope.op_groups
    return _TokenBody(
        info.id,
        _ScopeBody(
            _set_body(scope.basins),
            _set_body(scope.streams),
            _set_body(scope.access_tokens),
            _GroupsBody(_halves_body(groups.account), _halves_body(groups.basin), _halves_body(groups.stream)),
            list(scope.ops),
        ),
        info.expires_at,
        info.auto_prefix_streams,
    )


def _set_body(names: ResourceSet | None) -> _SetBody | None:
    names = without_nothing(names)
    if names is None:
        return None
    return _SetBody(exact=names.value) if isinstance(names, ExactMatch) else _SetBody(prefix=names.value)


def _halves_body(permissions: Permission) -> _HalvesBody:
    return _HalvesBody(permissions.read, permissions.write)
