"""What a server is told to have: the file, and applying it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import Invalid, UsageError
from perdure.model.configs import (
    BasinConfig,
    DeleteOnEmptyConfig,
    InfiniteRetention,
    RetentionAge,
    StreamConfig,
    TimestampingConfig,
    TimestampingMode,
)
from perdure.model.limits import MAX_U64
from perdure.server.declared import (
    DeclaredBasin,
    DeclaredStream,
    ensure_declared,
    parse_declarations,
    parse_duration,
    read_init_file,
)
from perdure.store.service import StreamStore
from perdure.store.sqlite import SqliteEngine

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def parsed_basin(**fields: object) -> DeclaredBasin:
    (basin,) = parse_declarations(json.dumps({"basins": [{"name": "my-basin", **fields}]}).encode())
    return basin


def parsed_stream_config(**fields: object) -> StreamConfig | None:
    return parsed_basin(streams=[{"name": "events", "config": fields}]).streams[0].config


def test_a_file_declares_basins_and_streams_with_their_configurations() -> None:
    basin = parsed_basin(
        config={
            "create_stream_on_append": True,
            "default_stream_config": {"retention_policy": "7d", "timestamping": {"mode": "arrival", "uncapped": None}},
        },
        streams=[{"name": "a"}, {"name": "b/c", "config": {"retention_policy": "infinite"}}],
    )
    assert basin == DeclaredBasin(
        "my-basin",
        BasinConfig(
            StreamConfig(
                retention_policy=RetentionAge(604_800), timestamping=TimestampingConfig(TimestampingMode.ARRIVAL)
            ),
            create_stream_on_append=True,
        ),
        (DeclaredStream("a"), DeclaredStream("b/c", StreamConfig(retention_policy=InfiniteRetention()))),
    )


@pytest.mark.parametrize(
    ("written", "secs"), [("12h", 43_200), ({"age": 60}, 60), ({"age": "1d 1h"}, 90_000), (" 1Week ", 604_800)]
)
def test_a_retention_is_written_as_a_time_or_as_the_api_writes_it(written: object, secs: int) -> None:
    assert parsed_stream_config(retention_policy=written) == StreamConfig(retention_policy=RetentionAge(secs))


@pytest.mark.parametrize("written", [{"min_age": "2m"}, {"min_age_secs": 120}])
def test_the_age_of_an_empty_stream_is_written_either_way(written: object) -> None:
    assert parsed_stream_config(delete_on_empty=written) == StreamConfig(delete_on_empty=DeleteOnEmptyConfig(120))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"basin": []}', "unknown field `basin`"),
        ('{"basins": [{"name": "my-basin", "stream": []}]}', "`$.basins[0]`"),
        ('{"basins": [{"name": "my-basin", "config": {"colour": 1}}]}', "`$.basins[0].config`"),
        ('{"basins": [{"name": "x"}]}', "`$.basins[0].name`"),
        ('{"basins": [{}]}', "`name`"),
        ('{"basins": [{"name": "my-basin"}, {"name": "my-basin"}]}', "'my-basin' is declared twice - at `$.basins`"),
        ('{"basins": [{"name": "my-basin", "streams": [{"name": ""}]}]}', "`$.basins[0].streams[0].name`"),
        ('{"basins": [{"name": "my-basin", "streams": [{"name": "a"}, {"name": "a"}]}]}', "`$.basins[0].streams`"),
        (
            '{"basins": [{"name": "my-basin", "config": {"default_stream_config": {"retention_policy": "7 moons"}}}]}',
            "`$.basins[0].config.default_stream_config.retention_policy`",
        ),
        (
            '{"basins": [{"name": "my-basin", "streams": [{"name": "a", "config": {"retention_policy": "0d"}}]}]}',
            "`$.basins[0].streams[0].config.retention_policy`",
        ),
        (
            '{"basins": [{"name": "my-basin", "streams": [{"name": "a", "config": {"retention_policy": {}}}]}]}',
            "exactly one of `age` and `infinite`",
        ),
        (
            '{"basins": [{"name": "my-basin", "streams": [{"name": "a", "config": {"delete_on_empty":'
            ' {"min_age": "1d", "min_age_secs": 1}}}]}]}',
            "not both",
        ),
        ("[" * 100_000, "Expected `object`"),
        ("nothing", "malformed"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_place(text: str, place: str, tmp_path: Path) -> None:
    file = tmp_path / "init.json"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_init_file(file)
    assert place in caught.value.message
    assert str(file) in caught.value.message


def test_a_toml_file_declares_what_a_json_file_does(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "streams.toml", tmp_path / "streams.json"
    toml.write_text(
        '[[basins]]\nname = "my-basin"\n[basins.config]\ncreate_stream_on_append = true\n'
        'default_stream_config = {retention_policy = "7d", timestamping = {mode = "arrival"}}\n'
        '[[basins.streams]]\nname = "events"\nconfig = {retention_policy = "infinite", delete_on_empty.min_age = 60}\n'
    )
    as_json.write_text(
        '{"basins": [{"name": "my-basin", "config": {"create_stream_on_append": true, "default_stream_config":'
        ' {"retention_policy": "7d", "timestamping": {"mode": "arrival"}}}, "streams": [{"name": "events", "config":'
        ' {"retention_policy": "infinite", "delete_on_empty": {"min_age": 60}}}]}]}'
    )
    assert read_init_file(toml) == read_init_file(as_json)
    for text, place in (
        ('[[basins]]\nname = "a"\n', "$.basins[0].name"),
        ("basins = 5", "$.basins"),
        ("basins = [}", "line 1"),
    ):
        toml.write_text(text)
        with pytest.raises(UsageError) as caught:
            read_init_file(toml, called="the file")
        assert caught.value.message.startswith(f"the file {toml} is not valid: ")
        assert place in caught.value.message


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the init file"):
        read_init_file(tmp_path / "none.json")


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(sorted(UNITS))), min_size=1, max_size=5))
def test_a_time_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    assert parse_duration(" ".join(f"{n}{unit}" for n, unit in parts)) == sum(n * UNITS[unit] for n, unit in parts)


@given(st.text(max_size=12))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        seconds = parse_duration(text)
    except Invalid:
        return
    assert 0 <= seconds <= MAX_U64


async def test_what_is_declared_is_made_once_and_found_the_second_time(tmp_path: Path) -> None:
    declared = (parsed_basin(config={"create_stream_on_read": True}, streams=[{"name": "events"}]),)
    engine = await SqliteEngine.open(tmp_path)
    try:
        store = StreamStore(engine)
        assert await ensure_declared(store, declared) == (2, 0)
        assert await ensure_declared(store, declared) == (0, 2)
        assert (await store.get_basin_config("my-basin")).create_stream_on_read
        assert [stream.name for stream in (await store.list_streams("my-basin")).items] == ["events"]
    finally:
        await engine.aclose()


async def test_what_cannot_be_made_is_named(tmp_path: Path) -> None:
    engine = await SqliteEngine.open(tmp_path)
    try:
        store = StreamStore(engine)
        await store.create_basin("my-basin")
        await store.delete_basin("my-basin")
        with pytest.raises(UsageError, match="the basin `my-basin`, which the init file declares"):
            await ensure_declared(store, (parsed_basin(),))
    finally:
        await engine.aclose()
