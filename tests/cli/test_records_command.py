"""`perdure append`, `read` and `tail` as they are called: lines in, lines out, and how they end."""

import asyncio
import base64
import json
import signal
from pathlib import Path

import pytest

from perdure import S2, AppendRecord, Cipher, SeqNum
from perdure.cli import main
from tests.cli.terminal import Terminal
from tests.patience import PATIENCE_SECONDS
from tests.perdure_command import perdure, started
from tests.serve_command import ServeCommand

URI = "s2://my-basin/a/stream"


@pytest.fixture
async def s2(tmp_path: Path) -> S2:
    """A store with an empty stream."""
    s2 = await S2.open(tmp_path / "data")
    basin = await s2.basins.ensure("my-basin", create_stream_on_append=True)
    await basin.streams.ensure("a/stream")
    return s2


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(tmp_path / "data")


async def bodies(s2: S2) -> list[bytes]:
    return [record.body for record in (await s2.basin("my-basin").stream("a/stream").read(SeqNum(0))).records]


async def test_lines_become_records_and_lines_again(s2: S2, data: str) -> None:
    said = await perdure("append", URI, "--data", data, "--json", stdin=b"one\r\n\xff\n\nlast")
    assert (said.status, json.loads(said.out)["records"]) == (0, 4)
    assert said.err.startswith(f"appended 4 records to {URI}: numbers 0 to 3, the tail is 4 (")
    assert await perdure("read", URI, "--data", data, "-n", "9") == (0, b"one\n\xff\n\nlast\n", "")
    assert await perdure("tail", URI, "--data", data, "-n", "2") == (0, b"\nlast\n", "")
    out = Path(data).parent / "records"
    found = await perdure(
        "read", URI, "--no-follow", "-o", str(out), "--format", "json-base64", env={"PERDURE_DATA": data}
    )
    assert found == (0, b"", "")
    assert (await perdure("append", "s2://my-basin/b", "-i", str(out), "--format", "json-base64", "--data", data))[
        0
    ] == 0
    again = await perdure("read", "s2://my-basin/b", "-s", "0", "-n", "4", "--format", "json-base64", "--data", data)
    assert again.out == out.read_bytes()
    await s2.aclose()


async def test_a_server_is_written_and_read_like_a_directory(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server, S2(access_token="any", endpoints=server.url) as s2:
        await s2.basins.ensure("my-basin", create_stream_on_append=True)
        where = {"S2_ACCOUNT_ENDPOINT": server.url, "S2_BASIN_ENDPOINT": server.url, "S2_ACCESS_TOKEN": "any"}
        lines = b"".join(b"record %d\n" % number for number in range(3_000))
        assert (await perdure("append", URI, stdin=lines, env=where))[:2] == (0, b"")
        assert await perdure("read", URI, "--no-follow", env=where) == (0, lines, "")
        async with started("tail", URI, "-n", "1", "-f", env=where) as following:
            assert following.stdout is not None
            assert await asyncio.wait_for(following.stdout.readline(), PATIENCE_SECONDS) == b"record 2999\n"
            await s2.basin("my-basin").stream("a/stream").append([AppendRecord("what comes")])
            assert await asyncio.wait_for(following.stdout.readline(), PATIENCE_SECONDS) == b"what comes\n"
            following.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(following.wait(), PATIENCE_SECONDS) == 130
            assert following.stderr is not None
            assert await following.stderr.read() == b""


async def test_a_line_is_appended_as_soon_as_it_comes_and_a_signal_leaves_nothing_behind(s2: S2, data: str) -> None:
    async with started("append", URI, "--data", data) as process:
        assert process.stdin is not None
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            s2.basin("my-basin").stream("a/stream").read_session(SeqNum(0)) as records,
        ):
            for line in (b"first", b"second"):
                process.stdin.write(line + b"\n")
                assert (await anext(records)).body == line
            process.stdin.write(b"third\nhalf of the")
            assert (await anext(records)).body == b"third"
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 130
        assert process.stderr is not None
        said = (await process.stderr.read()).decode()
    assert "the last line had not ended, and is not appended (11 bytes)\n" in said
    assert f"appended 3 records to {URI}: numbers 0 to 2" in said
    await s2.aclose()


async def test_what_stands_before_a_bad_line_is_appended(s2: S2, data: str) -> None:
    lines = b'{"body": "good", "headers": [["a", "b"]]}\n{}\n{"bdoy": "bad"}\n{"body": "never"}\n'
    said = await perdure("append", URI, "--data", data, "--format", "json", stdin=lines)
    assert (said.status, said.out) == (1, b"")
    assert 'the standard input, line 3: \'{"bdoy": "bad"}\' is no record as json' in said.err
    assert 'expected {"body": "text"' in said.err
    assert await bodies(s2) == [b"good", b""]
    await s2.aclose()


