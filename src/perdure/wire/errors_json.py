"""Errors on the wire: the same JSON in a unary answer, an SSE `error` event and an s2s terminal frame (store API, 9).

Both ways: what the store raises becomes a status and a body, and a client makes of these the same exception again.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ..errors import (
    CODES,
    UNKNOWN_CODE,
    AccessTokenNotFound,
    AuthenticationFailed,
    BadRequest,
    BasinDeletionPending,
    BasinNotFound,
    DecryptionFailed,
    FencingTokenMismatch,
    Invalid,
    NotImplementedByServer,
    PerdureError,
    PermissionDenied,
    ProtocolViolation,
    RateLimited,
    ReadUnwritten,
    RequestRejected,
    RequestTimeout,
    ResourceExists,
    SeqNumMismatch,
    ServerDraining,
    StorageFailed,
    StorageFull,
    StoreFailure,
    StreamDeletionPending,
    StreamNotFound,
    TransactionConflict,
    Unavailable,
    UnknownFailure,
    UnknownRejection,
    UsageError,
)
from ..model.limits import MAX_U64
from ..model.positions import StreamPosition
from .s2s import Terminal, encode_terminal

INTERNAL_ERROR: Final = "internal error"
"""All that a caller hears of a mistake inside the server."""

_MAX_TEXT_CHARS: Final = 500
"""How much of an answer that is no error of this API goes into the exception's message."""

_CLASSES: Final[dict[str, type[PerdureError]]] = {
    kind.code: kind
    for kind in (
        AccessTokenNotFound,
        AuthenticationFailed,
        BasinDeletionPending,
        BasinNotFound,
        DecryptionFailed,
        Invalid,
        NotImplementedByServer,
        PermissionDenied,
        RateLimited,
        RequestTimeout,
        ResourceExists,
        ServerDraining,
        StorageFailed,
        StreamDeletionPending,
        StreamNotFound,
        TransactionConflict,
        Unavailable,
    )
}


class ErrorAnswer(NamedTuple):
    """How an error is told: an HTTP status, and a JSON body."""

    status: int
    body: bytes


class _CodeBody(Struct):
    code: str
    message: str


class _TailBody(Struct):
    tail: StreamPosition


class _AnyBody(Struct):
    """Whatever one of the bodies holds; only what is there counts."""

    code: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    seq_num_mismatch: int | UnsetType = UNSET
    fencing_token_mismatch: str | UnsetType = UNSET
    tail: StreamPosition | UnsetType = UNSET


_any_body: Final = msgspec.json.Decoder(_AnyBody)


def encode_error(error: BaseException) -> ErrorAnswer:
    """How a server tells `error`.

    What is no `PerdureError`, or is a mistake in the calling code (which is the server's), is told as 500 `other`.
    No 500 says more than that the storage or the server failed: what exactly belongs in the server's log.
    """
    if isinstance(error, SeqNumMismatch):
        return ErrorAnswer(error.status, msgspec.json.encode({"seq_num_mismatch": error.expected}))
    if isinstance(error, FencingTokenMismatch):
        return ErrorAnswer(error.status, msgspec.json.encode({"fencing_token_mismatch": error.expected}))
    if isinstance(error, ReadUnwritten):
        return ErrorAnswer(error.status, msgspec.json.encode(_TailBody(error.tail)))
    if not isinstance(error, PerdureError) or isinstance(error, UsageError):
        return _answer(CODES["other"].status, "other", INTERNAL_ERROR)
    if isinstance(error, StorageFailed):
        full = isinstance(error, StorageFull)
        return _answer(
            error.status, error.code, "the storage is full; nothing was written" if full else "the storage failed"
        )
    if error.status == CODES["other"].status:
        return _answer(error.status, error.code, INTERNAL_ERROR)
    if isinstance(error, ProtocolViolation):
        return _answer(error.status, error.code, f"Failed to decode S2S frame: {error.message}")
    return _answer(error.status, error.code, error.message)


def terminal_frame(error: BaseException) -> bytes:
    """The frame that ends an s2s session with `error`."""
    return encode_terminal(*encode_error(error))


def decode_error(status: int | None, body: bytes, *, retry_after_ms: int | None = None) -> PerdureError:
    """The error that a server told with `status` (None: in an SSE event, which has none) and `body`.

    The code decides when it is known and fits the status, otherwise the status does: `UnknownRejection` or
    `UnknownFailure`. A body that is no error of this API becomes the message. `retry_after_ms` is what the headers
    say of it, whatever the error. Never raises.
    """
    error = _decoded(status, body)
    if retry_after_ms is not None:
        error.retry_after_ms = retry_after_ms
    return error


def _decoded(status: int | None, body: bytes) -> PerdureError:
    told = _parsed(body)
    if status in (None, 412):
        if told.seq_num_mismatch is not UNSET and 0 <= told.seq_num_mismatch <= MAX_U64:
            return SeqNumMismatch(told.seq_num_mismatch)
        if told.fencing_token_mismatch is not UNSET:
            return FencingTokenMismatch(told.fencing_token_mismatch)
    if status in (None, 416) and told.tail is not UNSET:
        return ReadUnwritten(told.tail)
    code = told.code or UNKNOWN_CODE
    facts = CODES.get(code)
    message = told.message if told.message else _text_of(body) or f"the server answered with status {status}"
    if facts is None or status not in (None, facts.status):
        if status is None:
            # As other clients do: an error event without a known code is worth a retry.
            return UnknownFailure(message, status=CODES["unavailable"].status, code=code)
        failed = status >= 500 or status == CODES["request_timeout"].status
        return (UnknownFailure if failed else UnknownRejection)(message, status=status, code=code)
    if kind := _CLASSES.get(code):
        return kind(message)
    if code.startswith("bad_"):
        return BadRequest(message, code)
    error: PerdureError = StoreFailure(message) if facts.status >= 500 else RequestRejected(message)
    error.code = code
    return error


def decode_terminal(terminal: Terminal) -> PerdureError:
    """The error that a terminal frame tells."""
    return decode_error(terminal.status, terminal.body)


def _answer(status: int, code: str, message: str) -> ErrorAnswer:
    readable = message.encode(errors="replace").decode()  # a lone surrogate has no JSON form
    return ErrorAnswer(status, msgspec.json.encode(_CodeBody(code, readable)))


def _parsed(body: bytes) -> _AnyBody:
    try:
        return _any_body.decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _AnyBody()


def _text_of(body: bytes) -> str:
    return body[: 4 * _MAX_TEXT_CHARS].decode(errors="replace")[:_MAX_TEXT_CHARS].strip()
