"""Small and read-only file systems for tests, where this user may mount them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted_tmpfs(path: Path, *, size_bytes: int) -> Iterator[Path]:
    """A memory file system of its own at `path`; skips the test where that is not allowed."""
    path.mkdir()
    _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", os.fspath(path))
    try:
        yield path
    finally:
        subprocess.run(["umount", os.fspath(path)], check=True)


@contextmanager
def read_only(mount: Path) -> Iterator[None]:
    """A mount of `mounted_tmpfs`, for a while without the right to write."""
    _mount("-o", "remount,ro", os.fspath(mount))
    try:
        yield
    finally:
        _mount("-o", "remount,rw", os.fspath(mount))


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
