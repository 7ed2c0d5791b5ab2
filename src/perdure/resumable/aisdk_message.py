"""The chunks of one AI SDK generation folded to the UI messages that a stock client shows for them.

The rules are those of the SDK's own reader (versions 5 to 7; where they differ, what serves all), but for one: a
chunk that the reader would fail on (a delta of a part that never began, say) is skipped, because one odd chunk must
not cost people their history.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from .aisdk_metadata import merge_metadata
from .aisdk_tools import ToolCalls
from .json_body import JsonObject, JsonValue

STEP_START: Final = "step-start"
DATA_PREFIX: Final = "data-"

# Chunks that become a part of the same name as they are: the fields they need, and those they may have.
_PART_CHUNKS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "file": (("mediaType", "url"), ("providerMetadata",)),
    "reasoning-file": (("mediaType", "url"), ("providerMetadata",)),
    "source-url": (("sourceId", "url"), ("title", "providerMetadata")),
    "source-document": (("sourceId", "mediaType", "title"), ("filename", "providerMetadata")),
    "custom": (("kind",), ("providerMetadata",)),
    "steering-message": (("id", "parts"), ()),
}


class _OpenText:
    """A text or reasoning part that deltas still go to; its text is joined when somebody looks."""

    __slots__ = ("part", "pieces")

    def __init__(self, part: JsonObject) -> None:
        self.part = part
        self.pieces: list[str] = []

    def settle(self) -> None:
        """Bring the part up to the deltas received."""
        text = "".join(self.pieces)
        self.pieces = [text]
        self.part["text"] = text


class _Message:
    """One message while it is being put together."""

    def __init__(self, message_id: str, base: JsonObject | None = None) -> None:
        self.is_base = base is not None
        self.head: JsonObject = {"id": message_id, "role": "assistant"} if base is None else dict(base)
        given = self.head.pop("parts", None)
        # Parts are changed in place, so a base lends copies of its own.
        self.parts: list[JsonObject] = [
            dict(part) for part in (given if isinstance(given, list) else ()) if isinstance(part, dict)
        ]
        self.texts: dict[tuple[str, str], _OpenText] = {}
        steps = [index for index, part in enumerate(self.parts) if part.get("type") == STEP_START]
        self.tools = ToolCalls(self.parts, steps[-1] + 1 if steps else 0)

    def has_content(self) -> bool:
        """Whether there is anything to show."""
        return any(part.get("type") != STEP_START for part in self.parts)

    def forget_texts(self) -> None:
        """No delta goes to the parts that are open now."""
        for text in self.texts.values():
            text.settle()
        self.texts.clear()

    def end_texts(self) -> None:
        """Nothing streams any more, not even a part whose id another part has taken."""
        self.forget_texts()
        for part in self.parts:
            if part.get("type") in ("text", "reasoning") and part.get("state") == "streaming":
                part["state"] = "done"

    def shown(self) -> JsonObject:
        """The message as it stands, sharing nothing that the fold goes on changing."""
        self.tools.settle()
        for text in self.texts.values():
            text.settle()
        return {**self.head, "parts": [dict(part) for part in self.parts]}


class MessageFold:
    """Chunks of one generation in, messages out.

    `message_id` names the message until a `start` chunk does. With `base`, an earlier assistant message, the
    generation goes on in a copy of it. Usually one message comes out; a `start` with a new id begins another.
    """

    def __init__(self, message_id: str, base: JsonObject | None = None) -> None:
        self._message = _Message(message_id, base)
        self._completed: list[JsonObject] = []
        self._failed = False

    def feed(self, chunk: JsonObject) -> None:
        """Take the next chunk. Nothing after an `error` chunk counts: stock readers stop there."""
        kind = chunk.get("type")
        if self._failed or not isinstance(kind, str):
            return
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, chunk)
        elif kind in _PART_CHUNKS:
            self._on_part(kind, chunk)
        elif kind.startswith(DATA_PREFIX):
            self._on_data(kind, chunk)

    def messages(self) -> list[JsonObject]:
        """What the generation has made so far, without messages that have nothing to show."""
        return [*self._completed, *self._current(self._message.shown())]

    def finish(self) -> list[JsonObject]:
        """What the generation has made, when it is over: nothing streams any more. A base comes first."""
        self._message.end_texts()
        return self.messages()

    def _current(self, message: JsonObject) -> list[JsonObject]:
        """The message at hand, if it counts."""
        return [message] if self._message.is_base or self._message.has_content() else []

    # --- the message ---

    def _on_start(self, chunk: JsonObject) -> None:
        """The message gets its id, or another one begins."""
        message_id = chunk.get("messageId")
        if isinstance(message_id, str) and message_id != self._message.head.get("id"):
            if self._message.parts or self._message.is_base:
                self._completed = self.finish()
                self._message = _Message(message_id)
            else:
                self._message.head["id"] = message_id
        self._on_metadata(chunk)

    def _on_metadata(self, chunk: JsonObject) -> None:
        """`start`, `finish` and `message-metadata` alike bring metadata."""
        added = chunk.get("messageMetadata")
        if added is not None:
            head = self._message.head
            head["metadata"] = merge_metadata(head.get("metadata"), added)

    def _on_error(self, chunk: JsonObject) -> None:
        """Nothing more is read; the text of the error is no part of the message."""
        self._failed = True

    # --- steps ---

    def _on_start_step(self, chunk: JsonObject) -> None:
        """A step begins: from here on, inputs of tools make parts of their own."""
        message = self._message
        message.parts.append({"type": STEP_START})
        message.tools.step_start = len(message.parts)

    def _on_reset_step(self, chunk: JsonObject) -> None:
        """The provider tries the step again, so what it had said is taken back."""
        message = self._message
        del message.parts[message.tools.step_start :]
        message.forget_texts()
        message.tools.reset()

    # --- text and reasoning ---

    def _on_text_start(self, chunk: JsonObject) -> None:
        """A part begins; a repeated id opens a new one."""
        kind, text_id = _text_kind(chunk), chunk.get("id")
        if not isinstance(text_id, str):
            return
        part: JsonObject = {"type": kind}
        if kind == "reasoning":
            part["id"] = text_id  # as stock readers of all three versions do; text parts have none
        part |= {"text": "", "state": "streaming"}
        _replace_provider_metadata(part, chunk)
        self._message.parts.append(part)
        if (replaced := self._message.texts.get((kind, text_id))) is not None:
            replaced.settle()
        self._message.texts[kind, text_id] = _OpenText(part)

    def _on_text_delta(self, chunk: JsonObject) -> None:
        """More text."""
        text_id, delta = chunk.get("id"), chunk.get("delta")
        if not isinstance(text_id, str) or not isinstance(delta, str):
            return
        text = self._message.texts.get((_text_kind(chunk), text_id))
        if text is not None:
            text.pieces.append(delta)
            _replace_provider_metadata(text.part, chunk)

    def _on_text_end(self, chunk: JsonObject) -> None:
        """A part ends, and its id is free."""
        kind, text_id = _text_kind(chunk), chunk.get("id")
        text = self._message.texts.pop((kind, text_id), None) if isinstance(text_id, str) else None
        if text is None:
            return
        text.settle()
        text.part["state"] = "done"
        if kind == "text" and chunk.get("citations") is not None:
            text.part["citations"] = chunk["citations"]
        _replace_provider_metadata(text.part, chunk)

    # --- other parts ---

    def _on_part(self, kind: str, chunk: JsonObject) -> None:
        """A part that is its chunk."""
        needed, optional = _PART_CHUNKS[kind]
        if any(chunk.get(key) is None for key in needed):
            return
        part: JsonObject = {"type": kind}
        for key in (*needed, *optional):
            if chunk.get(key) is not None:
                part[key] = chunk[key]
        self._message.parts.append(part)

    def _on_data(self, kind: str, chunk: JsonObject) -> None:
        """A data part, new or replaced."""
        if chunk.get("transient"):
            return
        given: JsonObject = {"data": chunk["data"]} if "data" in chunk else {}
        data_id = chunk.get("id")
        if data_id is not None:
            for part in self._message.parts:
                if part.get("type") == kind and part.get("id") == data_id:
                    part.pop("data", None)
                    part |= given
                    return
            given = {"id": data_id, **given}
        self._message.parts.append({"type": kind, **given})

    # --- tools ---

    def _on_tool_input(self, chunk: JsonObject) -> None:
        """A chunk that names its tool."""
        call_id, name = chunk.get("toolCallId"), chunk.get("toolName")
        if isinstance(call_id, str) and isinstance(name, str):
            tools = self._message.tools
            match chunk["type"]:
                case "tool-input-start":
                    tools.input_start(chunk, call_id, name)
                case "tool-input-available":
                    tools.input_available(chunk, call_id, name)
                case _:
                    tools.input_error(chunk, call_id, name)

    def _on_tool_input_delta(self, chunk: JsonObject) -> None:
        """A piece of an input."""
        call_id, delta = chunk.get("toolCallId"), chunk.get("inputTextDelta")
        if isinstance(call_id, str) and isinstance(delta, str):
            self._message.tools.input_delta(call_id, delta)

    def _on_tool_output(self, chunk: JsonObject) -> None:
        """A chunk that says what became of a call."""
        call_id = chunk.get("toolCallId")
        if isinstance(call_id, str):
            tools = self._message.tools
            match chunk["type"]:
                case "tool-output-available":
                    tools.output(chunk, call_id)
                case "tool-output-error":
                    tools.output_error(chunk, call_id)
                case _:
                    tools.output_denied(call_id)

    def _on_tool_approval(self, chunk: JsonObject) -> None:
        """A chunk about somebody's consent."""
        call_id, approval_id = chunk.get("toolCallId"), chunk.get("approvalId")
        if not isinstance(approval_id, str):
            return
        if chunk["type"] == "tool-approval-response":
            self._message.tools.approval_response(chunk, approval_id)
        elif isinstance(call_id, str):
            self._message.tools.approval_request(chunk, call_id, approval_id)


