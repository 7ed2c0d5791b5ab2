"""The log of one agent's run: its records, and where a run stands that its log tells of.

Whoever reads the log knows enough to go on with the run, so a run survives the process that began it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from perdure import AppendRecord, SequencedRecord

from .messages_model import Said
from .tool_loop import exchange
from .tools import ToolCall, ToolResult

TYPE_HEADER: Final = "type"

EventType = Literal["run_start", "step", "run_end"]


@dataclass(frozen=True, slots=True)
class Step:
    """One answer of the model, and what the tools gave that it called."""

    index: int
    text: str
    calls: Sequence[ToolCall]
    results: Sequence[ToolResult]
    finish_reason: str
    tokens: int

    def event(self) -> dict[str, object]:
        """The step as its record has it."""
        return {
            "index": self.index,
            "text": self.text,
            "toolCalls": [{"id": call.id, "name": call.name, "input": call.input} for call in self.calls],
            "toolResults": [
                {"id": result.id, "output": result.output, "isError": result.is_error} for result in self.results
            ],
            "finishReason": self.finish_reason,
            "tokens": self.tokens,
        }

    @classmethod
    def of_event(cls, event: Mapping[str, Any]) -> Step:
        """The step that a record holds."""
        return cls(
            event["index"],
            event["text"],
            [ToolCall(call["id"], call["name"], call["input"]) for call in event["toolCalls"]],
            [ToolResult(result["id"], result["output"], result["isError"]) for result in event["toolResults"]],
            event["finishReason"],
            event["tokens"],
        )


@dataclass(frozen=True, slots=True)
class Run:
    """Where a run stands. `text` is what the last step said, which answers the prompt once `is_answered`.

    The next record is to be number `next_seq_num`, whoever appends it.
    """

    said: tuple[Said, ...] = ()
    text: str = ""
    steps: int = 0
    total_tokens: int = 0
    is_answered: bool = False
    is_over: bool = False
    next_seq_num: int = 0

    def after(self, step: Step) -> Run:
        """Where the run stands once it has made `step`."""
        content: list[dict[str, object]] = [{"type": "text", "text": step.text}] if step.text else []
        content += ({"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in step.calls)
        return replace(
            self,
            said=(*self.said, *exchange(content, step.results)),
            text=step.text,
            steps=step.index + 1,
            total_tokens=self.total_tokens + step.tokens,
            is_answered=not step.calls,
        )

    def end(self, *, timestamp: int, error: str | None) -> dict[str, object]:
        """The event that ends the run."""
        event: dict[str, object] = {
            "text": self.text if error is None else "",
            "steps": self.steps,
            "totalTokens": self.total_tokens,
            "timestamp": timestamp,
        }
        return event if error is None else event | {"error": error}


def record_of(kind: EventType, event: Mapping[str, object]) -> AppendRecord:
    """The record of an event."""
    return AppendRecord(json.dumps(event, ensure_ascii=False), headers={TYPE_HEADER: kind})


def type_of(record: SequencedRecord) -> str | None:
    """Which event a record holds; None if it is none of ours."""
    return next((value.decode() for name, value in record.headers if name == TYPE_HEADER.encode()), None)


def run_of(records: Iterable[SequencedRecord]) -> Run:
    """Where the run stands that `records`, its log from the first one on, tell of."""
    run = Run()
    for record in records:
        match type_of(record):
            case "run_start":
                run = replace(run, said=(Said("user", json.loads(record.body)["prompt"]),))
            case "step":
                run = run.after(Step.of_event(json.loads(record.body)))
            case "run_end":
                run = replace(run, is_over=True)
        run = replace(run, next_seq_num=record.seq_num + 1)
    return run
