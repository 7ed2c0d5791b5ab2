"""Arbitrary values of the model."""

from datetime import UTC, datetime

from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

from perdure.model.access_tokens import (
    AccessTokenInfo,
    AccessTokenScope,
    ExactMatch,
    Operation,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    ResourceSet,
)
from perdure.model.configs import (
    BasinConfig,
    BasinReconfiguration,
    Cipher,
    DeleteOnEmptyConfig,
    DeleteOnEmptyReconfiguration,
    InfiniteRetention,
    Retention,
    RetentionAge,
    StorageClass,
    StreamConfig,
    StreamReconfiguration,
    TimestampingConfig,
    TimestampingMode,
    TimestampingReconfiguration,
)
from perdure.model.records import AppendRecord

U64 = st.integers(0, 2**64 - 1)
unset: st.SearchStrategy[UnsetType] = st.just(UNSET)

header_names = st.binary(min_size=1, max_size=8)
headers = st.lists(st.tuples(header_names, st.binary(max_size=8)), max_size=4)


def append_records() -> st.SearchStrategy[AppendRecord]:
    return st.one_of(
        st.builds(AppendRecord, st.binary(max_size=64), headers=headers, timestamp=st.none() | U64),
        st.builds(AppendRecord.fence, st.text(max_size=9), timestamp=st.none() | U64),
        st.builds(AppendRecord.trim, U64, timestamp=st.none() | U64),
    )


def retentions() -> st.SearchStrategy[Retention]:
    return st.builds(RetentionAge, st.integers(1, 10**9)) | st.builds(InfiniteRetention)


def stream_configs() -> st.SearchStrategy[StreamConfig]:
    return st.builds(
        StreamConfig,
        st.none() | st.sampled_from(StorageClass),
        st.none() | retentions(),
        st.none()
        | st.builds(TimestampingConfig, st.none() | st.sampled_from(TimestampingMode), st.none() | st.booleans()),
        st.none() | st.builds(DeleteOnEmptyConfig, st.integers(0, 100)),
    )


def stream_reconfigurations() -> st.SearchStrategy[StreamReconfiguration]:
    timestamping = st.builds(
        TimestampingReconfiguration,
        unset | st.none() | st.sampled_from(TimestampingMode),
        unset | st.none() | st.booleans(),
    )
    return st.builds(
        StreamReconfiguration,
        unset | st.none() | st.sampled_from(StorageClass),
        unset | st.none() | retentions(),
        unset | st.none() | timestamping,
        unset | st.none() | st.builds(DeleteOnEmptyReconfiguration, unset | st.none() | st.integers(0, 100)),
    )


def basin_configs() -> st.SearchStrategy[BasinConfig]:
    return st.builds(
        BasinConfig,
        st.none() | stream_configs(),
        st.none() | st.sampled_from(Cipher),
        st.booleans(),
        st.booleans(),
    )


def basin_reconfigurations() -> st.SearchStrategy[BasinReconfiguration]:
    return st.builds(
        BasinReconfiguration,
        unset | st.none() | stream_reconfigurations(),
        unset | st.none() | st.sampled_from(Cipher),
        unset | st.booleans(),
        unset | st.booleans(),
    )


def resource_sets(names: st.SearchStrategy[str]) -> st.SearchStrategy[ResourceSet | None]:
    """Sets of names, in which `names` are the exact names and the prefixes."""
    return st.one_of(st.none(), st.builds(ExactMatch, names), st.builds(PrefixMatch, names))


_HALVES = st.builds(Permission, st.booleans(), st.booleans())


def token_scopes(
    basins: st.SearchStrategy[str], streams: st.SearchStrategy[str], access_tokens: st.SearchStrategy[str]
) -> st.SearchStrategy[AccessTokenScope]:
    return st.builds(
        AccessTokenScope,
        resource_sets(basins),
        resource_sets(streams),
        resource_sets(access_tokens),
        st.builds(OperationGroupPermissions, _HALVES, _HALVES, _HALVES),
        st.lists(st.sampled_from(Operation), max_size=5, unique=True).map(tuple),
    )


def token_infos(
    ids: st.SearchStrategy[str],
    scopes: st.SearchStrategy[AccessTokenScope],
    *,
    latest: datetime = datetime(2100, 1, 1),  # Hypothesis wants it without a zone
) -> st.SearchStrategy[AccessTokenInfo]:
    times = st.datetimes(datetime(2000, 1, 1), latest, timezones=st.just(UTC))
    return st.builds(AccessTokenInfo, ids, scopes, st.none() | times, st.booleans())
