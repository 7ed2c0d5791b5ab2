"""Connections to PostgreSQL: the one place that knows the driver, its failures and our settings.

Failures are sorted by what is known afterwards. `TransactionUndone`: the server rolled back, and the same may be
tried again. `ConnectionLost`: nobody knows how far it came. Everything else is an error of `perdure.errors`, and
nothing was written.

A statement that takes too long is ended by dropping the connection, never by asking the server to cancel it: a commit
that waits for its standbys and is cancelled *succeeds*, with a warning that it may be lost (PostgreSQL, "Synchronous
Replication").
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ..._extras import missing
from ...errors import PerdureError, StorageFailed, StorageFull, UsageError
from ..opening import has_password, shown

if TYPE_CHECKING:
    import asyncpg

logger: Final = logging.getLogger("perdure.store.postgres")

CONNECT_SECONDS: Final = 5.0
"""For each host of the address."""

STATEMENT_SECONDS: Final = 20.0
"""After this the server is taken for dead: it may be stopped, or cut off without a word."""

SCHEMA: Final = "perdure"
"""The tables are in a schema of their own, so they may share a database with others."""

_SETTINGS: Final = f"""
SET search_path = {SCHEMA};
SET timezone = 'UTC';
SET client_encoding = 'UTF8';
SET default_transaction_isolation = 'read committed';
SET statement_timeout = 0;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET enable_seqscan = off;
SET work_mem = '16MB';
SET lock_timeout = '10s';
SET idle_in_transaction_session_timeout = '5s';
SET tcp_keepalives_idle = 10;
SET tcp_keepalives_interval = 5;
SET tcp_keepalives_count = 3;
"""
"""Every query here is a short one by an index: planning it anew each time costs more than running it, a scan of a table
is always a mistake of the planner about a young one, and a group of batches passes through `work_mem`. A server of ours
that is stopped in the middle of a transaction gives up its locks after the idle time-out."""

_LOST_CODES: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25006", "25P03", "53300"})
"""Shut down, crashed, starting, idle for too long, read only since it is no primary any more, no connection left."""

_UNDONE_CODES: Final = frozenset({"40001", "40P01", "55P03", "57014"})
"""A serialisation failure, a deadlock, a lock that did not come, a statement that an administrator cancelled."""

_UNREPLICATED_CODE: Final = "01000"

Row: TypeAlias = "Sequence[object]"


class ConnectionLost(Exception):
    """The connection is of no use any more. `may_have_committed` tells whether a commit was on its way."""

    def __init__(self, message: str, *, may_have_committed: bool = True) -> None:
        super().__init__(message)
        self.may_have_committed: bool = may_have_committed


class TransactionUndone(Exception):
    """The server rolled the transaction back for a reason that passes."""


def load_driver() -> Any:  # the module, which has no types
    """The driver, which takes a moment the first time. Raises `UsageError` if it is not installed."""
    try:
        import asyncpg
    except ModuleNotFoundError as exc:
        raise UsageError(missing("the PostgreSQL engine", "asyncpg", "postgres")) from exc
    return asyncpg


def translate(exc: BaseException) -> Exception:
    """What a failure of the driver means to us."""
    driver = load_driver()
    if isinstance(exc, (driver.PostgresError, driver.FatalPostgresError)):
        code = getattr(exc, "sqlstate", None) or ""
        text = f"PostgreSQL refused: {exc} (SQLSTATE {code})"
        if code in _LOST_CODES or code.startswith("08"):
            return ConnectionLost(text)
        if code in _UNDONE_CODES:
            return TransactionUndone(text)
        if code == "53100":
            return StorageFull(f"{text}; nothing was written")
        if code in ("28000", "28P01", "3D000", "42501"):
            return UsageError(f"{text}; check the address, the role and its privileges")
        return StorageFailed(text)
    if isinstance(exc, (driver.InterfaceError, driver.InternalClientError, OSError, TimeoutError, EOFError)):
        return ConnectionLost(f"the connection to PostgreSQL failed: {str(exc) or type(exc).__name__}")
    if isinstance(exc, Exception):
        return exc
    raise exc


class Connection:
    """A connection with our settings, from `connect`, for one task at a time."""

    def __init__(self, raw: asyncpg.Connection[asyncpg.Record]) -> None:
        self._raw = raw
        self._loop = asyncio.get_running_loop()
        self.unreplicated: bool = False
        """Whether the server warned that something was committed without the standbys that it should have waited
        for."""
        raw.add_log_listener(self._on_log)

    def _on_log(self, _: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.sqlstate == _UNREPLICATED_CODE:
            logger.warning("PostgreSQL: %s", message.message)
            self.unreplicated = True

    @property
    def is_closed(self) -> bool:
        return bool(self._raw.is_closed())

    async def fetch(self, sql: str, *values: object, seconds: float = STATEMENT_SECONDS) -> list[Row]:
        """The rows of one statement, prepared at its first use. Raises what the module says."""
        alarm = self._loop.call_later(seconds, self.terminate)
        try:
            rows: list[Row] = await self._raw.fetch(sql, *values)
            return rows
        except asyncio.CancelledError:
            self.terminate()
            raise
        except Exception as exc:
            raise translate(exc) from exc
        finally:
            alarm.cancel()

    async def execute(self, script: str, *, seconds: float = STATEMENT_SECONDS) -> str:
        """Run statements without parameters; the server's word on the last of them, such as ``UPDATE 1``."""
        alarm = self._loop.call_later(seconds, self.terminate)
        try:
            return str(await self._raw.execute(script))
        except asyncio.CancelledError:
            self.terminate()
            raise
        except Exception as exc:
            raise translate(exc) from exc
        finally:
            alarm.cancel()

    async def listen(self, channel: str, heard: Callable[[str], None], ended: Callable[[], None]) -> None:
        """Have `heard` called with the payload of every notification, and `ended` once, when no more will come."""

        def on_notification(_: object, _pid: int, _channel: str, payload: object) -> None:
            heard(str(payload))

        self._raw.add_termination_listener(lambda _: ended())
        try:
            await self._raw.add_listener(channel, on_notification)
        except Exception as exc:
            raise translate(exc) from exc

    @property
    def claimed_pid(self) -> int:
        """The process that the server, or a pooler in its place, said that we talk to."""
        return int(self._raw.get_server_pid())

    @property
    def version(self) -> int:
        """The major version of the server."""
        return int(self._raw.get_server_version().major)

    def terminate(self) -> None:
        """End at once, whatever is going on."""
        self._raw.terminate()

    async def aclose(self) -> None:
        """End in order, or at once if that takes long. Idempotent."""
        if not self._raw.is_closed():
            try:
                await self._raw.close(timeout=CONNECT_SECONDS)
            except Exception as exc:
                logger.debug("a connection to PostgreSQL did not end in order: %s", exc)
                self._raw.terminate()


