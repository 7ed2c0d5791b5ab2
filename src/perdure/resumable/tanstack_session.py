"""One turn of a session: what is stored of the user's message, and what the source is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from msgspec import Struct

from .json_body import JsonObject, encode_body
from .tanstack_abort import AbortController, AbortSignal
from .tanstack_wire import text_of

MAX_ECHO_CHARACTERS: Final = 100_000
"""How much text one event of the user's message has: its JSON fits into a record, whatever the characters are."""


class SourceContext(Struct, frozen=True):
    """What a source may look at while it generates."""

    abort_controller: AbortController
    """Aborts this generation; hand it to what the source starts."""

    @property
    def signal(self) -> AbortSignal:
        """Whether somebody has stopped it."""
        return self.abort_controller.signal


SessionSource: TypeAlias = Callable[[list[JsonObject], SourceContext], object]
"""Is given the submitted messages and the context; gives any source of AG-UI events, or an awaitable of one."""


def echo_bodies(messages: list[JsonObject], now_ms: int) -> list[bytes]:
    """The user's last message as events. A list that ends with anything else continues a turn, and has none."""
    if not messages or messages[-1]["role"] != "user":
        return []
    message = messages[-1]
    common: JsonObject = {"timestamp": now_ms, "messageId": message["id"]}
    text = text_of(message)
    pieces = (text[at : at + MAX_ECHO_CHARACTERS] for at in range(0, len(text), MAX_ECHO_CHARACTERS))
    events: list[JsonObject] = [
        {"type": "TEXT_MESSAGE_START", **common, "role": "user"},
        *({"type": "TEXT_MESSAGE_CONTENT", **common, "delta": piece} for piece in pieces),
        {"type": "TEXT_MESSAGE_END", **common},
    ]
    return [encode_body(event) for event in events]
