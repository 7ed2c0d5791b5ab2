"""What was said in a chat, as the `messages` of the next request to the Messages API.

A log has more than a request may have: answers that were stopped or that failed, calls whose tools never gave a result,
thoughts that were cut off before their signature. The API refuses a request for any of them, so here each is left
out, or made whole. What holds for every list that `conversation` gives, each a rule of the API:

* it begins with the user, and the roles alternate (the API would join neighbours of one role);
* nothing is empty: no message without content, no text without a character that can be seen;
* each `tool_use` has its `tool_result` in the next message, in front of what else the user says there, and each
  result has its call in the message before it; no call has the id of another one;
* each `server_tool_use` and `mcp_tool_use` has its result in the same message, and the other way round;
* each `thinking` has its signature, and none is the last block of a message.

Source: "Using the Messages API", "Tool use", "Extended thinking" and "Handling stop reasons" in the documentation of
the API, and the texts of its `invalid_request_error`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias, TypedDict

from msgspec import Struct

from .json_body import JsonObject, JsonValue

NO_RESULT_TEXT: Final = "The answer ended before this tool gave a result."
"""What the model is told of a call that nothing came back from. It may have had its effect, so it is not left out."""

_SERVER_CALLS: Final = frozenset({"server_tool_use", "mcp_tool_use"})
"""Calls that the API itself makes; their results are blocks of the same message."""

_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})


class RequestMessage(TypedDict):
    """One of the `messages` of a request."""

    role: Literal["user", "assistant"]
    content: str | list[JsonObject]


class UserText(Struct, frozen=True, gc=False):
    """What the user said."""

    text: str


class Answer(Struct, frozen=True, gc=False):
    """A message of the assistant. `failed`: it broke off, and this is what there was."""

    message: JsonObject
    failed: bool = False


class ToolResult(Struct, frozen=True, gc=False):
    """What a tool gave back: a content block of the API."""

    call_id: str
    block: JsonObject


class GenerationEnd(Struct, frozen=True, gc=False):
    """Nothing more comes of what was said since the last one of these."""


Utterance: TypeAlias = UserText | Answer | ToolResult | GenerationEnd
"""One thing that a log has of a conversation."""

END: Final = GenerationEnd()


def conversation(
    said: Iterable[Utterance], text: str | Sequence[Mapping[str, JsonValue]] | None = None, *, partials: bool = False
) -> list[RequestMessage]:
    """The messages of a request: what was said, and then `text`, if it is given.

    A turn without an answer is left out, and so is one that the model refused, as the API asks for. `partials` counts
    what there was of an answer that failed. Nothing that is handed out is shared with `said` but the insides of blocks.
    """
    messages: list[RequestMessage] = []
    call_ids: set[str] = set()
    for turn in _turns(said, partials=partials):
        exchanges = turn.exchanges(call_ids)
        if exchanges:
            _say(messages, "user", [_text(user) for user in turn.users])
        for exchange in exchanges:
            _say(messages, "assistant", exchange.blocks)
            _say(messages, "user", exchange.results)
    if text is not None:
        _say(messages, "user", [_text(text)] if isinstance(text, str) else [dict(block) for block in text])
    return messages


class _Exchange(Struct):
    """Blocks of the assistant, and the results of the tools that they call."""

    blocks: list[JsonObject]
    results: list[JsonObject]


class _Turn(Struct):
    """What the user said in one go, and all that came of it."""

    users: list[str]
    answers: list[JsonObject]
    results: dict[str, JsonObject]
    has_ended: bool = False

    def exchanges(self, call_ids: set[str]) -> list[_Exchange]:
        """The answers with the results of their calls; `call_ids` are the calls so far, and gets the new ones.

        Empty if this turn is not to be told.
        """
        if not self.users or not self.answers or self.answers[-1].get("stop_reason") == "refusal":
            return []
        found = [_Exchange([], [])]
        for message in self.answers:
            blocks, results = self._sent(message, call_ids, is_last=message is self.answers[-1])
            if found[-1].results:
                found.append(_Exchange([], []))
            found[-1].blocks += blocks
            found[-1].results += results
        for exchange in found:
            exchange.blocks = _without_loose_ends(exchange.blocks)
        return [exchange for exchange in found if exchange.blocks]

    def _sent(
        self, message: JsonObject, call_ids: set[str], *, is_last: bool
    ) -> tuple[list[JsonObject], list[JsonObject]]:
        """What of a message is sent, and the results of its calls.

        A message that was cut off counts with its texts. So does one whose calls have no results although the answer
        went on after them: its source stores none, and the model is not to be told that they failed.
        """
        content = message.get("content")
        blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
        calls = [str(block.get("id", "")) for block in blocks if block.get("type") == "tool_use"]
        answered = any(call in self.results for call in calls)
        reason = message.get("stop_reason")
        tells_calls = answered or (is_last and reason == "tool_use")
        are_known = all(calls) and len({*calls, *call_ids}) == len(calls) + len(call_ids)
        if reason is None or (calls and not (tells_calls and are_known)):
            return [_text(block["text"]) for block in blocks if _is_text(block)], []
        call_ids.update(calls)
        results = [dict(self.results.get(call) or _no_result(call)) for call in calls]
        return [dict(block) for block in blocks if _may_be_sent(block)], results


def _turns(said: Iterable[Utterance], *, partials: bool) -> list[_Turn]:
    turns: list[_Turn] = []
    for utterance in said:
        turn = turns[-1] if turns else None
        match utterance:
            case UserText(text):
                if turn is None or turn.answers or turn.has_ended:
                    turns.append(turn := _Turn([], [], {}))
                if text.strip():
                    turn.users.append(text)
            case Answer(message, failed) if turn is not None:
                if partials or not failed:
                    turn.answers.append(message | {"stop_reason": None} if failed else message)
            case ToolResult(call_id, block) if turn is not None:
                turn.results[call_id] = block
            case GenerationEnd() if turn is not None:
                turn.has_ended = True
    return turns


def _say(messages: list[RequestMessage], role: Literal["user", "assistant"], blocks: list[JsonObject]) -> None:
    """Add `blocks` in the voice of `role`; a single text of the user as the plain string that it was."""
    if not blocks:
        return
    last = messages[-1] if messages and messages[-1]["role"] == role else None
    if last is None:
        is_plain = role == "user" and len(blocks) == 1 and blocks[0].keys() == {"type", "text"}
        text = blocks[0].get("text")
        messages.append({"role": role, "content": text if is_plain and isinstance(text, str) else blocks})
        return
    content = last["content"]
    last["content"] = [*([_text(content)] if isinstance(content, str) else content), *blocks]


def _may_be_sent(block: JsonObject) -> bool:
    match block.get("type"):
        case "text":
            return _is_text(block)
        case "thinking":
            return bool(block.get("signature"))
        case _:
            return True


def _is_text(block: JsonObject) -> bool:
    text = block.get("text")
    return block.get("type") == "text" and isinstance(text, str) and bool(text.strip())


def _without_loose_ends(blocks: list[JsonObject]) -> list[JsonObject]:
    """Without calls of the API's own tools that have no result, results that have no call, and thoughts at the end."""
    calls = {str(block.get("id")) for block in blocks if block.get("type") in _SERVER_CALLS}
    results = {str(block["tool_use_id"]) for block in blocks if "tool_use_id" in block}
    paired = calls & results
    kept = [
        block
        for block in blocks
        if (block.get("type") not in _SERVER_CALLS or str(block.get("id")) in paired)
        and ("tool_use_id" not in block or str(block["tool_use_id"]) in paired)
    ]
    while kept and kept[-1].get("type") in _THOUGHTS:
        kept.pop()
    return kept


def _no_result(call_id: str) -> JsonObject:
    return {"type": "tool_result", "tool_use_id": call_id, "content": NO_RESULT_TEXT, "is_error": True}


def _text(text: JsonValue) -> JsonObject:
    return {"type": "text", "text": text}
