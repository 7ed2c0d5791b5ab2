"""Errors on the wire, there and back (store API, section 9)."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure import errors
from perdure.errors import CODES, PerdureError
from perdure.model.positions import StreamPosition
from perdure.wire.errors_json import ErrorAnswer, decode_error, encode_error, terminal_frame
from perdure.wire.s2s import encode_terminal

SERVER_ERRORS = [
    errors.AccessTokenNotFound("x"),
    errors.AuthenticationFailed("x"),
    *[errors.BadRequest("x", code) for code in CODES if code.startswith("bad_") and code != "bad_frame"],
    errors.BasinDeletionPending("x"),
    errors.BasinNotFound("x"),
    errors.DecryptionFailed("x"),
    errors.FencingTokenMismatch("claimed"),
    errors.FencingTokenMismatch(""),
    errors.Invalid("x"),
    errors.NotImplementedByServer("x"),
    errors.PermissionDenied("x"),
    errors.RateLimited("x", 250),
    errors.ReadUnwritten(StreamPosition(5, 6)),
    errors.RequestTimeout("x"),
    errors.ResourceExists("x"),
    errors.SeqNumMismatch(17),
    errors.ServerDraining("x"),
    errors.StreamDeletionPending("x"),
    errors.StreamNotFound("stream `é` in basin `b` not found"),
    errors.TransactionConflict("x"),
    errors.Unavailable("x"),
]


@pytest.mark.parametrize("error", SERVER_ERRORS, ids=lambda error: type(error).__name__)
def test_a_client_gets_the_exception_that_the_store_raised(error: PerdureError) -> None:
    status, body = encode_error(error)
    assert status == error.status
    for came_by in (status, None):  # an SSE event has no status
        copy = decode_error(came_by, body, retry_after_ms=error.retry_after_ms)
        assert type(copy) is type(error)
        assert (copy.code, copy.message, copy.__dict__) == (error.code, error.message, error.__dict__)


@pytest.mark.parametrize("error", SERVER_ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_it_is_it_may_say_when_to_come_back(error: PerdureError) -> None:
    status, body = encode_error(error)
    assert decode_error(status, body, retry_after_ms=40).retry_after_ms == 40


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (errors.SeqNumMismatch(17), (412, {"seq_num_mismatch": 17})),
        (errors.FencingTokenMismatch("abc"), (412, {"fencing_token_mismatch": "abc"})),
        (errors.ReadUnwritten(StreamPosition(5, 6)), (416, {"tail": {"seq_num": 5, "timestamp": 6}})),
        (errors.Invalid("no"), (422, {"code": "invalid", "message": "no"})),
        (
            errors.TruncatedFrame(3),
            (
                400,
                {
                    "code": "bad_frame",
                    "message": "Failed to decode S2S frame: the input ended in the middle of a frame, 3 bytes into it",
                },
            ),
        ),
    ],
)
def test_bodies(error: PerdureError, answer: tuple[int, object]) -> None:
    status, body = encode_error(error)
    assert (status, json.loads(body)) == answer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.StorageFailed("/var/secret/path is damaged"), "storage"),
        (errors.StorageFull("/var/secret/path is full"), "storage"),
        (PerdureError("secret"), "other"),
        (errors.StoreFailure("secret"), "other"),
        (errors.SessionClosed("secret"), "other"),
        (KeyError("secret"), "other"),
    ],
)
def test_a_500_says_nothing_of_the_inside(error: BaseException, code: str) -> None:
    answer = encode_error(error)
    assert (answer.status, json.loads(answer.body)["code"]) == (500, code)
    assert b"secret" not in answer.body
    assert decode_error(*answer).code == code


def test_what_has_no_json_form_is_replaced() -> None:
    assert b"a?b" in encode_error(errors.Invalid("a\ud800b")).body


@pytest.mark.parametrize("code", sorted(set(CODES) - {"append_condition_failed", "range_not_satisfiable"}))
def test_every_known_code_keeps_its_promises(code: str) -> None:
    facts = CODES[code]
    body = json.dumps({"code": code, "message": "why"}).encode()
    for status in (facts.status, None):
        error = decode_error(status, body)
        assert (error.code, error.status, error.message) == (code, facts.status, "why")
        assert (error.retry_is_safe, error.has_no_side_effects) == (facts.retryable, facts.no_side_effects)


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "message"),
    [
        (404, b"<html>no such page</html>", errors.UnknownRejection, "unknown", "<html>no such page</html>"),
        (404, b"", errors.UnknownRejection, "unknown", "the server answered with status 404"),
        (418, b'{"code":"teapot","message":"short"}', errors.UnknownRejection, "teapot", "short"),
        (429, b'{"code":"slow_down"}', errors.UnknownRejection, "slow_down", '{"code":"slow_down"}'),
        (503, b'{"message":"soon"}', errors.UnknownFailure, "unknown", "soon"),
        (503, b'{"code":"invalid","message":"?"}', errors.UnknownFailure, "invalid", "?"),
        (408, b"", errors.UnknownFailure, "unknown", "the server answered with status 408"),
        (412, b"{}", errors.UnknownRejection, "unknown", "{}"),
        (412, b'{"seq_num_mismatch":-1}', errors.UnknownRejection, "unknown", '{"seq_num_mismatch":-1}'),
        (416, b'{"tail":null}', errors.UnknownRejection, "unknown", '{"tail":null}'),
        (None, b"no json", errors.UnknownFailure, "unknown", "no json"),
        (None, b'{"code":"new"}', errors.UnknownFailure, "new", '{"code":"new"}'),
    ],
)
def test_other_answers_are_told_by_their_status(
    status: int | None, body: bytes, kind: type[PerdureError], code: str, message: str
) -> None:
    error = decode_error(status, body)
    assert type(error) is kind
    assert (error.code, error.message, error.status) == (code, message, status or 503)
    assert error.retry_is_safe == (error.status in (408, 429, 500, 502, 503, 504))


@given(st.none() | st.integers(0, 999), st.binary(max_size=60) | st.just(b"[" * 100_000))
def test_any_answer_is_an_error(status: int | None, body: bytes) -> None:
    assert isinstance(decode_error(status, body), PerdureError)


def test_a_long_text_is_shortened() -> None:
    assert len(decode_error(502, "é".encode() * 10_000).message) == 500


def test_an_answer_is_status_and_body() -> None:
    assert encode_error(errors.Invalid("x")) == ErrorAnswer(422, b'{"code":"invalid","message":"x"}')
    assert terminal_frame(KeyError()) == encode_terminal(500, b'{"code":"other","message":"internal error"}')
