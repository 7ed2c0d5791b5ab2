"""The events of a chat folded to the UI messages that TanStack AI's own client makes of them.

The client's `StreamProcessor` is followed event by event, but where its long-lived fold shows a turn wrongly: what one
run began does not go on in the next one, text after a thought does not repeat what stood before it, a message that is
sent again replaces what followed it, and an error adds no empty message. An event that names nothing known is passed
over, so that no odd one keeps a history from being told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from . import tanstack_wire as wire
from .json_body import JsonObject, JsonValue, encode_body
from .tanstack_list import MessageList, find
from .tanstack_parts import Part, complete_input, complete_output, is_blank_text, parsed, read_partial, result_part
from .tanstack_records import continues_after, tanstack_metadata
from .tanstack_turn import Turn

UNFINISHED_OUTPUT: Final = "Stream ended without structured-output.complete"


class MessagesFold:
    """Events in, with the numbers of their records; UI messages out."""

    def __init__(self, messages: Iterable[JsonObject] = ()) -> None:
        self._list = MessageList(messages)
        self._turn = Turn()
        self._active_runs: set[JsonValue] = set()
        self._seq_num = 0
        self._timestamp: JsonValue = None

    def messages(self) -> tuple[JsonObject, ...]:
        """The messages as they are now; they stay so, whatever is fed."""
        for message_id in self._turn.structured:
            if message_id in self._list and (part := self._structured(message_id)) is not None:
                read_partial(part)
        return self._list.freeze()

    def end_generation(self) -> None:
        """Whoever wrote these runs is gone: what they left open goes no further."""
        for message_id in self._turn.structured:
            self._fail_structured(message_id, UNFINISHED_OUTPUT)
        self._active_runs.clear()
        self._turn = Turn()

    def feed(self, event: JsonObject, seq_num: int) -> None:
        """Take the next event, which is in the record of this number."""
        handle = _HANDLERS.get(str(event.get("type")))
        if handle is not None:
            self._seq_num, self._timestamp = seq_num, event.get("timestamp")
            handle(self, event)

    # --- messages ---

    def _add(self, message_id: str, role: str) -> str:
        """A new message. What has no id is named after its record, so that all readers agree."""
        self._list.add(message_id, role, _iso(self._timestamp))
        if role == "assistant":
            self._turn.assistants[message_id] = None
        return message_id

    def _anonymous(self) -> str:
        self._turn.anonymous = self._add(f"msg-{self._seq_num}", "assistant")
        return self._turn.anonymous

    def _message_for(self, message_id: JsonValue) -> str:
        """The message that an event belongs to, begun if need be."""
        if isinstance(message_id, str) and message_id in self._list:
            if message_id not in self._turn.assistants and self._list.role(message_id) == "assistant":
                self._turn.assistants[message_id] = None
                self._turn.segments.add(message_id)
            return message_id
        current = self._turn.assistant
        if current is not None:
            return current
        if isinstance(message_id, str) and message_id:
            return self._add(message_id, "assistant")
        return self._anonymous()

    def _text_start(self, event: JsonObject) -> None:
        message_id, role = event.get("messageId"), event.get("role")
        if not isinstance(message_id, str):
            return
        role = role if role in ("user", "system") else "assistant"
        if role != "assistant":
            self._turn = Turn()
        if message_id in self._list:
            if role == "user" and self._list.role(message_id) == "user":
                # Sent again: what followed answered the old text.
                self._list.drop_after(message_id)
                parts = self._list.parts(message_id)
                parts[:] = [part for part in parts if part.get("type") != "text"]
            elif self._list.role(message_id) == "assistant":
                self._turn.assistants.setdefault(message_id, None)
            return
        if role == "assistant" and self._turn.anonymous is not None:
            self._name_anonymous(self._turn.anonymous, message_id)
        else:
            self._add(message_id, str(role))

    def _name_anonymous(self, anonymous: str, message_id: str) -> None:
        self._list.rename(anonymous, message_id)
        self._turn.rename(anonymous, message_id)

    def _text_content(self, event: JsonObject) -> None:
        delta = event.get("delta")
        message_id = self._message_for(event.get("messageId"))
        if not isinstance(delta, str) or not delta:
            return
        if message_id in self._turn.structured:
            self._add_raw(message_id, delta)
            return
        last = self._list.last_part(message_id)
        if last is None or last.get("type") != "text":
            self._list.parts(message_id).append({"type": "text", "content": delta})
        elif message_id in self._turn.segments:
            self._list.grow(message_id, last, delta)
        else:
            self._list.parts(message_id)[-1]["content"] = delta  # told again from its beginning
        self._turn.segments.add(message_id)

    def _snapshot(self, event: JsonObject) -> None:
        messages = event.get("messages")
        self._list.replace(wire.shown(messages))
        self._turn = Turn()
        self._active_runs.clear()

    # --- tool calls ---

    def _tool_start(self, event: JsonObject) -> None:
        call_id, name = event.get("toolCallId"), event.get("toolCallName", event.get("toolName"))
        if not isinstance(call_id, str) or self._list.owner_of(call_id) is not None:
            return
        call: Part = {"type": "tool-call", "id": call_id, "name": name, "arguments": "", "state": "awaiting-input"}
        if event.get("metadata") is not None:
            call["metadata"] = event["metadata"]
        self._list.add_call(self._message_for(event.get("parentMessageId")), call)
        self._turn.calls.add(call_id)

    def _tool_args(self, event: JsonObject) -> None:
        call, delta = self._list.call(event.get("toolCallId")), event.get("delta")
        if call is not None and call["id"] in self._turn.calls and isinstance(delta, str) and delta:
            call["arguments"] = f"{call['arguments']}{delta}"
            if call["state"] == "awaiting-input":
                call["state"] = "input-streaming"

    def _tool_end(self, event: JsonObject) -> None:
        call = self._list.call(event.get("toolCallId"))
        if call is None:
            return
        if call["id"] in self._turn.calls:
            self._turn.calls.discard(str(call["id"]))
            given = event.get("input", tanstack_metadata(event).get("input"))
            if given is not None and not call["arguments"]:
                call["arguments"] = encode_body(given).decode()
            complete_input(call, given)
        if event.get("result") is not None:
            self._take_result(call, event["result"], event)

    def _tool_result(self, event: JsonObject) -> None:
        call = self._list.call(event.get("toolCallId"))
        if call is not None and "content" in event:
            self._take_result(call, event["content"], event)

    def _take_result(self, call: Part, content: JsonValue, event: JsonObject) -> None:
        call_id = str(call["id"])
        owner = self._list.owner_of(call_id)
        assert owner is not None
        failed = "output-error" in (event.get("state"), tanstack_metadata(event).get("state"))
        call["output"], call["state"] = parsed(content), "error" if failed else "complete"
        result = result_part(call_id, content, call["output"], failed=failed)
        parts = self._list.parts(owner)
        for index, part in enumerate(parts):
            if part.get("type") == "tool-result" and part.get("toolCallId") == call_id:
                parts[index] = result
                return
        parts.append(result)

    def _ask_for_approval(self, call_id: JsonValue, approval_id: JsonValue) -> None:
        call = self._list.call(call_id)
        if call is not None:
            call["state"], call["approval"] = "approval-requested", {"id": approval_id, "needsApproval": True}

    # --- thoughts ---

    def _step_started(self, event: JsonObject) -> None:
        step = event.get("stepName") or event.get("stepId")
        if not isinstance(step, str):
            return
        if self._turn.assistant is None:
            self._turn.next_step = step
        else:
            self._turn.steps[self._turn.assistant], self._turn.next_step = step, None

    def _reasoning(self, event: JsonObject) -> None:
        delta = event.get("delta")
        if not isinstance(delta, str) or not delta:
            return
        message_id = self._turn.assistant or self._anonymous()
        self._turn.reasoned.add(message_id)
        part = self._thought(message_id, self._step_of(message_id, event.get("messageId")))
        self._list.grow(message_id, part, delta)

    def _step_finished(self, event: JsonObject) -> None:
        signature, said = event.get("signature"), event.get("delta") or event.get("content")
        message_id = self._turn.assistant
        if isinstance(said, str) and said and message_id not in self._turn.reasoned:
            message_id = message_id or self._anonymous()
            part = self._thought(message_id, self._step_of(message_id, event.get("stepName") or event.get("stepId")))
            self._list.parts(message_id)
            before = str(part["content"])
            if event.get("delta") or not (said.startswith(before) or before.startswith(said)):
                said = before + said
            part["content"] = max(before, said, key=len)
        if message_id is None or not isinstance(signature, str) or not signature:
            return
        step = self._turn.steps.get(message_id)
        if step is None:
            named = event.get("stepId") or event.get("stepName")
            step = named if isinstance(named, str) and (message_id, named) in self._turn.thoughts else None
        if step is not None:  # a thought that is kept secret has a signature and no text
            self._thought(message_id, step)["signature"] = signature

    def _encrypted(self, event: JsonObject) -> None:
        value = event.get("encryptedValue")
        if not isinstance(value, str) or not value:
            return
        if event.get("subtype") == "tool-call":
            call = self._list.call(event.get("entityId"))
            if call is not None:
                metadata = call.get("metadata")
                call["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "thoughtSignature": value}
            return
        message_id = self._turn.assistant or self._anonymous()
        step = self._turn.steps.get(message_id) or event.get("entityId")
        self._thought(message_id, step if isinstance(step, str) else None)["signature"] = value

    def _step_of(self, message_id: str, otherwise: JsonValue) -> str | None:
        """The step that a thought of this message belongs to; a thought without one begins its own."""
        turn = self._turn
        if turn.next_step is not None:
            turn.steps[message_id], turn.next_step = turn.next_step, None
        step = turn.steps.get(message_id)
        if step is None and isinstance(otherwise, str):
            step = otherwise
            if (message_id, step) not in turn.thoughts:
                turn.steps[message_id] = step
        return step

    def _thought(self, message_id: str, step: str | None) -> Part:
        """The part of one step of thinking. What an earlier run has thought in a step of this name is replaced."""
        parts = self._list.parts(message_id)
        part = find(parts, lambda part: part.get("type") == "thinking" and part.get("stepId") == step)
        if part is None:
            part = {"type": "thinking", "content": ""}
            parts.append(part if step is None else {**part, "stepId": step})
            part = parts[-1]
        elif (message_id, step) not in self._turn.thoughts:
            part["content"] = ""
            part.pop("signature", None)
        self._turn.thoughts.add((message_id, step))
        return part

    # --- what applications and tools add ---

    def _custom(self, event: JsonObject) -> None:
        name, value = event.get("name"), event.get("value")
        if not isinstance(value, dict):
            return
        match name:
            case "approval-requested":
                approval = value.get("approval")
                if isinstance(approval, dict):
                    self._ask_for_approval(value.get("toolCallId"), approval.get("id"))
            case "ui-resource":
                owner = self._list.owner_of(value.get("toolCallId")) or self._turn.assistant
                if owner is not None:
                    keys = ("resource", "toolCallId", "toolName", "serverId", "meta")
                    shown = {key: value[key] for key in keys if key in value}
                    self._list.parts(owner).append({"type": "ui-resource", **shown})
            case "structured-output.start":
                self._turn.structured.add(self._message_for(value.get("messageId")))
            case "structured-output.complete":
                self._complete_structured(self._message_for(value.get("messageId")), value)

    def _structured(self, message_id: str) -> Part | None:
        return find(self._list.parts(message_id), lambda part: part.get("type") == "structured-output")

    def _add_raw(self, message_id: str, delta: str) -> None:
        part = self._structured(message_id)
        if part is None:
            self._list.parts(message_id).append({"type": "structured-output", "status": "streaming", "raw": delta})
        else:
            for key in ("data", "errorMessage"):
                part.pop(key, None)
            part["raw"], part["status"] = f"{part['raw']}{delta}", "streaming"

    def _complete_structured(self, message_id: str, value: JsonObject) -> None:
        self._turn.structured.discard(message_id)
        part = self._structured(message_id)
        complete = complete_output(value, part)
        if part is None:
            self._list.parts(message_id).append(complete)
        else:
            part.clear()
            part.update(complete)

    def _fail_structured(self, message_id: str, why: str) -> None:
        if message_id not in self._list:
            return
        part = self._structured(message_id)
        if part is None:
            part = {"type": "structured-output", "raw": ""}
            self._list.parts(message_id).append(part)
        elif part.get("status") == "complete":
            return
        read_partial(part)
        part["status"], part["errorMessage"] = "error", why

    # --- runs ---

    def _run_started(self, event: JsonObject) -> None:
        if not self._active_runs and not self._turn.goes_on:
            self._turn = Turn()
        run_id = event.get("runId")
        self._active_runs.add(run_id if isinstance(run_id, str) else None)

    def _run_finished(self, event: JsonObject) -> None:
        run_id = event.get("runId")
        self._active_runs.discard(run_id if isinstance(run_id, str) else None)
        outcome = event.get("outcome")
        if isinstance(outcome, dict) and outcome.get("type") == "interrupt":
            self._interrupted(outcome.get("interrupts"))
        if self._active_runs:
            return
        for call_id in self._turn.calls:
            call = self._list.call(call_id)
            if call is not None:
                complete_input(call, None)
        self._turn.calls.clear()
        self._turn.goes_on = continues_after(event)
        if not self._turn.goes_on:
            self._close_turn()

    def _interrupted(self, interrupts: JsonValue) -> None:
        for interrupt in interrupts if isinstance(interrupts, list) else ():
            if isinstance(interrupt, dict):
                metadata = interrupt.get("metadata")
                kind = metadata.get("kind") if isinstance(metadata, dict) else None
                if kind == "approval" or interrupt.get("reason") == "approval_required":
                    self._ask_for_approval(interrupt.get("toolCallId"), interrupt.get("id"))

    def _close_turn(self) -> None:
        for message_id in self._turn.structured:
            self._fail_structured(message_id, UNFINISHED_OUTPUT)
        self._turn.structured.clear()
        current = self._turn.assistant
        if current is not None and current in self._list and not self._turn.failed:
            parts = self._list.parts(current)
            if parts and all(map(is_blank_text, parts)):
                self._list.drop(current)
                del self._turn.assistants[current]

    def _run_error(self, event: JsonObject) -> None:
        self._active_runs.clear()
        self._turn.failed = True
        self._turn.goes_on = False
        message = event.get("message")
        for message_id in self._turn.structured:
            self._fail_structured(message_id, message if isinstance(message, str) else "An error occurred")
        self._turn.structured.clear()


_HANDLERS: Final[dict[str, Callable[[MessagesFold, JsonObject], None]]] = {
    "TEXT_MESSAGE_START": MessagesFold._text_start,
    "TEXT_MESSAGE_CONTENT": MessagesFold._text_content,
    "TOOL_CALL_START": MessagesFold._tool_start,
    "TOOL_CALL_ARGS": MessagesFold._tool_args,
    "TOOL_CALL_END": MessagesFold._tool_end,
    "TOOL_CALL_RESULT": MessagesFold._tool_result,
    "STEP_STARTED": MessagesFold._step_started,
    "STEP_FINISHED": MessagesFold._step_finished,
    "REASONING_MESSAGE_CONTENT": MessagesFold._reasoning,
    "REASONING_ENCRYPTED_VALUE": MessagesFold._encrypted,
    "CUSTOM": MessagesFold._custom,
    "RUN_STARTED": MessagesFold._run_started,
    "RUN_FINISHED": MessagesFold._run_finished,
    "RUN_ERROR": MessagesFold._run_error,
    "MESSAGES_SNAPSHOT": MessagesFold._snapshot,
}


def _iso(timestamp: JsonValue) -> str | None:
    """A time in milliseconds as text; None if it is none."""
    if isinstance(timestamp, bool) or not isinstance(timestamp, int | float):
        return None
    try:
        moment = datetime.fromtimestamp(int(timestamp) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
