"""What can go wrong, sorted by what the caller can do next.

::

    PerdureError                     .code .status .retry_is_safe .has_no_side_effects .in_doubt .retry_after_ms
    ├── RequestRejected              the store said no: fix the request, or look at the stream again
    │   ├── AppendConditionFailed
    │   │   ├── FencingTokenMismatch   .expected: the stream's current token
    │   │   └── SeqNumMismatch         .expected: the sequence number that the next record would get
    │   ├── ReadUnwritten              .tail: the read starts where nothing is written yet
    │   ├── NotFound                   BasinNotFound, StreamNotFound, AccessTokenNotFound
    │   ├── ResourceExists
    │   ├── DeletionPending            BasinDeletionPending, StreamDeletionPending
    │   ├── TransactionConflict        two changes of one thing met; a retry is safe
    │   ├── Invalid                    well formed, but against a rule
    │   ├── BadRequest                 malformed: .code says which part
    │   ├── DecryptionFailed, AuthenticationFailed, PermissionDenied, NotImplementedByServer
    │   ├── RateLimited
    │   └── UnknownRejection           a server's answer 4xx with a code that we do not know
    ├── StoreFailure                 the store could not do it: outcome unknown unless it says otherwise
    │   ├── StorageFailed              the disk or database failed
    │   ├── StorageFull                no space left; nothing was written
    │   ├── RequestTimeout             the request took too long to arrive or to be answered
    │   ├── Unavailable                the store is closing, or the stream went away
    │   │   └── ServerDraining           the server is about to stop; nothing was done
    │   └── UnknownFailure             a server's answer 5xx or 408 with a code that we do not know
    ├── TransportError               no answer: .may_have_applied
    ├── ProtocolViolation            the peer broke the format: drop the connection
    │   ├── FrameTooLarge, TruncatedFrame
    └── UsageError                   our caller's mistake: fix the code
        └── SessionClosed

Codes, statuses and the two promises are those of the S2 v1 API (store API, section 9.2). The table
`CODES` is their one definition: the server writes from it, the client reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from .model.positions import StreamPosition


class CodeFacts(NamedTuple):
    """What an error code means on the wire."""

    status: int
    retryable: bool
    no_side_effects: bool


CODES: Final[dict[str, CodeFacts]] = {
    "access_token_not_found": CodeFacts(404, False, True),
    "append_condition_failed": CodeFacts(412, False, True),
    "authn": CodeFacts(401, False, True),
    "bad_frame": CodeFacts(400, False, True),
    "bad_header": CodeFacts(400, False, True),
    "bad_json": CodeFacts(400, False, True),
    "bad_path": CodeFacts(400, False, True),
    "bad_proto": CodeFacts(400, False, True),
    "bad_query": CodeFacts(400, False, True),
    "basin_deletion_pending": CodeFacts(409, False, True),
    "basin_not_found": CodeFacts(404, False, True),
    "client_hangup": CodeFacts(499, False, False),
    "decryption_failed": CodeFacts(400, False, True),
    "hot_server": CodeFacts(502, True, True),
    "invalid": CodeFacts(422, False, True),
    "not_implemented": CodeFacts(501, False, True),
    "other": CodeFacts(500, True, False),
    "permission_denied": CodeFacts(403, False, True),
    "quota_exhausted": CodeFacts(403, False, True),
    "range_not_satisfiable": CodeFacts(416, False, True),
    "rate_limited": CodeFacts(429, True, True),
    "request_timeout": CodeFacts(408, True, False),
    "resource_already_exists": CodeFacts(409, False, True),
    "server_draining": CodeFacts(503, True, True),
    "storage": CodeFacts(500, True, False),
    "stream_deletion_pending": CodeFacts(409, False, True),
    "stream_not_found": CodeFacts(404, False, True),
    "transaction_conflict": CodeFacts(409, True, True),
    "unavailable": CodeFacts(503, True, False),
    "upstream_timeout": CodeFacts(504, True, False),
}


UNKNOWN_CODE: Final = "unknown"
"""The code of an error that came without one, such as a proxy's."""

