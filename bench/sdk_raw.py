"""What the server gives to a client that costs next to nothing: the ceiling of the comparison.

One frame is encoded and sent again and again over HTTP/2, as the SDKs send theirs, by the core of Perdure's client
alone; what is read comes over HTTP/1.1. Answers are counted and not decoded, and the loop is uvloop. Only pipelined
appends and catching up have such a ceiling; whatever else is asked of it goes through Perdure's SDK.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from perdure import S2, AppendRecord, Basin, PerdureError
from perdure.client.dialing import Dialer
from perdure.client.endpoints import Origin
from perdure.client.exchange import Destination, Fields, Head
from perdure.client.http2.fields import pack_common
from perdure.client.proxies import DIRECT, Proxies
from perdure.model.batches import AppendInput
from perdure.wire.append_input import append_input_parts
from perdure.wire.s2s import FrameDecoder, join_frame

from .raw_http import head, records_path
from .scenario import check
from .sdk_client import IN_FLIGHT_BYTES, Target
from .sdk_perdure import PACKINGS, PerdureClient
from .served import BASIN
from .served_read import drain

_PRODUCED_BATCH = 1000
_CONNECT_SECS = 5


class _Acks:
    """Counts the acknowledgements of one session."""

    def __init__(self) -> None:
        self.count = 0
        self._error: PerdureError | None = None
        self._moved = asyncio.Event()
        self._decoder = FrameDecoder()

    def head(self, status: int, fields: Fields) -> None:
        check(status == 200, f"the session was refused with {status}")

    def data(self, piece: bytes) -> None:
        self.count += sum(not frame.is_terminal for frame in self._decoder.feed(piece))
        self._moved.set()

    def end(self) -> None:
        self._moved.set()

    def lost(self, error: PerdureError) -> None:
        self._error = error
        self._moved.set()

    async def wait_for(self, count: int) -> None:
        while self.count < count:
            if self._error is not None:
                raise self._error
            self._moved.clear()
            await self._moved.wait()


class RawClient(PerdureClient):
    def __init__(self, basin: Basin, target: Target) -> None:
        super().__init__(basin)
        self._target = target

    async def append_session(self, stream: str, bodies: Sequence[bytes], batches: int) -> None:
        batch = AppendInput.of([AppendRecord(body) for body in bodies])
        frame = join_frame(append_input_parts(batch), PACKINGS[self._target.packing])
        origin = Origin("http", self._target.host, self._target.port)
        dialer = Dialer(ssl_context=None, timeout=_CONNECT_SECS, force="s2s", proxies=Proxies(DIRECT, {}))
        connection = await dialer.connect(origin)
        destination = Destination(origin, (), pack_common(origin, [(b"s2-basin", BASIN.encode())], ()))
        request_head = Head(b"POST", records_path(stream).encode(), destination, ((b"content-type", b"s2s/proto"),))
        acks = _Acks()
        request = connection.open(request_head, acks, end=False)
        most = IN_FLIGHT_BYTES // sum(len(body) + 8 for body in bodies)
        for sent in range(batches):
            await acks.wait_for(sent + 1 - most)
            request.send(frame)
        await acks.wait_for(batches)
        await connection.aclose()

    async def produce(self, stream: str, body: bytes, records: int) -> None:
        """The batches that a producer makes of them, without gathering."""
        await self.append_session(stream, [body] * _PRODUCED_BATCH, records // _PRODUCED_BATCH)

    async def catch_up(self, stream: str, records: int, body_bytes: int) -> None:
        request = head("GET", records_path(stream, "seq_num=0&wait=0"), [("content-type", "s2s/proto")])
        size, _, _ = await asyncio.to_thread(drain, self._target, request)
        check(size > records * body_bytes, "a read ended early")


@asynccontextmanager
async def connect(target: Target) -> AsyncIterator[RawClient]:
    async with S2(endpoints=f"http://{target.host}:{target.port}") as s2:
        yield RawClient(s2.basin(BASIN), target)
