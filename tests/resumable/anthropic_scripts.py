"""Anthropic streams for tests: scripted ones, and any message cut into any events."""

from random import Random
from typing import Any

from hypothesis import strategies as st

from perdure.resumable.json_body import JsonObject, encode_body

Event = dict[str, Any]


def message_start(message_id: str = "msg_1", **fields: Any) -> Event:
    message: Event = {
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 25, "output_tokens": 1},
    }
    return {"type": "message_start", "message": message | fields}


def block_start(index: int = 0, **block: Any) -> Event:
    return {"type": "content_block_start", "index": index, "content_block": block or {"type": "text", "text": ""}}


def delta(index: int, kind: str, **fields: Any) -> Event:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def text_delta(piece: str, index: int = 0) -> Event:
    return delta(index, "text_delta", text=piece)


def block_stop(index: int = 0) -> Event:
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason: str | None = "end_turn", output_tokens: int = 15, **fields: Any) -> Event:
    ending = {"stop_reason": stop_reason, "stop_sequence": None}
    return {"type": "message_delta", "delta": ending | fields, "usage": {"output_tokens": output_tokens}}


MESSAGE_STOP: Event = {"type": "message_stop"}


def text_turn(*pieces: str, message_id: str = "msg_1") -> list[Event]:
    """One message with one text."""
    deltas = [text_delta(piece) for piece in pieces]
    return [message_start(message_id), block_start(), *deltas, block_stop(), message_delta(), MESSAGE_STOP]


def tool_turn(*pieces: str, message_id: str = "msg_1", kind: str = "tool_use") -> list[Event]:
    """One message that calls a tool, with its input in pieces."""
    deltas = [delta(0, "input_json_delta", partial_json=piece) for piece in pieces]
    return [
        message_start(message_id),
        block_start(0, type=kind, id="toolu_1", name="get_weather", input={}),
        *deltas,
        block_stop(),
        message_delta("tool_use"),
        MESSAGE_STOP,
    ]


def streamed_message(*blocks: Event, stop_reason: str = "end_turn", message_id: str = "msg_1") -> list[Event]:
    """One message of whole blocks, block after block."""
    dice = Random(0)
    parts = [event for index, block in enumerate(blocks) for event in _events_of(dice, index, block)]
    return [message_start(message_id), *parts, message_delta(stop_reason), MESSAGE_STOP]


def text_message(text: str, message_id: str = "msg_1", stop_reason: str | None = "end_turn") -> Event:
    """What `text_turn` amounts to."""
    message: Event = message_start(message_id)["message"]
    return message | {
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "usage": {"input_tokens": 25, "output_tokens": 15},
    }


def bodies(*events: JsonObject) -> list[str]:
    """Events as they are stored."""
    return [encode_body(event).decode() for event in events]


# --- any message, and any way to stream it ---

_text = st.text(max_size=20)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=3,
)
_citation = st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": _text, "document_index": st.just(0)})
_tool_name = st.sampled_from(["tool_use", "server_tool_use", "mcp_tool_use"])

BLOCKS = st.one_of(
    st.fixed_dictionaries(
        {"type": st.just("text"), "text": _text}, optional={"citations": st.lists(_citation, min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"type": st.just("thinking"), "thinking": _text, "signature": _text}),
    st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": _text}),
    st.fixed_dictionaries(
        {"type": _tool_name, "id": st.just("toolu_1"), "name": st.just("f"), "input": st.dictionaries(_text, _json)}
    ),
    st.fixed_dictionaries({"type": st.just("web_search_tool_result"), "tool_use_id": _text, "content": _json}),
)
MESSAGES = st.builds(
    lambda content, reason, tokens: (
        message_start()["message"]
        | {
            "content": content,
            "stop_reason": reason,
            "usage": {"input_tokens": 25, "output_tokens": tokens, "server_tool_use": None},
        }
    ),
    st.lists(BLOCKS, max_size=3),
    st.sampled_from(["end_turn", "tool_use", "max_tokens"]),
    st.integers(0, 1000),
)


@st.composite
def streamed(draw: st.DrawFn, messages: st.SearchStrategy[Event] = MESSAGES) -> tuple[Event, list[Event]]:
    """A message, and the events of one way to stream it: cut anywhere, blocks interleaved, noise between them."""
    message = draw(messages)
    dice = Random(draw(st.integers(0, 2**32)))  # many small draws of Hypothesis's own take too long
    queues = [_events_of(dice, index, block) for index, block in enumerate(message["content"])]
    middle: list[Event] = []
    while pending := [queue for queue in queues if queue]:
        middle.append(dice.choice(pending).pop(0))
        if dice.random() < 0.1:
            middle.append(dice.choice(_NOISE))
    start = message | {
        # SDKs fold into the object that they have handed out.
        "content": dice.choice([[], message["content"]]),
        "stop_reason": None,
        "usage": {"input_tokens": 25, "output_tokens": 1, "server_tool_use": None},
    }
    ending = message_delta(message["stop_reason"], message["usage"]["output_tokens"])
    return message, [{"type": "message_start", "message": start}, *middle, ending, MESSAGE_STOP]


_NOISE: list[Event] = [
    {"type": "ping"},
    {"type": "text", "text": "x", "snapshot": "x"},
    text_delta("nobody's", index=99),
    delta(99, "input_json_delta", partial_json="{"),
    block_stop(99),
    {"type": "content_block_delta", "index": 0, "delta": {"type": "some_future_delta", "text": "x"}},
    {"type": "content_block_delta", "index": None, "delta": None},
    {"type": "some_future_event"},
]


def _pieces(dice: Random, text: str) -> list[str]:
    """`text` cut anywhere, with empty pieces too."""
    cuts = sorted(dice.randint(0, len(text)) for _ in range(dice.randint(0, 4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _events_of(dice: Random, index: int, block: Event) -> list[Event]:
    events: list[Event]
    match block:
        case {"type": "text", "text": text}:
            begun = dice.randint(0, len(text))  # the start may bring the first piece
            start = {"type": "text", "text": text[:begun]}
            if "citations" in block:
                start["citations"] = None
            events = [text_delta(piece, index) for piece in _pieces(dice, text[begun:])]
            events += [delta(index, "citations_delta", citation=citation) for citation in block.get("citations", ())]
        case {"type": "thinking", "thinking": thinking}:
            start = {"type": "thinking", "thinking": "", "signature": ""}
            events = [delta(index, "thinking_delta", thinking=piece) for piece in _pieces(dice, thinking)]
            events.append(delta(index, "signature_delta", signature=block["signature"]))
        case {"type": "tool_use" | "server_tool_use" | "mcp_tool_use", "input": value}:
            start = block | {"input": {}}
            text = encode_body(value).decode() if value or dice.random() < 0.5 else ""
            events = [delta(index, "input_json_delta", partial_json=piece) for piece in _pieces(dice, text)]
        case _:
            start, events = block, []
    stop = block_stop(index)
    if dice.random() < 0.5:
        stop["content_block"] = {"type": "text", "text": "a snapshot that an SDK added"}
    return [block_start(index, **start), *events, stop]
