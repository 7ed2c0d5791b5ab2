"""`perdure bench` as it is called: what it measures, shows and finds, and how it ends."""

import asyncio
import json
import signal
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from perdure import S2, AppendRecord, ReadSession, ReadStart, SeqNum, SeqNumMismatch, Stream
from perdure.cli import main
from perdure.cli.bench.command import measure
from perdure.cli.bench.measured import MIB, Report, Run, Settings
from perdure.cli.bench.report import bar, print_report
from perdure.cli.bench.running import pause_secs
from perdure.cli.bench.view import View, sparks
from perdure.cli.output import console
from perdure.client.transports.local import LocalTransport
from tests.cli.terminal import Terminal
from tests.patience import PATIENCE_SECONDS
from tests.perdure_command import perdure, started
from tests.serve_command import ServeCommand

FAST = ("-d", "300ms", "-w", "0", "-b", "1KiB")


@pytest.fixture
async def data(tmp_path: Path) -> str:
    async with S2.open(tmp_path / "data") as s2:
        await s2.basins.ensure("my-basin")
    return str(tmp_path / "data")


async def streams(data: str) -> list[str]:
    async with S2.open(data) as s2:
        return [info.name async for info in s2.basin("my-basin").streams.list_all()]


async def test_a_server_is_measured_and_nothing_stays(tmp_path: Path) -> None:
    async with ServeCommand(tmp_path / "data") as server, S2(access_token="any", endpoints=server.url) as s2:
        basin = await s2.basins.ensure("my-basin")
        found = await perdure("bench", "s2://my-basin/x/", *FAST, "-t", "2", "--json", "--endpoint", server.url)
        report = json.loads(found.out)
        assert (found.status, report["complete"], report["fault"]) == (0, True, None)
        assert report["stream"].startswith("s2://my-basin/x/bench/")
        counts = [report[flow]["records"] for flow in ("append", "tail", "catch_up")]
        assert counts[0] == counts[1] == counts[2] > 0
        assert report["append"]["bytes"] == counts[0] * 1024 <= 1.1 * 0.3 * 2 * 1024 * 1024
        for latencies in (report["ack_ms"], report["end_to_end_ms"]):
            assert (
                0 < latencies["p50"] <= latencies["p90"] <= latencies["p99"] <= latencies["p99_9"] <= latencies["max"]
            )
        assert found.err.startswith(f"bench {report['stream']}: records of 1.0 KiB, 2 MiB/s, for 0.3 s\n")
        assert [info.name async for info in basin.streams.list_all()] == []


async def test_a_directory_is_measured_as_fast_as_it_goes_and_kept_if_wanted(data: str) -> None:
    found = await perdure("bench", "my-basin", *FAST, "-t", "max", "--keep", "--data", data)
    assert found.status == 0
    said = found.out.decode()
    for words in ("as fast as it goes", "append", "tail", "catch up", "p99.9", "each as it was written, in order"):
        assert words in said
    assert len(await streams(data)) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_with_partial_results(data: str, number: signal.Signals) -> None:
    async with started("bench", "my-basin", "-d", "1h", "-t", "1", "--json", "--data", data) as process:
        assert process.stderr is not None
        assert (await asyncio.wait_for(process.stderr.readline(), PATIENCE_SECONDS)).startswith(b"bench s2://")
        process.send_signal(number)
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, _ = await process.communicate()
    report = json.loads(out)
    assert (process.returncode, report["complete"], report["fault"]) == (128 + number, False, None)
    assert report["append"]["records"] == report["tail"]["records"]
    assert await streams(data) == []


def test_a_terminal_sees_it_live_and_ctrl_c_ends_it(tmp_path: Path) -> None:
    data = str(tmp_path / "data")

    async def made() -> None:
        async with S2.open(data) as s2:
            await s2.basins.ensure("my-basin")

    asyncio.run(made())
    with Terminal("bench", "my-basin", "-d", "1h", "-t", "1", "--data", data, columns=120) as terminal:
        for words in ("append and tail", "Ctrl-C ends it with what there is", "MiB/s", " ms", "█"):
            terminal.wait_for(words)
        terminal.enter("\x03")
        assert terminal.wait() == 130
    assert "ended early: these results are partial" in terminal.plain
    assert asyncio.run(streams(data)) == []


