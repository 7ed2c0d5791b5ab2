"""Agents whose steps are durable as they happen: each run is a stream, and its log is all that there is of it.

Every step is appended on the condition that its place in the log is still free. So a run may be taken up by any
process at any time, and never has a step twice; the demo takes up what is unfinished when it starts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Final

from perdure import S2, AppendConditionFailed, ReadSession, ReadUnwritten, SeqNum, SequencedRecord, Stream, TailOffset
from perdure.resumable.anthropic import create_accumulator

from .agent_log import Run, Step, record_of, run_of, type_of
from .claude import failure_text
from .messages_model import MessagesModel, Said
from .names import RUN_PREFIX
from .tool_loop import MAX_STEPS, calls_in
from .tools import run_tool

logger: Final = logging.getLogger("perdure.demo")

LISTED_RUNS: Final = 50


class AgentRuns:
    """The runs kept in one basin. It owns those that go on in this process; `aclose` ends its work on them."""

    def __init__(self, s2: S2, basin: str, model: MessagesModel) -> None:
        self._basin = s2.basin(basin)
        self._model = model
        self._working: dict[str, asyncio.Task[None]] = {}
        self._followers: set[ReadSession] = set()
        self._starts: dict[str, dict[str, Any]] = {}
        self._closed = False

    async def start(self, prompt: str) -> str:
        """Begin a run, and give its id once its first record is durable."""
        name = f"{RUN_PREFIX}{secrets.token_hex(4)}"
        event = {"prompt": prompt, "timestamp": _now_ms()}
        await self._basin.stream(name).append([record_of("run_start", event)], match_seq_num=0)
        self._take_up(name, Run(said=(Said("user", prompt),), next_seq_num=1))
        return name.removeprefix(RUN_PREFIX)

    async def take_up_unfinished(self) -> None:
        """Go on with the runs that a process has left unfinished."""
        async for info in self._basin.streams.list_all(prefix=RUN_PREFIX):
            stream = self._basin.stream(info.name)
            if not await _is_over(stream) and (run := run_of(await _records(stream))).said:
                self._take_up(info.name, run)

    async def listed(self) -> list[dict[str, object]]:
        """The newest runs, the latest first."""
        for name in [info.name async for info in self._basin.streams.list_all(prefix=RUN_PREFIX)]:
            if name not in self._starts:
                try:
                    first = await self._basin.stream(name).read(SeqNum(0), count=1)
                except ReadUnwritten:
                    continue  # its first record is on the way
                self._starts[name] = json.loads(first.records[0].body)
        newest = sorted(self._starts.items(), key=lambda item: -item[1]["timestamp"])[:LISTED_RUNS]
        return [
            {
                "id": name.removeprefix(RUN_PREFIX),
                "prompt": start["prompt"],
                "timestamp": start["timestamp"],
                "active": name in self._working,
            }
            for name, start in newest
        ]

    async def exists(self, name: str) -> bool:
        """Whether there is such a run; looking into its stream would make one."""
        page = await self._basin.streams.list(prefix=name, limit=1)
        return any(info.name == name for info in page.items)

    async def has_more(self, name: str, from_seq_num: int) -> bool:
        """Whether there is, or will be, a record from `from_seq_num` on."""
        stream = self._basin.stream(name)
        return (await stream.check_tail()).seq_num > from_seq_num or not await _is_over(stream)

    async def follow(self, name: str, from_seq_num: int) -> AsyncIterator[bytes]:
        """The records of a run as server-sent events: those that are there, then the others as they come."""
        session = self._basin.stream(name).read_session(SeqNum(from_seq_num), clamp=True)
        self._followers.add(session)
        try:
            yield _COMMENT
            while not self._closed and (batch := await session.next_batch()) is not None:
                yield b"".join(map(_frame, batch.records)) or _COMMENT
                if any(type_of(record) == "run_end" for record in batch.records):
                    return
        finally:
            self._followers.discard(session)
            await session.aclose()

    async def aclose(self) -> None:
        """Leave the runs where they are, to be taken up later, and end those who follow them."""
        self._closed = True
        for task in self._working.values():
            task.cancel()
        await asyncio.gather(*self._working.values(), return_exceptions=True)
        for session in tuple(self._followers):
            await session.aclose()

    def _take_up(self, name: str, run: Run) -> None:
        task = asyncio.create_task(self._work(name, run), name=name)
        self._working[name] = task
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._working.pop(task.get_name(), None)
        if not task.cancelled() and (failure := task.exception()) is not None:
            logger.error("%s is left unfinished", task.get_name(), exc_info=failure)

    async def _work(self, name: str, run: Run) -> None:
        """Make step after step, to the end of the run."""
        stream = self._basin.stream(name)
        place, error = run.next_seq_num, None
        try:
            while not run.is_answered and error is None:
                try:
                    step = await _next_step(self._model, run)
                except Exception as exc:  # whatever it was, the log has to tell that the run is over
                    logger.warning("the model failed in %s", name, exc_info=exc)
                    error = failure_text(exc)
                else:
                    await stream.append([record_of("step", step.event())], match_seq_num=place)
                    place += 1
                    run = run.after(step)
            end = run.end(timestamp=_now_ms(), error=error)
            await stream.append([record_of("run_end", end)], match_seq_num=place)
        except AppendConditionFailed:
            return  # another process has taken the run up, and was faster


async def _next_step(model: MessagesModel, run: Run) -> Step:
    """Ask the model, and do what it asks for."""
    fold = create_accumulator()
    async for event in model.stream(run.said, may_call=run.steps < MAX_STEPS - 1):
        fold.push(event)
    message: Any = fold.final_message()
    calls = calls_in(message)
    text = "\n\n".join(block["text"] for block in message["content"] if block["type"] == "text")
    tokens = message["usage"]["input_tokens"] + message["usage"]["output_tokens"]
    results = [run_tool(call) for call in calls]
    return Step(run.steps, text, calls, results, message["stop_reason"] or "", tokens)


async def _is_over(stream: Stream) -> bool:
    """Whether the last record of a log ends its run."""
    try:
        last = await stream.read(TailOffset(1), count=1, clamp=True)
    except ReadUnwritten:
        return False  # there is none
    return any(type_of(record) == "run_end" for record in last.records)


async def _records(stream: Stream) -> list[SequencedRecord]:
    """The records of a log that are there now."""
    try:
        async with stream.read_session(SeqNum(0), clamp=True, wait=0) as session:
            return [record async for record in session]
    except ReadUnwritten:
        return []


_COMMENT: Final = b": perdure\n\n"
"""What sends the headers, and tells in a silence that somebody is there."""


def _frame(record: SequencedRecord) -> bytes:
    """A record as an event. Its id is where a reader goes on."""
    shown = {
        "seqNum": record.seq_num,
        "timestamp": record.timestamp,
        "type": type_of(record),
        "bytes": len(record.body),
        "body": json.loads(record.body),
    }
    return f"id: {record.seq_num + 1}\ndata: {json.dumps(shown, ensure_ascii=False)}\n\n".encode()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
