"""Docstrings as Sphinx wants them: what stands between single backticks becomes a link, or else code.

Ours are plain prose, in which `name` is a name of Python or of the protocol. What a name means is looked up in the
running package, where the docstring stands, so a link is right or not there at all.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Final

from sphinx.application import Sphinx

from .public import described_as, is_code, origin

_QUOTED: Final = re.compile(r"(?<![`:\w])`([^`]+)`(?![`_])(?=(\w)?)")
_NAME: Final = re.compile(r"[A-Za-z_][\w.]*")
_RAISED: Final = re.compile(r"^(\s+)([A-Z]\w+(?:, [A-Z]\w+)*): ")


def process(app: Sphinx, kind: str, full_name: str, value: object, options: object, lines: list[str]) -> None:
    """What Sphinx calls for each docstring, before anything else reads it."""
    lines[:] = _one_error_a_line(_linked("\n".join(lines), full_name, value).split("\n"))


def prose(text: str, full_name: str) -> str:
    """The same for text that stands elsewhere, such as below a constant."""
    return _linked(text, full_name, None)


def _linked(text: str, full_name: str, value: object) -> str:
    return _QUOTED.sub(lambda found: _shown(found[1], full_name, value) + ("\\ " if found[2] else ""), text)


def _one_error_a_line(lines: list[str]) -> list[str]:
    """`A, B: when` under `Raises:` told of each, since each is a link of its own."""
    told, inside = list[str](), False
    for line in lines:
        if line.strip():
            inside = line.strip() == "Raises:" or (inside and line.startswith(" "))
        found = _RAISED.match(line) if inside else None
        if found and "," in found[2]:
            *first, last = found[2].split(", ")
            told += [f"{found[1]}{name}: likewise" for name in first]
            line = f"{found[1]}{last}: {line[found.end() :]}"
        told.append(line)
    return told


def _shown(text: str, full_name: str, value: object) -> str:
    joined = " ".join(text.split())
    target = _target(joined, full_name, value) if _NAME.fullmatch(joined) else None
    return f"``{joined}``" if target is None else f":py:obj:`{joined} <{target}>`"


def _target(text: str, full_name: str, value: object) -> str | None:
    """The full name in the reference of what a docstring calls `text`, None if that is not there."""
    if inspect.isroutine(value) and text in inspect.signature(value).parameters:
        return None
    for scope in _scopes(full_name, value):
        first, *rest = text.split(".")
        if inspect.ismodule(scope):
            home = _home(scope.__name__, first)
        elif rest or not isinstance(scope, type):
            continue
        else:
            home, rest = _home(scope.__module__, scope.__qualname__), [first]
        if home is None:
            continue
        found = _attribute(home, rest)
        if found is not None:
            return found
    return None


def _scopes(full_name: str, value: object) -> list[object]:
    """Where a name is looked for: the class, the modules that define and that show it, the package."""
    scopes = list[object]()
    parts = full_name.split(".")
    for split in range(len(parts), 0, -1):
        try:
            module = importlib.import_module(".".join(parts[:split]))
        except ImportError:
            continue
        holder: object = module
        for part in parts[split:]:
            holder = getattr(holder, part, None)
            if isinstance(holder, type):
                scopes += [holder, importlib.import_module(holder.__module__)]
        scopes.append(module)
        break
    if value is not None and is_code(value):
        scopes.append(importlib.import_module(getattr(value, "__module__", "perdure")))
    return [*scopes, importlib.import_module("perdure"), importlib.import_module("perdure.errors")]


def _home(module: str, name: str) -> str | None:
    if not module.startswith("perdure") or not hasattr(importlib.import_module(module), name):
        return None
    return described_as().get(origin(module, name))


def _attribute(home: str, rest: list[str]) -> str | None:
    """`home` with the attributes of a class behind it, None if it has no such thing with words of its own."""
    module, _, name = home.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    for part in rest:
        found = inspect.getattr_static(found, part, None)
        if found is None or not getattr(found, "__doc__", None):
            return None
        home = f"{home}.{part}"
    return home
