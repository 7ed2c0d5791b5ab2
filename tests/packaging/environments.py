"""Distributions built from this tree, and empty environments that they are installed into."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
INSTALL_SECONDS: Final = 300.0
"""For what may have to be fetched from a package registry first."""


@dataclass(frozen=True)
class Distributions:
    """A source distribution, and the wheel that was built from it."""

    sdist: Path
    wheel: Path

    @classmethod
    def build(cls, directory: Path) -> Distributions:
        """Both, by the build backend that is installed here."""
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(directory), str(ROOT))
        (sdist,), (wheel,) = directory.glob("*.tar.gz"), directory.glob("*.whl")
        return cls(sdist, wheel)


@dataclass(frozen=True)
class Environment:
    """A virtual environment that held nothing, not even pip."""

    path: Path

    @classmethod
    def with_wheel(cls, path: Path, wheel: Path, *extras: str) -> Environment:
        """One with the wheel, these extras, and what they need, in the versions of the lock."""
        run(sys.executable, "-m", "venv", "--without-pip", str(path))
        constraints = path / "constraints.txt"
        locked = re.findall(r"^[a-z0-9][^ \n]*==[^ \n]+(?: ;[^\\\n]*)?", (ROOT / "requirements.lock").read_text(), re.M)
        constraints.write_text("\n".join(locked))
        wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
        pip = (sys.executable, "-m", "pip", "--python", str(path / "bin" / "python"))
        quiet = ("--quiet", "--disable-pip-version-check", "--no-input")
        run(*pip, "install", *quiet, "--only-binary", ":all:", "--constraint", str(constraints), wanted)
        return cls(path)

    @property
    def python(self) -> str:
        return str(self.path / "bin" / "python")

    @property
    def command(self) -> str:
        return str(self.path / "bin" / "perdure")

    def packages(self) -> set[str]:
        """The names of all distributions in it."""
        names = "from importlib.metadata import distributions\nprint(*(each.name for each in distributions()))"
        return {name.lower().replace("_", "-") for name in self.runs(names).split()}

    def runs(self, code: str) -> str:
        """What a program prints."""
        return run(self.python, "-P", "-c", code, cwd=self.path).stdout

    def says(self, *arguments: str) -> tuple[int, str]:
        """The exit status of the installed command, and what it says on the standard error."""
        done = run(self.command, *arguments, cwd=self.path, check=False)
        return done.returncode, done.stderr


def run(*command: str, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run it to its end, with nothing of this tree on its path."""
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=INSTALL_SECONDS, env=os.environ | {"PYTHONPATH": ""}
    )
    assert not check or done.returncode == 0, done.stderr or done.stdout
    return done
