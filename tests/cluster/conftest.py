"""One cluster for all tests of this directory: it takes a quarter of a minute to start."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tools.cluster.nodes import PostgresCluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_cluster() -> AsyncIterator[PostgresCluster]:
    # Not one of pytest's directories: they are closed to the account that PostgreSQL runs as.
    directory = Path(tempfile.mkdtemp(prefix="perdure-cluster-"))
    try:
        async with PostgresCluster(directory, brisk=True) as cluster:
            yield cluster
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest_asyncio.fixture(loop_scope="session")
async def cluster(running_cluster: PostgresCluster) -> AsyncIterator[PostgresCluster]:
    """Three nodes, one of which leads while the others follow, whatever the test before has done to them."""
    await running_cluster.heal()
    yield running_cluster


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "running_cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(300))
