"""What is said where an optional part is not installed: one sentence everywhere, with the command that mends it."""

from __future__ import annotations


def missing(what: str, package: str, extra: str) -> str:
    """`what` cannot be used, since `package` is not there; `extra` of this package brings it."""
    return f"{what} needs {package}; install it with: pip install 'perdure[{extra}]'"
