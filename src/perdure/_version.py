"""The version of the package; `pyproject.toml` says the same."""

from typing import Final

__version__: Final = "0.1.0"
