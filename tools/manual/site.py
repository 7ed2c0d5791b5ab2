"""The extension of Sphinx that ties this package to the build."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata

from . import api, commands, contents, docstrings, http_api, public, whole_pages

_WRITTEN: Final[Mapping[str, Callable[[], str]]] = {
    "<!-- generated: http -->": http_api.as_markdown,
    "<!-- generated: command line -->": commands.as_markdown,
}

_NAMES: Final = re.compile(r"perdure(?:\.\w+)+")
_OPENLY_INTERNAL: Final = {"perdure.resumable.settings.Surroundings"}
"""What signatures that people call name although it is not public: an option for tests."""


def _read(app: Sphinx, page: str, source: list[str]) -> None:
    """What is in a page for the site only."""
    for mark, written in _WRITTEN.items():
        if mark in source[0]:
            source[0] = source[0].replace(mark, written())
    source[0] = api.expand(whole_pages.expand(source[0], app.env.doc2path(page)))
    if page == app.config.root_doc:
        source[0] += "\n" + contents.toctrees()


def _signature(
    app: Sphinx, kind: str, name: str, value: object, options: object, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Nothing of how to make what is made by other objects: its parts are not public."""
    named = set(_NAMES.findall(signature or "")) - _OPENLY_INTERNAL
    internal = kind == "class" and not named <= public.described_names()
    return ("", None) if internal and not name.endswith(".S2") else None


def _missing(app: Sphinx, env: BuildEnvironment, node: pending_xref, shown: nodes.TextElement) -> nodes.Node | None:
    """What no page describes: a name of other people's, which nothing is fetched for, or one that stays plain."""
    if node.get("refdomain") != "py":
        return None
    is_public = node["reftarget"] in public.described_names() and node["reftype"] != "obj"
    return None if is_public else shown


def _drawn(app: Sphinx, tree: nodes.document) -> None:
    """Drawings go into the page itself, where they have the colours of its theme."""
    for image in list(tree.findall(nodes.image)):
        if image["uri"].endswith(".svg"):
            drawing = (Path(app.srcdir) / image["uri"]).read_text()
            image.replace_self(nodes.raw("", f'<div class="drawing">{drawing}</div>', format="html"))


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("source-read", _read)
    app.connect("doctree-read", _drawn)
    app.connect("autodoc-process-docstring", docstrings.process, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", _signature)
    app.connect("missing-reference", _missing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
