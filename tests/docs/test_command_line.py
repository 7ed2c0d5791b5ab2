"""The page on the command line: its commands are run, in one shell and in order, and print what it shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

from perdure.cli.app import COMMANDS
from perdure.cli.exits import ExitStatus
from tests.doc_pages import PAGES, blocks
from tests.patience import PROCESS_SECONDS

PAGE: Final = "command-line"
MARK: Final = "\x1d"
"""Between the outputs of two commands."""


def examples() -> list[tuple[str, str]]:
    """Each command of the page's console blocks, with what it is said to print."""
    found: list[tuple[str, str]] = []
    for block in blocks(PAGE, "console"):
        if block.fragment is None:
            for piece in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
                command, _, output = piece.partition("\n")
                found.append((command, output))
    return found


def test_its_commands_print_what_it_shows(tmp_path: Path) -> None:
    shown = examples()
    assert len(shown) > 10
    # -P, as for the command that is installed: what is in the current directory is not imported.
    script = f'perdure() {{ {shlex.quote(sys.executable)} -P -m perdure "$@"; }}\n' + "".join(
        f"{command}\nprintf '{MARK}%s{MARK}' $?\n" for command, _ in shown
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PERDURE_", "S2_"))}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=2 * PROCESS_SECONDS,
        check=True,
    )
    pieces = done.stdout.split(MARK)
    assert len(pieces) == 2 * len(shown) + 1, done.stdout
    for (command, expected), output, status in zip(shown, pieces[::2], pieces[1::2], strict=False):
        assert status == "0", (command, output)
        pattern = re.escape(expected).replace("…", ".*")
        # A listing of the API's own form may hold an ellipsis as well, which that matches too.
        assert re.fullmatch(pattern, output), (command, expected, output)


def test_its_table_has_every_command() -> None:
    page = PAGES[PAGE].read_text()
    rows = re.findall(r"^\| (`[a-z-]+`(?:, `[a-z-]+`)*) \|", page.split("## The commands")[1], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z-]+)`", row)}
    assert {command.name for command in COMMANDS} <= named


def test_its_table_has_every_exit_status() -> None:
    rows = re.findall(r"^\| ([0-9, ]+) \|", PAGES[PAGE].read_text(), re.MULTILINE)
    assert {int(status) for row in rows for status in row.split(",")} >= set(ExitStatus)