RETRYABLE_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
"""Which answers are worth a retry where the code tells nothing (store API, section 10.2)."""


class PerdureError(Exception):
    """The base of everything that Perdure raises on purpose.

    `code` and `status` are the API's error code and HTTP status. `retry_is_safe` tells whether the
    same call may be made again without a person looking at it; `has_no_side_effects` promises that
    the failed call changed nothing.
    """

    code: str = "other"

    in_doubt: bool = False
    """Whether an earlier attempt of the same call was sent and not answered, so that it may have been applied.

    The client makes attempts by itself (store API, section 10.2). The error tells how the last one ended: a
    `SeqNumMismatch`, say, that may be due to the very records that the call was to append.
    """

    retry_after_ms: int | None = None
    """For how long the server asked to be left alone before a retry, in milliseconds; None if it did not."""

    @property
    def status(self) -> int:
        return CODES[self.code].status

    @property
    def retry_is_safe(self) -> bool:
        return CODES[self.code].retryable

    @property
    def has_no_side_effects(self) -> bool:
        return not self.in_doubt and self._changed_nothing()

    def _changed_nothing(self) -> bool:
        """Whether the attempt that this error ended certainly had no effect."""
        return CODES[self.code].no_side_effects

    def put_in_doubt(self) -> None:
        """Note that an earlier attempt may have been applied; for whoever makes the attempts."""
        if not self.in_doubt:
            self.in_doubt = True
            self.add_note(
                "an earlier attempt of this call was not answered and may have been applied: "
                "look at what is there before you make it again"
            )

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else self.code

    def __reduce__(self) -> tuple[Callable[..., PerdureError], tuple[object, ...]]:
        # The usual way would call `__init__` with the message, which subclasses build from their fields.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[PerdureError], args: tuple[object, ...], fields: dict[str, object]) -> PerdureError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(fields)
    return error


class RequestRejected(PerdureError):
    """The store understood the request and said no; nothing was changed, unless the error is `in_doubt`."""


class AppendConditionFailed(RequestRejected):
    """A condition of an append (`fencing_token` or `match_seq_num`) did not hold."""

    code = "append_condition_failed"


class FencingTokenMismatch(AppendConditionFailed):
    """The append carried another fencing token than the stream's current one, `expected`."""

    def __init__(self, expected: str) -> None:
        super().__init__(f"fencing token mismatch: the stream's current token is {expected!r}")
        self.expected = expected


class SeqNumMismatch(AppendConditionFailed):
    """The append's `match_seq_num` is not the next sequence number, which is `expected`."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"sequence number mismatch: the next record would get {expected}")
        self.expected = expected


class ReadUnwritten(RequestRejected):
    """The read starts at or beyond `tail`, and may not wait there (HTTP 416)."""

    code = "range_not_satisfiable"

    def __init__(self, tail: StreamPosition) -> None:
        super().__init__(
            f"the read starts where nothing is written yet: the tail is at sequence number {tail.seq_num}, "
            f"timestamp {tail.timestamp}; wait for records, clamp the start, or read from below the tail"
        )
        self.tail = tail


class NotFound(RequestRejected):
    """The named thing does not exist."""


class BasinNotFound(NotFound):
    code = "basin_not_found"


class StreamNotFound(NotFound):
    code = "stream_not_found"


class AccessTokenNotFound(NotFound):
    code = "access_token_not_found"


class ResourceExists(RequestRejected):
    """The thing to be created exists already."""

    code = "resource_already_exists"


class DeletionPending(RequestRejected):
    """The thing is being deleted; its name becomes free when that is done."""


class BasinDeletionPending(DeletionPending):
    code = "basin_deletion_pending"


class StreamDeletionPending(DeletionPending):
    code = "stream_deletion_pending"


class TransactionConflict(RequestRejected):
    """Two changes of the same thing met; the same call may be made again."""

    code = "transaction_conflict"


class Invalid(RequestRejected, ValueError):
    """The request is well formed but breaks a rule, which the message names with its bound."""

    code = "invalid"


class BadRequest(RequestRejected, ValueError):
    """The request is malformed; `code` says where (`bad_json`, `bad_query`, …)."""

    def __init__(self, message: str, code: str = "bad_json") -> None:
        super().__init__(message)
        self.code = code


class DecryptionFailed(RequestRejected):
    code = "decryption_failed"


class AuthenticationFailed(RequestRejected):
    code = "authn"


class PermissionDenied(RequestRejected):
    code = "permission_denied"


class NotImplementedByServer(RequestRejected):
    code = "not_implemented"


class RateLimited(RequestRejected):
    """Too many requests; `retry_after_ms` is the server's advice, None without one."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class _UnknownAnswer(PerdureError):
    """What a server said with a code that is not in `CODES`, or that contradicts its status: the status decides."""

    def __init__(self, message: str, *, status: int, code: str = UNKNOWN_CODE) -> None:
        super().__init__(message)
        self.code = code
        self._status = status

    @property
    def status(self) -> int:
        return self._status

    @property
    def retry_is_safe(self) -> bool:
        return self._status in RETRYABLE_STATUSES

    def _changed_nothing(self) -> bool:
        return False


