"""The events of an Anthropic stream folded to the message that they amount to.

The fold follows the API's rules to the letter: counters of `usage` are cumulative and replace each other, a tool's
input is parsed once its block ends, deltas that fit no block are passed over. What an SDK has already folded into an
event that it handed out (a `message_start` with content, a `message_stop` with a message) is not counted twice.
"""

from __future__ import annotations

from typing import Final

from .json_body import JsonObject, JsonValue, parse_body

RAW_EVENT_TYPES: Final = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    }
)
"""The events of the API itself, of which each message is made."""

_TOOL_BLOCKS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
"""Blocks whose `input` arrives as pieces of JSON text."""

_ENDINGS: Final = ("stop_reason", "stop_sequence", "container", "stop_details")
"""What a `message_delta` tells about the message; null counts as told."""


class _Block:
    """One content block. Pieces are joined only when somebody looks, so long texts cost no more than their length."""

    __slots__ = ("_citations", "_input_json", "_pieces", "_replaced", "_start", "kind")

    def __init__(self, start: JsonObject) -> None:
        self._start = start
        kind = start.get("type")
        self.kind = kind if isinstance(kind, str) else ""
        self._pieces: list[str] = []  # of the text, or of the thinking
        self._replaced: JsonObject = {}
        self._citations: list[JsonValue] = []
        self._input_json: list[str] | None = [] if self.kind in _TOOL_BLOCKS else None

    @property
    def is_blank(self) -> bool:
        """Whether this is a text without a character."""
        return self.kind == "text" and not self._start.get("text") and not any(self._pieces)

    def feed(self, delta: JsonObject) -> None:
        """What a delta adds; one that does not fit the block adds nothing."""
        match delta.get("type"):
            case "text_delta" if self.kind == "text":
                if isinstance(piece := delta.get("text"), str):
                    self._pieces.append(piece)
            case "thinking_delta" if self.kind == "thinking":
                if isinstance(piece := delta.get("thinking"), str):
                    self._pieces.append(piece)
            case "input_json_delta":
                if isinstance(piece := delta.get("partial_json"), str):
                    if self._input_json is None:
                        self._input_json = []
                    self._input_json.append(piece)
            case "signature_delta" if self.kind == "thinking" and "signature" in delta:
                self._replaced["signature"] = delta["signature"]
            case "citations_delta" if self.kind == "text" and "citation" in delta:
                self._citations.append(delta["citation"])
            case "compaction_delta" if self.kind == "compaction":
                self._replaced |= {key: delta[key] for key in ("content", "encrypted_content") if key in delta}

    def close(self) -> None:
        """The block has ended: its input is whole."""
        if self._input_json is not None and self.kind in _TOOL_BLOCKS:
            self._take_input("".join(self._input_json) or "{}")
        self._input_json = None

    def content(self) -> JsonObject:
        """The block as it is now."""
        content = dict(self._start)
        if self._pieces:
            field = "text" if self.kind == "text" else "thinking"
            begun = content.get(field)
            content[field] = (begun if isinstance(begun, str) else "") + "".join(self._pieces)
        if self._citations:
            begun = content.get("citations")
            content["citations"] = [*(begun if isinstance(begun, list) else ()), *self._citations]
        return content | self._replaced

    def content_so_far(self) -> JsonObject:
        """The block as it is now, with its input even if its end is missing, provided that it can be read."""
        if self._input_json and self.kind in _TOOL_BLOCKS:
            self._take_input("".join(self._input_json))
        return self.content()

    def _take_input(self, text: str) -> None:
        try:
            self._replaced["input"] = parse_body(text)
        except ValueError:
            self._replaced.pop("input", None)  # stays what it was at the start


class MessageFold:
    """The events of a stream in, one at a time; the message out.

    Another `message_start` begins anew. The messages that it hands out share parts with the events, so nobody may
    change either.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._message: JsonObject | None = None
        self._blocks: dict[int, _Block] = {}
        self._usage: JsonObject = {}
        self.is_done: bool = False
        """Whether `message_stop` came."""

    @property
    def has_begun(self) -> bool:
        """Whether `message_start` came."""
        return self._message is not None

    @property
    def has_content(self) -> bool:
        """Whether there is anything but texts without a character."""
        return not all(block.is_blank for block in self._blocks.values())

    @property
    def stop_reason(self) -> JsonValue:
        """Why the model stopped; None for a message that was cut off."""
        return None if self._message is None else self._message.get("stop_reason")

    def feed(self, event: JsonObject) -> None:
        """Take the next event; one that fits nowhere changes nothing."""
        match event.get("type"):
            case "content_block_delta":
                block, delta = self._block_of(event), event.get("delta")
                if block is not None and isinstance(delta, dict):
                    block.feed(delta)
            case "message_start":
                message = event.get("message")
                if isinstance(message, dict):
                    self.reset()
                    # SDKs go on folding into the very object that they have handed out.
                    self._message = message | {"content": []}
                    if isinstance(usage := message.get("usage"), dict):
                        self._usage = dict(usage)
            case "content_block_start" if self._message is not None:
                index, content = event.get("index"), event.get("content_block")
                if isinstance(index, int) and isinstance(content, dict):
                    self._blocks[index] = _Block(content)
            case "content_block_stop":
                if (block := self._block_of(event)) is not None:
                    block.close()
            case "message_delta" if self._message is not None:
                delta = event.get("delta")
                if isinstance(delta, dict):
                    self._message |= {key: delta[key] for key in _ENDINGS if key in delta}
                if isinstance(usage := event.get("usage"), dict):
                    # Counters are totals: later ones replace earlier ones, and a null says nothing.
                    self._usage |= {key: count for key, count in usage.items() if count is not None}
            case "message_stop" if self._message is not None:
                self.is_done = True

    def message(self) -> JsonObject:
        """The message as it is now; a tool input whose end is missing is what it was at the start.

        Only for a fold that has begun.
        """
        return self._with_content([self._blocks[index].content() for index in sorted(self._blocks)])

    def message_so_far(self) -> JsonObject:
        """The same of a message that was cut off: a tool input that can be read counts without its end."""
        return self._with_content([self._blocks[index].content_so_far() for index in sorted(self._blocks)])

    def _with_content(self, content: list[JsonObject]) -> JsonObject:
        assert self._message is not None, "no message has begun"
        message: JsonObject = self._message | {"content": list[JsonValue](content)}
        if self._usage:
            message["usage"] = dict(self._usage)
        return message

    def _block_of(self, event: JsonObject) -> _Block | None:
        index = event.get("index")
        return self._blocks.get(index) if isinstance(index, int) else None
