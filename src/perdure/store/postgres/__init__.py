"""The replicated engine: a PostgreSQL database, and any number of servers in front of it."""

from .durability import Durability as Durability
from .engine import PostgresEngine as PostgresEngine

__all__ = ["Durability", "PostgresEngine"]
