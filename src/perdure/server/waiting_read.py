"""Unary reads that wait for records to come (store API, section 6.6).

One may take a minute, and all that time it follows its stream. So it is held like a session: bounded in number, ended
when its client goes away, and told when the server stops. Without that, a client could leave any number of them behind.
"""

from __future__ import annotations

import asyncio

from ..errors import ServerDraining, Unavailable
from ..model.batches import ReadBatch
from ..model.configs import StreamConfig
from ..model.encryption import EncryptionKey
from ..model.reads import ReadRequest
from .asgi import Receive
from .context import Context
from .request import ClientGone, Request
from .sessions import SessionKind


async def waiting_read(
    context: Context, request: Request, wanted: ReadRequest, key: EncryptionKey | None, config: StreamConfig | None
) -> ReadBatch:
    """What is read. Raises what a read raises, and `RateLimited`, `ServerDraining`, `ClientGone`."""
    slot = context.sessions.open(SessionKind.WAIT, request.client)
    try:
        stop = _Stop()
        slot.attach(stop)
        reading = request.store.read(request.basin, request.names[0], wanted, key, config)
        read = asyncio.create_task(reading, name="waiting-read")
        gone = asyncio.create_task(_wait_gone(request.receive), name="waiting-read-client")
        try:
            await asyncio.wait((read, gone, stop.told), return_when=asyncio.FIRST_COMPLETED)
            if read.done():
                return read.result()
            if gone.done():
                raise ClientGone(Unavailable("the client went away, so its read does not wait any more"))
            raise ServerDraining("the server is about to stop; read again")
        finally:
            read.cancel()
            gone.cancel()
            await asyncio.gather(read, gone, return_exceptions=True)
    finally:
        slot.close()


class _Stop:
    """Hears that the server is about to stop."""

    def __init__(self) -> None:
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def advise(self) -> None:
        """There is nothing to say before the answer."""

    def drain(self) -> None:
        self.told.set_result(None)


async def _wait_gone(receive: Receive) -> None:
    while (await receive())["type"] == "http.request":
        pass  # a read has no input; a body that came with it is thrown away
