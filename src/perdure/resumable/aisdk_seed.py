"""What a resumed continuation begins with, so that the tab keeps the earlier parts of the message.

Stock clients rebuild a resumed message from nothing, but the log holds only what the continuation added: the earlier
parts are in the user record. A seed says them again as chunks, for one response only. It never says
`tool-input-available` of an answered call, which would make the client run the tool a second time.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from .aisdk_tools import DYNAMIC, STATIC_PREFIX, tool_name
from .aisdk_user import UserRecordReader, is_user_record
from .json_body import JsonObject, encode_body, parse_object

# Parts that are said by a chunk of the same name, and the fields that such a chunk has.
_SAME_NAME: Final[dict[str, tuple[str, ...]]] = {
    "file": ("url", "mediaType", "providerMetadata"),
    "reasoning-file": ("url", "mediaType", "providerMetadata"),
    "source-url": ("sourceId", "url", "title", "providerMetadata"),
    "source-document": ("sourceId", "mediaType", "title", "filename", "providerMetadata"),
    "custom": ("kind", "providerMetadata"),
    "steering-message": ("id", "parts"),
}
_APPROVAL_FIELDS: Final = {
    "signature": "signature",
    "descriptor": "approvalDescriptor",
    "inputSchemaInput": "inputSchemaInput",
    "requestReason": "reason",
    "isAutomatic": "isAutomatic",
}


def seed_chunks(message: JsonObject) -> list[JsonObject]:
    """Chunks from which a stock reader rebuilds `message`, an assistant's, after a `start`."""
    chunks: list[JsonObject] = []
    parts = message.get("parts")
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict) and isinstance(part.get("type"), str):
            chunks += _part_chunks(part, index)
    if message.get("metadata") is not None:
        chunks.append({"type": "message-metadata", "messageMetadata": message["metadata"]})
    return chunks


class ReplayedRecord(Struct, frozen=True):
    """What a response sends for one stored record."""

    send: bool
    """Whether the record itself is sent."""
    seed: tuple[bytes, ...] = ()
    """Bodies to send after it, without an id: they are no records."""


_SEND: Final = ReplayedRecord(True)
_HIDE: Final = ReplayedRecord(False)


class ReplayView:
    """How one generation is shown to a stock client, record by record from its first data record on.

    User records are left out unless `include_user`: the tab has the message. With `seed`, which is for resumes and
    not for the body of a POST, a continuation gets its seed after the first `start`.
    """

    def __init__(self, *, seed: bool, include_user: bool = False) -> None:
        self._seed = seed
        self._include_user = include_user
        self._user: UserRecordReader | None = UserRecordReader()
        self._base: JsonObject | None = None
        self.is_settled: bool = False
        """Whether every further record is sent as it is."""

    def show(self, body: bytes) -> ReplayedRecord:
        """What to send for the next data record of the generation."""
        shown = self._show(body)
        self.is_settled = self._user is None and self._base is None
        return shown

    def _show(self, body: bytes) -> ReplayedRecord:
        if self.is_settled:
            return _SEND
        if self._user is not None and is_user_record(body):
            if self._seed:
                self._user.feed(parse_object(body) or {})
            return _SEND if self._include_user else _HIDE
        if self._user is not None:
            user, self._user = self._user.record(), None
            if user is None or not user.is_continuation:
                return _SEND
            self._base = user.message
        chunk = parse_object(body)
        if self._base is None or chunk is None or chunk.get("type") != "start":
            return _SEND
        base, self._base = self._base, None
        if chunk.get("messageId") not in (None, base.get("id")):
            return _SEND  # the generation makes a message of its own
        seed = seed_chunks(base)
        if base.get("metadata") is not None and chunk.get("messageMetadata") is not None:
            # What the generation adds goes over what was there, so it is said once more.
            seed.append({"type": "message-metadata", "messageMetadata": chunk["messageMetadata"]})
        return ReplayedRecord(True, tuple(map(encode_body, seed)))


