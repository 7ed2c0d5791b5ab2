"""A PgBouncer of its own on loopback, in front of one server."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from .postgres import PORT_TRIES, START_SECONDS, STOP_SECONDS, SUPERUSER, PostgresServer
from .programs import (
    HOST,
    ProgramFailed,
    account_environment,
    as_account,
    find_program,
    free_port,
    give_to_account,
)

PoolMode = Literal["session", "transaction", "statement"]

_SETTINGS: Final = """
[databases]
* = host={host} port={server} user={user}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
"""
"""No more than what a reader of its manual begins with."""


class PgBouncer:
    """One that answers."""

    def __init__(self, port: int) -> None:
        self.port: Final = port

    def url(self, database: str) -> str:
        return f"postgresql://{SUPERUSER}@{HOST}:{self.port}/{database}"


@contextmanager
def pgbouncer(server: PostgresServer, mode: PoolMode) -> Iterator[PgBouncer]:
    """Run one until the block ends."""
    directory = Path(tempfile.mkdtemp(prefix="perdure-pgbouncer-"))
    give_to_account(directory)
    process: subprocess.Popen[bytes] | None = None
    try:
        for _ in range(PORT_TRIES):
            port = free_port()
            process = _start(directory, server, mode, port)
            if _comes_up(process, port):
                break
        else:
            raise ProgramFailed(f"PgBouncer did not start: {(directory / 'log').read_text()}")
        yield PgBouncer(port)
    finally:
        if process is not None and process.poll() is None:
            process.kill()  # what it holds is not worth a farewell
            process.wait(STOP_SECONDS)
        shutil.rmtree(directory, ignore_errors=True)


def _start(directory: Path, server: PostgresServer, mode: PoolMode, port: int) -> subprocess.Popen[bytes]:
    settings = directory / "pgbouncer.ini"
    settings.write_text(_SETTINGS.format(host=HOST, port=port, server=server.port, user=SUPERUSER, mode=mode))
    give_to_account(settings)
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            as_account([find_program("pgbouncer", "pgbouncer"), str(settings)], dies_by="KILL"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=directory,
            env=account_environment(),
        )


def _comes_up(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False
