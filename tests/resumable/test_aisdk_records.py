"""What Perdure adds to an AI SDK generation: identities, user records, errors, ends, and seeds of resumes."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.resumable.adapter import SourceReportedError
from perdure.resumable.aisdk_message import MessageFold
from perdure.resumable.aisdk_records import OpenParts, error_chunk, rewrite_error_chunk
from perdure.resumable.aisdk_seed import ReplayedRecord, ReplayView, seed_chunks
from perdure.resumable.aisdk_user import (
    MAX_USER_RECORD_BYTES,
    StartIdentity,
    UserRecordReader,
    is_user_record,
    new_message_id,
    user_record_bodies,
)
from perdure.resumable.chunks import SourceChunk
from perdure.resumable.json_body import JsonObject, JsonValue, encode_body, parse_body, parse_object
from tests.resumable.stock import objects

U1: JsonObject = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
A1: JsonObject = {"id": "a1", "role": "assistant", "parts": [{"type": "text", "text": "so"}]}


def c(kind: str, /, **fields: JsonValue) -> JsonObject:
    return {"type": kind, **fields}


def stored(chunk: JsonObject) -> SourceChunk:
    return SourceChunk(chunk, encode_body(chunk))


# --- user records ---


def test_a_user_record_is_one_transient_data_chunk() -> None:
    assert user_record_bodies({"id": "u"}, message_id="m") == [
        b'{"type":"data-perdure-user","transient":true,'
        b'"data":{"message":{"id":"u"},"trigger":"submit-message","messageId":"m"}}'
    ]
    assert user_record_bodies({"id": "u"}, trigger=None) == [
        b'{"type":"data-perdure-user","transient":true,"data":{"message":{"id":"u"}}}'
    ]


def read_back(bodies: list[bytes]) -> UserRecordReader:
    reader = UserRecordReader()
    for body in bodies:
        assert is_user_record(body)
        assert reader.feed(parse_object(body) or {})
    return reader


@settings(deadline=None, max_examples=50)
@given(
    text=st.text(st.characters(), min_size=1, max_size=6),
    times=st.sampled_from([1, 50_000, 150_000]),
    trigger=st.none() | st.text(max_size=5),
    message_id=st.none() | st.text(max_size=5),
)
def test_user_records_of_any_size_read_back(text: str, times: int, trigger: str | None, message_id: str | None) -> None:
    message: JsonObject = {"id": "u", "role": "user", "parts": [{"type": "text", "text": text * times}]}
    bodies = user_record_bodies(message, trigger=trigger, message_id=message_id)
    assert all(len(body) <= MAX_USER_RECORD_BYTES for body in bodies)
    record = read_back(bodies).record()
    assert record is not None
    # Surrogate halves that meet are one character for every reader of JSON.
    assert encode_body(record.message) == encode_body(parse_body(encode_body(message)))
    assert (record.message["id"], record.is_continuation) == ("u", False)
    if trigger is None or trigger.isascii():
        assert record.trigger == trigger


def test_other_chunks_are_no_user_records() -> None:
    reader = UserRecordReader()
    for chunk in (c("start"), c("data-perdure"), c("text-delta", id="t", delta='"type":"data-perdure-user"')):
        assert not is_user_record(encode_body(chunk))
        assert not reader.feed(chunk)
    assert reader.record() is None


@pytest.mark.parametrize(
    "data",
    [None, 3, {}, {"message": "x"}, {"json": 3, "index": 0, "count": 1}, {"json": "{", "index": 0, "count": 1}],
    ids=str,
)
def test_a_user_record_without_a_message_counts_as_absent(data: JsonValue) -> None:
    assert read_back([encode_body(c("data-perdure-user", data=data))]).record() is None


# --- identity ---


def test_an_answer_gets_the_id_of_the_message_that_it_continues_or_a_fresh_one() -> None:
    (start,) = StartIdentity.for_message(A1).apply(stored(c("start")))
    assert start.value == c("start", messageId="a1")
    nameless: JsonObject = {"role": "assistant", "parts": []}
    for posted in (U1, nameless, {**A1, "id": ""}):
        (start,) = StartIdentity.for_message(posted).apply(stored(c("start")))
        assert re.fullmatch("msg-[0-9a-z]{16}", str(start.value["messageId"]))
    assert new_message_id() != new_message_id()


def test_the_first_start_only_is_given_an_id() -> None:
    identity = StartIdentity("m")
    given_metadata = c("start", messageMetadata={"a": 1})
    (start,) = identity.apply(stored(given_metadata))
    assert start.body == b'{"type":"start","messageId":"m","messageMetadata":{"a":1}}'
    assert given_metadata == c("start", messageMetadata={"a": 1})
    again = stored(c("start"))
    assert identity.apply(again) == (again,)


def test_an_id_of_the_source_is_kept() -> None:
    own = stored(c("start", messageId="own"))
    assert StartIdentity("m").apply(own) == (own,)


def test_a_source_without_start_gets_one() -> None:
    first = stored(c("text-start", id="t"))
    identity = StartIdentity("m")
    assert identity.apply(first) == (stored(c("start", messageId="m")), first)
    assert identity.apply(first) == (first,)
    assert StartIdentity("m").apply(stored(c("start", messageId=None)))[0].value == c("start", messageId="m")


# --- errors ---


def test_the_text_of_an_error_chunk_goes_through_on_error() -> None:
    seen: list[Exception] = []

    def text_of(failure: Exception) -> str:
        seen.append(failure)
        return "sorry"

    assert error_chunk("sorry") == c("error", errorText="sorry")
    assert rewrite_error_chunk(c("error", errorText="secret"), text_of) == c("error", errorText="sorry")
    assert isinstance(seen[0], SourceReportedError)
    assert str(seen[0]) == "secret"
    other = c("start")
    assert rewrite_error_chunk(other, text_of) is other
    assert len(seen) == 1


# --- the end of a stopped generation ---


def closing(*chunks: JsonObject) -> list[JsonObject]:
    parts = OpenParts()
    for chunk in chunks:
        parts.feed(chunk)
    return parts.closing_chunks()


ABORT = c("abort")


def test_acceptance_vector_23() -> None:
    begun = [c("start"), c("text-start", id="t"), c("text-delta", id="t", delta="x")]
    assert closing(*begun) == [c("text-end", id="t"), ABORT]
    assert closing(*begun, c("text-end", id="t")) == [ABORT]


def test_open_parts_end_in_the_order_in_which_they_began() -> None:
    assert closing(
        c("reasoning-start", id="b"),
        c("text-start", id="a"),
        c("reasoning-start", id="a"),
        c("tool-input-start", toolCallId="c", toolName="x"),
        c("text-start", id="z"),
        c("text-end", id="z"),
        c("reasoning-start", id="b"),
    ) == [c("text-end", id="a"), c("reasoning-end", id="a"), c("reasoning-end", id="b"), ABORT]


@pytest.mark.parametrize(
    ("chunk", "still_open"),
    [
        (c("start"), True),
        (c("start", messageId="m"), True),
        (c("start", messageId="other"), False),
        (c("start-step"), True),
        (c("finish-step"), False),
        (c("reset-step"), False),
        (c("text-end", id="other"), True),
        (c("text-end"), True),
        ({"no": "type"}, True),
    ],
    ids=str,
)
def test_a_part_is_open_only_where_all_versions_agree(chunk: JsonObject, still_open: bool) -> None:
    ends = closing(c("start", messageId="m"), c("text-start", id="t"), chunk)
    assert ends == ([c("text-end", id="t"), ABORT] if still_open else [ABORT])


# --- seeds ---


def seed(*parts: JsonObject, **fields: JsonValue) -> list[JsonObject]:
    return seed_chunks({"id": "a", "role": "assistant", "parts": list(parts), **fields})


PM: JsonObject = {"p": {"k": 1}}
CALL: JsonObject = {"type": "tool-ask-me", "toolCallId": "c", "input": {"q": "ü"}}
DYNAMIC: JsonObject = {"type": "dynamic-tool", "toolName": "ask", "toolCallId": "c", "input": {}}
BEGUN = [
    c("tool-input-start", toolCallId="c", toolName="ask-me"),
    c("tool-input-delta", toolCallId="c", inputTextDelta='{"q":"ü"}'),
]


@pytest.mark.parametrize(
    ("part", "chunks"),
    [
        (c("step-start"), [c("start-step")]),
        (
            c("text", text="x", state="done", providerMetadata=PM),
            [
                c("text-start", id="perdure-0", providerMetadata=PM),
                c("text-delta", id="perdure-0", delta="x"),
                c("text-end", id="perdure-0"),
            ],
        ),
        (c("text", text=""), [c("text-start", id="perdure-0"), c("text-end", id="perdure-0")]),
        (c("reasoning", text=""), [c("reasoning-start", id="perdure-0"), c("reasoning-end", id="perdure-0")]),
        (c("reasoning", id="r", text=""), [c("reasoning-start", id="r"), c("reasoning-end", id="r")]),
        (c("file", url="u", mediaType="m", filename="f"), [c("file", url="u", mediaType="m")]),
        (c("source-url", sourceId="s", url="u"), [c("source-url", sourceId="s", url="u")]),
        (c("data-x", id="i", data=None), [c("data-x", id="i", data=None)]),
        (c("custom", kind="a.b"), [c("custom", kind="a.b")]),
        (c("steering-message", id="s", parts=[]), [c("steering-message", id="s", parts=[])]),
        (c("invented-later", x=1), []),
        (c("tool-x", state="input-available"), []),
        (CALL | {"state": "input-streaming", "rawInput": '{"q":"ü"}'}, BEGUN),
        (
            CALL | {"state": "input-available", "providerExecuted": True},
            [c("tool-input-available", toolCallId="c", toolName="ask-me", providerExecuted=True, input={"q": "ü"})],
        ),
        (
            CALL | {"state": "output-available", "output": None, "preliminary": True},
            [*BEGUN, c("tool-output-available", toolCallId="c", output=None, preliminary=True)],
        ),
        (
            CALL | {"state": "output-error", "errorText": "no", "rawInput": '{"q":"ü"}'},
            [*BEGUN, c("tool-output-error", toolCallId="c", errorText="no")],
        ),
        (
            {"type": "tool-ask", "toolCallId": "c", "state": "output-error", "errorText": "no", "rawInput": "{"},
            [c("tool-input-error", toolCallId="c", toolName="ask", input="{", errorText="no")],
        ),
        (
            DYNAMIC | {"state": "output-available", "output": 1, "title": "T", "callProviderMetadata": PM},
            [
                c("tool-input-start", toolCallId="c", toolName="ask", dynamic=True, title="T", providerMetadata=PM),
                c("tool-input-delta", toolCallId="c", inputTextDelta="{}"),
                c("tool-output-available", toolCallId="c", output=1, dynamic=True),
            ],
        ),
        (
            CALL | {"state": "approval-responded", "approval": {"id": "a", "approved": True, "signature": "s"}},
            [*BEGUN, c("tool-approval-request", approvalId="a", toolCallId="c", signature="s")],
        ),
        (
            CALL | {"state": "output-denied", "approval": {"id": "a", "approved": False}},
            [
                *BEGUN,
                c("tool-approval-request", approvalId="a", toolCallId="c"),
                c("tool-output-denied", toolCallId="c"),
            ],
        ),
    ],
    ids=lambda value: f"{value['type']} {value.get('state', '')}" if isinstance(value, dict) else "",
)
def test_each_part_is_said_again(part: JsonObject, chunks: list[JsonObject]) -> None:
    assert seed(part) == chunks


def test_metadata_is_said_last() -> None:
    assert seed(c("step-start"), metadata=PM) == [c("start-step"), c("message-metadata", messageMetadata=PM)]


@pytest.mark.parametrize("parts", [None, "x", [None, 3, {}]])
def test_a_message_without_parts_has_no_seed(parts: JsonValue) -> None:
    assert seed_chunks({"id": "a", "parts": parts}) == []


# --- replay views ---


def shown(view: ReplayView, *chunks: JsonObject | bytes) -> list[JsonObject | str]:
    """What a response sends: `+` before what is no record."""
    sent: list[JsonObject | str] = []
    for chunk in chunks:
        body = chunk if isinstance(chunk, bytes) else encode_body(chunk)
        replayed = view.show(body)
        if replayed.send:
            sent.append(parse_object(body) or {})
        sent += [f"+{(parse_object(seeded) or {})['type']}" for seeded in replayed.seed]
    return sent


START = c("start", messageId="a1")
REST = [c("text-start", id="t"), c("text-delta", id="t", delta="data-perdure-user")]


def test_user_records_are_left_out_unless_asked_for() -> None:
    (record,) = user_record_bodies(U1)
    assert shown(ReplayView(seed=True), record, START, *REST) == [START, *REST]
    assert shown(ReplayView(seed=False), record, START, *REST) == [START, *REST]
    assert shown(ReplayView(seed=True, include_user=True), record, START) == [parse_object(record), START]
    assert shown(ReplayView(seed=True), START, *REST) == [START, *REST]


def test_a_continuation_is_seeded_after_its_first_start() -> None:
    (record,) = user_record_bodies(A1)
    said_again = ["+text-start", "+text-delta", "+text-end"]
    assert shown(ReplayView(seed=True), record, START, START, *REST) == [START, *said_again, START, *REST]
    assert shown(ReplayView(seed=True), record, c("start")) == [c("start"), *said_again]
    assert shown(ReplayView(seed=True), record, c("data-x"), START) == [c("data-x"), START, *said_again]
    assert shown(ReplayView(seed=False), record, START, *REST) == [START, *REST]


def test_a_message_of_its_own_needs_no_seed() -> None:
    (record,) = user_record_bodies(A1)
    other = c("start", messageId="other")
    assert shown(ReplayView(seed=True), record, other, START) == [other, START]


def test_what_the_generation_adds_to_metadata_goes_over_what_was_there() -> None:
    (record,) = user_record_bodies({**A1, "metadata": {"a": 1, "b": 1}})
    view, fold = ReplayView(seed=True), MessageFold("")
    for body in (record, encode_body({**START, "messageMetadata": {"a": 2}})):
        replayed = view.show(body)
        for sent in [body] * replayed.send + list(replayed.seed):
            fold.feed(parse_object(sent) or {})
    assert fold.finish()[0]["metadata"] == {"a": 2, "b": 1}


def test_bodies_that_are_no_json_pass_through() -> None:
    (record,) = user_record_bodies(A1)
    view = ReplayView(seed=True)
    assert view.show(record) == ReplayedRecord(False)
    assert view.show(b"data-perdure-user, but not JSON") == ReplayedRecord(True)
    assert objects([parse_object(body) for body in view.show(encode_body(START)).seed])
