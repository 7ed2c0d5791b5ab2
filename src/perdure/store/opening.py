"""Where a store is, as users write it: the engine that it names, opened, and the text of it that may be shown."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ..errors import UsageError
from .engine import Engine
from .observer import NOBODY, StoreObserver
from .sqlite.directory import MEMORY, check_is_store

POSTGRES_SCHEMES: Final = ("postgres", "postgresql")

_PASSWORD: Final = re.compile(r"(?i)([?&](?:ssl)?password)=[^&]*")


def is_url(where: str) -> bool:
    """Whether somebody meant a service: a directory named like this would be made, and found empty, without a word."""
    scheme, separator, _ = where.partition("://")
    return bool(separator) and scheme.isascii() and scheme.isalpha()


def is_postgres(where: str) -> bool:
    """Whether it names a PostgreSQL database."""
    return is_url(where) and where.partition("://")[0].lower() in POSTGRES_SCHEMES


def absolute(where: str) -> str:
    """`where` whatever the current directory is; a private store, or a URL, stays what it is."""
    return where if where == MEMORY or is_url(where) else str(Path(where).absolute())


def check_where(where: str) -> None:
    """Raises `UsageError` for what names no engine."""
    if is_url(where) and not is_postgres(where):
        raise UsageError(
            f'{shown(where)} is no directory; a store behind HTTP is `S2(endpoints="…")`, or `S2.from_env()`'
        )
    if not where:
        raise UsageError('give a directory, ":memory:", or the URL of a PostgreSQL database')


async def open_engine(
    where: str, observer: StoreObserver = NOBODY, *, maintain: bool = True, create: bool = True
) -> Engine:
    """The engine that keeps the store at `where`: a directory, ":memory:", or the URL of a PostgreSQL database.

    `observer` is told of commits and followers. `maintain=False` leaves the removal of what expired to others;
    `create=False` makes no store where there is none. Raises `UsageError` for anything else, and what the engine raises
    that cannot open it.
    """
    check_where(where)
    if is_postgres(where):
        from .postgres import PostgresEngine

        return await PostgresEngine.open(where, maintain=maintain, create=create, observer=observer)
    if not create:
        check_exists(where)
    from .sqlite import SqliteEngine

    return await SqliteEngine.open(where, maintain=maintain, observer=observer)


def check_exists(where: str) -> None:
    """Raises `UsageError` for a directory that holds no store, and would be made into one by opening it."""
    check_where(where)
    if not is_url(where):
        check_is_store(where)


def shown(where: str) -> str:
    """`where` without the passwords that a URL may hold."""
    if not is_url(where):
        return where
    scheme, _, rest = where.partition("://")
    option = _PASSWORD.search(rest)
    head, options = (rest, "") if option is None else (rest[: option.start()], rest[option.start() :])
    # Not as a URL is taken apart: a password may hold what it must not, such as a slash, and is not shown for that.
    user, at, hosts = head.rpartition("@")
    name, colon, _ = user.partition(":")
    masked = _PASSWORD.sub(r"\1=***", options)
    return f"{scheme}://{name}{':***' if colon else ''}{at}{hosts}{masked}"


def has_password(where: str) -> bool:
    """Whether `shown` hides something, so that nothing of `where` may be repeated in another way."""
    return shown(where) != where
