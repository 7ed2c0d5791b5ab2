"""The tree is the architecture: imports point only downwards (CONTRIBUTING.md draws the layers)."""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src"
FLOOR = {"model", "errors", "_extras", "_version"}
BELOW_CLIENT = FLOOR | {"wire", "telemetry"}
ABOVE_CLIENT = BELOW_CLIENT | {"client"}

# Each part of the package, and the parts that it may import. "perdure" is the package's own front door.
MAY_IMPORT = {
    "model": FLOOR,
    "errors": FLOOR,
    "_extras": set[str](),
    "_version": set[str](),
    "wire": FLOOR,
    "telemetry": {"errors", "_version"},
    "store": BELOW_CLIENT,
    "inspector": BELOW_CLIENT,
    "server": BELOW_CLIENT | {"store", "inspector"},
    "client": BELOW_CLIENT,
    "sync": ABOVE_CLIENT,
    "patterns": ABOVE_CLIENT,
    "resumable": ABOVE_CLIENT | {"patterns", "sync"},
    "web": FLOOR,
    "perdure": ABOVE_CLIENT | {"patterns", "sync"},
    "demo": {"perdure", "resumable", "web"},
    "cli": ABOVE_CLIENT | {"perdure", "store", "server", "sync", "patterns", "resumable", "web", "demo", "inspector"},
    "__main__": {"cli"},
}
# The client speaks to the store in its own process through these modules, and through nothing else.
LOCAL_TRANSPORT = (
    "perdure.client.transports.local",
    "perdure.client.transports.local.*",
    "perdure.client._local*",
)


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """`perdure.store.sqlite` belongs to `store`; a name from the front door belongs to `perdure`."""
    top = module.split(".")[1] if "." in module else "perdure"
    return top if (SRC / "perdure" / top).is_dir() or (SRC / "perdure" / f"{top}.py").is_file() else "perdure"


def imports(path: Path) -> Iterator[str]:
    """What `path` imports from the package; type-only and lazy imports bind two parts together as well."""
    package = module_name(path).split(".") if path.stem == "__init__" else module_name(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found = [f"{source}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name for name in found if name.split(".")[0] == "perdure")


def upward_imports(path: Path) -> list[str]:
    module = module_name(path)
    part = part_of(module)
    assert part in MAY_IMPORT, f"{module} is in no layer yet: say in MAY_IMPORT where `{part}` belongs"
    allowed = MAY_IMPORT[part] | {part}
    if any(fnmatch(module, pattern) for pattern in LOCAL_TRANSPORT):
        allowed |= {"store"}
    return [f"{module} imports {name}" for name in imports(path) if part_of(name) not in allowed]


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=module_name)
def test_imports_point_only_downwards(path: Path) -> None:
    assert upward_imports(path) == []


@pytest.mark.parametrize("path", sorted((SRC / "perdure" / "demo").rglob("*.py")), ids=module_name)
def test_the_demo_uses_only_what_an_application_can(path: Path) -> None:
    foreign = [name for name in imports(path) if part_of(name) != "demo"]
    assert [name for name in foreign if re.search(r"\._(?!_)", name)] == []
