"""Arbitrary values of the model."""

from hypothesis import strategies as st
from msgspec import UNSET, UnsetType

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