def test_what_is_wrong_with_the_call_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = str(tmp_path / "data")

    async def made() -> None:
        async with S2.open(data):
            pass

    asyncio.run(made())
    for arguments, status, message in (
        (("my-basin", "-b", "100"), 2, "expected 128 to 1048576 bytes (1 MiB), got '100'"),
        (("my-basin", "-t", "0"), 2, 'expected MiB a second, such as 0.5 or 10, or "max", got'),
        (("my-basin", "-d", "0"), 2, "expected a time above 0"),
        (("no-such-basin",), 3, "no-such-basin"),
    ):
        assert main(["bench", *arguments, "--data", data]) == status
        out, err = capfd.readouterr()
        assert out == ""
        assert message in err


class ReadFromElsewhere(Stream):
    """A stream that says nothing of its first records to some who read it."""

    first_for_followers = 0
    first_for_others = 0

    def read_session(
        self,
        start: ReadStart | None = None,
        *,
        count: int | None = None,
        bytes: int | None = None,
        until: int | None = None,
        clamp: bool = False,
        wait: float | None = None,
        ignore_command_records: bool = False,
    ) -> ReadSession:
        first = self.first_for_others if wait == 0 else self.first_for_followers
        return super().read_session(SeqNum(first), wait=wait)


async def test_lost_records_are_found_and_told_with_what_was_measured(data: str) -> None:
    transport, out = LocalTransport.at(data), StringIO()
    run = Run(Settings(256, None, 0.1, 0.0), "s2://my-basin/x")
    async with S2(transport=transport) as s2:
        await s2.basin("my-basin").streams.create("x")
        stream = ReadFromElsewhere(transport, "my-basin", "x")
        stream.first_for_others = 3
        assert await measure(run, stream) == 1
    assert Report.of(run).fault == (
        "the catch-up read, at sequence number 3: record 3, where 0 was expected: 0 to 2 missing"
    )
    print_report(run, console(out))
    assert "✗ the catch-up read, at sequence number 3: record 3" in out.getvalue()
    assert "ended early" not in out.getvalue()
    assert run.append.records == run.tail.records > 0


async def test_what_ends_the_writer_ends_the_run(data: str) -> None:
    transport = LocalTransport.at(data)
    async with S2(transport=transport) as s2:
        await s2.basin("my-basin").streams.create("x")
        stream = ReadFromElsewhere(transport, "my-basin", "x")
        await stream.append([AppendRecord("not of the bench")])
        stream.first_for_followers = 1  # who saw the foreign record would find a fault, and that first perhaps
        run = Run(Settings(256, None, 60.0, 0.0), "s2://my-basin/x")
        with pytest.raises(SeqNumMismatch):
            await asyncio.wait_for(measure(run, stream), PATIENCE_SECONDS)
    assert not run.complete


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_figures_are_whole_however_narrow_the_terminal_is(columns: int) -> None:
    run = Run(Settings(8192, 1.0, 60.0, 0.0), "s2://my-basin/x")
    for flow in (run.append, run.tail, run.catch_up):
        flow.begin(0)
        flow.add(123_456, 8192, 12_000_000_000)
        for latency_ns in (870_000, 12_300_000, 345_000_000):
            flow.latencies.add(latency_ns)
    out = StringIO()
    screen = Console(file=out, width=columns)
    print_report(run, screen)
    screen.print(View(run).drawn(0, columns, stopping=False))
    shown = out.getvalue()
    assert "…" not in shown
    for figure in ("80.4", "10,288", "123,456", "964.5 MiB", "12.00 s", "p99.9", "12.3 ms"):
        assert figure in shown


def test_little_blocks_and_bars() -> None:
    assert [sparks([]), sparks([0.0, 0.0]), sparks([1.0, 4.0, 8.0])] == ["", "▁▁", "▂▅█"]
    assert [bar(share, 4) for share in (0.0, 1e-9, 0.5, 0.53, 1.0, 2.0)] == ["", "▏", "██", "██▏", "████", "████"]


@given(st.floats(0.001, 1e6), st.integers(0, 2**40), st.floats(0, 1e5))
def test_no_more_is_sent_than_the_target(target: float, sent: int, elapsed: float) -> None:
    pause = pause_secs(sent, elapsed, target)
    assert pause >= 0
    assert sent / MIB <= target * (elapsed + pause) * (1 + 1e-9)
    assert pause_secs(sent, elapsed + pause, target) <= 1e-6 * (1 + pause)
    assert pause_secs(sent, elapsed, None) == 0
