"""What the server gives to a client that costs next to nothing: the ceiling of the comparison.

One frame is encoded and sent again and again, answers are counted and not decoded, over HTTP/1.1 on uvloop. Only
pipelined appends and catching up have such a ceiling; whatever else is asked of it goes through Perdure's SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from perdure import S2, AppendRecord, Basin

from .raw_http import append_frame, head, records_path
from .scenario import check
from .sdk_client import IN_FLIGHT_BYTES, Target
from .sdk_perdure import PerdureClient
from .served import BASIN
from .served_append import stream_batches
from .served_read import drain


class RawClient(PerdureClient):
    def __init__(self, basin: Basin, target: Target) -> None:
        super().__init__(basin)
        self._target = target

    async def append_session(self, stream: str, bodies: Sequence[bytes], batches: int) -> None:
        frame = append_frame([AppendRecord(body) for body in bodies])
        await stream_batches(self._target, stream, frame, batches, in_flight_bytes=IN_FLIGHT_BYTES)

    async def catch_up(self, stream: str, records: int, body_bytes: int) -> None:
        request = head("GET", records_path(stream, "seq_num=0&wait=0"), [("content-type", "s2s/proto")])
        size, _, _ = await asyncio.to_thread(drain, self._target, request)
        check(size > records * body_bytes, "a read ended early")


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[RawClient]:
    async with S2(endpoints=f"http://{target.host}:{target.port}") as s2:
        yield RawClient(s2.basin(BASIN), target)
