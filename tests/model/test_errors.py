"""Errors tell what a caller can do next (store API, section 9.2)."""

import pickle

import pytest

from perdure import errors
from perdure.errors import CODES, PerdureError
from perdure.model.positions import StreamPosition


def every_error(kind: type[PerdureError] = PerdureError) -> list[type[PerdureError]]:
    return [kind, *(error for child in kind.__subclasses__() for error in every_error(child))]


def test_every_error_has_a_code_of_the_table() -> None:
    assert len(every_error()) > 20
    for error in every_error():
        assert error.code in CODES, error
        if error.__module__ == errors.__name__:
            assert (error.__doc__ is not None) or error.__bases__[0].__doc__


@pytest.mark.parametrize(
    ("error", "code", "status", "retry_is_safe", "has_no_side_effects"),
    [
        (errors.SeqNumMismatch(5), "append_condition_failed", 412, False, True),
        (errors.FencingTokenMismatch("x"), "append_condition_failed", 412, False, True),
        (errors.ReadUnwritten(StreamPosition(5, 6)), "range_not_satisfiable", 416, False, True),
        (errors.StreamNotFound("x"), "stream_not_found", 404, False, True),
        (errors.TransactionConflict("x"), "transaction_conflict", 409, True, True),
        (errors.Invalid("x"), "invalid", 422, False, True),
        (errors.BadRequest("x", "bad_proto"), "bad_proto", 400, False, True),
        (errors.RateLimited("x", 5), "rate_limited", 429, True, True),
        (errors.StorageFailed("x"), "storage", 500, True, False),
        (errors.StorageFull("x"), "storage", 500, True, True),
        (errors.Unavailable("x"), "unavailable", 503, True, False),
        (errors.TransportError("x", may_have_applied=True), "unavailable", 503, True, False),
        (errors.TransportError("x", may_have_applied=False), "unavailable", 503, True, True),
        (errors.SessionClosed("x"), "invalid", 422, False, True),
        (errors.UnknownRejection("x", status=418), "unknown", 418, False, False),
        (errors.UnknownRejection("x", status=429, code="slow_down"), "slow_down", 429, True, False),
        (errors.UnknownFailure("x", status=502), "unknown", 502, True, False),
    ],
)
def test_the_promises_of_an_error(
    error: PerdureError, code: str, status: int, retry_is_safe: bool, has_no_side_effects: bool
) -> None:
    assert (error.code, error.status) == (code, status)
    assert (error.retry_is_safe, error.has_no_side_effects) == (retry_is_safe, has_no_side_effects)


@pytest.mark.parametrize(
    "error",
    [
        errors.SeqNumMismatch(5),
        errors.FencingTokenMismatch("me"),
        errors.ReadUnwritten(StreamPosition(5, 6)),
        errors.BadRequest("x", "bad_proto"),
        errors.RateLimited("x", 5),
        errors.TransportError("x", may_have_applied=True),
        errors.SessionClosed("x", may_have_applied=True),
        errors.FrameTooLarge(5, 4),
        errors.TruncatedFrame(3),
        errors.UnknownFailure("x", status=502, code="y"),
        errors.StreamNotFound("x"),
    ],
)
def test_an_error_survives_a_process_boundary(error: PerdureError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (copy.message, copy.__dict__) == (error.message, error.__dict__)


def test_wrong_values_are_value_errors_too() -> None:
    assert issubclass(errors.Invalid, ValueError)
    assert errors.SeqNumMismatch(5).message == "sequence number mismatch: the next record would get 5"
    assert PerdureError().message == "other"
