"""Access tokens: what a token may do, and to which basins, streams and tokens (store API, section 8.1).

A token carries a *scope*: the operations that it permits, and three sets of names that they may be used on. A set that
is not given is empty. Both must allow a call: an operation without a set of names it may be used on permits nothing,
apart from those that concern the whole account.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final, TypeAlias

from msgspec import Struct, field
from msgspec.structs import force_setattr

from ..errors import Invalid


class Operation(StrEnum):
    """What a token may be allowed to do."""

    LIST_BASINS = "list-basins"
    CREATE_BASIN = "create-basin"
    DELETE_BASIN = "delete-basin"
    RECONFIGURE_BASIN = "reconfigure-basin"
    GET_BASIN_CONFIG = "get-basin-config"
    ISSUE_ACCESS_TOKEN = "issue-access-token"
    REVOKE_ACCESS_TOKEN = "revoke-access-token"
    LIST_ACCESS_TOKENS = "list-access-tokens"
    LIST_STREAMS = "list-streams"
    CREATE_STREAM = "create-stream"
    DELETE_STREAM = "delete-stream"
    GET_STREAM_CONFIG = "get-stream-config"
    RECONFIGURE_STREAM = "reconfigure-stream"
    CHECK_TAIL = "check-tail"
    APPEND = "append"
    READ = "read"
    TRIM = "trim"
    FENCE = "fence"
    ACCOUNT_METRICS = "account-metrics"
    BASIN_METRICS = "basin-metrics"
    STREAM_METRICS = "stream-metrics"
    LIST_LOCATIONS = "list-locations"
    GET_DEFAULT_LOCATION = "get-default-location"
    SET_DEFAULT_LOCATION = "set-default-location"


# What tells one set from the other where a token is kept (`tag`, `name`) is older than what the classes are called.


class ExactMatch(Struct, frozen=True, tag="exact"):
    """The set of this one name; the empty name is no name, so that set is empty."""

    value: str = field(name="name")

    def __contains__(self, name: str) -> bool:
        return bool(name) and name == self.value


class PrefixMatch(Struct, frozen=True, tag="prefix"):
    """The set of all names that start with `value`; the empty prefix means every name."""

    value: str = field(name="prefix")

    def __contains__(self, name: str) -> bool:
        return name.startswith(self.value)


ResourceSet: TypeAlias = ExactMatch | PrefixMatch

EVERYTHING: Final = PrefixMatch("")


def without_nothing(names: ResourceSet | None) -> ResourceSet | None:
    """`names`, with None for every way to say "nothing"."""
    return None if names == ExactMatch("") else names


def is_subset(inner: ResourceSet | None, outer: ResourceSet | None) -> bool:
    """Whether every name in `inner` is in `outer`; None is the empty set."""
    inner, outer = without_nothing(inner), without_nothing(outer)
    if inner is None:
        return True
    if outer is None:
        return False
    if isinstance(inner, ExactMatch):
        return inner.value in outer
    return isinstance(outer, PrefixMatch) and inner.value.startswith(outer.value)


def with_prefix(names: ResourceSet | None, prefix: str) -> ResourceSet | None:
    """The names in `names` that start with `prefix`; None for none."""
    names = without_nothing(names)
    if isinstance(names, ExactMatch):
        return names if names.value.startswith(prefix) else None
    if names is None or names.value.startswith(prefix):
        return names
    return PrefixMatch(prefix) if prefix.startswith(names.value) else None


class Permission(Struct, frozen=True):
    """Which half of a group of operations is permitted: `Permission.READ`, `.WRITE` or `.READ_WRITE`."""

    read: bool = False
    write: bool = False

    READ: ClassVar[Permission]
    WRITE: ClassVar[Permission]
    READ_WRITE: ClassVar[Permission]


Permission.READ = Permission(read=True)
Permission.WRITE = Permission(write=True)
Permission.READ_WRITE = Permission(read=True, write=True)


class OperationGroupPermissions(Struct, frozen=True):
    """Operations by the half of a group; `GROUP_MEMBERS` says what is in each."""

    account: Permission = Permission()
    basin: Permission = Permission()
    stream: Permission = Permission()


class GroupMembers(Struct, frozen=True):
    """The operations of one group."""

    read: frozenset[Operation]
    write: frozenset[Operation]

    def permitted(self, permissions: Permission) -> frozenset[Operation]:
        """The operations of the halves that `permissions` names."""
        read = self.read if permissions.read else frozenset[Operation]()
        return read | self.write if permissions.write else read


ACCOUNT_GROUP: Final = GroupMembers(
    read=frozenset(
        {
            Operation.LIST_BASINS,
            Operation.GET_BASIN_CONFIG,
            Operation.LIST_ACCESS_TOKENS,
            Operation.ACCOUNT_METRICS,
            Operation.LIST_LOCATIONS,
            Operation.GET_DEFAULT_LOCATION,
        }
    ),
    write=frozenset(
        {
            Operation.CREATE_BASIN,
            Operation.DELETE_BASIN,
            Operation.RECONFIGURE_BASIN,
            Operation.ISSUE_ACCESS_TOKEN,
            Operation.REVOKE_ACCESS_TOKEN,
            Operation.SET_DEFAULT_LOCATION,
        }
    ),
)
BASIN_GROUP: Final = GroupMembers(
    read=frozenset({Operation.LIST_STREAMS, Operation.GET_STREAM_CONFIG, Operation.BASIN_METRICS}),
    write=frozenset({Operation.CREATE_STREAM, Operation.DELETE_STREAM, Operation.RECONFIGURE_STREAM}),
)
STREAM_GROUP: Final = GroupMembers(
    read=frozenset({Operation.CHECK_TAIL, Operation.READ, Operation.STREAM_METRICS}),
    write=frozenset({Operation.APPEND, Operation.TRIM, Operation.FENCE}),
)


class AccessTokenScope(Struct, frozen=True):
    """What a token may do: the union of `ops` and the operations of `op_groups`, on the names of three sets.

    A set that is None is empty. `streams` holds names of streams in any of `basins`.
    """

    basins: ResourceSet | None = None
    streams: ResourceSet | None = None
    access_tokens: ResourceSet | None = None
    op_groups: OperationGroupPermissions = OperationGroupPermissions()
    ops: Sequence[Operation] = ()
    """Kept as a tuple, whatever it is given as."""

    def __post_init__(self) -> None:
        try:
            force_setattr(self, "ops", tuple(map(Operation, self.ops)))
        except ValueError as exc:
            raise Invalid(f"`ops` must be operations, such as [Operation.READ]: {exc}") from None
        for name in ("basins", "streams", "access_tokens"):
            names = getattr(self, name)
            if names is not None and not isinstance(names, (ExactMatch, PrefixMatch)):
                raise Invalid(f"`{name}` must be ExactMatch(…) or PrefixMatch(…), got {names!r}")
        if not isinstance(self.op_groups, OperationGroupPermissions):
            raise Invalid(f"`op_groups` must be OperationGroupPermissions(…), got {self.op_groups!r}")

    @property
    def operations(self) -> frozenset[Operation]:
        """Every operation that is permitted, by itself or by its group."""
        groups = self.op_groups
        return frozenset(self.ops).union(
            ACCOUNT_GROUP.permitted(groups.account),
            BASIN_GROUP.permitted(groups.basin),
            STREAM_GROUP.permitted(groups.stream),
        )


class AccessTokenInfo(Struct, frozen=True):
    """A token without its secret; also what a request to issue one asks for.

    `expires_at`: when it stops to be valid, None for never; in a request None means that of the issuing token.
    `auto_prefix_streams`: the prefix of `scope.streams` is put before every stream name in requests made with the
    token, and taken off in their answers, so its holder works in a namespace of its own.
    """

    id: str
    scope: AccessTokenScope
    expires_at: datetime | None = None
    auto_prefix_streams: bool = False

    @property
    def stream_prefix(self) -> str:
        """What goes before stream names in requests made with this token; empty without auto-prefix."""
        streams = self.scope.streams
        return streams.value if self.auto_prefix_streams and isinstance(streams, PrefixMatch) else ""

    def has_expired(self, now: datetime) -> bool:
        """Whether the token is not valid any more at `now`."""
        return self.expires_at is not None and self.expires_at <= now
