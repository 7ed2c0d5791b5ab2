"""Short programs of their own, for what concerns a whole interpreter: its forks and its end."""

import subprocess
import sys
from pathlib import Path

from tests.patience import PROCESS_SECONDS

_PRELUDE = """
import asyncio, os, sys, threading
from perdure.errors import PerdureError
from perdure.model.batches import AppendInput
from perdure.model.records import AppendRecord
from perdure.store.sqlite import SqliteEngine
from tests.store.making import batch, bodies_of, make_stream

PATH = sys.argv[1]
"""


def run(script: str, path: Path) -> list[str]:
    """The lines that the program printed; fails if it does not end well and soon."""
    # Forking beside threads is what these programs are about, so newer Pythons need not warn of it.
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _PRELUDE + script, str(path)],
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.splitlines()
