"""Tool calls in a UI message: the parts that tool chunks of the AI SDK's stream make and change.

The chunks of one call come from several places: the model streams an input, somebody approves or denies it, a tool
answers. An *input* chunk finds its part among those of its kind (static or dynamic) in the current step, and else
makes one. Everything else finds the call anywhere in the message, the current step first.

The text of a streaming input is parsed only when somebody looks at it: parsing at every delta would cost time
quadratic in its length, and most partial inputs are replaced by the whole one before anybody asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from .json_body import JsonObject, JsonValue
from .partial_json import parse_partial_json

DYNAMIC: Final = "dynamic-tool"
STATIC_PREFIX: Final = "tool-"

# What every new state of a call sets or else removes: it belongs to the state, not to the call.
_OF_THE_STATE: Final = ("input", "output", "errorText", "rawInput", "inputEncoding", "preliminary")
_OUTPUT_STATES: Final = ("output-available", "output-error")


def is_tool_part(part: JsonObject) -> bool:
    """Whether `part` is a tool call of either kind."""
    kind = part.get("type")
    return isinstance(kind, str) and (kind == DYNAMIC or kind.startswith(STATIC_PREFIX))


def tool_name(part: JsonObject) -> str:
    """The name of the tool that `part` calls."""
    name = part.get("toolName") if part.get("type") == DYNAMIC else str(part.get("type"))[len(STATIC_PREFIX) :]
    return name if isinstance(name, str) else ""


class _InputBuffer:
    """The text of one input so far, and the part that shows it."""

    __slots__ = ("call_id", "chunk", "dynamic", "name", "part", "pieces", "stale", "step")

    def __init__(self, call_id: str, name: str, dynamic: bool, chunk: JsonObject) -> None:
        self.call_id = call_id
        self.name = name
        self.dynamic = dynamic
        self.chunk = chunk
        """The chunk that began the input; its title, metadata and encoding hold for every delta."""
        self.pieces: list[str] = []
        self.part: JsonObject | None = None
        self.step = -1
        self.stale = False
        """Whether `part` lacks some of `pieces`."""

    def state_values(self) -> JsonObject:
        """`input` and `rawInput` as of now."""
        text = "".join(self.pieces)
        self.pieces = [text]
        values: JsonObject = {"rawInput": text}
        if (encoding := self.chunk.get("inputEncoding")) is not None:
            values["inputEncoding"] = encoding
        if encoding == "text":
            values["input"] = text
        else:
            try:
                values["input"] = parse_partial_json(text)
            except ValueError:
                pass  # nothing readable yet: no input
        return values


class ToolCalls:
    """The tool calls of one message, whose list of parts it shares.

    `step_start` is the index of the first part of the current step; the owner moves it. A base message may hold an
    input that was still streaming: its deltas go on where they were.
    """

    def __init__(self, parts: list[JsonObject], step_start: int) -> None:
        self._parts = parts
        self.step_start = step_start
        self._buffers: dict[str, _InputBuffer] = {}
        for part in parts[step_start:]:
            call_id, raw = part.get("toolCallId"), part.get("rawInput")
            if is_tool_part(part) and part.get("state") == "input-streaming" and isinstance(call_id, str):
                chunk: JsonObject = {"inputEncoding": part.get("inputEncoding")}
                buffer = _InputBuffer(call_id, tool_name(part), part["type"] == DYNAMIC, chunk)
                buffer.pieces = [raw] if isinstance(raw, str) else []
                self._buffers[call_id] = buffer

    def reset(self) -> None:
        """Forget the inputs that are streaming."""
        self.settle()
        self._buffers.clear()

    def settle(self) -> None:
        """Bring all parts up to the deltas received."""
        for buffer in self._buffers.values():
            self._settle(buffer)

    # --- inputs ---

    def input_start(self, chunk: JsonObject, call_id: str, name: str) -> None:
        """A call whose input will stream."""
        if (replaced := self._buffers.get(call_id)) is not None:
            self._settle(replaced)
        buffer = self._buffers[call_id] = _InputBuffer(call_id, name, chunk.get("dynamic") is True, chunk)
        encoding = chunk.get("inputEncoding")
        values: JsonObject = {} if encoding is None else {"inputEncoding": encoding}
        part = self._own_part(call_id, buffer.dynamic)
        buffer.part = self._write(part, buffer.dynamic, call_id, name, "input-streaming", values, chunk)
        buffer.step = self.step_start

    def input_delta(self, call_id: str, delta: str) -> None:
        """More of a streaming input; skipped when the call never started."""
        buffer = self._buffers.get(call_id)
        if buffer is None:
            return
        if buffer.part is None or buffer.step != self.step_start:
            self._settle(buffer)
            buffer.part = self._own_part(call_id, buffer.dynamic)
            buffer.step = self.step_start
        buffer.pieces.append(delta)
        if buffer.part is None or buffer.part.get("state") != "input-streaming":
            given: JsonObject = {key: buffer.chunk.get(key) for key in ("title", "toolMetadata")}
            buffer.part = self._write(
                buffer.part, buffer.dynamic, call_id, buffer.name, "input-streaming", buffer.state_values(), given
            )
        buffer.stale = True

    def input_available(self, chunk: JsonObject, call_id: str, name: str) -> None:
        """A call with its whole input."""
        dynamic = chunk.get("dynamic") is True
        part = self._own_part(call_id, dynamic)
        self._supersede_deltas(call_id, part)
        self._write(part, dynamic, call_id, name, "input-available", _present(chunk, "input"), chunk)

    def input_error(self, chunk: JsonObject, call_id: str, name: str) -> None:
        """A call whose input is of no use."""
        part = next(self._calls(self._parts[self.step_start :], call_id), None)
        self._supersede_deltas(call_id, part)
        dynamic = chunk.get("dynamic") is True if part is None else part.get("type") == DYNAMIC
        values = _present(chunk, "input", "errorText")
        if not dynamic and "input" in values:
            values["rawInput"] = values["input"]  # where versions 5 and 6 look for it
        given = {key: value for key, value in chunk.items() if key != "title"}  # the SDK takes no title here
        self._write(part, dynamic, call_id, name, "output-error", values, given)

    # --- what becomes of a call ---

    def output(self, chunk: JsonObject, call_id: str) -> None:
        """The result of a call, perhaps a preliminary one."""
        if (part := self._find(call_id)) is not None:
            values = _present(part, "input") | _present(chunk, "output")
            if chunk.get("preliminary") is not None:
                values["preliminary"] = chunk["preliminary"]
            self._write_output(part, "output-available", values, chunk)

    def output_error(self, chunk: JsonObject, call_id: str) -> None:
        """The failure of a call."""
        if (part := self._find(call_id)) is not None:
            values = _present(part, "input") | _present(chunk, "errorText")
            if part.get("type") != DYNAMIC:
                values |= _present(part, "rawInput")
            self._write_output(part, "output-error", values, chunk)

    def output_denied(self, call_id: str) -> None:
        """The end of a call that nobody allowed."""
        if (part := self._find(call_id)) is not None:
            part["state"] = "output-denied"

    def approval_request(self, chunk: JsonObject, call_id: str, approval_id: str) -> None:
        """A call that waits for somebody's approval."""
        if (part := self._find(call_id)) is None:
            return
        approval: JsonObject = {"id": approval_id}
        if chunk.get("approvalDescriptor") is not None:
            approval["descriptor"] = chunk["approvalDescriptor"]
        approval |= _present(chunk, "inputSchemaInput")
        if chunk.get("reason") is not None:
            approval["requestReason"] = chunk["reason"]
        if chunk.get("isAutomatic") is True:
            approval["isAutomatic"] = True
        if chunk.get("signature") is not None:
            approval["signature"] = chunk["signature"]
        part["state"] = "approval-requested"
        part["approval"] = approval

    def approval_response(self, chunk: JsonObject, approval_id: str) -> None:
        """Somebody's answer to a request for approval."""
        if not isinstance(approved := chunk.get("approved"), bool):
            return
        self.settle()
        for part in self._parts:
            approval = part.get("approval")
            if is_tool_part(part) and isinstance(approval, dict) and approval.get("id") == approval_id:
                approval = approval | {"id": approval_id, "approved": approved}
                if chunk.get("reason") is not None:
                    approval["reason"] = chunk["reason"]
                part["state"] = "approval-responded"
                part["approval"] = approval
                _replace_given(part, chunk, "providerExecuted")
                if chunk.get("providerMetadata") is not None:
                    part["callProviderMetadata"] = chunk["providerMetadata"]
                return

    # --- parts ---

    def _find(self, call_id: str) -> JsonObject | None:
        """The part of a call that an answer is for, of either kind, with its input up to date."""
        buffer = self._buffers.get(call_id)
        if buffer is not None:
            self._settle(buffer)
        step = self._calls(self._parts[self.step_start :], call_id)
        return next(step, None) or next(self._calls(reversed(self._parts), call_id), None)

    def _own_part(self, call_id: str, dynamic: bool) -> JsonObject | None:
        """The part of an input chunk's own kind in the current step."""
        found = self._calls(self._parts[self.step_start :], call_id)
        return next((part for part in found if (part["type"] == DYNAMIC) == dynamic), None)

    @staticmethod
    def _calls(parts: Iterable[JsonObject], call_id: str) -> Iterator[JsonObject]:
        """Those of `parts` that are the call."""
        return (part for part in parts if part.get("toolCallId") == call_id and is_tool_part(part))

    def _write_output(self, part: JsonObject, state: str, values: JsonObject, chunk: JsonObject) -> None:
        """A new state of a call that is there, of the kind that it is."""
        given = {key: value for key, value in chunk.items() if key != "title"}
        call_id = part.get("toolCallId")
        dynamic = part.get("type") == DYNAMIC
        self._write(part, dynamic, call_id, tool_name(part), state, values, given)

    def _write(
        self,
        part: JsonObject | None,
        dynamic: bool,
        call_id: JsonValue,
        name: str,
        state: str,
        values: JsonObject,
        given: JsonObject,
    ) -> JsonObject:
        """Put a call into `state`, making its part if there is none; gives the part.

        `values` are of this state alone; what `given` holds for the call as a whole stays until replaced.
        """
        if part is None:
            part = {"type": DYNAMIC, "toolName": name} if dynamic else {"type": STATIC_PREFIX + name}
            part["toolCallId"] = call_id
            self._parts.append(part)
        elif dynamic:
            part["toolName"] = name
        else:
            part["type"] = STATIC_PREFIX + name
        part["state"] = state
        for key in _OF_THE_STATE:
            if key in values:
                part[key] = values[key]
            else:
                part.pop(key, None)
        _replace_given(part, given, "title", "toolMetadata", "providerExecuted")
        if given.get("providerMetadata") is not None:
            of_result = state in _OUTPUT_STATES
            part["resultProviderMetadata" if of_result else "callProviderMetadata"] = given["providerMetadata"]
        return part

    def _settle(self, buffer: _InputBuffer) -> None:
        """Bring the part of one input up to its deltas."""
        if buffer.stale and buffer.part is not None:
            buffer.stale = False
            buffer.part.pop("input", None)
            buffer.part |= buffer.state_values()

    def _supersede_deltas(self, call_id: str, part: JsonObject | None) -> None:
        """The whole input of `part` is here, so nobody needs its pieces parsed; a late delta goes on from them."""
        if (buffer := self._buffers.get(call_id)) is not None:
            if buffer.part is not part:
                self._settle(buffer)
            buffer.stale = False


def _present(source: JsonObject, *keys: str) -> JsonObject:
    """Those of `keys` that `source` has, null included."""
    return {key: source[key] for key in keys if key in source}


def _replace_given(part: JsonObject, chunk: JsonObject, *keys: str) -> None:
    """Fields that the chunk gives replace those of the part."""
    for key in keys:
        if chunk.get(key) is not None:
            part[key] = chunk[key]
