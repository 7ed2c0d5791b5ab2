"""A list of UI messages that is changed while others hold what it was before.

A message is copied when it is first changed after a `freeze`, so what was handed out then stays as it was. Pieces of
text gather until something else happens, which keeps the work linear however small the pieces are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from .json_body import JsonObject, JsonValue
from .tanstack_parts import Part


class MessageList:
    """UI messages in order, found by their ids; the last one that has an id counts."""

    def __init__(self, messages: Iterable[JsonObject] = ()) -> None:
        self._messages: list[JsonObject] = list(messages)
        self._index: dict[str, int] = {}
        self._calls: dict[str, str] | None = None
        """Which message holds which tool call; found out when it is first asked for."""
        self._own: set[str] = set()
        self._growing: tuple[Part, list[str]] | None = None
        self._reindex()

    def freeze(self) -> tuple[JsonObject, ...]:
        """The messages as they are now, for ever."""
        self._flush()
        self._own.clear()
        return tuple(self._messages)

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._index

    def role(self, message_id: str) -> JsonValue:
        """The role of a message."""
        return self._messages[self._index[message_id]].get("role")

    def add(self, message_id: str, role: str, created_at: str | None) -> None:
        """Append a message without parts."""
        message: JsonObject = {"id": message_id, "role": role, "parts": []}
        if created_at is not None:
            message["createdAt"] = created_at
        self._index[message_id] = len(self._messages)
        self._own.add(message_id)
        self._messages.append(message)

    def parts(self, message_id: str) -> list[Part]:
        """The parts of a message, to be changed: the list, and what stands directly in each part."""
        self._flush()
        return self._own_parts(message_id)

    def grow(self, message_id: str, part: Part, text: str) -> None:
        """Add `text` to the `content` of the last part of a message, or to any part that `parts` has given."""
        if self._growing is None or self._growing[0] is not part:
            self._flush()
            self._growing = part, []
        self._growing[1].append(text)

    def last_part(self, message_id: str) -> Part | None:
        """The last part, to be changed; its `content` may lag behind what `grow` was given."""
        parts = self._own_parts(message_id)
        return parts[-1] if parts else None

    def rename(self, message_id: str, new_id: str) -> None:
        """Give a message another id, which no message has."""
        self._own_parts(message_id)
        index = self._index.pop(message_id)
        self._messages[index]["id"] = new_id
        self._index[new_id] = index
        self._own.add(new_id)
        if self._calls is not None:
            self._calls = {call: new_id if owner == message_id else owner for call, owner in self._calls.items()}

    def drop_after(self, message_id: str) -> None:
        """Drop all messages that come after one."""
        self._flush()
        del self._messages[self._index[message_id] + 1 :]
        self._reindex()

    def drop(self, message_id: str) -> None:
        """Drop a message."""
        self._flush()
        del self._messages[self._index[message_id]]
        self._reindex()

    def replace(self, messages: Iterable[JsonObject]) -> None:
        """Begin anew with these messages."""
        self._growing = None
        self._messages = list(messages)
        self._own.clear()
        self._reindex()

    # --- tool calls ---

    def owner_of(self, call_id: object) -> str | None:
        """The message that holds a tool call; the first one, as clients look."""
        if self._calls is None:
            self._calls = {}
            for message in self._messages:
                for part in _parts_of(message):
                    if part.get("type") == "tool-call":
                        self._calls.setdefault(str(part.get("id")), str(message["id"]))
        return self._calls.get(call_id) if isinstance(call_id, str) else None

    def call(self, call_id: object) -> Part | None:
        """The part of a tool call, to be changed; None for one that is not known."""
        owner = self.owner_of(call_id)
        if owner is None:
            return None
        return find(self.parts(owner), lambda part: part.get("type") == "tool-call" and part.get("id") == call_id)

    def add_call(self, message_id: str, call: Part) -> None:
        """Append the part of a new tool call to a message."""
        self.owner_of(None)
        assert self._calls is not None
        self.parts(message_id).append(call)
        self._calls[str(call["id"])] = message_id

    # --- inside ---

    def _own_parts(self, message_id: str) -> list[Part]:
        index = self._index[message_id]
        if message_id not in self._own:
            message = self._messages[index]
            copied: list[JsonValue] = [dict(part) for part in _parts_of(message)]
            self._messages[index] = {**message, "parts": copied}
            self._own.add(message_id)
        return _parts_of(self._messages[index])

    def _flush(self) -> None:
        growing, self._growing = self._growing, None
        if growing is not None:
            part, pieces = growing
            part["content"] = "".join((str(part["content"]), *pieces))

    def _reindex(self) -> None:
        self._index = {str(message["id"]): index for index, message in enumerate(self._messages)}
        self._calls = None


def find(parts: list[Part], wanted: Callable[[Part], bool]) -> Part | None:
    """The first part that is wanted."""
    return next((part for part in parts if wanted(part)), None)


def _parts_of(message: JsonObject) -> list[Part]:
    parts = message["parts"]
    assert isinstance(parts, list)
    return parts  # type: ignore[return-value]  # whoever makes a message sees to it that its parts are objects
