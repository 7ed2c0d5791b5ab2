"""A read session over HTTP, which goes on after a lost connection where it left off."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from ...errors import (
    PerdureError,
    ProtocolViolation,
    ReadUnwritten,
    ServerDraining,
    SessionClosed,
    TransportError,
)
from ...model.batches import Part, ReadBatch
from ...model.positions import SeqNum
from ...model.reads import ReadRequest
from ...telemetry.spans import error_type
from ..exchange import Exchange
from ..moving import Moves
from ..read_progress import ReadProgress
from ..tracing import MOVED, RECONNECTED
from ..waiting import Bell
from .http_requests import Call, Requests
from .read_forms import ReadForm
from .read_queue import ReadQueue

_log: Final = logging.getLogger("perdure.client")

T = TypeVar("T")


class HttpReadChannel(Generic[T]):
    """A `ReadChannel`. No task runs for it: whoever reads drives it, over lost connections too.

    `form` makes what takes a session apart, and `call` the request for it. When the server advises to leave it, the
    next call opens a session elsewhere, and only then ends the one that it has.
    """

    def __init__(
        self,
        requests: Requests,
        request: ReadRequest,
        call: Callable[[ReadRequest], Call],
        form: Callable[[], ReadForm[T]],
        on_interruption: Callable[[], None],
    ) -> None:
        self._requests = requests
        self._call = call
        self._form = form
        self._on_interruption = on_interruption
        self._progress = ReadProgress(request)
        self._clock = asyncio.get_running_loop().time
        self._link: _Link[T] | None = None
        self._failures = 0
        self._pending: PerdureError | None = None
        """What was lost, and is to be retried by the next call."""
        self._is_advised = False
        """Whether the server of the current session is about to stop."""
        self._moves = Moves(requests.settings.retries)
        self._has_ended = False
        self._is_closed = False
        self._span = requests.begin_session(call(request), "read")

    async def open(self) -> None:
        """Connect. Raises what keeps the session from starting, after the retries."""
        try:
            await self._connected()
        except BaseException as exc:
            self._failed(exc)
            raise

    async def next(self) -> ReadBatch | None:
        try:
            return await self._next()
        except Exception as exc:
            self._failed(exc)
            raise

    def _failed(self, error: BaseException) -> None:
        self._span.failed(error)
        self._span.end()

    async def _next(self) -> ReadBatch | None:
        while not self._has_ended:
            if self._is_advised:
                await self._move()
            link = await self._connected()
            if link is None:
                break
            try:
                batch = await link.next()
                if batch is None:
                    break
                if not batch.records and batch.tail is None:
                    raise ProtocolViolation("a batch with neither records nor a tail")
            except PerdureError as exc:
                if isinstance(exc, ServerDraining) and link.exchange is not None:
                    link.exchange.leave_connection()
                self._drop()
                if self._is_closed:
                    break
                self._failures += 1
                if not self._requests.settings.retries.allows(exc, self._failures):
                    raise
                self._pending = exc
                self._on_interruption()
                continue
            self._failures = 0
            now = self._clock()
            self._is_advised = self._moves.are_wanted(is_advised=link.is_advised, now=now)
            self._progress.received(batch, now)
            return batch
        self._has_ended = True
        self._drop()
        self._span.end()
        return None

    async def next_parts(self) -> tuple[Part, ...] | None:
        batch = await self.next()
        return None if batch is None else (batch,)

    async def aclose(self) -> None:
        self._is_closed = self._has_ended = True
        self._drop()
        self._span.end()

    async def _move(self) -> None:
        """Open a session elsewhere for what is left to read. Should that fail, the one that there is goes on."""
        now = self._clock()
        request, left = self._progress.rest(now), self._link
        self._is_advised = False
        if left is not None and left.exchange is not None and request is not None:
            self._moves.begin(now, random.random())
            left.exchange.leave_connection()
            link = _Link(self._form())
            try:
                link.exchange = await self._requests.open_session(self._call(request), link, self._span)
            except PerdureError as exc:
                self._moves.failed()
                _log.info(
                    *("a read session stays with a server that advised to leave it: %s", exc),
                    extra={"error_code": error_type(exc)},
                )
            else:
                self._change_over(left, link)

    def _change_over(self, left: _Link[T], link: _Link[T]) -> None:
        if self._is_closed or self._link is not left:
            link.close()
            return
        self._on_interruption()
        left.close()
        self._link = link
        self._span.event(MOVED)

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    async def _connected(self) -> _Link[T] | None:
        """The session, a new one if need be; None when nothing is left to read."""
        while self._link is None:
            if self._pending is not None:
                await self._requests.back_off(self._pending, self._failures, self._span)
                self._pending = None
            request = self._progress.rest(self._clock())
            if request is None:
                return None
            link = _Link(self._form())
            try:
                link.exchange = await self._requests.open_session(self._call(request), link, self._span)
            except ReadUnwritten as exc:
                if self._is_at(exc, request):
                    return None  # the connection was lost when there was nothing left but the end
                raise
            except PerdureError as exc:
                self._failures += 1
                if not self._requests.settings.retries.allows(exc, self._failures):
                    raise
                self._pending = exc
                continue
            if self._is_closed:
                link.close()
                raise SessionClosed("the read session is closed")
            self._link = link
            if self._progress.has_begun:
                self._span.event(RECONNECTED)
        return self._link

    def _is_at(self, error: ReadUnwritten, request: ReadRequest) -> bool:
        at = request.start
        return self._progress.has_begun and isinstance(at, SeqNum) and error.tail.seq_num == at.value


class _Link(Generic[T]):
    """One session of a channel: bytes to items, which wait for their reader. HTTP bounds how many."""

    def __init__(self, form: ReadForm[T]) -> None:
        self.exchange: Exchange | None = None
        self.is_advised: bool = False
        """Whether the server is about to stop, by the last item that was taken."""
        self._form = form
        self._items: ReadQueue[T] = ReadQueue()
        self._is_over = False
        self._error: PerdureError | None = None
        self._changed = Bell()

    async def next(self) -> ReadBatch | None:
        """The next batch, None at the clean end. Raises what ended the session, and `TransportError` after silence."""
        while True:
            while not self._items:
                if self._is_over:
                    if self._error is not None:
                        raise self._error
                    return None
                await self._wait()
            item, size = self._items.take()
            self.is_advised = self._form.is_advised(item)
            batch = self._form.batch_of(item)
            if size and self.exchange is not None:
                self.exchange.read(size)  # the server may send more
            if batch is not None:
                return batch

    async def _wait(self) -> None:
        limit = self._form.liveness_secs
        try:
            async with asyncio.timeout(limit):
                await self._changed.wait()
        except TimeoutError:
            if self.exchange is not None:
                self.exchange.leave_connection()  # it may be dead, and nobody said so
            raise TransportError(f"the server said nothing for {limit:g} s", may_have_applied=False) from None

    def close(self) -> None:
        if self.exchange is not None:
            self.exchange.reset()
        self._over(None)

    def data(self, piece: bytes) -> None:
        try:
            size = self._items.put(self._form.feed(piece), len(piece))
        except ProtocolViolation as exc:
            self._over(exc)
            return
        if size and self.exchange is not None:
            self.exchange.read(size)
        if self._items:
            self._changed.ring()
        if self._form.is_complete:
            self._over(None)

    def ended(self, error: PerdureError | None) -> None:
        if error is None:
            try:
                self._form.finish()
            except PerdureError as exc:
                error = exc
        self._over(error)

    def _over(self, error: PerdureError | None) -> None:
        if not self._is_over:
            self._is_over, self._error = True, error
            self._changed.ring()
