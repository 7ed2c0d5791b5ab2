from collections.abc import Iterator

import pytest

from tests.compat.serving import ServedStore, serve, serve_engine
from tools.cluster.postgres import PostgresServer


@pytest.fixture(scope="session", params=["directory", "postgres"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStore]:
    """One server for all tests on each kind of store: each test makes basins of its own."""
    if request.param == "postgres":
        postgres: PostgresServer = request.getfixturevalue("postgres")
        database = postgres.create_database()
        with serve_engine(postgres.url(database)) as server:
            yield server
        postgres.drop_database(database)
    else:
        with serve(tmp_path_factory.mktemp("compat") / "data") as server:
            yield server
