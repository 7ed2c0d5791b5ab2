"""Our fold against the readers that people's browsers run: the real AI SDK, versions 5, 6 and 7."""

import random
from collections.abc import Callable, Sequence

import pytest

from perdure.model.records import SequencedRecord
from perdure.resumable.aisdk_history import SessionFold
from perdure.resumable.aisdk_message import MessageFold
from perdure.resumable.aisdk_records import OpenParts
from perdure.resumable.aisdk_seed import ReplayView
from perdure.resumable.aisdk_user import user_record_bodies
from perdure.resumable.json_body import JsonObject, encode_body
from tests.resumable.chunk_scripts import Script
from tests.resumable.stock import VERSIONS, ask_stock_readers, messages_of, objects, sse

SCRIPTS = 400


def fold(chunks: list[JsonObject], base: JsonObject | None = None) -> MessageFold:
    made = MessageFold("", base)
    for chunk in chunks:
        made.feed(chunk)
    return made


def changed(message: JsonObject, change: Callable[[JsonObject], JsonObject]) -> JsonObject:
    return {**message, "parts": [change(dict(part)) for part in objects(message["parts"])]}


def without(part: JsonObject, *keys: str) -> JsonObject:
    return {key: value for key, value in part.items() if key not in keys}


def is_shown(message: JsonObject) -> bool:
    """A message with nothing in it leaves no trace in a history."""
    return any(part["type"] != "step-start" for part in objects(message["parts"]))


def as_version(version: int, part: JsonObject) -> JsonObject:
    """`part` of our fold without what a reader of this version leaves out."""
    is_tool = "toolCallId" in part
    if is_tool and part["state"] == "output-error" and "rawInput" in part and part["type"] != "dynamic-tool":
        # The input of a failed static call stands in `input` for version 7, in `rawInput` for 5 and 6; here in both.
        part = without(part, "rawInput" if version == 7 else "input")
    if version == 5 and is_tool:
        part = without(part, "resultProviderMetadata", "callProviderMetadata")
    if version == 5 and part["type"] == "file":
        part = without(part, "providerMetadata")
    return part


def as_read(version: int, part: JsonObject) -> JsonObject:
    """`part` of a stock reader, to compare; version 5 puts call metadata on some states of a call only."""
    return without(part, "callProviderMetadata") if version == 5 and "toolCallId" in part else part


def ended(part: JsonObject) -> JsonObject:
    """`part` of a message that is complete: a history shows nothing streaming for ever."""
    return part | {"state": "done"} if part["type"] in ("text", "reasoning") else part


@pytest.mark.parametrize("version", VERSIONS)
def test_stock_readers_show_what_our_fold_shows(version: int) -> None:
    scripts = [Script(seed, version).write(4 + seed % 60) for seed in range(SCRIPTS)]
    cases: list[JsonObject] = [{"kind": "read", "version": version, "chunks": list(chunks)} for chunks in scripts]
    for chunks, stock in zip(scripts, ask_stock_readers(cases), strict=True):
        assert stock["errors"] == [], "the script is not valid for this version"
        ours = [changed(message, lambda part: as_version(version, part)) for message in fold(chunks).messages()]
        theirs = [changed(message, lambda part: as_read(version, part)) for message in messages_of(stock)]
        theirs = [*(changed(message, ended) for message in theirs[:-1]), theirs[-1]]
        assert ours == [message for message in theirs if is_shown(message)], chunks


# --- whole chats ---

FENCE = ((b"", b"fence"),)
U1: JsonObject = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}


