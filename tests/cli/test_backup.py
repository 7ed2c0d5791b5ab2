"""`perdure backup` and `perdure restore` as they are called: what they print, and how they end."""

import asyncio
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from perdure.store.sqlite.directory import DataDirectory
from perdure.store.sqlite.locks import FileLock
from tests.patience import PROCESS_SECONDS
from tests.serve_command import ServeCommand
from tests.store.sqlite.backups import NUMBERS, append_one, fill, numbers_of

ROOT = Path(__file__).parents[2]
BACKUPS = (ROOT / "README.md").read_text().split("## Backups\n")[1].split("\n## ")[0]
COMMANDS = [shlex.split(line) for line in re.findall(r"^\$ (perdure .*)$", BACKUPS, re.MULTILINE)]


def perdure(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "perdure", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    fill(tmp_path / "data")
    return tmp_path / "data"


def test_the_readme_s_commands_work_as_written(data: Path, tmp_path: Path) -> None:
    assert [command[1] for command in COMMANDS] == ["backup", "restore"]
    for _, *arguments in COMMANDS:
        done = perdure(*arguments, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(
            rf"{arguments[0]} complete: 3\.\d MiB as of \S+Z? \(basins: 1, streams: 1, batches: 8\), in \d+\.\d s\n",
            done.stdout,
        )
    append_one(data)
    assert numbers_of(tmp_path / "restored") == NUMBERS
    assert "monday.partial" in (ROOT / "docs" / "backups.md").read_text()


async def test_a_server_goes_on_meanwhile(tmp_path: Path) -> None:
    await asyncio.to_thread(fill, tmp_path / "data")
    async with ServeCommand(tmp_path / "data", "--workers", "2") as server, server.client() as http:
        done = await asyncio.to_thread(perdure, "backup", "--data", "data", "backup", cwd=tmp_path)
        assert done.returncode == 0
        assert (await http.get("/health")).status_code == 200
    assert (await asyncio.to_thread(perdure, "restore", "backup", "--data", "restored", cwd=tmp_path)).returncode == 0
    async with ServeCommand(tmp_path / "restored") as server, server.client() as http:
        assert (await http.get("/health")).status_code == 200
    assert await asyncio.to_thread(numbers_of, tmp_path / "restored") == NUMBERS


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["backup", "--data", "missing", "backup"], "is not the data directory of a store"),
        (["backup", "--data", "data", "data"], "exists already"),
        (["restore", "missing", "--data", "restored"], "is not a complete backup"),
        (["backup", "--data", "data"], "TARGET"),
        (["restore", "backup"], "--data"),
    ],
)
def test_a_wrong_call_ends_with_2(data: Path, tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = perdure(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert f"perdure {arguments[0]}: " in done.stderr
    assert complaint in done.stderr
    assert done.stdout == ""
    assert os.listdir(tmp_path) == ["data"]


def test_a_damaged_backup_ends_with_1(data: Path, tmp_path: Path) -> None:
    assert perdure("backup", "--data", data, "backup", cwd=tmp_path).returncode == 0
    with (tmp_path / "backup" / "database").open("r+b") as file:
        file.write(b"damage")
    done = perdure("restore", "backup", "--data", "restored", cwd=tmp_path)
    assert done.returncode == 1
    assert "perdure restore: the backup is damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_is_shown_the_progress(data: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, "-m", "perdure", "backup", "--data", str(data), str(tmp_path / "backup")]
        subprocess.run(command, stderr=theirs, stdout=subprocess.PIPE, check=True, timeout=PROCESS_SECONDS)
        shown = os.read(ours, 10_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert re.match(r"\r *\d+ %  \d+\.\d \w+ of 3\.\d MiB", shown)
    assert shown.endswith(" \r"), "the line is wiped"


def holds_open(pid: int, path: Path) -> bool:
    try:
        return any(descriptor.resolve() == path for descriptor in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False  # a descriptor that was closed just now


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_it_and_leaves_nothing(data: Path, tmp_path: Path, number: signal.Signals, status: int) -> None:
    lock = FileLock(DataDirectory(data, private=False).users_lock)
    assert lock.try_acquire()  # so it waits, with its directory made
    command = [sys.executable, "-m", "perdure", "backup", "--data", str(data), str(tmp_path / "backup")]
    # Whoever runs the tests in the background of a shell script has them ignore SIGINT, and children inherit that.
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=heard) as process:
        while not holds_open(process.pid, data / "users.lock"):
            assert process.poll() is None
        assert (tmp_path / "backup.partial").exists()
        process.send_signal(number)
        assert process.wait(PROCESS_SECONDS) == status
        assert process.stderr is not None
        assert process.stderr.read() == ""
    lock.close()
    assert os.listdir(tmp_path) == ["data"]
