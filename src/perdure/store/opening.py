"""Where a store is, as users write it: the engine that it names, opened, and the text of it that may be shown."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from ..errors import UsageError
from .engine import Engine
from .observer import NOBODY, StoreObserver

POSTGRES_SCHEMES: Final = ("postgres", "postgresql")

_PASSWORD: Final = re.compile(r"(?i)(\A|&)((?:ssl)?password)=[^&]*")


def is_url(where: str) -> bool:
    """Whether somebody meant a service: a directory named like this would be made, and found empty, without a word."""
    scheme, separator, _ = where.partition("://")
    return bool(separator) and scheme.isascii() and scheme.isalpha()


def is_postgres(where: str) -> bool:
    """Whether it names a PostgreSQL database."""
    return is_url(where) and where.partition("://")[0].lower() in POSTGRES_SCHEMES


def check_where(where: str) -> None:
    """Raises `UsageError` for what names no engine."""
    if is_postgres(where):
        raise UsageError("the PostgreSQL engine is not available in this version yet; give a directory")
    if is_url(where):
        raise UsageError(
            f'{shown(where)} is no directory; a store behind HTTP is `S2(endpoints="…")`, or `S2.from_env()`'
        )
    if not where:
        raise UsageError('give a directory, or ":memory:"')


async def open_engine(where: str, observer: StoreObserver = NOBODY) -> Engine:
    """The engine that keeps the store at `where`: a directory, or ":memory:". Raises `UsageError` for anything else.

    `observer` is told of commits and followers.
    """
    check_where(where)
    from .sqlite import SqliteEngine

    return await SqliteEngine.open(where, observer=observer)


def shown(where: str) -> str:
    """`where` without the passwords that a URL may hold."""
    if not is_url(where):
        return where
    parts = urlsplit(where)
    user, at, hosts = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}{':***' if colon else ''}{at}{hosts}"
    return urlunsplit(parts._replace(netloc=netloc, query=_PASSWORD.sub(r"\1\2=***", parts.query)))