class Log:
    """A session stream, generation by generation."""

    def __init__(self) -> None:
        self.records: list[SequencedRecord] = []

    def add(self, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self.records.append(SequencedRecord(len(self.records), 0, body, headers))

    def generation(
        self, chunks: Sequence[JsonObject], user: JsonObject | None = None, *, ended: bool = True
    ) -> list[bytes]:
        """Write one generation; gives the bodies of its data records."""
        self.add(b"session-AAAAAAAAAAA=", FENCE)
        bodies = [*(user_record_bodies(user) if user else ()), *map(encode_body, chunks)]
        for body in bodies:
            self.add(body)
        if ended:
            self.add(b"end-AAAAAA==", FENCE)
        return bodies

    def history(self) -> list[JsonObject]:
        """The messages of the session."""
        fold = SessionFold()
        fold.feed(self.records)
        return objects(fold.snapshot()["messages"])


def resumed(bodies: Sequence[bytes]) -> str:
    """The body that answers a resume."""
    view, frames = ReplayView(seed=True), list[bytes]()
    for body in bodies:
        shown = view.show(body)
        frames += [body] if shown.send else []
        frames += shown.seed
    return sse(frames)


def finished(version: int, message: JsonObject) -> JsonObject:
    """A message of our history as a stock client holds it: what it leaves streaming is done in a history."""
    return changed(message, lambda part: as_version(version, ended(part)))


def held(version: int, message: JsonObject) -> JsonObject:
    """A message of a stock client, to compare."""
    return changed(message, lambda part: as_read(version, ended(part)))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_turn_watched_live_reads_the_same_in_the_history(version: int) -> None:
    cases: list[JsonObject] = []
    histories = []
    for seed in range(60):
        script = Script(seed, version)
        script.restart = lambda: None  # type: ignore[method-assign]  # a POST keeps all chunks in one message
        chunks = script.write(30)
        log = Log()
        log.generation(chunks, U1)
        histories.append(log.history())
        op: JsonObject = {"id": "u1", "role": "user", "parts": U1["parts"]}
        cases.append({"kind": "chat", "version": version, "messages": [], "op": op, "sse": sse(chunks)})
    for history, stock in zip(histories, ask_stock_readers(cases), strict=True):
        assert stock["status"] == "ready", stock
        shown = [held(version, m) for m in messages_of(stock) if is_shown(m)]
        assert [finished(version, m) for m in history] == shown


@pytest.mark.parametrize("version", VERSIONS)
def test_history_and_resume_show_one_copy_of_an_answer(version: int) -> None:
    """A page load in the middle of an answer: the history first, then the resume."""
    cases: list[JsonObject] = []
    histories = []
    for seed in range(60):
        script = Script(seed, version)
        script.restart = lambda: None  # type: ignore[method-assign]  # one message for each generation
        log = Log()
        log.generation([{"type": "start", "messageId": "m0"}, {"type": "data-x", "data": 1}], U1)
        bodies = log.generation(script.write(30), {"id": "u2", "role": "user", "parts": U1["parts"]}, ended=False)
        before = log.history()
        assert [message["id"] for message in before] == ["u1", "m0", "u2"]
        log.add(b"end-AAAAAA==", FENCE)
        histories.append(log.history())
        case: JsonObject = {"kind": "chat", "version": version, "op": "resume", "sse": resumed(bodies)}
        cases.append({**case, "messages": list(before)})
    for history, stock in zip(histories, ask_stock_readers(cases), strict=True):
        assert stock["status"] == "ready", stock
        shown = [held(version, m) for m in messages_of(stock) if is_shown(m)]
        assert [finished(version, m) for m in history] == shown


def answered(rng: random.Random, version: int, message: JsonObject) -> JsonObject:
    """`message` as the client posts it back: calls answered, approvals given."""

    def answer(part: JsonObject) -> JsonObject:
        if "toolCallId" not in part:
            return part
        if part["state"] == "input-available" and rng.random() < 0.7:
            return part | {"state": "output-available", "output": {"n": 1}}
        if part["state"] == "approval-requested" and isinstance(approval := part["approval"], dict):
            return part | {"state": "approval-responded", "approval": {**approval, "approved": True}}
        return part

    return changed(message, answer)


def rebuilt(part: JsonObject) -> JsonObject:
    """What a seed cannot say, left out: answers to approvals (only version 7 has a chunk for them), the ids that
    reasoning parts of some other client may lack, and the text that an input was parsed from."""
    if part.get("state") == "output-error" and "input" not in part and "rawInput" in part:
        part["input"] = part["rawInput"]  # where versions 5 and 6 keep it at first
    part = without(part, "rawInput")
    if isinstance(approval := part.get("approval"), dict):
        part["approval"] = {key: value for key, value in approval.items() if key not in ("approved", "reason")}
    if part.get("state") == "approval-responded":
        part["state"] = "approval-requested"
    return part


@pytest.mark.parametrize("version", VERSIONS)
def test_a_resumed_continuation_keeps_the_earlier_parts(version: int) -> None:
    cases: list[JsonObject] = []
    expected = []
    for seed in range(150):
        rng = random.Random(seed)
        script = Script(seed, version, message_id="a1")
        script.restart = lambda: None  # type: ignore[method-assign]  # one message for each generation
        log = Log()
        log.generation(script.write(25), U1)
        made = log.history()[1:]
        if not made:
            continue  # the script took back all that it wrote
        base = answered(rng, version, made[0])
        if version == 5 and any(part.get("state") == "input-streaming" for part in objects(base["parts"])):
            continue  # such a message is not rebuilt from nothing by version 5, so it would get its parts twice
        more = Script(seed + 1000, version, message_id="a1", base=base)
        more.restart = lambda: None  # type: ignore[method-assign]
        more.reset_step = lambda: None  # type: ignore[method-assign]  # would take parts of the base with it
        bodies = log.generation(more.write(20), base, ended=False)
        before = log.history()
        assert before == [U1, base]
        log.add(b"end-AAAAAA==", FENCE)
        expected.append((log.history(), objects(base["parts"])))
        case: JsonObject = {"kind": "chat", "version": version, "op": "resume", "sse": resumed(bodies)}
        cases.append({**case, "messages": list(before)})
    for (history, base_parts), stock in zip(expected, ask_stock_readers(cases), strict=True):
        assert stock["status"] == "ready", stock
        theirs = messages_of(stock)
        assert [m["id"] for m in theirs] == ["u1", "a1"]
        ours, read = changed(finished(version, history[1]), rebuilt), changed(held(version, theirs[1]), rebuilt)
        assert objects(ours["parts"]) == objects(read["parts"])
        assert ours == read
        answered_calls = {
            part["toolCallId"]
            for part in base_parts
            if "toolCallId" in part and part["state"] not in ("input-available", "input-streaming")
        }
        called_again = stock["toolCalls"]
        assert isinstance(called_again, list)
        assert not answered_calls & set(map(str, called_again)), "an answered call must not run again"


@pytest.mark.parametrize("version", VERSIONS)
def test_without_a_seed_the_earlier_parts_would_vanish(version: int) -> None:
    """The reason for the seed; when this fails, stock clients have learned better."""
    base: JsonObject = {"id": "a1", "role": "assistant", "parts": [{"type": "text", "text": "x", "state": "done"}]}
    chunks: list[JsonObject] = [{"type": "start", "messageId": "a1"}, {"type": "data-y", "data": 1}]
    case: JsonObject = {"kind": "chat", "version": version, "op": "resume", "sse": sse(chunks)}
    (stock,) = ask_stock_readers([{**case, "messages": [U1, base]}])
    assert [part["type"] for part in objects(messages_of(stock)[1]["parts"])] == ["data-y"]


@pytest.mark.parametrize("version", VERSIONS)
def test_stock_clients_accept_a_stopped_generation_cut_anywhere(version: int) -> None:
    cases: list[JsonObject] = []
    for seed in range(40):
        chunks = Script(seed, version).write(40)
        cut = chunks[: 1 + seed * len(chunks) // 40]
        parts = OpenParts()
        for chunk in cut:
            parts.feed(chunk)
        body = sse([*cut, *parts.closing_chunks()])
        # As a resume, which forgets open parts at a new message, and as a POST.
        cases.append({"kind": "chat", "version": version, "messages": [U1], "op": "resume", "sse": body})
        cases.append({"kind": "chat", "version": version, "messages": [], "op": {"text": "hi"}, "sse": body})
    for case, stock in zip(cases, ask_stock_readers(cases), strict=True):
        assert stock["status"] == "ready", (stock["error"], case)


@pytest.mark.parametrize("version", VERSIONS)
def test_user_records_change_nothing_in_a_stock_client(version: int) -> None:
    """A JavaScript service on the same stream sends them."""
    record = user_record_bodies(U1)[0]
    case: JsonObject = {"kind": "chat", "version": version, "messages": [U1], "op": "resume"}
    alone, first = ask_stock_readers(
        [{**case, "sse": sse([record])}, {**case, "sse": sse([record, {"type": "start", "messageId": "m"}])}]
    )
    assert alone["status"] == first["status"] == "ready"
    assert alone["messages"] == [U1]
    assert [part["type"] for part in objects(first["data"])] == ["data-perdure-user"]
