"""Where a chat object keeps its streams: a store that is opened on first use, and a basin that is made sure of."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from msgspec import UNSET

from ..client import S2, Basin, Stream
from ..client.endpoints import Endpoints
from ..errors import Invalid, PermissionDenied, ResourceExists, SessionClosed, UsageError
from ..model.configs import (
    SECONDS_A_DAY,
    DeleteOnEmptyConfig,
    InfiniteRetention,
    RetentionAge,
    StreamConfig,
)
from ..model.names import check_basin_name
from .settings import Mode

logger: Final = logging.getLogger("perdure.resumable")

SHORT_RETENTION: Final = StreamConfig(
    retention_policy=RetentionAge(7 * SECONDS_A_DAY), delete_on_empty=DeleteOnEmptyConfig(SECONDS_A_DAY)
)
"""For names that are used once, or hold the active generation only."""

KEEP_FOR_EVER: Final = StreamConfig(retention_policy=InfiniteRetention())
"""For logs that are the chat's history."""


class ChatStore:
    """A basin, on a store that is opened and closed here or that somebody else keeps open."""

    def __init__(self, basin: str, mode: Mode, open_s2: Callable[[], S2] | None, s2: S2 | None) -> None:
        self._name = check_basin_name(basin)
        self._mode = mode
        self._open_s2 = open_s2
        self._s2 = s2
        self._basin: Basin | None = None
        self._opening = asyncio.Lock()
        self._opened = AsyncExitStack()
        self._closed = False

    @classmethod
    def of(
        cls,
        *,
        s2: S2 | None,
        path: str | os.PathLike[str] | None,
        access_token: str | None,
        endpoints: Endpoints | str | None,
        basin: str,
        mode: Mode,
    ) -> ChatStore:
        """The store that exactly one of `s2`, `path` and `access_token` names; raises `UsageError`."""
        if sum(given is not None for given in (s2, path, access_token)) != 1:
            raise UsageError(
                "say where the chats are kept: `path=` for a directory on this machine, `access_token=` (and "
                "`endpoints=`) for a service, or `s2=` for a client that is open already; exactly one of them"
            )
        if s2 is not None:
            return cls(basin, mode, None, s2)
        if path is not None:
            where = path
            return cls(basin, mode, lambda: S2.open(where), None)
        return cls(basin, mode, lambda: S2(access_token=access_token, endpoints=endpoints), None)

    async def basin(self) -> Basin:
        """The basin, opened and made sure of by the first who asks."""
        if self._closed:
            raise SessionClosed("the chat object is closed")
        if self._basin is not None:
            return self._basin
        async with self._opening:
            if self._basin is None:
                s2 = self._s2
                if s2 is None:
                    assert self._open_s2 is not None
                    s2 = await self._opened.enter_async_context(self._open_s2())
                    self._s2 = s2
                await self._ensure(s2)
                self._basin = s2.basin(self._name)
            return self._basin

    async def stream(self, name: str) -> Stream:
        """The stream of this name. Raises `InvalidStreamName` if none can have it."""
        basin = self._basin
        if basin is None or self._closed:
            basin = await self.basin()
        try:
            return basin.stream(name)
        except Invalid as exc:
            from .stream_names import invalid_stream_name  # needs Starlette, which text streams may do without

            raise invalid_stream_name(exc) from None

    async def aclose(self) -> None:
        """Close what was opened here. Idempotent."""
        self._closed = True
        async with self._opening:
            self._basin = None
            await self._opened.aclose()

    async def _ensure(self, s2: S2) -> None:
        """Create the basin, or see to it that an existing one creates streams; all else is left as it was set."""
        config = KEEP_FOR_EVER if self._mode is Mode.SESSION else SHORT_RETENTION
        try:
            try:
                await s2.basins.create(
                    self._name,
                    default_stream_config=config,
                    create_stream_on_append=True,
                    create_stream_on_read=True,
                )
            except ResourceExists:
                current = await s2.basins.get_config(self._name)
                if not (current.create_stream_on_append and current.create_stream_on_read):
                    await s2.basins.reconfigure(
                        self._name,
                        default_stream_config=UNSET,
                        create_stream_on_append=True,
                        create_stream_on_read=True,
                    )
        except PermissionDenied:
            logger.info("no permission to make sure of the basin %r; it is used as it is", self._name)