def _part_chunks(part: JsonObject, index: int) -> list[JsonObject]:
    """The chunks of one part."""
    kind = str(part["type"])
    if kind == "step-start":
        return [{"type": "start-step"}]
    if kind in ("text", "reasoning"):
        return _text_chunks(part, kind, index)
    if kind in _SAME_NAME:
        return [{"type": kind, **_present(part, *_SAME_NAME[kind])}]
    if kind.startswith("data-"):
        return [{"type": kind, **_present(part, "id"), "data": part.get("data")}]
    if (kind == DYNAMIC or kind.startswith(STATIC_PREFIX)) and isinstance(part.get("toolCallId"), str):
        return _tool_chunks(part)
    return []  # of a later version: nobody knows its chunks


def _text_chunks(part: JsonObject, kind: str, index: int) -> list[JsonObject]:
    """A text or reasoning part, said at once."""
    # Readers show the id of a reasoning part, so it keeps the one it has.
    own_id = part.get("id")
    part_id = own_id if kind == "reasoning" and isinstance(own_id, str) else f"perdure-{index}"
    chunks: list[JsonObject] = [{"type": f"{kind}-start", "id": part_id, **_present(part, "providerMetadata")}]
    text = part.get("text")
    if isinstance(text, str) and text:
        chunks.append({"type": f"{kind}-delta", "id": part_id, "delta": text})
    chunks.append({"type": f"{kind}-end", "id": part_id, **_present(part, "citations")})
    return chunks


def _tool_chunks(part: JsonObject) -> list[JsonObject]:
    """A tool call up to the state that it is in."""
    state = part.get("state")
    call: JsonObject = {"toolCallId": part["toolCallId"]}
    dynamic: JsonObject = {"dynamic": True} if part["type"] == DYNAMIC else {}
    named: JsonObject = {
        **call,
        "toolName": tool_name(part),
        **dynamic,
        **_present(part, "title", "toolMetadata", "providerExecuted"),
    }
    if part.get("callProviderMetadata") is not None:
        named["providerMetadata"] = part["callProviderMetadata"]
    of_result: JsonObject = dict(dynamic)
    if part.get("resultProviderMetadata") is not None:
        of_result["providerMetadata"] = part["resultProviderMetadata"]
    if state == "input-available":  # still to be answered, so the client shall be asked again
        return [{"type": "tool-input-available", **named, "input": part.get("input")}]
    if state == "output-error" and "input" not in part and "rawInput" in part:
        # An input that could not be used: versions 5 and 6 keep it as `rawInput` only.
        named.pop("title", None)
        error: JsonObject = {"input": part["rawInput"], "errorText": part.get("errorText", "")}
        return [{"type": "tool-input-error", **named, **error, **_present(of_result, "providerMetadata")}]
    chunks: list[JsonObject] = [{"type": "tool-input-start", **named, **_present(part, "inputEncoding")}]
    input_text = _input_text(part)
    if input_text:
        chunks.append({"type": "tool-input-delta", **call, "inputTextDelta": input_text})
    approval = part.get("approval")
    if isinstance(approval, dict) and isinstance(approval.get("id"), str):
        request: JsonObject = {"type": "tool-approval-request", "approvalId": approval["id"], **call}
        for field, name in _APPROVAL_FIELDS.items():
            if field in approval:
                request[name] = approval[field]
        chunks.append(request)
    match state:
        case "output-available":
            output: JsonObject = {"output": part.get("output"), **_present(part, "preliminary")}
            chunks.append({"type": "tool-output-available", **call, **output, **of_result})
        case "output-error":
            text = part.get("errorText")
            chunks.append({"type": "tool-output-error", **call, "errorText": text if text else "", **of_result})
        case "output-denied":
            chunks.append({"type": "tool-output-denied", **call})
    return chunks


def _input_text(part: JsonObject) -> str:
    """The text that the input of `part` streamed as, or would have."""
    raw = part.get("rawInput")
    if part.get("state") == "input-streaming" and isinstance(raw, str):
        return raw
    if part.get("inputEncoding") == "text":
        return str(part.get("input", ""))
    return encode_body(part["input"]).decode() if "input" in part else ""


def _present(source: JsonObject, *keys: str) -> JsonObject:
    """Those of `keys` that `source` has a value for."""
    return {key: source[key] for key in keys if source.get(key) is not None}
