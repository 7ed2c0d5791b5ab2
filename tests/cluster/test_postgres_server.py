"""The PostgreSQL server that tests use: a real one, theirs alone, which leaves nothing behind."""

from __future__ import annotations

import os

import pytest

from tools.cluster.postgres import PostgresServer, postgres_server
from tools.cluster.programs import ProgramFailed


def test_a_test_has_a_database_of_its_own(postgres: PostgresServer, postgres_url: str) -> None:
    database = postgres_url.rpartition("/")[2]
    postgres.execute("CREATE TABLE t (x int)", database)
    postgres.execute("INSERT INTO t VALUES (1), (2)", database)
    assert postgres.execute("SELECT x, -x FROM t ORDER BY x", database) == "1\t-1\n2\t-2"
    copy = postgres.create_database(template=database)
    try:
        assert postgres.execute("SELECT count(*) FROM t", copy) == "2"
    finally:
        postgres.drop_database(copy)
    with pytest.raises(ProgramFailed, match="does not exist"):
        postgres.execute("SELECT 1 FROM t")


def test_what_was_committed_survives_a_crash_of_a_server_that_syncs() -> None:
    with postgres_server(fsync=True) as server:
        assert server.execute("SHOW fsync") == "on"
        server.execute("CREATE TABLE t (x int)")
        server.execute("INSERT INTO t VALUES (1)")
        pid, port = server.pid, server.port
        server.kill()
        with pytest.raises(ProgramFailed):
            server.execute("SELECT 1")
        server.start()
        assert (server.port, server.execute("SELECT x FROM t")) == (port, "1")
        assert server.pid != pid
        directory, pid = server.directory, server.pid
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