_Handler = Callable[[MessageFold, JsonObject], None]

# Not here, because they change nothing: `finish-step`, `abort`, and what no version knows.
_HANDLERS: Final[dict[str, _Handler]] = {
    "start": MessageFold._on_start,
    "message-metadata": MessageFold._on_metadata,
    "finish": MessageFold._on_metadata,
    "error": MessageFold._on_error,
    "start-step": MessageFold._on_start_step,
    "reset-step": MessageFold._on_reset_step,
    "text-start": MessageFold._on_text_start,
    "text-delta": MessageFold._on_text_delta,
    "text-end": MessageFold._on_text_end,
    "reasoning-start": MessageFold._on_text_start,
    "reasoning-delta": MessageFold._on_text_delta,
    "reasoning-end": MessageFold._on_text_end,
    "tool-input-start": MessageFold._on_tool_input,
    "tool-input-delta": MessageFold._on_tool_input_delta,
    "tool-input-available": MessageFold._on_tool_input,
    "tool-input-error": MessageFold._on_tool_input,
    "tool-output-available": MessageFold._on_tool_output,
    "tool-output-error": MessageFold._on_tool_output,
    "tool-output-denied": MessageFold._on_tool_output,
    "tool-approval-request": MessageFold._on_tool_approval,
    "tool-approval-response": MessageFold._on_tool_approval,
}


def _text_kind(chunk: JsonObject) -> str:
    """ "text" or "reasoning", from the name of the chunk."""
    return str(chunk["type"]).partition("-")[0]


def _replace_provider_metadata(part: JsonObject, chunk: JsonObject) -> None:
    """Provider metadata that a chunk gives replaces what the part had."""
    given: JsonValue = chunk.get("providerMetadata")
    if given is not None:
        part["providerMetadata"] = given
