"""Messages as clients and applications send them, in the form that TanStack AI shows: with `parts`.

Two forms are about: UI messages, which have parts, and the AG-UI messages of newer clients' requests, which have
`content` and `toolCalls` instead, and tool results and thoughts as messages of their own.
"""

from __future__ import annotations

from .json_body import JsonObject, JsonValue, encode_body
from .tanstack_parts import complete_input, parsed, result_part

UI_ROLES = ("system", "user", "assistant")
WIRE_ONLY_ROLES = ("tool", "reasoning")
"""Messages of these roles are parts of an assistant's message in a UI."""
_WIRE_FIELDS = ("content", "toolCalls")
"""What a UI message says in its parts."""


def normalized(messages: object) -> list[JsonObject]:
    """The submitted messages as UI messages; those that only the wire knows stay what they are, for the model."""
    if not isinstance(messages, list | tuple):
        return []
    found = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            continue
        role = "system" if message.get("role") == "developer" else message.get("role")
        if role in WIRE_ONLY_ROLES:
            found.append(message)
        elif role in UI_ROLES:
            found.append(_ui_message(message, role, index))
    return found


def text_of(message: JsonObject) -> str:
    """All text of a UI message."""
    parts = message.get("parts")
    texts = (
        (part.get("content") for part in parts if isinstance(part, dict) and part.get("type") == "text")
        if (isinstance(parts, list))
        else ()
    )
    return "".join(text for text in texts if isinstance(text, str))


def shown(messages: JsonValue) -> list[JsonObject]:
    """A list in any form as a UI shows it: thoughts and tool results within the assistant's messages."""
    found: list[JsonObject] = []
    thoughts: list[JsonValue] = []
    for message in normalized(messages):
        if message["role"] == "reasoning":
            thoughts.append(_thought(message))
        elif message["role"] == "tool":
            _add_result(found, message)
        else:
            shown_message = {key: value for key, value in message.items() if key not in _WIRE_FIELDS}
            if message["role"] == "assistant" and thoughts:
                parts = message["parts"]
                assert isinstance(parts, list)
                shown_message["parts"], thoughts = [*thoughts, *parts], []
            found.append(shown_message)
    return found


def _ui_message(message: JsonObject, role: str, index: int) -> JsonObject:
    message_id = message.get("id")
    own_id = message_id if isinstance(message_id, str) else f"message-{index}"
    parts = message.get("parts")
    if isinstance(parts, list):
        kept = [dict(part) for part in parts if isinstance(part, dict) and isinstance(part.get("type"), str)]
        return {**message, "id": own_id, "role": role, "parts": [*kept]}
    made = [*_content_parts(message.get("content")), *_call_parts(message.get("toolCalls"))]
    return {**message, "id": own_id, "role": role, "parts": [*made]}


def _content_parts(content: JsonValue) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "content": content}] if content else []
    parts: list[JsonObject] = []
    for item in content if isinstance(content, list) else ():
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            continue
        if item["type"] == "text" and "text" in item:
            parts.append({"type": "text", "content": item["text"]})
        else:
            parts.append(dict(item))
    return parts


def _call_parts(calls: JsonValue) -> list[JsonObject]:
    parts: list[JsonObject] = []
    for call in calls if isinstance(calls, list) else ():
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(function, dict):
            continue
        arguments = function.get("arguments")
        text = arguments if isinstance(arguments, str) else encode_body(arguments).decode()
        part: JsonObject = {
            "type": "tool-call",
            "id": call.get("id"),
            "name": function.get("name"),
            "arguments": text,
            "state": "input-complete",
        }
        complete_input(part, None)
        if isinstance(call.get("metadata"), dict):
            part["metadata"] = call["metadata"]
        parts.append(part)
    return parts


def _thought(message: JsonObject) -> JsonObject:
    part: JsonObject = {"type": "thinking", "content": message.get("content") or "", "stepId": message.get("id")}
    if message.get("encryptedValue"):
        part["signature"] = message["encryptedValue"]
    return part


def _add_result(messages: list[JsonObject], message: JsonObject) -> None:
    """Put a message of a tool where its call is; without a call there is nothing to show."""
    call_id, content = message.get("toolCallId"), message.get("content")
    for owner in reversed(messages):
        parts = owner["parts"]
        assert isinstance(parts, list)
        for part in parts:
            if isinstance(part, dict) and part.get("type") == "tool-call" and part.get("id") == call_id:
                failed = message.get("error") is not None
                part["output"], part["state"] = parsed(content), "error" if failed else "complete"
                parts.append(result_part(str(call_id), content, part["output"], failed=failed))
                return
