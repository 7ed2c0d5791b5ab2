"""What a scenario is given, and the rows of the table that it gives back."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from .children import Door


@dataclass(frozen=True)
class Limit:
    """What a value must reach, with the reason where the number was computed in the run."""

    value: float
    at_least: bool
    reason: str = ""

    def met_by(self, value: float) -> bool:
        return value >= self.value if self.at_least else value <= self.value


def at_most(value: float, reason: str = "") -> Limit:
    return Limit(value, at_least=False, reason=reason)


def at_least(value: float, reason: str = "") -> Limit:
    return Limit(value, at_least=True, reason=reason)


@dataclass(frozen=True)
class Row:
    """One measured value."""

    what: str
    value: float
    unit: str
    limit: Limit | None = None
    notes: str = ""
    missed: bool = False
    """Known to miss its limit, where the value was rounded since."""

    @property
    def passed(self) -> bool | None:
        """None where there is no limit."""
        return None if self.limit is None else self.limit.met_by(self.value) and not self.missed


@dataclass(frozen=True)
class Run:
    """One run of a scenario: where it may write, and how long it may take."""

    directory: Path
    quick: bool = False
    prefix: str = field(default="", repr=False)

    def progress(self, text: str) -> None:
        print(f"{self.prefix}{text}", file=sys.stderr, flush=True)

    def pick(self, full: int, quick: int) -> int:
        """A size: the second one for `--quick`."""
        return quick if self.quick else full

    def store(self, name: str = "store") -> Path:
        """A directory for a store; any older one of that name is removed."""
        path = self.directory / name
        shutil.rmtree(path, ignore_errors=True)
        return path


class WrongAnswer(Exception):
    """The store did not hold or give what it acknowledged: the numbers mean nothing."""


def check(condition: bool, what: str) -> None:
    if not condition:
        raise WrongAnswer(what)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new directory below `parent`, gone afterwards."""
    parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def run_by_name(_: Door, name: str, run: Run) -> list[Row]:
    """The body of a process that runs one scenario. (Not in `__main__`, which such a process cannot import.)"""
    rows: list[Row] = asyncio.run(import_module(f"bench.{name}").run(run))
    return rows


DEFAULT_DATA = Path("build/bench")


def alone(scenario: Callable[[Run], Awaitable[list[Row]]]) -> None:
    """Run one scenario as a script: `python -m bench.<module>`."""
    from .table import as_text

    parser = argparse.ArgumentParser(description=(sys.modules[scenario.__module__].__doc__ or "").strip())
    parser.add_argument("--quick", action="store_true", help="a short run: fewer samples")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="on the disk to measure")
    options = parser.parse_args()
    with scratch(options.data) as directory:

        async def body() -> list[Row]:
            return await scenario(Run(directory, options.quick, "  "))

        print(as_text(asyncio.run(body())))
