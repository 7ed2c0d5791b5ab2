"""Clients of resumable chats, for programs that are no browser: terminals, bots, services, tests.

`subscribe` reads the JSON events of a replay route; `create_chat_client` is for chats of the Anthropic adapter:
history, events, sending, stopping; `create_tanstack_client` is for sessions of TanStack AI, and `create_connection` for
what is below their messages; `replay_text` reads plain text. They do what the browser modules in `perdure.web`
do: reconnect from the last id on, tell what is refused for good from what may pass, and leave no connection open.

Needs httpx: `pip install 'perdure[client]'`.
"""

from __future__ import annotations

from ..._extras import missing as _missing_text

try:
    import httpx as _httpx  # noqa: F401 - the modules below need it, and this one says so
except ImportError as _missing:
    raise ImportError(_missing_text("perdure.resumable.client", "httpx", "client")) from _missing

from ..anthropic_accumulator import (
    Accumulator,
    IncompleteMessage,
    accumulate_message,
    create_accumulator,
    messages_from_events,
)
from ..anthropic_history import History, Turn, TurnError
from .chat import ChatClient, Subscription, create_chat_client
from .connection import Connection, ExtraBody, RunContext, create_connection
from .cursor import ReplayUrl
from .events import subscribe
from .requests import Headers, HeaderSource, HttpError, Url
from .tanstack import Answer, TanstackClient, create_tanstack_client
from .text import replay_text
from .waiting import RECONNECT_BACKOFF_MS, SILENCE_MS, Signal

__all__ = [
    "RECONNECT_BACKOFF_MS",
    "SILENCE_MS",
    "Accumulator",
    "Answer",
    "ChatClient",
    "Connection",
    "ExtraBody",
    "HeaderSource",
    "Headers",
    "History",
    "HttpError",
    "IncompleteMessage",
    "ReplayUrl",
    "RunContext",
    "Signal",
    "Subscription",
    "TanstackClient",
    "Turn",
    "TurnError",
    "Url",
    "accumulate_message",
    "create_accumulator",
    "create_chat_client",
    "create_connection",
    "create_tanstack_client",
    "messages_from_events",
    "replay_text",
    "subscribe",
]
