"""The example of typed messages, run as a user runs it."""

import subprocess
import sys
from pathlib import Path

from tests.patience import PROCESS_SECONDS

EXAMPLE = Path(__file__).parents[2] / "examples" / "typed_messages.py"


def test_it_writes_and_reads_events_larger_than_a_record(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLE), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROCESS_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "the first event is record 0",
        "the picture is records 1 to 3",
        "Ada: Here is the picture.",
        "later:",
        "picture.png, 3,000,000 bytes",
        "Bob: Thank you!",
    ]
