"""Decisions on basins and streams are pure: same entries, same request, same outcome."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from msgspec import UNSET

from perdure.errors import BasinDeletionPending, BasinNotFound, ResourceExists, StreamDeletionPending, StreamNotFound
from perdure.model.configs import (
    BasinConfig,
    BasinReconfiguration,
    ResolvedStreamConfig,
    StreamConfig,
    StreamReconfiguration,
)
from perdure.model.resources import ProvisionResult
from perdure.store import catalogue
from perdure.store.catalogue import BasinEntry, StreamEntry
from tests.model.strategies import basin_configs, stream_configs, stream_reconfigurations

NOW = datetime(2025, 5, 1, tzinfo=UTC)
BASIN = BasinEntry("a-basin-name", NOW, BasinConfig())
DELETED_BASIN = BasinEntry("a-basin-name", NOW, BasinConfig(), deleted_at=NOW)
STREAM = StreamEntry("a-basin-name", "s", NOW, ResolvedStreamConfig())
DELETED_STREAM = StreamEntry("a-basin-name", "s", NOW, ResolvedStreamConfig(), deleted_at=NOW)


@pytest.mark.parametrize(
    ("basin", "stream", "error"),
    [
        (None, None, BasinNotFound),
        (DELETED_BASIN, None, BasinDeletionPending),
        (DELETED_BASIN, DELETED_STREAM, BasinDeletionPending),
        (BASIN, None, StreamNotFound),
        (BASIN, DELETED_STREAM, StreamDeletionPending),
    ],
)
def test_what_is_missing_is_reported_from_the_outside_in(
    basin: BasinEntry | None, stream: StreamEntry | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        catalogue.change_stream(basin, stream, "a-basin-name", "s", StreamReconfiguration())
    if stream is not None or basin is not BASIN:
        with pytest.raises(error):
            catalogue.create_stream(basin, stream, "a-basin-name", "s", None, None, NOW)
        with pytest.raises(error):
            catalogue.ensure_stream(basin, stream, "a-basin-name", "s", None, NOW)


def test_a_note_of_where_a_basin_is_is_no_basin() -> None:
    note = BasinEntry("a-basin-name", NOW, BasinConfig(), location="eu:one")
    for refused in (
        lambda: catalogue.create_stream(note, None, "a-basin-name", "s", None, None, NOW),
        lambda: catalogue.auto_create_stream(note, None, "a-basin-name", "s", None, NOW),
        lambda: catalogue.change_basin(note, "a-basin-name", BasinReconfiguration()),
        lambda: catalogue.delete_basin(note, "a-basin-name", NOW),
    ):
        with pytest.raises(BasinNotFound):
            refused()
    with pytest.raises(ResourceExists, match="eu:one"):
        catalogue.create_basin(note, "a-basin-name", BasinConfig(), "token", NOW)
    with pytest.raises(ResourceExists, match="eu:one"):
        catalogue.ensure_basin(note, "a-basin-name", BasinConfig(), NOW)
    assert note.info("here").location == "eu:one"
    assert BASIN.info("here").location == "here"


def test_an_entry_tells_what_users_may_know() -> None:
    info = DELETED_STREAM.info()
    assert (info.name, info.created_at, info.deleted_at, info.cipher) == ("s", NOW, NOW, None)
    assert DELETED_BASIN.info("here").deleted_at == NOW


@given(config=stream_configs(), basin=basin_configs())
def test_ensuring_what_a_stream_has_is_no_change(config: StreamConfig, basin: BasinConfig) -> None:
    parent = BasinEntry("a-basin-name", NOW, basin)
    made = catalogue.create_stream(parent, None, "a-basin-name", "s", config, None, NOW).entry
    again = catalogue.ensure_stream(parent, made, "a-basin-name", "s", made.config.as_layer(), NOW)
    assert again.result is ProvisionResult.NOOP
    same = catalogue.ensure_stream(parent, made, "a-basin-name", "s", config, NOW)
    assert same.result is ProvisionResult.NOOP
    assert made.cipher is basin.stream_cipher


@given(config=stream_configs(), basin=basin_configs(), change=stream_reconfigurations())
def test_a_change_twice_is_a_change_once(
    config: StreamConfig, basin: BasinConfig, change: StreamReconfiguration
) -> None:
    parent = BasinEntry("a-basin-name", NOW, basin)
    made = catalogue.create_stream(parent, None, "a-basin-name", "s", config, None, NOW).entry
    once = catalogue.change_stream(parent, made, "a-basin-name", "s", change)
    assert once.write is (once.entry.config != made.config)
    assert not catalogue.change_stream(parent, once.entry, "a-basin-name", "s", change).write
    if change == StreamReconfiguration(UNSET, UNSET, UNSET, UNSET):
        assert not once.write
