"""Programs that are not ours, found where Debian puts them, and run so that none outlives whoever started it."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
POSTGRES_HOME: Final = Path("/usr/lib/postgresql")
"""Debian keeps the programs of each version of the server apart, and none of them on the path."""


class ProgramMissing(RuntimeError):
    """A program is not installed; the message says how to get it."""


class ProgramFailed(RuntimeError):
    """A program ended, or did not do in time what it was started for."""


def find_program(name: str, package: str) -> str:
    """Where a program on the path is. Raises `ProgramMissing`."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise ProgramMissing(f"{name} is not installed: sudo apt-get install {package}")
    return found


def postgres_program(name: str) -> str:
    """Where a program of the newest PostgreSQL server is. Raises `ProgramMissing`."""
    versions = sorted(
        (path for path in POSTGRES_HOME.glob("*/bin/postgres") if path.parts[-3].isdigit()),
        key=lambda path: int(path.parts[-3]),
    )
    if versions:
        return str(versions[-1].with_name(name))
    if shutil.which("postgres"):  # not Debian
        return find_program(name, "postgresql")
    raise ProgramMissing("PostgreSQL is not installed: sudo apt-get install postgresql")


def server_account() -> str | None:
    """Whom servers run as: PostgreSQL refuses to run as root. None for whoever we are."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


def give_to_account(path: Path) -> None:
    """Make a file or directory that of `server_account`."""
    account = server_account()
    if account is not None:
        shutil.chown(path, account, pwd.getpwnam(account).pw_gid)


def as_account(command: Sequence[str], *, dies_by: str | None = None, reads_all: bool = False) -> list[str]:
    """The command as run by `server_account`.

    With `reads_all` it may read every file as we can, so that root's Python in root's home runs under the account.

    With `dies_by`, a signal's name, the kernel sends it to the process when the thread that started it ends, so that
    a server never outlives a test run that was killed. Start such a process from a thread that lasts.
    """
    options = [] if dies_by is None else ["--pdeathsig", dies_by]
    account = server_account()
    if account is not None:
        group = str(pwd.getpwnam(account).pw_gid)
        options += ["--reuid", account, "--regid", group, "--clear-groups"]
        if reads_all and not all(map(_is_open, (sys.prefix, sys.base_prefix, __file__))):
            options += ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    if not options or shutil.which("setpriv") is None:  # not Linux: nothing but root needs it
        return list(command)
    return ["setpriv", *options, "--", *command]


def _is_open(path: str) -> bool:
    """Whether everybody may read what is in a place."""
    places = [Path(path).resolve(), *Path(path).resolve().parents]
    return all(place.stat().st_mode & 0o001 for place in places if place.is_dir())


def account_environment(**more: str) -> dict[str, str]:
    """Ours without what would steer PostgreSQL's programs, such as `PGHOST`, and a home that need not exist."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PATRONI_", "ETCD"))}
    return kept | {"LC_ALL": "C.UTF-8"} | more


def run_program(command: Sequence[str], *, timeout_seconds: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a short command as `server_account`; gives its output. Raises `ProgramFailed` with what it said."""
    done = subprocess.run(
        as_account(command),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        cwd="/",  # ours may be closed to the account
        env=dict(account_environment() if environment is None else environment),
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(f"{command[0]} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def free_port() -> int:
    """A port of loopback that nobody listens on. It may be taken before it is used: be ready to try another."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
        return port
