"""What reads over s2s and reads as server-sent events have in common: a head at once, deliveries, an end (section 6.7).

A session that waits holds two suspended coroutines and a timer, and does nothing: one waits for records, the other for
the client to go away. Closing the read wakes the first, so nothing has to be cancelled in the middle of a step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from ..errors import ServerDraining
from ..store.reading import Delivery
from ..wire import headers
from .asgi import Receive, Send
from .patience import PatienceClock
from .pieces import PieceSize, pieces
from .response import Channel
from .served_store import ServedReadSession
from .sessions import Slot


class ReadForm(Protocol):
    """How the steps of a read look on the wire, for one session."""

    @property
    def content_type(self) -> bytes: ...

    def encode(self, delivery: Delivery) -> Sequence[bytes]:
        """The parts of what is sent for a delivery, to be sent one after the other: large ones are not put together."""
        ...

    def advise(self) -> None:
        """What is encoded from now on suggests a new session to the client, if the form can say that."""
        ...

    def done(self) -> bytes:
        """What is sent at a clean end."""
        ...

    def failed(self, error: BaseException) -> bytes:
        """What is sent last when the read failed."""
        ...


class DeliveringSession:
    """A read in progress: `run` hands out what comes until the read ends, fails, or nobody is left to read."""

    def __init__(self, read: ServedReadSession, form: ReadForm, slot: Slot, *, stalls: PatienceClock) -> None:
        self._read = read
        self._form = form
        self._slot = slot
        self._stalls = stalls
        self._gone = False
        self._draining = False

    async def run(self, channel: Channel) -> None:
        watching: asyncio.Task[None] | None = None
        try:
            await self._send_head(channel)
            self._slot.attach(self)
            watching = asyncio.create_task(self._watch(channel.receive), name="read-session-client")
            end = await self._deliver(channel)
            if not self._gone:
                await self._send_body(channel.send, end, more=False)
        except TimeoutError:
            pass  # the client took nothing for so long that it counts as gone
        finally:
            self._read.close()
            self._slot.close()
            if watching is not None:
                watching.cancel()
                await asyncio.wait((watching,))

    def advise(self) -> None:
        self._form.advise()

    def drain(self) -> None:
        """End after the step that is under way."""
        self._draining = True
        self._read.close()

    async def _watch(self, receive: Receive) -> None:
        """Notice that the client went away: what is sent to it then is lost without an error."""
        while (await receive())["type"] == "http.request":
            pass  # a read has no input; a body that came with it is thrown away
        self._gone = True
        self._read.close()

    async def _deliver(self, channel: Channel) -> bytes:
        """Send every step of the read, and give what is to be sent last."""
        loop, size = asyncio.get_running_loop(), PieceSize()
        try:
            while (delivery := await self._read.next()) is not None:
                parts = self._form.encode(delivery)
                del delivery  # a client that takes nothing holds up what is to be sent, and no more than that
                for piece in pieces(parts, size):
                    begun = loop.time()
                    await self._send_body(channel.send, piece)
                    size.sent(len(piece), loop.time() - begun)
                if self._gone:
                    return b""
        except TimeoutError:
            raise
        except Exception as exc:
            channel.failed(exc)
            return self._form.failed(exc)
        if self._draining:
            return self._form.failed(ServerDraining("the server is about to stop; go on in a new session"))
        return self._form.done()

    async def _send_head(self, channel: Channel) -> None:
        fields = [*channel.common, (headers.CONTENT_TYPE, self._form.content_type), *headers.UNBUFFERED]
        await self._stalls.wait(channel.send({"type": "http.response.start", "status": 200, "headers": fields}))
        await self._send_body(channel.send, b"")

    async def _send_body(self, send: Send, body: bytes, *, more: bool = True) -> None:
        await self._stalls.wait(send({"type": "http.response.body", "body": body, "more_body": more}))
