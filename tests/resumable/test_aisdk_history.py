"""Session logs of the AI SDK as histories."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.model.records import SequencedRecord
from perdure.resumable.aisdk_history import SessionFold
from perdure.resumable.aisdk_user import MAX_USER_RECORD_BYTES, user_record_bodies
from perdure.resumable.json_body import MAX_DEPTH, JsonObject, JsonValue, encode_body, encode_record
from tests.resumable.chunk_scripts import Script
from tests.resumable.stock import objects

FENCE = ((b"", b"fence"),)
TRIM = ((b"", b"trim"),)
RENEWAL = bytes(8)
HOLDER = b"session-AAAAAAAAAAA=.30000"


def message(message_id: str, text: str, role: str = "user") -> JsonObject:
    return {"id": message_id, "role": role, "parts": [{"type": "text", "text": text}]}


def said(message_id: str | None, *texts: str) -> list[JsonObject]:
    """The chunks of an answer."""
    start: JsonObject = {"type": "start"} if message_id is None else {"type": "start", "messageId": message_id}
    chunks = [start]
    for text in texts:
        chunks += [
            {"type": "text-start", "id": "t"},
            {"type": "text-delta", "id": "t", "delta": text},
            {"type": "text-end", "id": "t"},
        ]
    return chunks


class Log:
    """A session stream as its writers write it."""

    def __init__(self, first_seq_num: int = 0) -> None:
        self.first_seq_num = first_seq_num
        self.records: list[SequencedRecord] = []

    def add(self, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> int:
        seq_num = self.first_seq_num + len(self.records)
        self.records.append(SequencedRecord(seq_num, 0, body, headers))
        return seq_num

    def claim(self) -> int:
        return self.add(HOLDER, FENCE)

    def end(self, token: bytes = b"end-AAAAAA==") -> int:
        return self.add(token, FENCE)

    def chunks(self, *chunks: JsonObject) -> None:
        for chunk in chunks:
            self.add(encode_body(chunk))

    def user(self, posted: JsonObject, trigger: str | None = "submit-message", message_id: str | None = None) -> None:
        for body in user_record_bodies(posted, trigger=trigger, message_id=message_id):
            self.add(body)

    def turn(
        self,
        posted: JsonObject | None,
        *chunks: JsonObject,
        trigger: str | None = "submit-message",
        message_id: str | None = None,
    ) -> int:
        """A whole generation; gives the number of its holder fence."""
        fence = self.claim()
        if posted is not None:
            self.user(posted, trigger, message_id)
        self.chunks(*chunks)
        self.end()
        return fence

    def snapshot(self, *, include_active: bool = False) -> JsonObject:
        fold = SessionFold()
        fold.feed(self.records)
        return fold.snapshot(include_active=include_active)

    def shown(self, *, include_active: bool = False) -> list[str]:
        """The history in short: `id:text` for each message."""
        return short(self.snapshot(include_active=include_active))


def short(snapshot: JsonObject) -> list[str]:
    lines = []
    for item in objects(snapshot["messages"]):
        texts = [str(part["text"]) for part in objects(item["parts"]) if part["type"] == "text"]
        lines.append(f"{item['id']}:{'|'.join(texts)}")
    return lines


U1, U2, U3 = message("u1", "one"), message("u2", "two"), message("u3", "three")


def test_an_empty_log_is_an_empty_history() -> None:
    assert Log().snapshot() == {"messages": [], "nextSeqNum": 0, "active": False}


def test_turns_alternate() -> None:
    log = Log()
    log.turn(U1, *said("a1", "hello"))
    log.turn(U2, *said("a2", "there"))
    assert log.shown() == ["u1:one", "a1:hello", "u2:two", "a2:there"]
    assert log.snapshot()["nextSeqNum"] == len(log.records)
    assert objects(log.snapshot()["messages"])[0] == U1


def test_an_answer_without_an_id_is_named_after_its_fence() -> None:
    log = Log()
    log.turn(None, *said("a1", "x"))
    fence = log.turn(None, *said(None, "y"))
    assert log.shown() == ["a1:x", f"msg-{fence}:y"]


def test_an_active_generation_shows_its_user_only() -> None:
    log = Log()
    log.turn(U1, *said("a1", "hello"))
    fence = log.claim()
    log.user(U2)
    log.chunks(*said("a2", "part"))
    log.add(RENEWAL, TRIM)
    assert log.shown() == ["u1:one", "a1:hello", "u2:two"]
    assert (log.snapshot()["nextSeqNum"], log.snapshot()["active"]) == (fence, True)
    assert log.shown(include_active=True) == ["u1:one", "a1:hello", "u2:two", "a2:part"]
    log.end(b"end-stop-AAAAAA==")
    assert log.shown() == ["u1:one", "a1:hello", "u2:two", "a2:part"]
    assert (log.snapshot()["nextSeqNum"], log.snapshot()["active"]) == (len(log.records), False)


def test_what_a_failed_or_abandoned_generation_made_stays() -> None:
    log = Log()
    log.claim()
    log.user(U1)
    log.chunks(*said("a1", "half"), {"type": "error", "errorText": "secret"}, *said("a9", "ignored"))
    log.end(b"error-AAAAAA==")
    log.claim()
    log.user(U2)
    log.chunks(*said("a2", "also"))
    log.claim()  # taken over
    log.chunks(*said("a3", "next"))
    log.end()
    assert log.shown() == ["u1:one", "a1:half", "u2:two", "a2:also", "a3:next"]
    assert "secret" not in str(log.snapshot())


def test_what_is_no_chunk_is_passed_over() -> None:
    log = Log()
    log.claim()
    log.add(RENEWAL, TRIM)
    log.user(U1)
    for body in (b"", b"\xff\x00", b"not json", b"[1]", b'"text"', b"[" * 10_000, b'{"type":3}'):
        log.add(body)
    log.chunks(*said("a1", "x"))
    log.end()
    assert log.shown() == ["u1:one", "a1:x"]


def test_the_deepest_output_does_not_break_the_answer() -> None:
    output: JsonValue = None
    for _ in range(MAX_DEPTH - 1):
        output = [output]
    log = Log()
    log.claim()
    log.add(encode_record(CALL))
    log.add(encode_record({"type": "tool-output-available", "toolCallId": "c", "output": output}))
    log.end()
    assert encode_body(log.snapshot()).count(b"[") > MAX_DEPTH


def test_records_outside_of_a_generation_are_nobodys() -> None:
    log = Log(first_seq_num=40)  # retention has taken the beginning of a generation
    log.user(U1)
    log.chunks(*said("a1", "rest"))
    log.end()
    log.chunks(*said("a2", "foreign"))
    log.turn(U2, *said("a3", "whole"))
    assert log.shown() == ["u2:two", "a3:whole"]


def test_the_tail_may_be_beyond_the_last_record() -> None:
    fold = SessionFold()
    fold.feed([], tail=17)
    assert fold.snapshot() == {"messages": [], "nextSeqNum": 17, "active": False}


# --- what the user posts ---


def chat_of_two() -> Log:
    log = Log()
    log.turn(U1, *said("a1", "hello"))
    log.turn(U2, *said("a2", "there"))
    return log


@pytest.mark.parametrize(
    ("message_id", "kept"),
    [
        ("a1", ["u1:one"]),
        ("a2", ["u1:one", "a1:hello", "u2:two"]),
        ("u1", ["u1:one"]),
        ("u2", ["u1:one", "a1:hello", "u2:two"]),
        (None, ["u1:one", "a1:hello", "u2:two"]),
    ],
)
def test_regenerating_cuts_the_old_answer(message_id: str | None, kept: list[str]) -> None:
    log = chat_of_two()
    posted = U1 if len(kept) == 1 else U2  # the last message of the request
    log.turn(posted, *said("a9", "again"), trigger="regenerate-message", message_id=message_id)
    assert log.shown() == [*kept, "a9:again"]


def test_regenerating_what_is_not_there_cuts_by_the_posted_message() -> None:
    log = chat_of_two()
    log.turn(U1, *said("a9", "again"), trigger="regenerate-message", message_id="unknown")
    assert log.shown() == ["u1:one", "a9:again"]


def test_a_user_id_that_was_seen_is_an_edit() -> None:
    log = chat_of_two()
    log.turn(message("u1", "edited"), *said("a9", "anew"))
    assert log.shown() == ["u1:edited", "a9:anew"]
    log = chat_of_two()
    log.turn(message("other", "edited"), *said("a9", "anew"), message_id="u1")
    assert log.shown() == ["other:edited", "a9:anew"]
    log = chat_of_two()
    log.turn(message("u3", "new"), message_id="a1")
    assert log.shown() == ["u1:one", "a1:hello", "u2:two", "a2:there", "u3:new"], "an answer cannot be edited"


def test_a_system_message_is_posted_like_a_users() -> None:
    log = Log()
    log.turn(message("s1", "be nice", "system"), *said("a1", "ok"))
    assert log.shown() == ["s1:be nice", "a1:ok"]


CALL: JsonObject = {"type": "tool-input-available", "toolCallId": "c", "toolName": "ask", "input": {}}


def test_acceptance_vector_25() -> None:
    log = Log()
    log.turn(U1, {"type": "start", "messageId": "a1"}, {"type": "start-step"}, CALL, {"type": "finish-step"})
    a1 = objects(log.snapshot()["messages"])[1]
    call = objects(a1["parts"])[1]
    assert call["state"] == "input-available"
    answered = {**call, "state": "output-available", "output": "yes"}
    posted: JsonObject = {**a1, "parts": [{"type": "step-start"}, answered]}
    log.turn(posted, {"type": "start", "messageId": "a1"}, {"type": "start-step"}, *said(None, "done")[1:])
    one, two = objects(log.snapshot()["messages"])
    assert one == U1
    assert two["id"] == "a1"
    assert objects(two["parts"]) == [
        {"type": "step-start"},
        answered,
        {"type": "step-start"},
        {"type": "text", "text": "done", "state": "done"},
    ]
    # Then the answer is made again.
    fence = log.claim()
    log.user(U1, "regenerate-message", "a1")
    log.chunks(*said("a2", "new"))
    assert log.shown() == ["u1:one"]
    assert (log.snapshot()["nextSeqNum"], log.snapshot()["active"]) == (fence, True)
    log.end()
    assert log.shown() == ["u1:one", "a2:new"]


def test_a_continuation_while_it_runs_shows_what_was_posted() -> None:
    log = Log()
    log.turn(U1, *said("a1", "first"))
    posted = message("a1", "posted", "assistant")
    log.claim()
    log.user(posted)
    log.chunks(*said("a1", "more"))
    assert log.shown() == ["u1:one", "a1:posted"]
    assert log.shown(include_active=True) == ["u1:one", "a1:posted|more"]
    log.end()
    assert log.shown() == ["u1:one", "a1:posted|more"]
    assert posted == message("a1", "posted", "assistant"), "what was posted is not changed"


def test_a_continuation_of_an_earlier_message_keeps_what_follows() -> None:
    log = chat_of_two()
    log.turn(message("a1", "posted", "assistant"), *said(None, "more"))
    assert log.shown() == ["u1:one", "a1:posted|more", "u2:two", "a2:there"]


def test_a_continuation_with_an_id_of_its_own_is_a_new_message() -> None:
    log = chat_of_two()
    log.turn(message("a1", "posted", "assistant"), *said("a9", "new"))
    assert log.shown() == ["u1:one", "a1:posted", "u2:two", "a2:there", "a9:new"]


def test_a_continuation_of_an_unknown_message_is_appended() -> None:
    log = Log()
    log.turn(message("a1", "imported", "assistant"), *said(None, "more"))
    assert log.shown() == ["a1:imported|more"]


# --- user records ---


def large_message() -> JsonObject:
    """A message whose JSON needs several records, with text that grows when it is quoted again."""
    url = "data:image/png;base64," + "A" * (MAX_USER_RECORD_BYTES + 1000)
    parts: list[JsonValue] = [
        {"type": "file", "mediaType": "image/png", "url": url},
        {"type": "text", "text": '"\\\n😀\ud83d' * 60_000},
    ]
    return {"id": "u1", "role": "user", "parts": parts}


def test_large_user_records_are_put_together_again() -> None:
    log = Log()
    log.claim()
    posted = large_message()
    log.user(posted)
    assert len(log.records) > 3
    assert max(len(record.body) for record in log.records) <= MAX_USER_RECORD_BYTES
    log.chunks(*said("a1", "nice"))
    log.end()
    assert objects(log.snapshot()["messages"])[0] == posted
    assert len(log.shown()) == 2


def test_an_incomplete_user_record_counts_as_absent() -> None:
    bodies = user_record_bodies(large_message())
    for damaged in (bodies[:-1], bodies[1:], [bodies[1], bodies[0], *bodies[2:]], [bodies[0], *bodies]):
        log = Log()
        log.claim()
        for body in damaged:
            log.add(body)
        log.chunks(*said("a1", "nice"))
        log.end()
        assert log.shown() == ["a1:nice"]


def test_a_user_record_counts_only_at_the_beginning() -> None:
    log = Log()
    log.claim()
    log.chunks(*said("a1", "x"))
    log.user(U1)
    log.end()
    assert log.shown() == ["a1:x"]


# --- folding on ---


def long_log(seed: int) -> Log:
    log = Log()
    for turn in range(6):
        script = Script(seed * 10 + turn, 7, message_id=f"a{turn}")
        log.claim()
        if turn == 3:
            log.user(message("a1", "again", "assistant"))
        elif turn:
            log.user(message(f"u{turn}", "hi"), "regenerate-message" if turn == 4 else None)
        log.chunks(*script.write(20))
        if turn < 5:
            log.end()
    return log


@settings(deadline=None)
@given(seed=st.integers(0, 1000), cuts=st.sets(st.integers(0, 200)), overlap=st.integers(0, 5))
def test_a_fold_in_any_slices_is_the_fold_at_once(seed: int, cuts: set[int], overlap: int) -> None:
    log = long_log(seed)
    fold, settled = SessionFold(), SessionFold()
    at = 0
    for cut in [*sorted(cuts), len(log.records)]:
        fold.feed(log.records[max(0, at - overlap) : cut])  # what two callers have read overlaps
        settled.feed(log.records[settled.next_seq_num : cut])
        settled = settled.settled()
        fold.snapshot(include_active=True)
        at = min(cut, len(log.records))
    settled.feed(log.records[settled.next_seq_num :])
    for include_active in (False, True):
        whole = log.snapshot(include_active=include_active)
        assert fold.snapshot(include_active=include_active) == whole
        assert settled.snapshot(include_active=include_active) == whole


def test_a_settled_fold_is_independent() -> None:
    log = chat_of_two()
    fold = SessionFold()
    fold.feed(log.records)
    end = fold.next_seq_num
    log.claim()
    log.user(message("u1", "edited"))
    fold.feed(log.records)
    settled = fold.settled()
    assert (settled.next_seq_num, settled.active, fold.active) == (end, False, True)
    assert short(settled.snapshot()) == ["u1:one", "a1:hello", "u2:two", "a2:there"]
    assert short(fold.snapshot()) == ["u1:edited"]
    settled.feed(log.records)
    assert short(settled.snapshot()) == ["u1:edited"]


def test_a_snapshot_does_not_change_when_the_fold_goes_on() -> None:
    log = Log()
    log.claim()
    log.user(U1)
    chunks = [*said("a1", "x")[:-1], {**CALL, "type": "tool-input-start"}]
    log.chunks(*chunks)
    fold = SessionFold()
    fold.feed(log.records)
    before = fold.snapshot(include_active=True)
    shown = str(before)
    log.chunks({"type": "text-delta", "id": "t", "delta": "more"}, CALL)
    log.end()
    fold.feed(log.records)
    assert str(before) == shown


def test_the_size_is_that_of_what_is_kept() -> None:
    fold = SessionFold()
    assert fold.size_bytes == 0
    log = chat_of_two()
    fold.feed(log.records)
    messages = objects(fold.snapshot()["messages"])
    exact = sum(len(encode_body(item)) for item in messages)
    assert exact <= fold.size_bytes <= exact + 200 * len(messages)
    before = fold.size_bytes
    log.turn(message("u1", "x"), *said("a9", "y"))
    fold.feed(log.records)
    assert fold.size_bytes < before
