"""The benchmark works; how fast anything is, no test says."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_benchmark_prints_a_table_and_writes_its_results(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    command = [sys.executable, "-m", "bench", "--quick", "--only", "append_idle"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path), "--json", str(results)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "append of 1 KB, idle, p50" in done.stdout
    assert json.loads(results.read_text())["results"]["append_idle"]["rows"][0]["unit"] == "ms"
