"""The model of how far PostgreSQL goes: it is sane, and its numbers are those of the page."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import PROCESS_SECONDS
from tools import scaling
from tools.scaling import WORKLOADS, Measured, Node, Prices, Workload, latencies, page, plan

MEASURED, NODE = Measured(), Node()


def test_the_page_says_what_the_model_says() -> None:
    """After `python -m tools.scaling --write` it does."""
    text = scaling.PAGE.read_text()
    found = scaling.tables(MEASURED, NODE, Prices())
    assert found in text
    assert page(text, found) == text


@pytest.mark.parametrize("before", ["", "| an old table |\n\n"])
def test_tables_are_written_where_the_page_wants_them(before: str) -> None:
    text = f"Above.\n\n<!-- scaling -->\n\n{before}<!-- end -->\n\nBelow.\n"
    assert page(text, "| new |") == "Above.\n\n<!-- scaling -->\n\n| new |\n\n<!-- end -->\n\nBelow.\n"


def test_the_command_takes_other_machines() -> None:
    command = [sys.executable, "-m", "tools.scaling", "--cores", "32", "--month", "1600"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_SECONDS, check=True)
    assert len(re.findall(r"^\| .*\$.*\$", done.stdout, re.MULTILINE)) == len(WORKLOADS)


@settings(max_examples=30)
@given(st.floats(1, 200_000), st.floats(1, 100_000), st.integers(1, 10_000))
def test_more_takes_no_fewer_and_no_room_is_overdrawn(batches: float, size: float, followers: int) -> None:
    work = Workload("some", 0.5, batches, size, followers, 2, 3)
    more = Workload("more", 0.5, batches * 2, size, followers, 2, 3)
    made = plan(work, MEASURED, NODE)
    assert made.clusters <= plan(more, MEASURED, NODE).clusters
    assert made.servers <= plan(more, MEASURED, NODE).servers
    assert all(share <= 1 for name, share in made.shares.items() if name != "its connections") or made.clusters >= 1000


def test_appends_wait_longer_where_more_come() -> None:
    calm, busy = (latencies(load, MEASURED, NODE, seconds=0.2) for load in (0.1, 0.9))
    assert MEASURED.commit_ms < calm[0] < busy[0]
    assert all(p50 < p99 for p50, p99 in (calm, busy))
