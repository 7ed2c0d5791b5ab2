"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import apsw

from perdure import __version__

ROOT = Path(__file__).parents[1]
_IN_MEMORY = {"tmpfs", "ramfs"}


def describe(data: Path) -> dict[str, str]:
    """Machine, disk, versions, commit and load, in words."""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gib():.0f} GiB, {platform.system()} "
        f"{platform.release()}",
        "disk": _file_system(data),
        "versions": f"perdure {__version__}, Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()} "
        f"(apsw {_version_of('apsw')}), msgspec {_version_of('msgspec')}, protobuf {_version_of('protobuf')}",
        "commit": _commit(),
        "started": time.strftime("%Y-%m-%d %H:%M %Z"),
        "load": load(),
    }


def load() -> str:
    """The load averages of the last minute, five and fifteen."""
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        return platform.processor() or platform.machine()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _file_system(path: Path) -> str:
    """The kind of file system that `path` is on; in memory, syncing costs nothing and says nothing."""
    best, kind = "", "unknown file system"
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return kind
    resolved = str(path.resolve())
    for mount in mounts:
        _, point, found, *_ = mount.split()
        if len(point) >= len(best) and (resolved == point or resolved.startswith(point.rstrip("/") + "/")):
            best, kind = point, found
    return f"{kind}: IN MEMORY, not a disk" if kind in _IN_MEMORY else kind


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "src")
        return git("rev-parse", "--short", "HEAD") + (", with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
