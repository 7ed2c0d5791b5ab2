from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.compat.serving import ServedStore, serve


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedStore]:
    """One server for all tests: each makes basins of its own."""
    data: Path = tmp_path_factory.mktemp("compat") / "data"
    with serve(data) as server:
        yield server
