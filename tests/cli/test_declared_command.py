"""`perdure diff` and `perdure apply` as they are called: what they show, do and leave."""

import json
import os
from pathlib import Path

import pytest

from perdure import (
    S2,
    AccessTokenScope,
    InfiniteRetention,
    OperationGroupPermissions,
    Permission,
    PrefixMatch,
    RetentionAge,
)
from tests.perdure_command import perdure
from tests.serve_command import ServeCommand

FILE = """
[[basins]]
name = "my-basin"
config = {create_stream_on_append = true, default_stream_config = {retention_policy = "30d"}}
[[basins.streams]]
name = "events"
config = {retention_policy = "infinite"}
[[basins.streams]]
name = "as/it/is"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "streams.toml"
    path.write_text(FILE)
    return str(path)


async def test_a_file_is_compared_and_applied_and_then_nothing_differs(tmp_path: Path, file: str) -> None:
    data = str(tmp_path / "data")
    async with S2.open(data) as s2:
        basin = await s2.basins.ensure("my-basin", default_stream_config=None)
        await basin.streams.ensure("events", retention_policy=RetentionAge(3_600))
        await basin.streams.ensure("not/declared", retention_policy=RetentionAge(60))
        shown = await perdure("diff", file, "--data", data)
        assert (shown.status, shown.err) == (5, "1 to create, 2 to change, 0 as declared\n")
        assert shown.out.decode().splitlines() == [
            "~ s2://my-basin",
            "    create_stream_on_append                 false → true",
            "    default_stream_config.retention_policy  7d → 30d",
            "~ s2://my-basin/events",
            "    retention_policy  1h → infinite",
            "+ s2://my-basin/as/it/is",
        ]
        dry = await perdure("apply", file, "--dry-run", "--data", data)
        assert (dry.status, dry.out) == (0, shown.out)
        assert dry.err.endswith("; nothing was changed\n")
        assert (await basin.streams.get_config("events")).retention_policy == RetentionAge(3_600)
        done = await perdure("apply", file, "--data", data)
        assert (done.status, done.out, done.err) == (0, shown.out, "1 created, 2 changed, 0 as declared\n")
        assert (await basin.streams.get_config("events")).retention_policy == InfiniteRetention()
        assert (await basin.streams.get_config("as/it/is")).retention_policy == RetentionAge(30 * 86_400)
        assert (await basin.streams.get_config("not/declared")).retention_policy == RetentionAge(60)
    same = await perdure("diff", file, "--json", "--data", data)
    assert (same.status, [step["action"] for step in json.loads(same.out)]) == (0, ["keep"] * 3)


async def test_a_new_directory_is_made_by_apply_alone(tmp_path: Path, file: str) -> None:
    data = str(tmp_path / "data")
    assert (await perdure("diff", file, "--data", data)).status == 2
    assert os.listdir(tmp_path) == [os.path.basename(file)]
    done = await perdure("apply", file, "--json", "--data", data)
    assert (done.status, [step["done"] for step in json.loads(done.out)]) == (0, [True] * 3)


async def test_what_cannot_be_made_is_named_with_how_far_it_came(tmp_path: Path) -> None:
    file, secret = tmp_path / "streams.json", tmp_path / "token"
    basins = [{"name": "basin-one", "streams": [{"name": "a"}, {"name": "b/c"}, {"name": "d"}]}, {"name": "basin-two"}]
    file.write_text(json.dumps({"basins": basins}))
    async with (
        ServeCommand(tmp_path / "data", PERDURE_ROOT_TOKEN="root") as server,
        S2(access_token="root", endpoints=server.url) as s2,
    ):
        await (await s2.basins.ensure("basin-one")).streams.ensure("a")
        reading = OperationGroupPermissions(Permission.READ, Permission.READ, Permission.READ)
        scope = AccessTokenScope(basins=PrefixMatch(""), streams=PrefixMatch(""), op_groups=reading)
        secret.write_text(await s2.access_tokens.issue("reader", scope=scope))
        where = ("--endpoint", server.url, "--token-file", str(secret))
        failed = await perdure("apply", str(file), *where)
        assert (failed.status, failed.out) == (1, b"= s2://basin-one\n= s2://basin-one/a\n")
    assert "s2://basin-one/b/c was not made as declared: " in failed.err
    assert "before it: 0 created, 0 changed, 2 as declared; 2 behind it were not touched" in failed.err


async def test_a_mistake_in_the_file_is_told(tmp_path: Path) -> None:
    file = tmp_path / "streams.json"
    file.write_text('{"basins": [{"name": "my-basin", "retention": 5}]}')
    told = await perdure("diff", str(file), "--data", str(tmp_path))
    assert (told.status, told.out) == (2, b"")
    assert f"the file {file} is not valid: Object contains unknown field `retention` - at `$.basins[0]`" in told.err
    schema = await perdure("apply", "--schema")
    assert json.loads(schema.out)["$defs"]
    assert "a FILE is needed" in (await perdure("apply")).err
