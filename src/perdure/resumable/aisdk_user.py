"""The user's side of an AI SDK chat in the log: user records, and the id that a turn's answer goes by.

A user record is a transient data chunk, which stock readers hand to `onData` and otherwise ignore. It comes first in
its generation. A large one (files travel as data URLs) is cut into several records between code points.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from .chunks import SourceChunk
from .json_body import JsonObject, encode_body, encode_record, parse_object

USER_RECORD_TYPE: Final = "data-perdure-user"
MAX_USER_RECORD_BYTES: Final = 512 * 1024
"""A longer record is split, so that a few of them still share a batch, whose limit is 1 MiB."""

_USER_RECORD_MARK: Final = USER_RECORD_TYPE.encode()
_ID_CHARACTERS: Final = string.digits + string.ascii_lowercase
_ID_LENGTH: Final = 16


class UserRecord(Struct, frozen=True):
    """What the client posted to start a generation."""

    message: JsonObject
    trigger: str | None = None
    message_id: str | None = None

    @property
    def is_continuation(self) -> bool:
        """Whether the generation goes on in an earlier assistant message."""
        return self.message.get("role") == "assistant"


def user_record_bodies(
    message: JsonObject, *, trigger: str | None = "submit-message", message_id: str | None = None
) -> list[bytes]:
    """The bodies of the records that store a user's message, one of them unless it is large.

    Raises `SourceError` if the message has no form in JSON.
    """
    data: JsonObject = {"message": message}
    if trigger is not None:
        data["trigger"] = trigger
    if message_id is not None:
        data["messageId"] = message_id
    whole = _record(data)
    return [whole] if len(whole) <= MAX_USER_RECORD_BYTES else _split(encode_record(data).decode())


def may_hold_user_record(bodies: bytes) -> bool:
    """Whether there may be a user record among stored bodies; False for nearly all that have none."""
    return _USER_RECORD_MARK in bodies


def is_user_record(body: bytes) -> bool:
    """Whether a stored body is a user record, or a piece of one. Cheap for all that are not."""
    if _USER_RECORD_MARK not in body:
        return False
    chunk = parse_object(body)
    return chunk is not None and chunk.get("type") == USER_RECORD_TYPE


class UserRecordReader:
    """The first chunks of a generation in, the user record out.

    Give it every chunk until `feed` says that one is no user record; then `record` is final.
    """

    def __init__(self) -> None:
        self._whole: JsonObject | None = None
        self._pieces: list[str] = []
        self._count: int | None = None
        self._broken = False

    def feed(self, chunk: JsonObject) -> bool:
        """Take `chunk`; false, and nothing done, if it is no user record."""
        if chunk.get("type") != USER_RECORD_TYPE:
            return False
        data = chunk.get("data")
        if isinstance(data, dict):
            if "json" in data:
                self._feed_piece(data)
            elif self._whole is None:
                self._whole = data
        return True

    def record(self) -> UserRecord | None:
        """The user record, once all of it is there; an incomplete one counts as absent."""
        data = self._whole
        if data is None and not self._broken and self._count == len(self._pieces):
            data = parse_object("".join(self._pieces))
        message = data.get("message") if data is not None else None
        if data is None or not isinstance(message, dict):
            return None
        trigger, message_id = data.get("trigger"), data.get("messageId")
        return UserRecord(
            message,
            trigger if isinstance(trigger, str) else None,
            message_id if isinstance(message_id, str) else None,
        )

    def _feed_piece(self, data: JsonObject) -> None:
        """One of several records; they stand in order, so anything else is a set that cannot be put together."""
        piece, count = data.get("json"), data.get("count")
        in_order = data.get("index") == len(self._pieces) and (self._count is None or self._count == count)
        if in_order and isinstance(piece, str) and isinstance(count, int):
            self._pieces.append(piece)
            self._count = count
        else:
            self._broken = True


class StartIdentity:
    """Makes the id of a turn's answer known to all: it writes `messageId` into the first `start` chunk.

    A reader that resumes without one would invent an id, and show the answer a second time. An id that the source
    gives itself is kept; a source that begins without `start` gets one.
    """

    def __init__(self, message_id: str) -> None:
        self._message_id = message_id
        self._done = False

    @classmethod
    def for_message(cls, posted: JsonObject) -> StartIdentity:
        """The id of the posted message if the generation continues it, else a new one."""
        message_id = posted.get("id")
        if posted.get("role") == "assistant" and isinstance(message_id, str) and message_id:
            return cls(message_id)
        return cls(new_message_id())

    def apply(self, chunk: SourceChunk) -> Sequence[SourceChunk]:
        """What to store for `chunk`."""
        if self._done:
            return (chunk,)
        self._done = True
        value: JsonObject = {"type": "start", "messageId": self._message_id}
        if chunk.value.get("type") != "start":
            return (SourceChunk(value, encode_body(value)), chunk)
        if isinstance(chunk.value.get("messageId"), str):
            return (chunk,)
        value |= {key: item for key, item in chunk.value.items() if key not in value}
        return (SourceChunk(value, encode_body(value)),)


def new_message_id() -> str:
    """A fresh id for an assistant message."""
    return "msg-" + "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))


def _record(data: JsonObject) -> bytes:
    """The body of one user record."""
    return encode_record({"type": USER_RECORD_TYPE, "transient": True, "data": data})


def _split(text: str) -> list[bytes]:
    """Records that carry `text` in pieces, each as long as fits.

    How much a piece grows when it is quoted again depends on it, so a piece that turns out too long is halved.
    """
    pieces: list[str] = []
    at = 0
    while at < len(text):
        size = MAX_USER_RECORD_BYTES - 256  # room for what stands around the piece
        while len(encode_body(text[at : at + size])) > MAX_USER_RECORD_BYTES - 256:
            size //= 2
        pieces.append(text[at : at + size])
        at += size
    return [_record({"index": index, "count": len(pieces), "json": piece}) for index, piece in enumerate(pieces)]
