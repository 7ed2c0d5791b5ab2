"""What sources say in each wire format, so that a log tells whose words they are, and what they amount to."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.resumable.anthropic_scripts import MESSAGE_STOP, block_start, block_stop, message_delta, message_start
from tests.resumable.anthropic_scripts import text_delta as anthropic_text
from tests.resumable.chats import TEXT_END, TEXT_START, Chunk, text


@dataclass(frozen=True)
class Script:
    """The chunks of a whole answer: `opening` of generation n, word i of it, and `closing`.

    `messages` folds the chunks of one generation that are in the log, its closing records among them, into what a
    history says of it: the message's id and text, or nothing.
    """

    opening: Callable[[int], list[Chunk]]
    word: Callable[[int, int], Chunk]
    closing: list[Chunk]
    messages: Callable[[Sequence[Chunk]], list[tuple[str, str]]]
    history: Callable[[Any], list[tuple[str, str]]]
    """The same of what `history` of a chat object gives."""


def _spoken(number: int, word: int) -> str:
    return f"{number}.{word} "


def _aisdk_messages(chunks: Sequence[Chunk]) -> list[tuple[str, str]]:
    if not any(chunk["type"] == "text-start" for chunk in chunks):
        return []
    words = "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta")
    return [(chunks[0]["messageId"], words)]


def _aisdk_history(history: Any) -> list[tuple[str, str]]:
    for message in history["messages"]:
        assert [part["state"] for part in message["parts"]] == ["done"]
    return [(message["id"], message["parts"][0]["text"]) for message in history["messages"]]


def _anthropic_messages(chunks: Sequence[Chunk]) -> list[tuple[str, str]]:
    kinds = [chunk["type"] for chunk in chunks]
    if "message_stop" not in kinds or "content_block_start" not in kinds:
        return []
    (start,) = [chunk for chunk in chunks if chunk["type"] == "message_start"]
    words = "".join(chunk["delta"]["text"] for chunk in chunks if chunk["type"] == "content_block_delta")
    ends = [chunk["delta"]["stop_reason"] for chunk in chunks if chunk["type"] == "message_delta"]
    if not words and ends[-1] is None:
        return []  # stopped before a word
    return [(start["message"]["id"], words)]


def _anthropic_history(history: Any) -> list[tuple[str, str]]:
    return [(message["id"], "".join(block["text"] for block in message["content"])) for message in history["messages"]]


SCRIPTS: Final = {
    "aisdk": Script(
        lambda number: [{"type": "start", "messageId": f"m{number}"}, TEXT_START],
        lambda number, word: text(_spoken(number, word)),
        [TEXT_END, {"type": "finish"}],
        _aisdk_messages,
        _aisdk_history,
    ),
    "anthropic": Script(
        lambda number: [
            {"type": "user_message", "message": f"u{number}"},
            message_start(f"m{number}"),
            block_start(),
        ],
        lambda number, word: anthropic_text(_spoken(number, word)),
        [block_stop(), message_delta(), MESSAGE_STOP],
        _anthropic_messages,
        _anthropic_history,
    ),
}
"""By the names of `CREATE`."""


def stored(chunk: Chunk) -> str:
    """A chunk as it is in the log."""
    return json.dumps(chunk, separators=(",", ":"))
