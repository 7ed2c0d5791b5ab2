"""Tell tests that failed for good from those that fail now and then, by running the former three times more.

A test that fails once and then passes three times, alone on the same machine, is unsteady: a fault of the test, or a
rare one of the product. It is named, and is to be mended; but it says nothing about the change that it happened to.
More than a few failures are another matter, and so is a run that did not come to its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FAILED: Final = ROOT / ".pytest_cache" / "v" / "cache" / "lastfailed"
"""What pytest remembers of the last run that came to its end."""

MOST_FAILURES: Final = 3
TIMES: Final = 3


def main() -> int:
    """Gives 0 if all that failed is unsteady."""
    names = sorted(json.loads(FAILED.read_text())) if FAILED.is_file() else []
    if not 0 < len(names) <= MOST_FAILURES:
        print(f"==> {len(names)} tests are known to have failed; 1 to {MOST_FAILURES} would be run again")
        return 1
    for _ in range(TIMES):
        if subprocess.run([sys.executable, "-m", "pytest", *names], cwd=ROOT).returncode:
            return 1
    for name in names:
        print(f"==> UNSTEADY, to be mended: {name} failed once, and then passed {TIMES} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
