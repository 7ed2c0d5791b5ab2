"""The Messages API on a port of this machine, as far as streaming goes: it answers what a test has scripted.

What is sent is written as the service writes it: an `event:` line before each `data:` line, a `ping` after the first
event, an `error` event where it breaks off, and an error body with its status where it refuses.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from tests.resumable.anthropic_scripts import (
    MESSAGE_STOP,
    Event,
    block_start,
    block_stop,
    delta,
    message_delta,
    message_start,
    text_delta,
    text_turn,
    tool_turn,
)

Step: TypeAlias = Event | asyncio.Event
"""An event to send, or what to wait for before the next one."""

PING: Final[Event] = {"type": "ping"}

_SEARCH_RESULT: Final = {
    "type": "web_search_result",
    "title": "Tides",
    "url": "https://example.org/tides",
    "encrypted_content": "EqgfCioIARgB",
    "page_age": None,
}
_CITATION: Final = {
    "type": "web_search_result_location",
    "cited_text": "Twice a day",
    "encrypted_index": "Eo8B",
    "title": "Tides",
    "url": "https://example.org/tides",
}

CONVERSATIONS: Final[dict[str, list[Event]]] = {
    "text": text_turn("Hel", "lo, “world”\u2028\x85", "\n\U0001f600"),
    "tool": tool_turn("", '{"location":', ' "San Francisco, CA"', "}"),
    "thinking": [
        message_start(),
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Let me "),
        delta(0, "thinking_delta", thinking="think."),
        delta(0, "signature_delta", signature="EqQBCgIYAhIM"),
        block_stop(0),
        block_start(1, type="redacted_thinking", data="EmwKAhgBEgy3va3"),
        block_stop(1),
        block_start(2, type="text", text=""),
        text_delta("27 × 453 is 12231.", 2),
        block_stop(2),
        message_delta(),
        MESSAGE_STOP,
    ],
    "citations": [
        message_start(),
        block_start(0, type="text", text="", citations=[]),
        delta(
            0,
            "citations_delta",
            citation={
                "type": "char_location",
                "cited_text": "The grass is green.",
                "document_index": 0,
                "document_title": None,
                "start_char_index": 0,
                "end_char_index": 20,
                "file_id": None,
            },
        ),
        text_delta("The grass is green."),
        block_stop(0),
        message_delta(),
        MESSAGE_STOP,
    ],
    "server tool": [
        message_start(),
        block_start(0, type="server_tool_use", id="srvtoolu_1", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"query": "ti'),
        delta(0, "input_json_delta", partial_json='des"}'),
        block_stop(0),
        block_start(1, type="web_search_tool_result", tool_use_id="srvtoolu_1", content=[_SEARCH_RESULT]),
        block_stop(1),
        block_start(2, type="text", text="", citations=None),
        text_delta("Twice a day.", 2),
        delta(2, "citations_delta", citation=_CITATION),
        block_stop(2),
        message_delta("end_turn")
        | {
            "usage": {
                "input_tokens": 2679,
                "output_tokens": 510,
                "server_tool_use": {"web_search_requests": 1, "web_fetch_requests": 0},
            }
        },
        MESSAGE_STOP,
    ],
}


@dataclass
class Answer:
    """What one request gets: `steps` as a stream, or an error body with `status`."""

    steps: Sequence[Step] = ()
    status: int = 200
    error_type: str = "api_error"
    message: str = "Internal server error"


@dataclass
class MessagesApi:
    """The service. `answers` are given out in order; `requests` are the bodies that came."""

    url: str = ""
    path: str = "/v1/messages"
    answers: list[Answer] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the first request has come."""
    cut_off: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has left before its stream was over."""

    def answer(self, *steps: Step) -> None:
        """The next request gets these events."""
        self.answers.append(Answer(steps))

    def refuse(self, status: int, error_type: str, message: str) -> None:
        """The next request is refused."""
        self.answers.append(Answer((), status, error_type, message))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"POST " + self.path.encode())
            lengths = [line[15:] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            asked = json.loads(await reader.readexactly(int(lengths[0])))
            assert asked["stream"] is True
            self.requests.append(asked)
            self.asked.set()
            answer = self.answers.pop(0)
            if answer.status != 200:
                self._refuse(writer, answer)
            else:
                await self._stream(reader, writer, answer)
            await writer.drain()
        finally:
            writer.close()

    def _refuse(self, writer: asyncio.StreamWriter, answer: Answer) -> None:
        error = {"type": answer.error_type, "message": answer.message}
        body = json.dumps({"type": "error", "error": error, "request_id": "req_1"}).encode()
        writer.write(
            b"HTTP/1.1 %d Refused\r\ncontent-type: application/json\r\nconnection: close\r\n"
            b"content-length: %d\r\n\r\n%b" % (answer.status, len(body), body)
        )

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
            b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        leaving = asyncio.ensure_future(reader.read())
        for step in answer.steps:
            if isinstance(step, asyncio.Event):
                waiting = asyncio.ensure_future(step.wait())
                await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if leaving.done():
                    self.cut_off.set()
                    return
                continue
            frame = f"event: {step['type']}\ndata: {json.dumps(step, ensure_ascii=False)}\n\n".encode()
            for piece in (frame[:7], frame[7:]):  # nothing keeps the network from cutting anywhere
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
        writer.write(b"0\r\n\r\n")
        leaving.cancel()


@asynccontextmanager
async def messages_api(path: str = "/v1/messages") -> AsyncIterator[MessagesApi]:
    """The service, on a free port; or another one that streams as it does, with this path."""
    api = MessagesApi(path=path)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0)
    async with server:
        api.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield api


def with_pings(events: Sequence[Event]) -> list[Event]:
    """The events as the service sends them."""
    return [events[0], PING, *events[1:]]
