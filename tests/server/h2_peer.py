"""A client over HTTP/2 with prior knowledge, whose every step a test decides: both halves of a stream at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
import h2.settings

from tests.patience import PATIENCE_SECONDS
from tests.server.described import check_described

WINDOW_BYTES = 4 * 1024 * 1024


class H2Stream:
    """One request and its answer."""

    def __init__(self, peer: H2Peer, stream_id: int, asked: tuple[str, str]) -> None:
        self._peer = peer
        self._asked = asked
        self.id: int = stream_id
        self.fields: dict[str, str] = {}
        self.body: bytearray = bytearray()
        """What has come and was not taken yet."""
        self.ended: bool = False
        self.reset_code: int | None = None

    @property
    def status(self) -> int:
        return int(self.fields[":status"])

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.ended or self.reset_code is not None or self._peer.closed

    async def send(self, data: bytes = b"", *, end: bool = False) -> None:
        """Send `data` as far and as soon as the server's flow control lets it; gives up when the stream is over."""
        h2c = self._peer.h2
        at = 0
        while at < len(data):
            if self._peer.closed or self.reset_code is not None:
                return
            room = min(h2c.local_flow_control_window(self.id), h2c.max_outbound_frame_size)
            if room <= 0:
                await self._peer.changed()
                continue
            h2c.send_data(self.id, data[at : at + room])
            at += room
            await self._peer.flush()
        if end and not self._peer.closed and self.reset_code is None:
            h2c.end_stream(self.id)
            await self._peer.flush()

    async def reset(self) -> None:
        self._peer.h2.reset_stream(self.id)
        await self._peer.flush()

    async def head(self) -> int:
        """Wait for the head of the answer, and give its status. The served description must tell of it."""
        await self._peer.until(lambda: bool(self.fields) or self.is_over)
        check_described(*self._asked, self.status, self.fields)
        return self.status

    async def take(self, size: int) -> bytes:
        """Wait for `size` bytes of the answer and take them; fewer only if it is over."""
        await self._peer.until(lambda: len(self.body) >= size or self.is_over)
        taken = bytes(self.body[:size])
        del self.body[:size]
        return taken

    async def frame(self) -> bytes:
        """The next whole s2s frame of the answer, flag and payload; empty at its end."""
        length = await self.take(3)
        return await self.take(int.from_bytes(length, "big")) if length else b""

    async def rest(self) -> bytes:
        """All that is still to come, until the answer ends."""
        await self._peer.until(lambda: self.is_over)
        taken = bytes(self.body)
        self.body.clear()
        return taken


class H2Peer:
    """One connection, from `connected`. With `reading` False it takes nothing of what the server sends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int = WINDOW_BYTES) -> None:
        self._window = window
        self._reader = reader
        self._writer = writer
        self.h2: h2.connection.H2Connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.closed: bool = False
        self.acknowledging: bool = True
        """Whether what was taken makes room for more; if not, the server soon has no window left."""
        self.settings: dict[int, int] = {}
        """What the server's SETTINGS said."""
        self._streams: dict[int, H2Stream] = {}
        self._change = asyncio.Condition()
        self._reading = asyncio.Event()
        self._reading.set()

    async def start(self) -> None:
        self.h2.local_settings = h2.settings.Settings(
            client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self._window}
        )
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW_BYTES)
        await self.flush()

    async def open(
        self, method: str, path: str, *, end: bool = False, fields: Mapping[str, str] | None = None, **more: str
    ) -> H2Stream:
        """Begin a request; `content_type` and the like are header fields, as are `fields`."""
        stream = H2Stream(self, self.h2.get_next_available_stream_id(), (method, path))
        self._streams[stream.id] = stream
        pairs = [(":method", method), (":path", path), (":scheme", "http"), (":authority", "localhost")]
        pairs += [(name.replace("_", "-"), value) for name, value in {**(fields or {}), **more}.items()]
        self.h2.send_headers(stream.id, pairs, end_stream=end)
        await self.flush()
        return stream

    def stop_reading(self) -> None:
        """Take nothing more from the socket, so that the server's send blocks in the end."""
        self._reading.clear()

    def go_on_reading(self) -> None:
        self._reading.set()

    async def flush(self) -> None:
        data = self.h2.data_to_send()
        if data and not self.closed:
            self._writer.write(data)
            try:
                await self._writer.drain()
            except ConnectionError:
                await self._over()

    async def changed(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), self._change:
            await self._change.wait()

    async def until(self, holds: object) -> None:
        assert callable(holds)
        async with asyncio.timeout(PATIENCE_SECONDS), self._change:
            await self._change.wait_for(holds)

    async def run(self) -> None:
        """Take what the server sends, until it closes."""
        try:
            while True:
                await self._reading.wait()
                data = await self._reader.read(65536)
                if not data:
                    break
                for event in self.h2.receive_data(data):
                    self._note(event)
                await self.flush()
                async with self._change:
                    self._change.notify_all()
        except ConnectionError:
            pass
        finally:
            await self._over()

    async def _over(self) -> None:
        self.closed = True
        async with self._change:
            self._change.notify_all()

    def _note(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings.update({int(code): change.new_value for code, change in event.changed_settings.items()})
            return
        stream = self._streams.get(getattr(event, "stream_id", None) or 0)
        if stream is None:
            return
        if isinstance(event, h2.events.ResponseReceived):
            stream.fields = {str(name): str(value) for name, value in event.headers or ()}
        elif isinstance(event, h2.events.DataReceived):
            stream.body += event.data or b""
            if event.flow_controlled_length and self.acknowledging:
                self.h2.acknowledge_received_data(event.flow_controlled_length, stream.id)
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset):
            stream.reset_code = int(event.error_code or 0)


@asynccontextmanager
async def connected(port: int, *, window: int = WINDOW_BYTES) -> AsyncIterator[H2Peer]:
    """A connection to the server on `port`, which is closed at the end; `window` is that of each stream, in bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = H2Peer(reader, writer, window)
    running = asyncio.create_task(peer.run())
    try:
        await peer.start()
        yield peer
    finally:
        running.cancel()
        await asyncio.wait((running,))
        writer.close()