def test_conditions_and_mistakes_end_with_their_status(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, lines = str(tmp_path / "data"), tmp_path / "lines"
    lines.write_text("x\n")
    first = [AppendRecord(b"\xff", headers={"a": "b"}), AppendRecord.trim(0), AppendRecord.fence("me")]

    async def made() -> None:
        async with S2.open(data) as s2:
            basin = await s2.basins.ensure("my-basin", create_stream_on_append=True)
            await basin.stream("a/stream").append(first)

    def run(*arguments: str) -> tuple[int, str, str]:
        return main([*arguments, "--data", data]), *capfd.readouterr()

    asyncio.run(made())
    for arguments, status, message in (
        (("append", URI, "-i", str(lines), "-m", "9"), 4, "the next record would get 3"),
        (("append", URI, "-i", str(lines), "-f", "you"), 4, "the stream's current token is 'me'"),
        (("append", URI, "-i", "nowhere"), 1, "nowhere"),
        (("append", URI, "--linger", "5"), 2, 'expected a time with its unit (ms, s, m, h, d), such as "500ms"'),
        (("read", URI, "-s", "9", "-n", "1"), 1, "the tail is at sequence number 3"),
        (("read", URI, "-s", "1", "--ago", "1h"), 2, "--seq-num and --ago are 2 places to start; give one of them"),
        (("read", "s2://my-basin/none", "-n", "1"), 3, "stream `none` in basin `my-basin` not found"),
        (("tail", URI, "-n", "ten"), 2, "expected a number from 0 on, got 'ten'"),
    ):
        found, out, err = run(*arguments)
        assert (found, out) == (status, "")
        assert message in err
    assert run("read", URI, "-s", "3", "-n", "1") == (0, "", "")
    found, out, err = run("read", URI, "--no-follow")
    assert (found, out) == (0, "\ufffd\n")
    assert [line.partition(": ")[2] for line in err.splitlines()] == [
        "trim, records below 0 go",
        "fence, the fencing token is 'me'",
    ]
    found, out, err = run("read", URI, "-n", "9", "--format", "json")
    assert [json.loads(line).get("headers") for line in out.splitlines()] == [
        [["a", "b"]],
        [["", "trim"]],
        [["", "fence"]],
    ]
    assert "1 record with bytes that are no UTF-8" in err


async def test_whoever_stops_reading_ends_a_quiet_follower(s2: S2, data: str) -> None:
    await s2.basin("my-basin").stream("a/stream").append([AppendRecord("one")])
    async with started("read", URI, "-s", "0", "--data", data) as process:
        assert process.stdout is not None
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE_SECONDS) == b"one\n"
        transport = process.stdout._transport  # type: ignore[attr-defined]  # closed as `head` closes its input
        transport.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 141
        assert process.stderr is not None
        assert await process.stderr.read() == b""
    await s2.aclose()


def test_on_a_terminal_each_line_is_told_and_ctrl_d_ends(tmp_path: Path) -> None:
    data = str(tmp_path / "data")

    async def made() -> None:
        async with S2.open(data) as s2:
            await s2.basins.ensure("my-basin", create_stream_on_append=True)

    asyncio.run(made())
    with Terminal("append", URI, "--data", data) as terminal:
        terminal.wait_for("Ctrl-D ends it")
        terminal.enter("hello\n")
        terminal.wait_for("  0\n")
        terminal.enter("again\n")
        terminal.wait_for("  1\n")
        terminal.enter("\x04")
        assert terminal.wait() == 0
    assert f"appended 2 records to {URI}: numbers 0 to 1" in terminal.plain
    with Terminal("tail", URI, "-f", "--data", data) as terminal:
        terminal.wait_for("hello\nagain\n")
        terminal.enter("\x03")
        assert terminal.wait() == 130
    assert "2 records, 26 B, numbers 0 to 1" in terminal.plain


async def test_a_sealed_stream_is_opened_with_the_key_in_a_file(s2: S2, data: str, tmp_path: Path) -> None:
    await s2.basins.ensure("sealed-basin", stream_cipher=Cipher.AES_256_GCM, create_stream_on_append=True)
    key = tmp_path / "key"
    key.write_text(base64.b64encode(bytes(32)).decode() + "\n")
    uri, where = "s2://sealed-basin/s", ("--data", data, "--encryption-key-file", str(key))
    assert (await perdure("append", uri, *where, stdin=b"secret\n"))[0] == 0
    assert await perdure("tail", uri, *where) == (0, b"secret\n", "")
    assert (await perdure("tail", uri, "--data", data, env={"S2_ENCRYPTION_KEY": key.read_text()})).out == b"secret\n"
    assert (await perdure("tail", uri, "--data", data))[:2] == (1, b"")
    key.write_text("no key")
    refused = await perdure("tail", uri, *where)
    assert (refused.status, "no key" in refused.err) == (2, False)
    await s2.aclose()
