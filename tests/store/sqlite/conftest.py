"""What several modules of tests of the embedded engine begin with."""

from pathlib import Path

import pytest

from perdure.store.sqlite.backup import create_backup
from tests.store.sqlite.backups import fill


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a small store that nobody has open, at `data`."""
    fill(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def backup(data: Path, tmp_path: Path) -> Path:
    """A backup of `data`, at `backup`."""
    create_backup(data, tmp_path / "backup")
    return tmp_path / "backup"
