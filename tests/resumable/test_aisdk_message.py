"""The fold of AI SDK chunks to messages, rule by rule; `test_aisdk_stock.py` holds it against the real readers."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.resumable.aisdk_message import MessageFold
from perdure.resumable.aisdk_metadata import merge_metadata
from perdure.resumable.json_body import JsonObject, JsonValue
from tests.resumable.chunk_scripts import Script
from tests.resumable.stock import objects

PM: JsonObject = {"p": {"k": 1}}
PM2: JsonObject = {"p": {"k": 2}}


def c(kind: str, /, **fields: JsonValue) -> JsonObject:
    return {"type": kind, **fields}


def folded(*chunks: JsonObject, base: JsonObject | None = None) -> list[JsonObject]:
    fold = MessageFold("fallback", base)
    for chunk in chunks:
        fold.feed(chunk)
    return fold.finish()


def parts(*chunks: JsonObject, base: JsonObject | None = None) -> list[JsonObject]:
    (message,) = folded(c("start", messageId="m"), *chunks, base=base)
    return objects(message["parts"])


# --- messages, metadata ---


def test_a_message_has_the_id_of_its_first_start() -> None:
    part = c("data-x", data=1)
    assert folded(c("start", messageId="m"), part) == [{"id": "m", "role": "assistant", "parts": [part]}]
    assert folded(c("start"), part)[0]["id"] == "fallback"
    assert folded(part)[0]["id"] == "fallback"
    assert folded(c("start-step"), c("start", messageId="m"), part) == [
        {"id": "m", "role": "assistant", "parts": [part]}
    ]


def test_a_message_with_nothing_but_steps_is_left_out() -> None:
    assert folded(c("start", messageId="m"), c("start-step"), c("finish-step"), c("finish")) == []
    assert folded(c("start", messageId="m", messageMetadata={"a": 1})) == []


def test_another_id_begins_another_message() -> None:
    made = folded(
        c("start", messageId="m1", messageMetadata={"n": 1}),
        c("text-start", id="t"),
        c("text-delta", id="t", delta="one"),
        c("start", messageId="m1", messageMetadata={"n": 2}),
        c("start", messageId="m2"),
        c("text-delta", id="t", delta="lost"),
        c("text-start", id="t"),
        c("text-delta", id="t", delta="two"),
    )
    assert [(m["id"], m.get("metadata"), objects(m["parts"])[0]["text"]) for m in made] == [
        ("m1", {"n": 2}, "one"),
        ("m2", None, "two"),
    ]
    assert all(part["state"] == "done" for m in made for part in objects(m["parts"]))


def test_a_base_is_continued_in_a_copy() -> None:
    base: JsonObject = {"id": "a", "role": "assistant", "createdAt": 1, "parts": [c("text", text="x", state="done")]}
    before = str(base)
    (made,) = folded(
        c("start", messageId="a"), c("data-x", data=1), c("message-metadata", messageMetadata=PM), base=base
    )
    assert made == {**base, "metadata": PM, "parts": [c("text", text="x", state="done"), c("data-x", data=1)]}
    assert str(base) == before
    assert folded(base=base) == [base], "a base is there even if nothing is added"
    first, second = folded(c("start", messageId="b"), c("data-x", data=1), base=base)
    assert (first, second["id"]) == (base, "b")


@pytest.mark.parametrize("kind", ["start", "message-metadata", "finish"])
def test_metadata_is_merged(kind: str) -> None:
    (made,) = folded(
        c("data-x", data=1),
        c(kind, messageMetadata={"a": {"b": 1, "l": [1]}, "n": 1}),
        c(kind, messageMetadata=None),
        c(kind),
        c(kind, messageMetadata={"a": {"c": {"d": 2}, "l": [2]}, "n": None}),
    )
    assert made["metadata"] == {"a": {"b": 1, "c": {"d": 2}, "l": [2]}, "n": None}
    assert "finishReason" not in made


def test_metadata_never_reaches_a_prototype() -> None:
    evil: JsonObject = {"__proto__": {"x": 1}, "constructor": 1, "a": {"prototype": 2, "b": 3}}
    assert merge_metadata({"a": {"k": 0}}, evil) == {"a": {"k": 0, "b": 3}}
    assert merge_metadata(None, evil) == {"a": {"b": 3}}
    assert merge_metadata({"a": 1}, "text") == "text"


# --- text and reasoning ---


def test_text_streams_and_ends() -> None:
    fold = MessageFold("m")
    fold.feed(c("text-start", id="t", providerMetadata=PM))
    fold.feed(c("text-delta", id="t", delta="Hel"))
    fold.feed(c("text-delta", id="t", delta="lo", providerMetadata=PM2))
    streaming = {"type": "text", "text": "Hello", "state": "streaming", "providerMetadata": PM2}
    assert objects(fold.messages()[0]["parts"]) == [streaming]
    fold.feed(c("text-end", id="t", citations=[{"n": 1}]))
    fold.feed(c("text-delta", id="t", delta="late"))
    assert objects(fold.messages()[0]["parts"]) == [{**streaming, "state": "done", "citations": [{"n": 1}]}]


def test_reasoning_keeps_the_id_that_stock_readers_show() -> None:
    assert parts(
        c("reasoning-start", id="r"), c("reasoning-delta", id="r", delta="hm"), c("reasoning-end", id="r")
    ) == [{"type": "reasoning", "id": "r", "text": "hm", "state": "done"}]


def test_text_and_reasoning_have_ids_of_their_own() -> None:
    made = parts(
        c("text-start", id="0"),
        c("reasoning-start", id="0"),
        c("text-delta", id="0", delta="a"),
        c("reasoning-delta", id="0", delta="b"),
        c("text-start", id="0"),
        c("text-delta", id="0", delta="c"),
    )
    assert [(part["type"], part["text"], part["state"]) for part in made] == [
        ("text", "a", "done"),
        ("reasoning", "b", "done"),
        ("text", "c", "done"),
    ]


def test_open_parts_survive_a_finished_step_and_not_a_reset_one() -> None:
    made = parts(
        c("text-start", id="t"),
        c("start-step"),
        c("finish-step"),
        c("text-delta", id="t", delta="kept"),
        c("data-x", data=1),
        c("tool-input-start", toolCallId="c", toolName="n"),
        c("reset-step"),
        c("text-delta", id="t", delta="gone"),
        c("tool-input-delta", toolCallId="c", inputTextDelta="1"),
        c("data-y", data=2),
    )
    assert made == [
        {"type": "text", "text": "kept", "state": "done"},
        {"type": "step-start"},
        {"type": "data-y", "data": 2},
    ]


# --- other parts ---


@pytest.mark.parametrize(
    "chunk",
    [
        c("file", mediaType="a/b", url="u", providerMetadata=PM),
        c("reasoning-file", mediaType="a/b", url="u"),
        c("source-url", sourceId="s", url="u", title="t", providerMetadata=PM),
        c("source-url", sourceId="s", url="u"),
        c("source-document", sourceId="s", mediaType="a/b", title="t", filename="f", providerMetadata=PM),
        c("custom", kind="a.b", providerMetadata=PM),
        c("steering-message", id="i", parts=[{"type": "text", "text": "x"}]),
        c("data-x", id="i", data={"a": None}),
        c("data-x", data=None),
    ],
    ids=lambda chunk: str(chunk["type"]),
)
def test_parts_that_are_their_chunks(chunk: JsonObject) -> None:
    assert parts(chunk) == [chunk]
    assert parts({**chunk, "unknown": 1, "providerMetadata": None}) == [
        {key: value for key, value in chunk.items() if key != "providerMetadata"}
    ]


def test_data_is_replaced_by_type_and_id_and_transient_data_is_not_kept() -> None:
    assert parts(
        c("data-x", id="1", data="a"),
        c("start-step"),
        c("data-y", id="1", data="b"),
        c("data-x", id="1", data="c"),
        c("data-x", id="2", data="d", transient=True),
        c("data-x", id="2", data="e", transient=False),
    ) == [
        c("data-x", id="1", data="c"),
        {"type": "step-start"},
        c("data-y", id="1", data="b"),
        c("data-x", id="2", data="e"),
    ]


# --- tools ---


def tool(**fields: JsonValue) -> JsonObject:
    return {"type": "tool-search", "toolCallId": "c", **fields}


START = c("tool-input-start", toolCallId="c", toolName="search")
AVAILABLE = c("tool-input-available", toolCallId="c", toolName="search", input={"q": 1})
OUTPUT = c("tool-output-available", toolCallId="c", output=[1])
CALLED = tool(state="input-available", input={"q": 1})


def test_an_input_streams() -> None:
    fold = MessageFold("m")
    seen = []
    for chunk in (
        {**START, "title": "T", "providerMetadata": PM},
        c("tool-input-delta", toolCallId="c", inputTextDelta='{"q":'),
        c("tool-input-delta", toolCallId="c", inputTextDelta="1"),
        AVAILABLE,
    ):
        fold.feed(chunk)
        seen += objects(fold.messages()[0]["parts"])
    rest: JsonObject = {"title": "T", "callProviderMetadata": PM}
    assert seen == [
        tool(state="input-streaming", **rest),
        tool(state="input-streaming", input={}, rawInput='{"q":', **rest),
        tool(state="input-streaming", input={"q": 1}, rawInput='{"q":1', **rest),
        tool(state="input-available", input={"q": 1}, **rest),
    ]


def test_a_text_input_is_its_buffer() -> None:
    assert parts({**START, "inputEncoding": "text"}, c("tool-input-delta", toolCallId="c", inputTextDelta='{"q')) == [
        tool(state="input-streaming", inputEncoding="text", input='{"q', rawInput='{"q')
    ]
    assert parts({**START, "inputEncoding": "text"}, AVAILABLE) == [CALLED]


def test_an_input_without_anything_readable_has_none() -> None:
    assert parts(START, c("tool-input-delta", toolCallId="c", inputTextDelta="-")) == [
        tool(state="input-streaming", rawInput="-")
    ]


def test_outputs_replace_preliminary_ones_and_errors_replace_outputs() -> None:
    preliminary = {**OUTPUT, "preliminary": True, "providerMetadata": PM}
    assert parts(AVAILABLE, preliminary) == [
        tool(state="output-available", input={"q": 1}, output=[1], preliminary=True, resultProviderMetadata=PM)
    ]
    assert parts(AVAILABLE, {**OUTPUT, "preliminary": True}, {**OUTPUT, "output": None}) == [
        tool(state="output-available", input={"q": 1}, output=None)
    ]
    error = c("tool-output-error", toolCallId="c", errorText="no")
    assert parts(AVAILABLE, OUTPUT, error) == [tool(state="output-error", input={"q": 1}, errorText="no")]
    assert parts(AVAILABLE, error, OUTPUT) == [tool(state="output-available", input={"q": 1}, output=[1])]


def test_a_null_output_that_was_left_out_stays_absent() -> None:
    assert parts(AVAILABLE, c("tool-output-available", toolCallId="c")) == [
        tool(state="output-available", input={"q": 1})
    ]


def test_a_bad_input_is_where_every_version_looks() -> None:
    bad = c("tool-input-error", toolCallId="c", toolName="search", input="{", errorText="no", title="not taken")
    assert parts(bad) == [tool(state="output-error", input="{", rawInput="{", errorText="no")]
    assert parts({**bad, "dynamic": True}) == [
        {
            "type": "dynamic-tool",
            "toolName": "search",
            "toolCallId": "c",
            "state": "output-error",
            "input": "{",
            "errorText": "no",
        }
    ]
    assert len(parts({**START, "dynamic": True}, bad)) == 1, "the part that is there is used, of either kind"


def test_failed_static_calls_keep_their_raw_input() -> None:
    made = parts(
        START,
        c("tool-input-delta", toolCallId="c", inputTextDelta='{"q":1}'),
        c("tool-output-error", toolCallId="c", errorText="no"),
    )
    assert made == [tool(state="output-error", input={"q": 1}, rawInput='{"q":1}', errorText="no")]


def test_approvals_are_asked_for_answered_and_denied() -> None:
    ask = c("tool-approval-request", toolCallId="c", approvalId="a")
    asked = tool(state="approval-requested", input={"q": 1}, approval={"id": "a"})
    assert parts(AVAILABLE, ask) == [asked]
    extra: JsonObject = {"signature": "s", "approvalDescriptor": {"d": 1}, "inputSchemaInput": None, "reason": "r"}
    assert parts(AVAILABLE, {**ask, **extra, "isAutomatic": True})[0]["approval"] == {
        "id": "a",
        "signature": "s",
        "descriptor": {"d": 1},
        "inputSchemaInput": None,
        "requestReason": "r",
        "isAutomatic": True,
    }
    answer = c("tool-approval-response", approvalId="a", approved=False, reason="no", providerMetadata=PM)
    assert parts(AVAILABLE, ask, {**answer, "providerExecuted": True}) == [
        asked
        | {
            "state": "approval-responded",
            "approval": {"id": "a", "approved": False, "reason": "no"},
            "providerExecuted": True,
            "callProviderMetadata": PM,
        }
    ]
    assert parts(AVAILABLE, ask, c("tool-output-denied", toolCallId="c")) == [asked | {"state": "output-denied"}]


def test_calls_are_found_where_their_chunks_belong() -> None:
    # An input chunk looks in its step, an output anywhere, the current step first.
    step = c("start-step")
    assert [part.get("state") for part in parts(AVAILABLE, step, OUTPUT)] == ["output-available", None]
    assert [part.get("state") for part in parts(AVAILABLE, step, AVAILABLE, OUTPUT)] == [
        "input-available",
        None,
        "output-available",
    ]
    assert [part["type"] for part in parts(AVAILABLE, {**AVAILABLE, "dynamic": True})] == [
        "tool-search",
        "dynamic-tool",
    ]
    assert parts({**AVAILABLE, "dynamic": True}, OUTPUT)[0]["output"] == [1]


def test_what_was_given_for_a_call_stays_until_replaced() -> None:
    made = parts(
        {**START, "title": "T", "toolMetadata": {"a": 1}, "providerExecuted": True},
        AVAILABLE,
        {**OUTPUT, "title": "not taken", "toolMetadata": {"b": 1}, "providerExecuted": False},
    )
    assert made == [
        tool(
            state="output-available",
            input={"q": 1},
            output=[1],
            title="T",
            toolMetadata={"b": 1},
            providerExecuted=False,
        )
    ]


def test_a_base_that_was_still_streaming_goes_on() -> None:
    base: JsonObject = {"id": "m", "role": "assistant", "parts": [tool(state="input-streaming", rawInput='{"q"')]}
    made = parts(c("tool-input-delta", toolCallId="c", inputTextDelta=":1}"), base=base)
    assert made == [tool(state="input-streaming", input={"q": 1}, rawInput='{"q":1}')]


# --- odd chunks ---


@pytest.mark.parametrize(
    "odd",
    [
        c("text-delta", id="nobody", delta="x"),
        c("text-end", id="nobody"),
        c("reasoning-delta", id="t", delta="x"),
        c("text-start"),
        c("text-delta", id="t"),
        c("text-delta", id="t", delta=3),
        c("text-delta", id=["t"], delta="x"),
        c("tool-input-delta", toolCallId="nobody", inputTextDelta="x"),
        c("tool-input-delta", toolCallId="c"),
        c("tool-output-available", toolCallId="nobody", output=1),
        c("tool-output-error", toolCallId="nobody", errorText="x"),
        c("tool-output-denied", toolCallId="nobody"),
        c("tool-output-available", output=1),
        c("tool-approval-request", toolCallId="nobody", approvalId="a"),
        c("tool-approval-request", toolCallId="c"),
        c("tool-approval-response", approvalId="nobody", approved=True),
        c("tool-input-start", toolName="x"),
        c("tool-input-available", toolCallId="c2"),
        c("file", url="u"),
        c("custom"),
        c("abort"),
        c("finish-step"),
        c("done"),
        c("later-invention", id="x"),
        {"no": "type"},
        c("start", messageId=7),
    ],
    ids=str,
)
def test_odd_chunks_are_skipped_and_the_rest_is_intact(odd: JsonObject) -> None:
    around = [c("text-start", id="t"), c("text-delta", id="t", delta="a"), AVAILABLE]
    rest = [c("text-delta", id="t", delta="b"), OUTPUT]
    assert parts(*around, odd, *rest) == parts(*around, *rest)


def test_nothing_counts_after_an_error() -> None:
    made = parts(
        c("text-start", id="t"), c("text-delta", id="t", delta="a"), c("error", errorText="x"), c("data-x", data=1)
    )
    assert made == [{"type": "text", "text": "a", "state": "done"}]


@settings(deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["type", "id", "toolCallId", "toolName", "delta", "messageId", "approvalId", "input"]),
            st.sampled_from(
                [
                    "text-start",
                    "text-delta",
                    "tool-input-start",
                    "tool-input-delta",
                    "start",
                    "start-step",
                    "c",
                    1,
                    None,
                ]
            ),
        ),
        max_size=12,
    )
)
def test_no_chunk_breaks_the_fold(chunks: list[JsonObject]) -> None:
    folded(*chunks)


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), looks=st.sets(st.integers(0, 60)))
def test_looking_in_between_changes_nothing(seed: int, looks: set[int]) -> None:
    chunks = Script(seed, 7).write(50)
    watched, alone = MessageFold("m"), MessageFold("m")
    for index, chunk in enumerate(chunks):
        alone.feed(chunk)
        watched.feed(chunk)
        if index in looks:
            before = watched.messages()
            shown = str(before)
            watched.messages()
            assert str(before) == shown
    assert watched.finish() == alone.finish()


def test_long_answers_are_folded_in_linear_time() -> None:
    """A quadratic fold would take minutes for these."""
    started = time.monotonic()
    deltas = 100_000
    made = parts(
        c("text-start", id="t"),
        *(c("text-delta", id="t", delta="word ") for _ in range(deltas)),
        START,
        *(c("tool-input-delta", toolCallId="c", inputTextDelta="[1," if n == 0 else "1,") for n in range(deltas)),
    )
    assert len(str(made[0]["text"])) == 5 * deltas
    assert made[1]["input"] == [1] * (deltas + 0)
    assert time.monotonic() - started < 20
