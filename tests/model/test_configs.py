"""How layers of configuration resolve and how a change merges (store API, sections 4.3 and 4.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from perdure.errors import Invalid
from perdure.model.configs import (
    SYSTEM_DEFAULTS,
    BasinConfig,
    BasinReconfiguration,
    DeleteOnEmptyConfig,
    DeleteOnEmptyReconfiguration,
    InfiniteRetention,
    ResolvedStreamConfig,
    RetentionAge,
    StorageClass,
    StreamConfig,
    StreamReconfiguration,
    TimestampingConfig,
    TimestampingMode,
    TimestampingReconfiguration,
    normalised_basin,
    normalised_layer,
    reconfigure_basin,
    reconfigure_layer,
    reconfigure_stream,
    resolve,
)
from tests.model.strategies import (
    basin_configs,
    basin_reconfigurations,
    stream_configs,
    stream_reconfigurations,
)


def leaves(layer: StreamConfig | None) -> list[object]:
    """What is set in each leaf field of a layer, None where nothing is."""
    layer = layer or StreamConfig()
    timestamping = layer.timestamping or TimestampingConfig()
    retention = layer.retention_policy
    return [
        layer.storage_class,
        retention,
        timestamping.mode,
        timestamping.uncapped,
        None if layer.delete_on_empty is None else layer.delete_on_empty.min_age_secs,
    ]


DEFAULT_LEAVES = leaves(SYSTEM_DEFAULTS.as_layer())
optional_layers = st.none() | stream_configs()


def test_the_system_defaults() -> None:
    assert SYSTEM_DEFAULTS.as_layer() == StreamConfig(
        StorageClass.EXPRESS,
        RetentionAge(604_800),
        TimestampingConfig(TimestampingMode.CLIENT_PREFER, False),
        DeleteOnEmptyConfig(0),
    )
    assert resolve(None, None) == SYSTEM_DEFAULTS


@given(stream=optional_layers, basin=optional_layers)
def test_every_leaf_comes_from_the_first_layer_that_sets_it(
    stream: StreamConfig | None, basin: StreamConfig | None
) -> None:
    expected = [
        next(value for value in values if value is not None)
        for values in zip(leaves(stream), leaves(basin), DEFAULT_LEAVES, strict=True)
    ]
    assert leaves(resolve(stream, basin).as_layer()) == expected


@given(stream=optional_layers, basin=optional_layers, other=optional_layers)
def test_a_resolved_configuration_resolves_to_itself(
    stream: StreamConfig | None, basin: StreamConfig | None, other: StreamConfig | None
) -> None:
    resolved = resolve(stream, basin)
    assert resolve(resolved.as_layer(), other) == resolved


def test_a_default_that_is_set_wins_over_the_basin() -> None:
    basin = StreamConfig(
        StorageClass.STANDARD,
        InfiniteRetention(),
        TimestampingConfig(TimestampingMode.ARRIVAL, True),
        DeleteOnEmptyConfig(60),
    )
    assert resolve(SYSTEM_DEFAULTS.as_layer(), basin) == SYSTEM_DEFAULTS
    assert resolve(StreamConfig(delete_on_empty=DeleteOnEmptyConfig(0)), basin).delete_on_empty_secs == 0
    assert resolve(StreamConfig(timestamping=TimestampingConfig(uncapped=False)), basin) == ResolvedStreamConfig(
        StorageClass.STANDARD, None, TimestampingMode.ARRIVAL, False, 60
    )


def changed(before: object, change: object) -> object:
    return before if change is UNSET else change


@given(current=stream_configs(), change=stream_reconfigurations())
def test_a_change_keeps_clears_or_sets_each_leaf(current: StreamConfig, change: StreamReconfiguration) -> None:
    timestamping = change.timestamping
    if timestamping is None:
        mode: object = None
        uncapped: object = None
    elif isinstance(timestamping, TimestampingReconfiguration):
        mode, uncapped = timestamping.mode, timestamping.uncapped
    else:
        mode = uncapped = UNSET
    delete: object = change.delete_on_empty
    if isinstance(delete, DeleteOnEmptyReconfiguration):
        delete = delete.min_age_secs
    changes = [change.storage_class, change.retention_policy, mode, uncapped, delete]
    expected = [changed(before, to) for before, to in zip(leaves(current), changes, strict=True)]
    assert leaves(reconfigure_layer(current, change)) == expected


@given(current=stream_configs(), basin=optional_layers, change=stream_reconfigurations())
def test_what_a_stream_clears_falls_back_to_the_basin(
    current: StreamConfig, basin: StreamConfig | None, change: StreamReconfiguration
) -> None:
    resolved = resolve(current, basin)
    outcome = reconfigure_stream(resolved, change, basin)
    assert outcome == resolve(reconfigure_layer(resolved.as_layer(), change), basin)
    everything = reconfigure_stream(resolved, StreamReconfiguration(None, None, None, None), basin)
    assert everything == resolve(None, basin)
    assert reconfigure_stream(resolved, StreamReconfiguration(), None) == resolved


@given(current=basin_configs(), change=basin_reconfigurations())
def test_a_change_of_a_basin(current: BasinConfig, change: BasinReconfiguration) -> None:
    outcome = reconfigure_basin(current, change)
    assert outcome == normalised_basin(outcome)
    assert outcome.create_stream_on_append == changed(current.create_stream_on_append, change.create_stream_on_append)
    assert outcome.create_stream_on_read == changed(current.create_stream_on_read, change.create_stream_on_read)
    assert outcome.stream_cipher == changed(current.stream_cipher, change.stream_cipher)
    if change.default_stream_config is None:
        assert outcome.default_stream_config is None
    assert reconfigure_basin(outcome, BasinReconfiguration()) == outcome


@given(layer=optional_layers)
def test_nothing_set_is_the_same_as_nothing(layer: StreamConfig | None) -> None:
    bare = normalised_layer(layer)
    assert normalised_layer(bare) == bare
    assert leaves(bare) == leaves(layer)
    assert (bare is None) is (leaves(layer) == [None] * 5)


def test_an_explicit_zero_is_a_value() -> None:
    layer = StreamConfig(delete_on_empty=DeleteOnEmptyConfig(0))
    assert normalised_layer(layer) == layer


@pytest.mark.parametrize("secs", [0, -1, 2**64])
def test_a_retention_of_no_time_is_refused(secs: int) -> None:
    with pytest.raises(Invalid, match="age must be greater than 0 seconds"):
        RetentionAge(secs)


class TestKinds:
    """Who has no type checker is told as well: `retention_policy=3600` was taken for no age, that is for ever."""

    @pytest.mark.parametrize(
        ("kind", "wrong"),
        [
            (StreamConfig, {"retention_policy": 3600}),
            (StreamConfig, {"retention_policy": InfiniteRetention}),
            (StreamConfig, {"storage_class": "fast"}),
            (StreamConfig, {"timestamping": "arrival"}),
            (StreamConfig, {"delete_on_empty": 60}),
            (TimestampingConfig, {"mode": "client"}),
            (TimestampingConfig, {"uncapped": "yes"}),
            (DeleteOnEmptyConfig, {"min_age_secs": "5"}),
            (DeleteOnEmptyConfig, {"min_age_secs": -1}),
            (DeleteOnEmptyConfig, {"min_age_secs": None}),
            (BasinConfig, {"default_stream_config": RetentionAge(5)}),
            (BasinConfig, {"stream_cipher": "rot13"}),
            (BasinConfig, {"create_stream_on_append": "yes"}),
            (BasinConfig, {"create_stream_on_read": None}),
            (StreamReconfiguration, {"retention_policy": 3600}),
            (StreamReconfiguration, {"timestamping": TimestampingConfig()}),
            (TimestampingReconfiguration, {"mode": "client"}),
            (DeleteOnEmptyReconfiguration, {"min_age_secs": 1.5}),
            (BasinReconfiguration, {"create_stream_on_append": None}),
        ],
    )
    def test_a_value_of_the_wrong_kind_is_refused(self, kind: type[StreamConfig], wrong: dict[str, object]) -> None:
        with pytest.raises(Invalid, match=next(iter(wrong))):
            kind(**wrong)  # type: ignore[arg-type]

    @pytest.mark.parametrize("age", ["7d", 1.5, True, None, 0, -1])
    def test_an_age_is_a_whole_number_of_seconds(self, age: object) -> None:
        with pytest.raises(Invalid, match="age"):
            RetentionAge(age)  # type: ignore[arg-type]

    def test_a_plain_string_is_the_member_that_it_equals(self) -> None:
        assert TimestampingConfig("arrival").mode is TimestampingMode.ARRIVAL  # type: ignore[arg-type]
        assert StreamConfig("express").storage_class is StorageClass.EXPRESS  # type: ignore[arg-type]
