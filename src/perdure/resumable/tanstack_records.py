"""The events of a TanStack AI generation that Perdure itself adds: errors, and the end of a run that was stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from .adapter import SourceReportedError
from .json_body import JsonObject, JsonValue, encode_body, parse_object

STOP_MODEL: Final = "s2-stop"
"""The model that the end of a stopped run names; other implementations write the same."""

FINISHED_BY_TOOL_CALLS: Final = "tool_calls"
"""The reason of a `RUN_FINISHED` that ends a step of the model, not the turn: its tools are run next."""


def error_event(text: str, now_ms: int) -> JsonObject:
    """What tells a client that the generation failed.

    It names no run, so that clients take it for all that are active. Older clients read the nested text.
    """
    return {"type": "RUN_ERROR", "timestamp": now_ms, "message": text, "error": {"message": text}}


def rewrite_error_event(event: JsonObject, text_of: Callable[[Exception], str]) -> JsonObject:
    """A `RUN_ERROR` of the source with its text put through `text_of`, so that it leaks nothing; else `event`.

    Frameworks report what went wrong in the provider's own words, which are not meant for the people who chat.
    """
    if event.get("type") != "RUN_ERROR":
        return event
    nested = event.get("error")
    said = event.get("message") or (nested.get("message") if isinstance(nested, dict) else None)
    text = text_of(SourceReportedError(said if isinstance(said, str) else "the source reported an error"))
    kept = {key: value for key, value in event.items() if key != "rawEvent"}
    return {**kept, "message": text, "error": {"message": text}}


def snapshot_event(messages: Sequence[JsonObject], now_ms: int) -> JsonObject:
    """What gives a client all messages at once. It is made for one response, and never stored."""
    return {"type": "MESSAGES_SNAPSHOT", "timestamp": now_ms, "messages": [*messages]}


def tanstack_metadata(event: JsonObject) -> JsonObject:
    """What newer versions of TanStack AI add to an event of the protocol."""
    metadata = event.get("metadata")
    own = metadata.get("tanstack") if isinstance(metadata, dict) else None
    return own if isinstance(own, dict) else {}


def continues_after(finished: JsonObject) -> bool:
    """Whether clients go on waiting after this `RUN_FINISHED`, since tools were called and nobody is asked."""
    reason = finished.get("finishReason", tanstack_metadata(finished).get("finishReason"))
    outcome = finished.get("outcome")
    is_interrupt = isinstance(outcome, dict) and outcome.get("type") == "interrupt"
    return reason == FINISHED_BY_TOOL_CALLS and not is_interrupt


class Pause(Struct, frozen=True):
    """A run that ended with questions to the user: tools to approve, or to be run on the page."""

    run_id: str
    interrupts: tuple[JsonObject, ...]
    """What the run waits for, as it told it; never empty."""


def pause_of(event: JsonObject) -> Pause | None:
    """What this event leaves open if it is a `RUN_FINISHED` that interrupts its run; None for all others."""
    outcome, run_id = event.get("outcome"), event.get("runId")
    if event.get("type") != "RUN_FINISHED" or not isinstance(run_id, str):
        return None
    if not isinstance(outcome, dict) or outcome.get("type") != "interrupt":
        return None
    told = outcome.get("interrupts")
    interrupts = tuple(one for one in told if isinstance(one, dict)) if isinstance(told, list) else ()
    return Pause(run_id, interrupts) if interrupts else None


def run_finished(run_id: JsonValue, thread_id: JsonValue, now_ms: int, *, model: str | None = None) -> JsonObject:
    """The end of a run that did not write its own."""
    event: JsonObject = {"type": "RUN_FINISHED", "runId": run_id}
    if thread_id is not None:
        event["threadId"] = thread_id
    if model is not None:
        event["model"] = model
    return {**event, "timestamp": now_ms, "finishReason": "stop"}


class RunState:
    """Which run of a generation is active, learnt from its events."""

    def __init__(self) -> None:
        self.started: bool = False
        """Whether a run has begun in this generation."""
        self.ended: bool = False
        """Whether a terminal event has passed since the last run began."""
        self.awaits_more: bool = False
        """Whether that event left clients waiting for what the tools give."""
        self.run_id: JsonValue = None
        self.thread_id: JsonValue = None

    def feed(self, event: JsonObject) -> None:
        """Take the next event."""
        kind = event.get("type")
        if kind == "RUN_STARTED":
            self.started, self.ended, self.awaits_more = True, False, False
            self.run_id, self.thread_id = event.get("runId"), event.get("threadId")
        elif kind == "RUN_FINISHED":
            self.ended, self.awaits_more = True, continues_after(event)
        elif kind == "RUN_ERROR":
            self.ended, self.awaits_more = True, False


class ClosingRun:
    """The event that ends a stopped run. Clients clear what they show as active only by the run's own id."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self.run: RunState = RunState()
        """The last run of the generation."""

    def feed(self, body: bytes) -> None:
        """Take the next data record of the generation."""
        if b'"RUN_' in body and (event := parse_object(body)) is not None:
            self.run.feed(event)

    def records(self) -> list[bytes]:
        """The end of the run; nothing if clients know that it is over."""
        run = self.run
        if run.ended and not run.awaits_more:
            return []
        now_ms = self._now_ms()
        run_id = run.run_id if isinstance(run.run_id, str) else f"{STOP_MODEL}-{now_ms}"
        return [encode_body(run_finished(run_id, run.thread_id, now_ms, model=STOP_MODEL))]

    def essential(self) -> list[bytes]:
        """The same: a second end of the same run does no harm."""
        return self.records()
