"""The time line's sampling, under Node's own test runner."""

import subprocess
from pathlib import Path

from tests.inspector.chat_log import node
from tests.patience import PROCESS_SECONDS


def test_the_time_line_knows_long_streams_from_few_looks() -> None:
    suite = Path(__file__).with_name("curve.test.mjs")
    done = subprocess.run(
        [node(), "--test", "--test-reporter=spec", str(suite)],
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"\n{done.stdout}\n{done.stderr}"
