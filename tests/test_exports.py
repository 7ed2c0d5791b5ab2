"""What is public is written out in `__all__`, and importing it costs no more than it must."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_architecture import SRC, module_name


def is_public(path: Path) -> bool:
    return not path.stem.endswith("_pb2") and not any(piece.startswith("_") for piece in module_name(path).split("."))


def is_ours(node: ast.ImportFrom) -> bool:
    return node.level > 0 or (node.module or "").split(".")[0] == "perdure"


def declared(path: Path) -> set[str]:
    """The public names that a module binds at its top level, without what it imports for its own use.

    What a package imports from within the package is a re-export; in a plain module it is one when written
    `from ._x import Name as Name`.
    """
    names: set[str] = set()
    # `if TYPE_CHECKING:` blocks count too: that is how a lazy export is declared to type checkers.
    pending = list(ast.parse(path.read_text(), str(path)).body)
    while pending:
        node = pending.pop()
        match node:
            case ast.If(body=body, orelse=orelse) | ast.Try(body=body, orelse=orelse):
                pending += [*body, *orelse]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case ast.ImportFrom(names=aliases) if is_ours(node):
                names |= {
                    alias.asname or alias.name
                    for alias in aliases
                    if path.stem == "__init__" or alias.asname == alias.name
                }
    return {name for name in names if not name.startswith("_")}


MODULES = [
    path for path in sorted((SRC / "perdure").rglob("*.py")) if is_public(path) and "\n__all__" in path.read_text()
]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_all_names_what_the_module_offers(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    listed = module.__all__
    assert [name for name in listed if not hasattr(module, name)] == []
    assert len(listed) == len(set(listed))
    public = {name for name in listed if not name.startswith("_")}
    if hasattr(module, "__getattr__"):  # lazy exports need no declaration beyond __all__
        public &= declared(path)
    assert public == declared(path)


def test_the_front_door_writes_out_its_names() -> None:
    assert SRC / "perdure" / "__init__.py" in MODULES


def test_the_front_door_gives_what_it_declares() -> None:
    """It looks for a name when it is used first, and must find the one that type checkers were told of."""
    path = SRC / "perdure" / "__init__.py"
    found = importlib.import_module("perdure")
    declarations = [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom) if is_ours(node)
    ]
    names = [(node.module, alias.name) for node in declarations if node.module for alias in node.names]
    assert {name for _, name in names} | {"errors"} >= set(found.__all__)
    for module, name in names:
        assert getattr(found, name) is getattr(importlib.import_module(f"perdure.{module}"), name), name
    assert set(found.__all__) <= set(dir(found))
    with pytest.raises(AttributeError, match="no attribute 'S3'"):
        found.S3  # noqa: B018


@pytest.mark.parametrize("unwanted", ["starlette", "fastapi", "granian"])
def test_importing_perdure_brings_no_web_framework(unwanted: str) -> None:
    # In a process of its own: this one has imported everything already.
    code = f"import sys, perdure; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
