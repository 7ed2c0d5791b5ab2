"""The event loop of one blocking client, on a thread of its own, and how calls get there and back.

What the thread holds (`_Core`) knows nothing of `BackgroundLoop`, which the objects of the client share: so
a client that was forgotten is noticed by the garbage collector, and its thread ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Generic, Protocol, TypeVar

from ..errors import SessionClosed, UsageError

T = TypeVar("T")

CLOSE_STEPS: Final = 100
"""Turns of the loop that a close gives to calls in flight, once the store has answered what it would answer.

They have to climb out of a few awaits each; steps and not seconds, so that a busy machine cuts none of them short.
"""

_FOR_EVER: Final = -1
"""What a lock takes for "no time limit"."""

_deadline: Final[ContextVar[float | None]] = ContextVar("perdure_sync_deadline", default=None)
"""When the calls of this thread (or context) have to be back, on the clock of `time.monotonic`."""


@contextmanager
def timeout(seconds: float) -> Iterator[None]:
    """Bound the blocking calls within a `with` block to so many seconds altogether.

    A call that is not back by then is cancelled, and raises `TimeoutError`; one that begins later raises it at
    once. What ends a read session, or abandons another one after an error, is not bounded. Of nested blocks the
    earliest end holds. Other threads are not concerned. What a cancelled call leaves behind is said with each; an
    append may be applied or not.

    Raises `UsageError` for a negative number.
    """
    if not seconds >= 0:
        raise UsageError(f"a time-out of {seconds} seconds was given; give 0 or more")
    end, outer = time.monotonic() + seconds, _deadline.get()
    token = _deadline.set(end if outer is None else min(end, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


class Closeable(Protocol):
    async def aclose(self) -> None: ...


CloseableT = TypeVar("CloseableT", bound=Closeable)


class _Finishable(Protocol):
    def finish(self) -> None: ...


class _Call(Generic[T]):
    """One call: made in the caller's thread, run in the loop's, awaited in the caller's."""

    __slots__ = ("_back", "_make", "_task", "done", "outcome")

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._task: asyncio.Task[None] | None = None
        # A bare lock, released once: an `Event` costs a condition and two locks for each call.
        self._back = threading.Lock()
        self._back.acquire()
        self.outcome: tuple[T] | BaseException = asyncio.CancelledError()
        self.done = False

    def wait(self, seconds: float = _FOR_EVER) -> None:
        """Wait in the caller's thread; `done` tells whether it is back. A signal may interrupt this."""
        # Looking at `done` first matters after an interruption: the lock may have been acquired in that moment.
        if not self.done:
            self._back.acquire(timeout=min(seconds, threading.TIMEOUT_MAX))

    # The rest runs in the loop's thread.

    def start(self) -> None:
        if not self.done:
            # The coroutine is made here, not by the caller: one that is never scheduled is never made.
            self._task = asyncio.get_running_loop().create_task(self._perform())
            self._task.add_done_callback(lambda _: self.finish())

    async def _perform(self) -> None:
        try:
            self.outcome = (await self._make(),)
        except BaseException as exc:  # a cancellation too: this is the whole of the task
            self.outcome = exc

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self.finish()

    def finish(self) -> None:
        if not self.done:
            self.done = True
            self._back.release()


class _Core:
    """What the thread of the loop works on."""

    def __init__(self) -> None:
        # Re-entrant: the collector may run `BackgroundLoop.__del__` in the middle of what holds the lock.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._calls: set[_Finishable] = set()
        self._stopping = False
        self._over = False
        self.owned: Closeable | None = None
        self.failure: BaseException | None = None
        self.ident: int | None = None
        self.started = threading.Event()
        self.ended = threading.Event()

    def run(self) -> None:
        """The thread: serve calls until told to stop, close what is owned, and leave nothing behind."""
        self.ident = threading.get_ident()
        try:
            with asyncio.Runner() as runner:  # whose exit cancels the tasks that are left
                runner.run(self._serve())
        except BaseException as exc:
            self.failure = exc
        finally:
            with self._lock:
                self._over = self._stopping = True
                for call in self._calls:  # handed over, and never started
                    call.finish()
            self.ident = None  # the system may give the number to another thread
            self.started.set()
            self.ended.set()

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        with self._lock:
            self._loop = asyncio.get_running_loop()
            if self._stopping:
                self._stop.set()
        self.started.set()
        await self._stop.wait()
        if self.owned is not None:
            await self.owned.aclose()
        # What was answered by that close reaches its callers; what still waits after it will be cancelled.
        for _ in range(CLOSE_STEPS):
            if len(asyncio.all_tasks()) == 1:
                break
            await asyncio.sleep(0)

    def submit(self, call: _Call[T]) -> None:
        with self._lock:
            if self._stopping or self._loop is None:
                call.finish()
                raise SessionClosed("this client is closed; open another one")
            self._calls.add(call)
            self._loop.call_soon_threadsafe(call.start)

    def cancel(self, call: _Call[T]) -> None:
        """Have the call end soon, wherever it is on its way."""
        with self._lock:
            if self._over or self._loop is None:
                call.finish()
                return
            self._calls.add(call)  # an interruption may have come before `submit` did
            if not self._loop.is_closed():  # else the thread is about to finish all that is left
                self._loop.call_soon_threadsafe(call.cancel)

    def forget(self, call: _Call[T]) -> None:
        with self._lock:
            self._calls.discard(call)

    def request_stop(self) -> None:
        with self._lock:
            if not self._stopping:
                self._stopping = True
                if self._loop is not None and self._stop is not None:
                    self._loop.call_soon_threadsafe(self._stop.set)


