"""The package works without its extras: what they bring is imported by those who use it, and named when missing."""

import subprocess
import sys

import pytest

from tests.patience import PROCESS_SECONDS

OPTIONAL = (
    "asyncpg",
    "cryptography",
    "cyclopts",
    "granian",
    "nacl",
    "opentelemetry",
    "prometheus_client",
    "pydantic",
    "rich",
    "starlette",
    "uvloop",
    "zstandard",
)


def run(script: str) -> None:
    """In an interpreter where none of the optional packages can be imported."""
    blocked = f"import sys; sys.modules.update(dict.fromkeys({OPTIONAL!r}))\n"
    done = subprocess.run(
        [sys.executable, "-c", blocked + script], capture_output=True, text=True, timeout=PROCESS_SECONDS
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    ["perdure", "perdure.cli.main", "perdure.patterns", "perdure.resumable", "perdure.sync"],
)
def test_it_is_imported_without_extras(module: str) -> None:
    run(f"import {module}")


def test_the_command_line_names_its_extra() -> None:
    run("""
from perdure.cli import main
import contextlib, io

told = io.StringIO()
with contextlib.redirect_stderr(told):
    assert main(["--help"]) == 1
(line,) = told.getvalue().splitlines()
assert line == "perdure: the command line needs cyclopts and rich; install it with: pip install 'perdure[cli]'", line
""")


def test_help_imports_no_more_than_it_shows() -> None:
    """Who asks for the names of the commands waits for the interpreter and the library of the command line alone."""
    script = """
import sys
from perdure.cli import main

assert main(["--help"]) == 0
ours = {name.split(".")[1] for name in sys.modules if name.startswith("perdure.")}
assert ours == {"_extras", "_version", "cli", "errors"}, ours
assert not {"asyncpg", "apsw", "msgspec", "granian"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PROCESS_SECONDS)
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


def test_zstd_alone_needs_its_package() -> None:
    run("""
from perdure.errors import UsageError
from perdure.wire.compression import Compression, compress, decompress

packed = compress(b"x" * 5000, Compression.GZIP)
assert decompress(packed, Compression.GZIP, limit=5000, code="bad_frame") == b"x" * 5000
try:
    compress(b"x", Compression.ZSTD)
except UsageError as exc:
    assert "zstandard" in str(exc)
else:
    raise AssertionError("compressed without its package")
""")
