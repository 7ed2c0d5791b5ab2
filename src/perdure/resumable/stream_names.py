"""The refusal of a name that no stream can have, as web frameworks understand it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException

from ..errors import Invalid

BAD_REQUEST: Final = 400


class InvalidStreamName(Invalid, HTTPException):
    """The name of a chat or of a text cannot be the name of a stream: it is empty, say, or too long.

    Names are made of ids that clients send, so this is mostly the fault of a request. A route of Starlette, FastAPI or
    Litestar that lets it through answers 400 with the message. What answers by itself, such as `replay`, does the same
    everywhere.
    """

    def __init__(self, message: str) -> None:
        ValueError.__init__(self, message)
        self.status_code: int = BAD_REQUEST
        self.detail: str = message
        self.headers: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return self.message


def invalid_stream_name(why: object) -> InvalidStreamName:
    """The refusal of a name, by the rule that it breaks."""
    return InvalidStreamName(f"this id cannot be used: {why}. Send a shorter or another one")
