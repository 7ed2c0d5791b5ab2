"""The version of the package, said here only: the build reads it."""

from typing import Final

__version__: Final = "0.1.0"
