"""What was said in a chat, as the `input` of the next request to the Responses API.

It stands on nothing that the API keeps: what a response gave is told again, without the ids of its items, since the API
refuses an id of what it has not stored, or no longer. What holds for every list that `conversation` gives:

* it begins with the user, and each message has text that can be seen;
* each call of a function has its output behind it, in front of what is said next; each output has its call; no call has
  the id of another one.

Thoughts and the calls of the API's own tools are left out: they count only with the ids of what the API has stored.

Source: "Conversation state" and "Function calling" in the documentation of the API.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

from .json_body import JsonObject, JsonValue

USER_MESSAGE_TYPE: Final = "user_message"
NO_OUTPUT_TEXT: Final = "The answer ended before this function gave an output."
"""What the model is told of a call that nothing came back from. It may have had its effect, so it is not left out."""

_OUTPUT_OF: Final = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
"""The calls that the application answers, and the type of their outputs."""

_CALL_FIELDS: Final = ("type", "call_id", "name", "namespace", "arguments", "input")
_ENDINGS: Final = frozenset({"response.completed", "response.incomplete"})
_FAILURES: Final = frozenset({"response.failed", "error"})


def conversation(
    events: Iterable[JsonObject], text: str | Sequence[Mapping[str, JsonValue]] | None = None
) -> list[JsonObject]:
    """The input of a request: what the events tell, and then `text`, if it is given.

    Of a response that was stopped its texts count, of one that failed nothing. A user message that got no answer is
    left out.
    """
    told: list[JsonObject] = []
    call_ids: set[str] = set()
    for turn in _turns(events):
        items = turn.items(call_ids)
        if items:
            told += [{"role": "user", "content": turn.user}, *items]
    if text is not None:
        content: JsonValue = text if isinstance(text, str) else [dict(part) for part in text]
        told.append({"role": "user", "content": content})
    return told


class _Response(Struct):
    """The items of one response, and the pieces of the texts that have no item yet; by their place in it."""

    done: dict[int, JsonObject]
    pieces: dict[int, list[str]]
    is_whole: bool = False

    def texts(self) -> dict[int, str]:
        """What it says."""
        found = {index: "".join(pieces) for index, pieces in self.pieces.items()}
        found |= {index: _text_of(item) for index, item in self.done.items()}
        return {index: text for index, text in found.items() if text.strip()}

    def calls(self) -> dict[int, JsonObject]:
        """The calls that it leaves to the application; of a response that was cut off they count for nothing."""
        if not self.is_whole:
            return {}
        return {index: item for index, item in self.done.items() if item.get("type") in _OUTPUT_OF}


class _Turn(Struct):
    """What the user said, and all that came of it."""

    user: str
    responses: list[_Response]
    outputs: dict[str, JsonObject]

    def items(self, call_ids: set[str]) -> list[JsonObject]:
        """The answer; `call_ids` are the calls so far, and gets the new ones. Empty if this turn is not to be told."""
        found: list[JsonObject] = []
        if not self.user.strip():
            return found
        for response in self.responses:
            calls = response.calls()
            ids = [str(call.get("call_id") or "") for call in calls.values()]
            # A source that stores no outputs goes on after its calls; the model is not to be told that they failed.
            told = any(call_id in self.outputs for call_id in ids) or response is self.responses[-1]
            if not (told and all(ids) and len({*ids, *call_ids}) == len(ids) + len(call_ids)):
                calls, ids = {}, []
            call_ids.update(ids)
            parts: dict[int, JsonObject] = {
                index: {"role": "assistant", "content": text} for index, text in response.texts().items()
            }
            parts |= {
                index: {field: call[field] for field in _CALL_FIELDS if field in call} for index, call in calls.items()
            }
            found += [parts[index] for index in sorted(parts)]
            found += [self._output(call) for call in calls.values()]
        return found

    def _output(self, call: JsonObject) -> JsonObject:
        call_id, kind = call["call_id"], _OUTPUT_OF[str(call["type"])]
        stored = self.outputs.get(str(call_id))
        return {"type": kind, "call_id": call_id, "output": NO_OUTPUT_TEXT if stored is None else stored["output"]}


def _turns(events: Iterable[JsonObject]) -> list[_Turn]:
    turns: list[_Turn] = []
    response: _Response | None = None  # the one that is arriving
    for event in events:
        kind = event.get("type")
        user = event.get("message")
        turn = turns[-1] if turns else None
        if kind == USER_MESSAGE_TYPE and isinstance(user, str):
            turns.append(_Turn(user, [], {}))
            response = None
        elif turn is None:
            continue
        elif kind == "response.created":
            response = _Response({}, {})
            turn.responses.append(response)
        elif kind in _OUTPUT_OF.values() and "output" in event:
            turn.outputs[str(event.get("call_id"))] = event
        elif response is None:
            continue
        elif kind in _FAILURES:
            turn.responses.remove(response)
            response = None
        elif kind in _ENDINGS:
            response.is_whole = True
            response = None
        else:
            _take(response, event)
    return turns


def _take(response: _Response, event: JsonObject) -> None:
    index, item, delta = event.get("output_index"), event.get("item"), event.get("delta")
    if not isinstance(index, int):
        return
    if event.get("type") == "response.output_item.done" and isinstance(item, dict):
        response.done[index] = item
    elif event.get("type") in ("response.output_text.delta", "response.refusal.delta") and isinstance(delta, str):
        response.pieces.setdefault(index, []).append(delta)


def _text_of(item: JsonObject) -> str:
    """The text of a message; empty for any other item."""
    content = item.get("content")
    if item.get("type") != "message" or not isinstance(content, list):
        return ""
    parts = [part.get("text", part.get("refusal")) for part in content if isinstance(part, dict)]
    return "".join(part for part in parts if isinstance(part, str))