class UnknownRejection(_UnknownAnswer, RequestRejected):
    """The server said no for a reason that this version does not know; `code` and `status` are the server's."""


class StoreFailure(PerdureError):
    """The store could not do what was asked; whether it was applied is unknown unless a subclass says."""


class StorageFailed(StoreFailure):
    """The disk or the database failed, or holds bad data."""

    code = "storage"


class StorageFull(StorageFailed):
    """No space is left. Nothing of the failed call was written; free some space and try again."""

    def _changed_nothing(self) -> bool:
        return True


class Unavailable(StoreFailure):
    """The store is closed or closing, or the stream went away underneath."""

    code = "unavailable"


class ServerDraining(Unavailable):
    """The server is about to stop and takes nothing new; another one, or the same one later, will."""

    code = "server_draining"


class RequestTimeout(StoreFailure):
    """The request took longer to arrive, or to be answered, than the server waits."""

    code = "request_timeout"


class UnknownFailure(_UnknownAnswer, StoreFailure):
    """The server failed for a reason that this version does not know; `code` and `status` are the server's."""


class TransportError(PerdureError):
    """No answer came. `may_have_applied` tells whether the call can have had an effect."""

    code = "unavailable"

    def __init__(self, message: str, *, may_have_applied: bool) -> None:
        super().__init__(message)
        self.may_have_applied: bool = may_have_applied

    def _changed_nothing(self) -> bool:
        return not self.may_have_applied

    def put_in_doubt(self) -> None:
        super().put_in_doubt()
        self.may_have_applied = True


class ProtocolViolation(PerdureError):
    """The peer broke the wire format; the connection cannot be used further.

    It tells nothing of what a call has done: an answer that cannot be read may have been that of success.
    """

    code = "bad_frame"

    def _changed_nothing(self) -> bool:
        return False


class FrameTooLarge(ProtocolViolation):
    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"frame of {size} bytes exceeds the limit of {limit} bytes")
        self.size = size
        self.limit = limit


class TruncatedFrame(ProtocolViolation):
    def __init__(self, leftover: int) -> None:
        super().__init__(f"the input ended in the middle of a frame, {leftover} bytes into it")
        self.leftover = leftover


class UsageError(PerdureError):
    """A mistake in the calling code, such as using a closed object."""

    code = "invalid"


class SessionClosed(UsageError):
    """The object was used after it was closed, or was closed before the answer came: `has_no_side_effects` tells."""

    def __init__(self, message: str, *, may_have_applied: bool = False) -> None:
        super().__init__(message)
        self.may_have_applied: bool = may_have_applied

    def _changed_nothing(self) -> bool:
        return not self.may_have_applied
