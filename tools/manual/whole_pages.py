"""Pages of the site that are files of the repository: where these are, nobody has to look for them twice."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_MARK: Final = re.compile(r"^<!-- the whole of: (\S+) -->$", re.MULTILINE)
_LINK: Final = re.compile(r"\]\(((?:\.\./)+|docs/)([\w./-]+\.md)")
_PAGES: Final = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "deploy/README.md": "cluster.md",
}
"""The page that a file of the repository is."""


def expand(text: str, page: Path) -> str:
    """A page, or the file that it names as its whole, with links that lead to pages."""
    found = _MARK.search(text)
    if found:
        text = (page.parent / found[1]).read_text()
    return _LINK.sub(_to_page, text)


def _to_page(link: re.Match[str]) -> str:
    """From the root of the repository, `docs/` is where the pages are; from a page, a file above may be a page too."""
    if link[1] == "docs/":
        return f"]({link[2]}"
    up = link[1].removesuffix("../")
    return f"]({up}{_PAGES[link[2]]}" if link[2] in _PAGES else link[0]