async def connect(url: str, *, settings: str = "", standby: bool = False) -> Connection:
    """A connection to the primary, or to a `standby`, among the hosts of `url`; `settings` are statements that run
    first.

    Raises `ConnectionLost` if none can be reached that takes writes, or is a standby, `UsageError` for an address, a
    role or a database that cannot be used.
    """
    driver = load_driver()
    raw = None
    try:
        raw = await driver.connect(
            url,
            timeout=CONNECT_SECONDS,
            target_session_attrs="standby" if standby else "read-write",
            server_settings={"application_name": "perdure"},
        )
        async with asyncio.timeout(CONNECT_SECONDS):
            await raw.execute(_SETTINGS + settings)
    except asyncio.CancelledError:
        if raw is not None:
            raw.terminate()
        raise
    except Exception as exc:
        if raw is not None:
            raw.terminate()
        if isinstance(exc, driver.TargetServerAttributeNotMatched):
            wanted = "standby" if standby else "primary that takes writes"
            raise ConnectionLost(f"no host of the address is a PostgreSQL {wanted}") from exc
        if isinstance(exc, ValueError) and not isinstance(exc, PerdureError):
            raise _unusable(url, exc) from None
        if isinstance(exc, driver.ClientConfigurationError):
            raise _unusable(url, exc) from None
        raise translate(exc) from exc
    return Connection(raw)


def _unusable(url: str, exc: Exception) -> UsageError:
    """What is wrong with an address; in the words of the driver only where they cannot hold a part of a password."""
    if has_password(url):
        return UsageError(
            f"the address of PostgreSQL cannot be used: {shown(url)}; "
            "characters such as / ? # [ % and @ in a password are written %2F, %3F, %23, %5B, %25 and %40"
        )
    return UsageError(f"the address of PostgreSQL cannot be used: {exc}")
