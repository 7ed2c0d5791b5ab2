"""The benchmark works; how fast anything is, no test says."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

_AGAINST = f"× resumable-stream {version('resumable-stream')}"
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("scenario", "row", "unit"),
    [
        ("append_idle", "append of 1 KB, idle, p50", "ms"),
        # Seconds on a quiet machine, but many of them where others work as well.
        pytest.param("sdk", "SDK: import", "ms", marks=pytest.mark.timeout(300)),
        pytest.param("resumable", "the first token", _AGAINST, marks=pytest.mark.timeout(300)),
        pytest.param("tabs", "tabs on one chat", "ms", marks=pytest.mark.timeout(300)),
    ],
)
def test_the_benchmark_prints_a_table_and_writes_its_results(
    tmp_path: Path, scenario: str, row: str, unit: str
) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", scenario]
    done = subprocess.run(
        [*command, "--data", str(tmp_path), "--json", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert row in done.stdout
    assert json.loads(results.read_text())["results"][scenario]["rows"][0]["unit"] == unit
