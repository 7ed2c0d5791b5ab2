"""One PostgreSQL server of its own: fresh, on loopback, in a directory that goes when it ends.

It is Debian's program and nothing of Debian's configuration. Who connects from this machine needs no password.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .programs import (
    HOST,
    ProgramFailed,
    account_environment,
    as_account,
    free_port,
    give_to_account,
    postgres_program,
    run_program,
)

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0
PORT_TRIES: Final = 5
SUPERUSER: Final = "postgres"

WITHOUT_SYNC: Final = {"fsync": "off", "full_page_writes": "off"}
"""For tests that do not pull the plug: what was committed still survives the end of any process."""


class PostgresServer:
    """A server that answers. Its settings are PostgreSQL's own but for the given ones."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self.port = 0
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not started"
        return self._process.pid

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{SUPERUSER}@{HOST}:{self.port}/{database}"

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run statements, each in a transaction of its own; gives their rows, columns separated by tabs."""
        command = [postgres_program("psql"), "--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "-F", "\t"]
        command += ["-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql]
        return run_program(command, timeout_seconds=START_SECONDS).removesuffix("\n")

    def create_database(self, template: str = "template1") -> str:
        """A new database that is a copy of another, to which nobody may be connected; gives its name."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop_database(self, name: str) -> None:
        """Throw a database away, and who is connected to it out."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def initialise(self) -> None:
        """Write the files of an empty server."""
        give_to_account(self.directory)
        command = [postgres_program("initdb"), "--pgdata", str(self.data), "--username", SUPERUSER]
        command += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        run_program(command, timeout_seconds=START_SECONDS)

    def initialise_as_standby_of(self, primary: PostgresServer) -> None:
        """Copy the files of a server that runs, to follow it from then on."""
        give_to_account(self.directory)
        command = [postgres_program("pg_basebackup"), "--pgdata", str(self.data), "--dbname", primary.url()]
        command += ["--write-recovery-conf", "--checkpoint", "fast", "--no-sync"]
        run_program(command, timeout_seconds=START_SECONDS)

    def start(self) -> None:
        """Run the server and wait until it takes connections; after `stop` or `kill` as well, on the same port."""
        ports = [self.port] if self.port else [free_port() for _ in range(PORT_TRIES)]
        for port in ports:
            if self._start_on(port):
                self.port = port
                return
        raise ProgramFailed(f"PostgreSQL did not start: {self.log.read_text()}")

    def _start_on(self, port: int) -> bool:
        settings = {"listen_addresses": HOST, "port": str(port), "unix_socket_directories": str(self.directory)}
        settings |= self._settings
        command = [postgres_program("postgres"), "-D", str(self.data)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                as_account(command, dies_by="QUIT"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=account_environment(),
            )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                return False
            if self._says_ready():
                return True
            time.sleep(0.01)
        self.kill()
        return False

    def _says_ready(self) -> bool:
        """Whether the pid file says so, which is what `pg_ctl` waits for: its eighth line."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"

    def stop(self) -> None:
        """End it in order, without waiting for who is connected."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a crash does: nothing is written any more, all processes of it end at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()  # its children see that it is gone, and go
                self._process.wait()


@contextmanager
def postgres_server(
    *, fsync: bool = False, settings: Mapping[str, str] | None = None, standby_of: PostgresServer | None = None
) -> Iterator[PostgresServer]:
    """Run one until the block ends, empty or following another. Without `fsync` nothing waits for the disk, so it is
    for where none fails."""
    directory = Path(tempfile.mkdtemp(prefix="perdure-postgres-"))
    server = PostgresServer(directory, ({} if fsync else WITHOUT_SYNC) | dict(settings or {}))
    try:
        if standby_of is None:
            server.initialise()
        else:
            server.initialise_as_standby_of(standby_of)
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)
