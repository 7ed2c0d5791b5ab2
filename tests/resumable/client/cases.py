"""Cases: what a client is told to do, how the peer answers, and what comes of it. Short ways to write them down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.resumable.client.program import Log, Step
from tests.resumable.client.scripted_peer import Answer, Part


def frame(event: object, event_id: int | None = None) -> bytes:
    """One frame as the server sends it; without an id if there is none."""
    data = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
    return f"data: {data}\n".encode() + (b"\n" if event_id is None else b"id: %d\n\n" % event_id)


def e(number: int) -> dict[str, object]:
    return {"type": "event", "n": number}


def stream(*numbers: int) -> bytes:
    """Frames whose ids are their numbers."""
    return b"".join(frame(e(number), number) for number in numbers)


STOP: dict[str, object] = {"type": "message_stop"}
ERROR: dict[str, object] = {"type": "error", "error": {"type": "api_error", "message": "An error occurred."}}
OVER = Answer(204)


def refused(status: int, text: str) -> dict[str, object]:
    return {"error": text, "status": status}


NETWORK = {"error": "network"}


@dataclass(frozen=True)
class Case:
    name: str
    answers: Sequence[Answer]
    program: list[Step]
    log: Log
    requests: Sequence[str]
    headers: Mapping[str, list[str | None]] = field(default_factory=dict)
    """The values of a header in all requests."""
    bodies: Sequence[bytes] | None = None
    connections: int | None = None


def subscribing(*steps: str | Step, **options: Any) -> list[Step]:
    """The program of a subscription by F.2, to its end unless steps are given."""
    waits = {"reconnectBackoffMs": [0]} | options
    return [{"do": "subscribe", "url": "/stream", **waits}, *([_step(step) for step in steps] or [{"do": "rest"}])]


def chatting(*steps: str | Step, **options: Any) -> list[Step]:
    urls = {"sendUrl": "/send", "subscribeUrl": "/stream", "historyUrl": "/history", "stopUrl": "/stop"}
    create = {"do": "create", **urls, "reconnectBackoffMs": [0], **options}
    return [{key: value for key, value in create.items() if value is not None}, *[_step(step) for step in steps]]


def _step(step: str | Step) -> Step:
    return {"do": step} if isinstance(step, str) else step


def sending(body: object = None, **options: object) -> Step:
    return {"do": "send", "body": body, **options}


def body(*parts: Part) -> Answer:
    return Answer(200, parts)


def reading(count: int) -> Step:
    return {"do": "read", "count": count}


def until(mark: str) -> Step:
    return {"do": "until", "mark": mark}
