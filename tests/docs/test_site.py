"""The manual's site is built without a warning, and has what it should."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from sphinx.util.inventory import InventoryFile

from tests.doc_pages import DOCS, PAGES, ROOT, blocks
from tests.patience import PROCESS_SECONDS
from tools.manual.public import MODULES, described_as, exported, origin

pytestmark = pytest.mark.timeout(300)
ELSEWHERE: Final = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["'](?:https?:)?//""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of it, built from nothing."""
    directory = tmp_path_factory.mktemp("manual")
    options = ("--builder", "html", "--fail-on-warning", "--keep-going", "--quiet", "-d", str(directory / "doctrees"))
    built = directory / "site"
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(DOCS), str(built)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=max(PROCESS_SECONDS, 240),
    )
    assert done.returncode == 0, done.stderr
    return built


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    described = {name for kind in inventory.data for name in inventory.data[kind] if kind.startswith("py:")}
    missing = {described_as()[origin(module, name)] for module in MODULES for name in exported(module)} - described
    assert sorted(missing) == []


def test_what_the_pages_import_is_in_the_reference() -> None:
    code = [found.code for page in PAGES for found in blocks(page, "python")]
    modules = {name for text in code for name in re.findall(r"^(?:from|import) (perdure[\w.]*)", text, re.MULTILINE)}
    assert modules
    assert modules <= set(MODULES)


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    assert [page.name for page in pages if ELSEWHERE.search(page.read_text())] == []
