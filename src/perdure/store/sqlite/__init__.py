"""The embedded engine: one directory, one SQLite database in WAL mode, any number of processes."""

from .engine import SqliteEngine as SqliteEngine

__all__ = ["SqliteEngine"]
