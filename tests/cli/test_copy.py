"""`perdure copy` as it is called: what it copies, prints and refuses, and how it ends."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from perdure import S2, AppendRecord, SeqNum
from perdure.errors import Invalid
from perdure.store.copying import Selection
from tests.patience import PATIENCE_SECONDS
from tests.serve_command import ServeCommand

COMMAND = (sys.executable, "-m", "perdure", "copy")


async def copy(*arguments: str, cwd: Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def fill(s2: S2, *names: str) -> None:
    for name in names:
        basin, _, stream = name.partition("/")
        await s2.basins.ensure(basin, create_stream_on_append=True)
        await s2.basin(basin).stream(stream).append([AppendRecord(f"first of {name}"), AppendRecord("second")])


async def held(path: Path) -> dict[str, list[str]]:
    """What each stream of a store holds."""
    found = {}
    async with S2.open(path) as s2:
        async for basin in s2.basins.list_all():
            async for info in s2.basin(basin.name).streams.list_all():
                read = await s2.basin(basin.name).stream(info.name).read(SeqNum(0))
                found[f"{basin.name}/{info.name}"] = [record.text for record in read.records]
    return found


async def test_everything_is_copied_from_under_a_server_and_later_what_came(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "one") as server, S2(access_token="any", endpoints=server.url) as s2:
        await fill(s2, "basin-one/a", "basin-one/b/c", "basin-two/é")
        status, said, complaint = await copy("one", "two", cwd=tmp_path)
        assert (status, complaint) == (0, "")
        assert said.startswith("two is a copy of 3 streams; 3 were behind, by 3 batches, ")
        assert "3 batches verified" in said
        assert await held(tmp_path / "two") == await held(tmp_path / "one")
        await fill(s2, "basin-two/é")
        status, said, _ = await copy("one", "two", "--json", cwd=tmp_path)
    outcome = json.loads(said)
    assert (outcome["streams"], outcome["behind"], outcome["blocks"], outcome["verified_blocks"]) == (3, 1, 1, 2)
    assert await held(tmp_path / "two") == await held(tmp_path / "one")


async def test_a_part_can_be_copied(tmp_path: Path) -> None:
    async with S2.open(tmp_path / "one") as s2:
        await fill(s2, "basin-one/a/1", "basin-one/b", "basin-two/c", "basin-three/d")
    status, _, _ = await copy("one", "two", "--only", "s2://basin-one/a/", "--only", "s2://basin-two", cwd=tmp_path)
    assert status == 0
    assert set(await held(tmp_path / "two")) == {"basin-one/a/1", "basin-two/c"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_follows_until_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    async with S2.open(tmp_path / "one") as s2:
        await fill(s2, "basin-one/a")
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "one", "two", "--follow", "--json", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert json.loads(await process.stdout.readline())["blocks"] == 1
                await fill(s2, "basin-one/a", "basin-late/b")
                copied = 0
                while copied < 2:
                    copied += json.loads(await process.stdout.readline())["blocks"]
                process.send_signal(number)
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert await held(tmp_path / "two") == await held(tmp_path / "one")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("missing", "two"), 2, "missing is not the data directory of a store"),
        (("one", "one"), 2, "the same store"),
        (("one", f".{os.sep}one"), 2, "the same store"),
        (("one", "http://host"), 2, "http://host is no directory"),
        ((":memory:", "two"), 2, "in memory"),
        (("one", "two", "--only", "basin-one"), 2, "expected s2://basin"),
        (("one", "two", "--only", "s2://NO"), 2, "--only: basin name"),
        (("one", "two", "--only", "s2://basin-other"), 1, "basin `basin-other` not found"),
        (("one",), 2, "TARGET"),
    ],
)
async def test_what_cannot_be_copied_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], status: int, message: str
) -> None:
    async with S2.open(tmp_path / "one") as s2:
        await fill(s2, "basin-one/a")
    found, said, complaint = await copy(*arguments, cwd=tmp_path)
    assert (found, said) == (status, "")
    assert message in complaint
    assert not (tmp_path / "missing").exists()


async def test_a_copy_that_was_written_to_is_refused(tmp_path: Path) -> None:
    async with S2.open(tmp_path / "one") as one:
        await fill(one, "basin-one/a")
        assert (await copy("one", "two", cwd=tmp_path))[0] == 0
        async with S2.open(tmp_path / "two") as two:
            await fill(two, "basin-one/a")
        status, _, complaint = await copy("one", "two", cwd=tmp_path)
    assert status == 1
    assert "stream `a` in basin `basin-one` is no copy any more" in complaint


@pytest.mark.parametrize(
    ("address", "selection"),
    [
        ("s2://basin-one", Selection("basin-one")),
        ("s2://basin-one/", Selection("basin-one")),
        ("s2://basin-one/a/b", Selection("basin-one", "a/b")),
    ],
)
def test_an_address_selects_by_prefix(address: str, selection: Selection) -> None:
    assert Selection.parse(address) == selection


@pytest.mark.parametrize("address", ["", "basin-one", "s3://basin-one", "s2:basin-one", "s2:///a", "s2://Basin/a"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(Invalid):
        Selection.parse(address)
