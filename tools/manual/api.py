"""The reference: a block that names what it is about becomes what `autodoc` takes for each of the names.

In a page, where it is good to read as it stands:

    ```{api} perdure
    S2 Basins Basin
    ```

`{module}` gives the words of a whole module.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
from typing import Final

from sphinx.pycode import ModuleAnalyzer

from .docstrings import prose
from .public import Origin, is_code, origin

_MODULE: Final = re.compile(r"^```\{module\} (\S+)\n```$", re.MULTILINE)
_BLOCK: Final = re.compile(r"^```\{api\} (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def expand(text: str) -> str:
    """A page with its blocks written out as directives."""
    text = _MODULE.sub(r"```{eval-rst}\n.. automodule:: \1\n   :no-members:\n```", text)
    return _BLOCK.sub(lambda block: _described(block[1], block[2].split()), text)


def named(text: str) -> set[str]:
    """The full names that the blocks of a page describe."""
    return {f"{module}.{name}" for module, names in _BLOCK.findall(text) for name in names.split()}


def _described(module: str, names: list[str]) -> str:
    return "```{eval-rst}\n" + "\n\n".join(_directive(module, name) for name in names) + "\n```"


def _directive(module: str, name: str) -> str:
    value: object = getattr(importlib.import_module(module), name)
    if not is_code(value):
        return _data(module, name, value)
    if not inspect.isclass(value):
        return f".. autofunction:: {module}.{name}"
    if issubclass(value, BaseException):
        return f".. autoexception:: {module}.{name}\n   :show-inheritance:"
    lines = [f".. autoclass:: {module}.{name}"]
    if issubclass(value, enum.Enum):
        lines.append("   :undoc-members:")
    if module == "perdure.sync":
        lines.append("   :no-members:")  # those of `perdure`
    return "\n".join(lines)


def _data(module: str, name: str, value: object) -> str:
    """A constant, or an alias of a type: `autodoc` does not follow these to where they are defined."""
    home = origin(module, name)
    analyzer = ModuleAnalyzer.for_module(home.module)
    analyzer.analyze()
    words = "\n".join(analyzer.attr_docs.get(("", home.name), []))
    shown = repr(value) if isinstance(value, (int, str, float, tuple)) else None
    lines = [f".. py:data:: {name}", f"   :module: {module}"]
    if (home.module, home.name) != (module, name):
        lines.append(f"   :canonical: {home.module}.{home.name}")
    if shown is not None:
        lines.append(f"   :value: {shown}")
    words = prose(words, f"{module}.{name}")
    if shown is None:
        words = f"{words}\n\nStands for ``{_assigned(home)}``."
    return "\n".join([*lines, "", *(f"   {line}" for line in words.strip().splitlines())])


def _assigned(home: Origin) -> str:
    """What a name of a module is assigned, as its source says."""
    for node in ast.parse(inspect.getsource(importlib.import_module(home.module))).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == home.name:
            return ast.unparse(node.value) if node.value else ""
    raise LookupError(f"{home.module} assigns nothing to {home.name}")