class BackgroundLoop:
    """Runs the asynchronous client for callers in any thread, one of them or many at once."""

    def __init__(self) -> None:
        """Start the thread. It is a daemon: a program that forgets to close may end all the same."""
        self._pid = os.getpid()
        self._left = False
        self._core = _Core()
        self._thread = threading.Thread(target=self._core.run, name="perdure-sync", daemon=True)
        self._thread.start()

    def open(self, make: Callable[[], CloseableT], enter: Callable[[CloseableT], Awaitable[object]]) -> CloseableT:
        """Make what this loop is for and enter it, in the loop; it is closed when the loop ends."""
        core = self._core
        core.started.wait()
        failure, core.failure = core.failure, None
        if failure is not None:
            raise failure

        async def opened() -> CloseableT:
            made = make()
            await enter(made)
            core.owned = made
            return made

        return self.call(opened)

    def call(self, make: Callable[[], Awaitable[T]], *, bounded: bool = True) -> T:
        """Run what `make` gives in the loop, and wait for it.

        An exception in the waiting thread, such as a KeyboardInterrupt, cancels the call and waits for its
        end. Raises what the call raises; `TimeoutError` at the deadline of `timeout`, unless not `bounded`;
        `SessionClosed` when the loop was closed, before or meanwhile; `UsageError` after a fork, and
        in the loop's own thread, where waiting would wait for itself.
        """
        self._check_caller()
        deadline = _deadline.get() if bounded else None
        left = float(_FOR_EVER) if deadline is None else deadline - time.monotonic()
        if deadline is not None and left <= 0:
            raise TimeoutError("the time that `timeout` gives was over before this call began")
        call, core = _Call(make), self._core
        try:
            core.submit(call)
            call.wait(left)
            timed_out = not call.done
            if timed_out:
                core.cancel(call)
                call.wait()
        except BaseException:
            core.cancel(call)
            call.wait()
            raise
        finally:
            core.forget(call)
        outcome = call.outcome
        if isinstance(outcome, tuple):
            return outcome[0]
        try:
            if not isinstance(outcome, asyncio.CancelledError):
                raise outcome
            if timed_out:
                raise TimeoutError("the call was not back in the time that `timeout` gives; it was cancelled")
            raise SessionClosed(
                "this client was closed during the call; what it asked for may be done or not", may_have_applied=True
            )
        finally:
            del outcome, call  # the exception's traceback holds this frame, which must not hold the exception

    def close(self) -> None:
        """Close what is owned, end the thread and wait for that. Idempotent; raises what the close raised, once."""
        self._check_caller()
        core = self._core
        core.request_stop()
        core.ended.wait()
        self._thread.join()
        failure, core.failure = core.failure, None
        if failure is not None:
            raise failure

    def leave_to_exit(self) -> None:
        """The process ends, and this with it: what is owned is not closed, and nobody is to be warned of that."""
        self._left = True

    @property
    def is_over(self) -> bool:
        """Whether nothing runs in the loop any more, so that any thread may look at what it left."""
        return self._core.ended.is_set()

    def _check_caller(self) -> None:
        if os.getpid() != self._pid:
            raise UsageError("this client was opened before a fork; open another one in the child process")
        if threading.get_ident() == self._core.ident:
            raise UsageError("a blocking call from the client's own thread would wait for itself; use another thread")

    def __del__(self) -> None:
        core: _Core | None = getattr(self, "_core", None)
        if core is None or core.ended.is_set() or self._left or os.getpid() != self._pid:
            return
        warnings.warn(
            "a blocking client was not closed: use it in a `with` block, or call its `close`",
            ResourceWarning,
            source=self,
            stacklevel=1,
        )
        if not sys.is_finalizing():  # else the thread stands still already
            core.request_stop()
