"""The parts of a UI message of TanStack AI: what makes them, and what completes them."""

from __future__ import annotations

from typing import Final, TypeAlias

from .json_body import JsonObject, JsonValue, encode_body, parse_body
from .partial_json import parse_partial_json

Part: TypeAlias = JsonObject

_BLANK: Final = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
"""What JavaScript's `trim` takes away, by which clients tell whether a text is blank."""


def parsed(content: JsonValue) -> JsonValue:
    """What a tool's result says: the value of JSON text, or the text itself."""
    if not isinstance(content, str):
        return content
    try:
        return parse_body(content)
    except ValueError:
        return content


def result_part(call_id: str, content: JsonValue, output: JsonValue, *, failed: bool) -> JsonObject:
    """The part that tells the result of a tool call."""
    part: JsonObject = {
        "type": "tool-result",
        "toolCallId": call_id,
        "content": content,
        "state": "error" if failed else "complete",
    }
    if failed and (error := _error_text(output)):
        part["error"] = error
    return part


def _error_text(output: JsonValue) -> str:
    if isinstance(output, dict) and isinstance(output.get("error"), str):
        return str(output["error"])
    return output if isinstance(output, str) else "Tool execution failed"


def complete_input(call: Part, given: JsonValue) -> None:
    """The arguments of a call are whole: what they say is its input, if they can be read."""
    if call["state"] in ("awaiting-input", "input-streaming"):
        call["state"] = "input-complete"
    if given is None:
        try:
            given = parse_body(str(call["arguments"]))
        except ValueError:
            return
    if given is not None:
        call["input"] = given


def read_partial(part: Part) -> None:
    """What can be read of structured output so far."""
    try:
        read = parse_partial_json(str(part["raw"]))
    except ValueError:
        return
    if read is not None:
        part["partial"] = read


def complete_output(value: JsonObject, before: Part | None) -> Part:
    """Structured output that is whole, as the event says it; its text is the event's own, or what has arrived."""
    data, raw = value.get("object"), value.get("raw") or (before or {}).get("raw")
    if not raw and data is not None:
        raw = encode_body(data).decode()
    part: Part = {
        "type": "structured-output",
        "status": "complete",
        "data": data,
        "partial": data,
        "raw": raw or "",
    }
    if value.get("reasoning") is not None:
        part["reasoning"] = value["reasoning"]
    return part


def is_blank_text(part: Part) -> bool:
    """Whether a part is a text that shows nothing."""
    return part.get("type") == "text" and not str(part["content"]).strip(_BLANK)
