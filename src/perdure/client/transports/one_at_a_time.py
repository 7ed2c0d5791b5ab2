"""An append session over HTTP/1.1: its batches as calls of their own, each after the answer to the one before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from ...errors import SessionClosed, TransportError
from ...model.batches import AppendAck, AppendInput
from .http_append import check_ack
from .http_requests import Requests


class OneAtATimeAppends:
    """An `AppendChannel`. A task runs while there are batches: it makes the calls, which bring their own retries.

    Nothing else keeps the order: calls on several connections may overtake each other, and where answers to several
    are awaited on one (pipelining), a lost connection leaves open which of them were applied.
    """

    def __init__(self, requests: Requests, append: Callable[[AppendInput], Coroutine[Any, Any, AppendAck]]) -> None:
        self._requests = requests
        self._append = append
        self._waiting: deque[tuple[AppendInput, asyncio.Future[AppendAck]]] = deque()
        """Not acknowledged; the oldest is on its way."""
        self._task: asyncio.Task[None] | None = None
        self._last_end = 0
        self._failure: Exception | None = None
        self._is_closed = False

    def send(self, batch: AppendInput) -> asyncio.Future[AppendAck]:
        if self._failure is not None:
            raise self._failure
        if self._is_closed:
            raise SessionClosed("the append session is closed")
        future: asyncio.Future[AppendAck] = asyncio.get_running_loop().create_future()
        self._waiting.append((batch, future))
        if self._task is None:
            self._task = self._requests.begin(self._send_all())
            self._task.add_done_callback(self._after_task)
        return future

    async def aclose(self) -> None:
        self._is_closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _send_all(self) -> None:
        while self._waiting:
            batch, future = self._waiting[0]
            try:
                ack = await self._append(batch)
                check_ack(ack, len(batch.records), self._last_end)
            except Exception as exc:
                self._fail(exc)
                return
            self._waiting.popleft()
            self._last_end = ack.end.seq_num
            if not future.done():
                future.set_result(ack)
        self._task = None

    def _after_task(self, task: asyncio.Task[None]) -> None:
        # Here and not in the task, since one that is cancelled at once never runs.
        if task.cancelled():
            self._fail(TransportError("the client was closed before the batch was acknowledged", may_have_applied=True))

    def _fail(self, error: Exception) -> None:
        self._failure = error
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(error)
