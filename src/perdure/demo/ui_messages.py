"""A conversation of TanStack AI's UI messages, as the Messages API wants it for the next request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from .messages_model import Said
from .tool_loop import exchange
from .tools import ToolCall, ToolResult

Message = Mapping[str, object]

_UNDECIDED = "Not run: the user went on without a decision."


def decisions_in(messages: Sequence[Message]) -> dict[str, bool]:
    """What the user decided of the calls that asked for it, by the approval's id."""
    decisions = {}
    for message in messages:
        for part in _parts(message):
            match part:
                case {"type": "tool-call", "approval": {"id": str(approval_id), "approved": bool(approved)}}:
                    decisions[approval_id] = approved
    return decisions


def decided_calls(history: Sequence[Message], decisions: Mapping[str, bool]) -> list[tuple[ToolCall, bool]]:
    """The calls that wait for a decision and have one now, and whether they are approved."""
    found = []
    for message in history:
        for part in _parts(message):
            match part:
                case {"state": "approval-requested", "approval": {"id": str(asked)}} if asked in decisions:
                    found += [(call, decisions[asked]) for call in [_call(part)] if call]
    return found


def conversation_of(history: Sequence[Message], last: Message, results: Sequence[ToolResult]) -> list[Said]:
    """What to ask the model.

    `last` is the message that the page has sent: a question, or an answer that waited for a decision, which is followed
    by `results`. Thoughts are left out, since the API refuses one that was cut off.
    """
    new = {result.id: result for result in results}
    said: list[Said] = []
    for message in history:
        if message["id"] == last.get("id") and last["role"] == "user":
            break  # the question is asked again: what followed it does not count
        text = _text(message)
        if message["role"] == "user":
            said += [Said("user", text)] if text else []
            continue
        calls = [call for call in map(_call, _parts(message)) if call]
        outputs = _outputs(message)
        blocks = [
            *([{"type": "text", "text": text}] if text else []),
            *({"type": "tool_use", "id": call.id, "name": call.name, "input": call.input} for call in calls),
        ]
        told = [new.get(call.id) or outputs.get(call.id) or ToolResult(call.id, _UNDECIDED, True) for call in calls]
        said += exchange(blocks, told) if blocks else []
    return [*said, Said("user", _text(last))] if last["role"] == "user" else said


def _parts(message: Message) -> Iterator[Mapping[str, object]]:
    parts = message.get("parts")
    return (part for part in (parts if isinstance(parts, list) else ()) if isinstance(part, dict))


def _text(message: Message) -> str:
    return "".join(str(part.get("content", "")) for part in _parts(message) if part.get("type") == "text").strip()


def _call(part: Mapping[str, object]) -> ToolCall | None:
    """The call that a part is; None for other parts, and for a call that was cut off."""
    match part:
        case {"type": "tool-call", "id": str(call_id), "name": str(name), "input": dict(given)}:
            return ToolCall(call_id, name, given)
    return None


def _outputs(message: Message) -> dict[str, ToolResult]:
    found = {}
    for part in _parts(message):
        match part:
            case {"type": "tool-call", "id": str(call_id), "output": output, "state": state}:
                text = output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)
                found[call_id] = ToolResult(call_id, text, is_error=state == "error")
    return found
