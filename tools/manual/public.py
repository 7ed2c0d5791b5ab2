"""Which names of Perdure are public, and what each of them is called in the reference."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

MODULES: Final = (
    "perdure",
    "perdure.errors",
    "perdure.patterns",
    "perdure.sync",
    "perdure.resumable",
    "perdure.resumable.aisdk",
    "perdure.resumable.anthropic",
    "perdure.resumable.tanstack_ai",
    "perdure.resumable.openai",
    "perdure.resumable.events",
    "perdure.resumable.wsgi",
    "perdure.resumable.client",
    "perdure.web",
    "perdure.telemetry",
    "perdure.server.app",
    "perdure.server.context",
    "perdure.server.limits",
)
"""What applications import from. A name that several of these have is described under the first."""

_CHOSEN: Final = {
    "perdure.server.app": ["create_app", "ServerApp"],
    "perdure.server.context": ["ServerSettings"],
}
"""What is for applications in modules that have more."""


def exported(module: str) -> list[str]:
    """The names that a module gives: its `__all__`, else the public classes and functions that it defines."""
    if module in _CHOSEN:
        return _CHOSEN[module]
    found = importlib.import_module(module)
    names: list[str] | None = getattr(found, "__all__", None)
    if names is not None:
        return [name for name in names if not name.startswith("_") and not inspect.ismodule(getattr(found, name))]
    return [
        name
        for name, value in vars(found).items()
        if not name.startswith("_") and is_code(value) and value.__module__ == module
    ]


def is_code(value: object) -> bool:
    """Whether it is a class or a function, and no constant and no alias of a type."""
    return inspect.isclass(value) or inspect.isroutine(value)


@dataclass(frozen=True)
class Origin:
    """Where a name is assigned or defined."""

    module: str
    name: str


@cache
def origin(module: str, name: str) -> Origin:
    """Where a name of a module comes from, through however many imports."""
    found = getattr(importlib.import_module(module), name)
    if is_code(found) and found.__module__.startswith("perdure"):
        return Origin(found.__module__, found.__qualname__)
    source, called = _imports(module).get(name, ("", ""))
    return origin(source, called) if source.startswith("perdure") else Origin(module, name)


@cache
def _imports(module: str) -> dict[str, tuple[str, str]]:
    """What a module imports by name: from where, and what it is called there."""
    found = importlib.import_module(module)
    package = module if hasattr(found, "__path__") else module.rpartition(".")[0]
    names: dict[str, tuple[str, str]] = {}
    for node in ast.walk(ast.parse(inspect.getsource(found))):
        if isinstance(node, ast.ImportFrom):
            source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            names |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
    return names


@cache
def described_as() -> dict[Origin, str]:
    """The full name in the reference of everything that is exported, by where it is defined."""
    names: dict[Origin, str] = {}
    for module in MODULES:
        for name in exported(module):
            names.setdefault(origin(module, name), f"{module}.{name}")
    return names


@cache
def described_names() -> frozenset[str]:
    """All full names of what is exported: those in the reference, and those where it is defined."""
    homes = described_as()
    return frozenset(homes.values()) | {f"{home.module}.{home.name}" for home in homes}


def own_names(module: str) -> Iterator[str]:
    """The names of a module that are described under it, and not under another one."""
    for name in exported(module):
        if described_as()[origin(module, name)] == f"{module}.{name}":
            yield name
