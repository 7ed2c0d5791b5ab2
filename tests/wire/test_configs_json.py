"""Configurations and changes to them survive their JSON (store API, section 4)."""

from typing import TypeVar

from hypothesis import given
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
from perdure.model.limits import MAX_U64
from perdure.wire import configs_json

T = TypeVar("T")

SECONDS = st.integers(0, MAX_U64)
RETENTIONS: st.SearchStrategy[Retention] = st.just(InfiniteRetention()) | st.builds(
    RetentionAge, st.integers(1, MAX_U64)
)


def change(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | UnsetType | None]:
    return st.just(UNSET) | st.none() | values


LAYERS = st.builds(
    StreamConfig,
    st.none() | st.sampled_from(list(StorageClass)),
    st.none() | RETENTIONS,
    st.none()
    | st.builds(TimestampingConfig, st.none() | st.sampled_from(list(TimestampingMode)), st.none() | st.booleans()),
    st.none() | st.builds(DeleteOnEmptyConfig, SECONDS),
)
LAYER_CHANGES = st.builds(
    StreamReconfiguration,
    change(st.sampled_from(list(StorageClass))),
    change(RETENTIONS),
    change(
        st.builds(TimestampingReconfiguration, change(st.sampled_from(list(TimestampingMode))), change(st.booleans()))
    ),
    change(st.builds(DeleteOnEmptyReconfiguration, change(SECONDS))),
)
BASINS = st.builds(
    BasinConfig, st.none() | LAYERS, st.none() | st.sampled_from(list(Cipher)), st.booleans(), st.booleans()
)
BASIN_CHANGES = st.builds(
    BasinReconfiguration,
    change(LAYER_CHANGES),
    change(st.sampled_from(list(Cipher))),
    st.just(UNSET) | st.booleans(),
    st.just(UNSET) | st.booleans(),
)


@given(LAYERS)
def test_stream_configurations_survive(config: StreamConfig) -> None:
    assert configs_json.decode_stream_config(configs_json.encode_stream_config(config)) == config


@given(BASINS)
def test_basin_configurations_survive(config: BasinConfig) -> None:
    assert configs_json.decode_basin_config(configs_json.encode_basin_config(config)) == config


@given(LAYER_CHANGES)
def test_changes_to_streams_survive(wanted: StreamReconfiguration) -> None:
    data = configs_json.encode_stream_reconfiguration(wanted)
    assert configs_json.decode_stream_reconfiguration(data) == wanted


@given(BASIN_CHANGES)
def test_changes_to_basins_survive(wanted: BasinReconfiguration) -> None:
    data = configs_json.encode_basin_reconfiguration(wanted)
    assert configs_json.decode_basin_reconfiguration(data) == wanted
