"""Programs that both clients run: a list of steps, and what each of them comes to.

::

    {"do": "subscribe", …options}     the events of F.2; the options are the JavaScript ones
    {"do": "create", …options}        a chat client
    {"do": "history"}, {"do": "open", …}, {"do": "send", "body": …, …}, {"do": "stop"}     its methods
    {"do": "connection", …options}    a connection to a chat of TanStack AI; without a `subscribeUrl`, one that answers
    {"do": "follow", …}               its subscription
    {"do": "post", "messages": …, …}, {"do": "ask", "messages": …, …}     its send, and its connect
    {"do": "halt"}                    its stop
    {"do": "read", "count": n}        n events of what was opened last; {"do": "rest"}: all of them
    {"do": "messages"}                the same through messagesFromEvents
    {"do": "begin", "step": …}        another step in the background, reading one event unless it is said
    {"do": "finish"}                  wait for that
    {"do": "leave"}                   leave the loop; "abort": by the signal; "cancel": by the subscription
    {"do": "until", "mark": name}     wait until the peer is so far

URLs are paths; one that ends in `=` stands for a function that puts the cursor there, and headers of
`{"count": name}` for a function that counts. `"signal": true` hands over the signal that `abort` sets. The end of a run
that a connection makes by itself is logged as "over".
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeAlias

import httpx

from perdure.errors import TransportError
from perdure.resumable.client import (
    Connection,
    HttpError,
    RunContext,
    Subscription,
    create_chat_client,
    create_connection,
    messages_from_events,
    subscribe,
)
from tests.patience import PATIENCE_SECONDS
from tests.web.test_web_modules import find_node

Step: TypeAlias = Mapping[str, Any]
Log: TypeAlias = list[Any]
RUNNER: Final = Path(__file__).with_name("program_runner.mjs")
READ: Final[Step] = {"do": "read"}


async def run_in_node(url: str, program: list[Step]) -> Log:
    """What the browser modules make of `program`."""
    process = await asyncio.create_subprocess_exec(
        *(find_node(), str(RUNNER)), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            output, _ = await process.communicate(json.dumps({"url": url, "program": program}).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0
    log: Log = json.loads(output)
    return log


async def run_in_python(url: str, program: list[Step]) -> Log:
    """What the Python client makes of it."""
    async with asyncio.timeout(PATIENCE_SECONDS), AsyncExitStack() as opened:
        return await _PythonRun(url, opened).run(program)


RUNNERS: Final = {"JavaScript": run_in_node, "Python": run_in_python}


class _PythonRun:
    def __init__(self, url: str, opened: AsyncExitStack) -> None:
        self._url = url
        self._opened = opened
        self._signal = asyncio.Event()
        self._client: Any = None
        self._connection: Connection | None = None
        self._subscription: Subscription | None = None
        self._events: AsyncGenerator[Any, None] | None = None
        self._pending: asyncio.Task[None] | None = None
        self._log: Log = []

    async def run(self, program: list[Step]) -> Log:
        for step in program:
            try:
                await self._run(step)
            except HttpError as exc:
                self._log.append({"error": str(exc), "status": exc.status})
            except TransportError:
                self._log.append({"error": "network"})
        return self._log

    async def _run(self, step: Step) -> None:
        options = {key: value for key, value in step.items() if key != "do"}
        name = "connection_" if step["do"] == "connection" else step["do"]
        await getattr(self, f"_{name}")(**options)

    async def _subscribe(self, **options: Any) -> None:
        self._begin_events(subscribe(**self._translated(options)))

    async def _create(self, **options: Any) -> None:
        self._client = await self._opened.enter_async_context(create_chat_client(**self._translated(options)))

    async def _history(self) -> None:
        self._log.append({"history": await self._client.load_history()})

    async def _open(self, **options: Any) -> None:
        self._take(await self._client.subscribe(**self._translated(options)))

    async def _send(self, body: Any, **options: Any) -> None:
        self._take(await self._client.send(body, **self._translated(options)))

    async def _stop(self) -> None:
        await self._client.stop()
        self._log.append("stopped")

    async def _connection_(self, **options: Any) -> None:
        connection = create_connection(**self._translated(options))
        self._connection = await self._opened.enter_async_context(connection)

    async def _follow(self, **options: Any) -> None:
        assert self._connection is not None
        self._begin_events(self._connection.subscribe(**self._translated(options)))

    async def _post(self, messages: Any, data: Any = None, run: Any = None, **options: Any) -> None:
        assert self._connection is not None
        await self._connection.send(messages, data, run=_run_of(run), **self._translated(options))
        self._log.append("sent")

    async def _ask(self, messages: Any, **options: Any) -> None:
        assert self._connection is not None
        self._begin_events(self._connection.connect(messages, **self._translated(options)))

    async def _halt(self) -> None:
        assert self._connection is not None
        await self._connection.stop()
        self._log.append("stopped")

    async def _read(self, count: int = 1) -> None:
        assert self._events is not None
        for _ in range(count):
            try:
                self._log.append(_logged(await anext(self._events)))
            except StopAsyncIteration:
                self._log.append("end")
                return

    async def _rest(self) -> None:
        assert self._events is not None
        async for event in self._events:
            self._log.append(_logged(event))
        self._log.append("end")

    async def _messages(self) -> None:
        assert self._events is not None
        async for message in messages_from_events(self._events):
            self._log.append({"message": message})
        self._log.append("end")

    async def _begin(self, step: Step = READ) -> None:
        self._pending = asyncio.create_task(self._run(step))
        await asyncio.sleep(0)

    async def _finish(self) -> None:
        assert self._pending is not None
        await self._pending

    async def _leave(self) -> None:
        assert self._events is not None
        await self._events.aclose()

    async def _abort(self) -> None:
        self._signal.set()

    async def _cancel(self) -> None:
        assert self._subscription is not None
        self._subscription.cancel()

    async def _until(self, mark: str) -> None:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as http:
            await http.get(f"{self._url}/control/{mark}")

    def _take(self, subscription: Subscription) -> None:
        self._opened.push_async_callback(subscription.aclose)
        self._subscription = subscription
        self._log.append("opened")
        self._begin_events(subscription.events)

    def _begin_events(self, events: AsyncGenerator[Any, None]) -> None:
        self._opened.push_async_callback(events.aclose)
        self._events = events

    def _translated(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {_snake(key): self._value(key, value) for key, value in options.items()}

    def _value(self, key: str, value: Any) -> Any:
        if key == "signal":
            return self._signal
        if key.lower().endswith("url"):
            return self._function_of(value) if value.endswith("=") else self._url + value
        if key == "headers" and "count" in value:
            return _counting(value["count"])
        return value

    def _function_of(self, path: str) -> Callable[[int | None], str]:
        return lambda cursor: f"{self._url}{path}{'none' if cursor is None else cursor}"


def _run_of(told: Mapping[str, Any] | None) -> RunContext | None:
    names = {"clientTools": "tools"}
    return None if told is None else RunContext(**{names.get(key) or _snake(key): value for key, value in told.items()})


def _logged(event: Any) -> Any:
    return "over" if str(event.get("runId")).startswith("s2-replay-") else event


def _counting(name: str) -> Callable[[], dict[str, str]]:
    numbers = iter(range(1, 100))
    return lambda: {name: str(next(numbers))}


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
