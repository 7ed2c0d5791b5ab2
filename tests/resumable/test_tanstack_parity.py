"""The fold of logs to UI messages, beside the client's own `StreamProcessor`, on any conversation.

The conversations are such that the processor itself shows what it should: where it is known not to, the fold differs on
purpose, and other tests say how. Such places are text that goes on in a message after a thought, a result or a widget
(the processor repeats what stood before), events about a tool call before its end or before any message, approvals of
calls that are not in the last message, and turns that it has not been told of. An older one takes a run that ends with
tool calls for over.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from perdure.model.records import AppendRecord, SequencedRecord
from perdure.resumable.json_body import encode_body
from perdure.resumable.tanstack_fold import MessagesFold
from perdure.resumable.tanstack_history import SessionFold
from perdure.resumable.tanstack_records import snapshot_event
from tests.resumable.chats import HOLDER
from tests.resumable.tanstack_scripts import (
    Event,
    echo,
    run_error,
    run_finished,
    run_started,
    text_content,
    text_end,
    text_start,
    thought,
    tool_args,
    tool_end,
    tool_result,
    tool_start,
)

NPM: Final = Path(__file__).parents[1] / "npm"
SCRIPT: Final = Path(__file__).with_name("tanstack_readers.mjs")
TURN: Final[Event] = {"type": "--turn"}
"""What the tab does that sends: it tells its processor that a turn begins."""
NEVER_REPEATS: Final = ("TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END")


def processed(version: str, cases: Sequence[Sequence[Any]]) -> list[list[Event]]:
    """The messages that the client's own fold makes of each case."""
    assert (NPM / "node_modules" / "@tanstack" / "ai").is_dir(), "the stock clients are missing: run `make test`"
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node")
    assert node is not None, "there is no Node.js: run `make test`"
    run = subprocess.run(
        [node, "--input-type=module", "--eval", SCRIPT.read_text()],
        input="".join(json.dumps({"version": version, "chunks": case}) + "\n" for case in cases),
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=NPM,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    results = [json.loads(line) for line in run.stdout.split("\n") if line]
    assert len(results) == len(cases)
    assert [result for result in results if "crashed" in result] == []
    return [shown(result["messages"]) for result in results]


def shown(messages: Sequence[Any]) -> list[Event]:
    """Messages without what only one side has: ids that each makes up, times of arrival, and empty ones."""
    found = [
        {key: value for key, value in made.items() if key not in ("createdAt", "metadata")}
        for made in messages
        if made["parts"]
    ]
    for number, made in enumerate(found):
        if made["id"].startswith("msg-"):
            made["id"] = f"made-up-{number}"
    return found


def folded(events: Sequence[Event]) -> list[Event]:
    fold = MessagesFold()
    for number, event in enumerate(events):
        if event == TURN:
            fold.end_generation()
        else:
            fold.feed(event, number)
    return shown(cast("list[Any]", json.loads(encode_body([*fold.messages()]))))


class Conversation:
    """Draws a conversation event by event."""

    def __init__(self, draw: st.DrawFn, *, old: bool) -> None:
        self.draw = draw
        self.old = old
        self.events: list[Event] = []
        self.messages: list[str] = []
        self.may_go_on: set[str] = set()
        self.open_calls: list[str] = []
        self.ended_calls: list[str] = []
        self.count = 0

    def new_id(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def one_of(self, *values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def add(self, *events: Event) -> None:
        self.events += events
        if events[-1]["type"] not in (*NEVER_REPEATS, "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"):
            self.may_go_on.clear()

    def turn(self, number: int) -> None:
        self.messages, self.open_calls, self.ended_calls = [], [], []
        self.events.append(TURN)
        if self.draw(st.booleans()):
            self.events += echo(self.one_of("hi", ""), self.new_id("u"))
        run = f"r{number}"
        self.add(run_started(run))
        steps = [self.text, self.text, self.start_text, self.call, self.go_on_with_call]
        if not self.old:
            steps += [self.think, self.result, self.add_custom]
        for _ in range(self.draw(st.integers(0, 8))):
            self.one_of(*steps)()
        self.end(run)

    def start_text(self) -> None:
        message = self.new_id("a")
        self.messages.append(message)
        self.may_go_on.add(message)
        self.add(text_start(message))

    def text(self) -> None:
        going_on = [message for message in self.messages if message in self.may_go_on]
        if going_on:
            self.add(text_content(self.one_of("x", "y ", "\n", "\u2028„ä“"), self.one_of(*going_on)))
            if self.draw(st.booleans()):
                self.add(text_end(going_on[-1]))

    def call(self) -> None:
        if self.old and not self.messages:
            return
        call = self.new_id("c")
        more: Event = {"parentMessageId": self.one_of(*self.messages)} if self.messages else {}
        if self.draw(st.booleans()) and not self.old:
            more["metadata"] = {"signature": "s"}
        self.open_calls.append(call)
        self.may_go_on.clear()  # the next text of the message is announced
        self.add(tool_start(call, **more))

    def go_on_with_call(self) -> None:
        if not self.open_calls:
            return
        call = self.open_calls[-1]
        if self.draw(st.booleans()):
            self.add(tool_args(self.one_of('{"a":', "1}", "{}", '"'), call))
        else:
            more: Event = {} if self.old or self.draw(st.booleans()) else {"input": {"q": 1}}
            self.open_calls.remove(call)
            self.ended_calls.append(call)
            self.add(tool_end(call, **more))

    def think(self) -> None:
        match self.one_of("step", "thought", "thought", "signed"):
            case "step":
                self.add({"type": "STEP_STARTED", "stepName": self.one_of("s1", "s2")})
            case "thought":
                self.add(thought(self.one_of("h", "m"), self.one_of("th1", "th2")))
            case _ if self.messages:
                self.add({"type": "STEP_FINISHED", "stepName": "s1", "signature": "sig"})

    def result(self) -> None:
        if self.ended_calls:
            more: Event = {"state": "output-error"} if self.draw(st.booleans()) else {}
            content = self.one_of('{"ok":true}', "plain", '{"error":"bad"}', '""', "[1]")
            self.add(tool_result(content, self.one_of(*self.ended_calls), **more))

    def add_custom(self) -> None:
        if not self.ended_calls:
            return
        call = self.ended_calls[-1]
        value: Event
        match self.one_of("approval", "widget", "secret"):
            case "approval" if len(self.messages) > 1:
                pass
            case "approval":
                value = {"toolCallId": call, "toolName": "weather", "input": {}, "approval": {"id": "ap"}}
                self.add({"type": "CUSTOM", "name": "approval-requested", "value": value})
            case "widget":
                value = {"toolCallId": call, "toolName": "weather", "resource": {"uri": "ui://x"}}
                self.add({"type": "CUSTOM", "name": "ui-resource", "value": value})
            case _:
                value = {"subtype": "tool-call", "entityId": call, "encryptedValue": "E"}
                self.add({"type": "REASONING_ENCRYPTED_VALUE", **value})

    def end(self, run: str) -> None:
        match self.one_of("finish", "finish", "tools", "interrupt", "error", "open"):
            case "finish":
                self.add(run_finished(run))
            case "tools" if not self.old:
                self.add(run_finished(run, "tool_calls"))
            case "interrupt" if self.ended_calls and len(self.messages) < 2 and not self.old:
                interrupts = [{"id": "i1", "reason": "approval_required", "toolCallId": self.ended_calls[-1]}]
                self.add(run_finished(run, outcome={"type": "interrupt", "interrupts": interrupts}))
            case "error" if self.messages:
                self.add(run_error("failed"))


@st.composite
def conversations(draw: st.DrawFn, *, old: bool = False) -> list[Event]:
    conversation = Conversation(draw, old=old)
    for number in range(draw(st.integers(1, 3))):
        conversation.turn(number)
    return conversation.events


# Each example is a run of Node.js over many conversations, so nothing is made smaller: the first to differ is told.
many = settings(
    max_examples=12, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck)
)


@many
@given(st.lists(conversations(), min_size=10, max_size=25))
def test_the_fold_shows_what_the_newest_client_shows(cases: list[list[Event]]) -> None:
    for case, theirs in zip(cases, processed("new", cases), strict=True):
        assert folded(case) == theirs, case


@many
@given(st.lists(conversations(old=True), min_size=10, max_size=25))
def test_the_fold_shows_what_older_clients_show(cases: list[list[Event]]) -> None:
    for case, theirs in zip(cases, processed("old", cases), strict=True):
        mine = folded(case)
        for made in mine:
            for part in made["parts"]:
                part.pop("input", None)  # older parts have the arguments only
        assert mine == theirs, case


@many
@given(st.lists(conversations(), min_size=10, max_size=25), st.booleans())
def test_a_page_that_is_loaded_shows_what_a_page_shows_that_was_there(cases: list[list[Event]], ended: bool) -> None:
    """A stock page that gets the snapshot, and then the run that is active, has the messages of the log."""
    opened, expected = [], []
    for case in cases:
        log = log_of(case, ended=ended)
        fold = SessionFold()
        fold.feed(log)
        opening = fold.opening()
        if any(all(part["type"] == "thinking" for part in cast("list[Event]", m["parts"])) for m in opening.messages):
            continue  # taken for the beginning of the message that follows
        live = [json.loads(record.body) for record in log[opening.live_from :] if record.command is None]
        opened.append([snapshot_event(opening.messages, 1), *live])
        everything = MessagesFold()
        for record in log:
            if record.command is None:
                everything.feed(json.loads(record.body), record.seq_num)
            else:
                everything.end_generation()
        expected.append(shown(json.loads(encode_body([*everything.messages()]))))
    for version in ("new", "old"):
        for case, theirs, mine in zip(opened, processed(version, opened), expected, strict=True):
            if version == "new" or len(case) == 1:  # an old one does not know all events that may be live
                assert theirs == mine, case


def log_of(case: list[Event], *, ended: bool) -> list[SequencedRecord]:
    """A conversation as the generations of a log; the last one is over if `ended`."""
    records: list[AppendRecord] = []
    for event in case:
        if event == TURN:
            records += [AppendRecord.fence("end-AAAA")] if records else []
            records.append(AppendRecord.fence(f"{HOLDER}.{len(records)}"))
        else:
            records.append(AppendRecord(encode_body(event)))
    if ended:
        records.append(AppendRecord.fence("end-AAAA"))
    return [SequencedRecord(number, 0, one.body, one.headers) for number, one in enumerate(records)]


def test_the_known_difference_after_a_thought_is_still_one() -> None:
    """Once the processor no longer repeats text, conversations need not avoid that any more."""
    events = [TURN, run_started(), text_start(), text_content("A"), thought("hm"), text_content("B"), run_finished()]
    (theirs,) = processed("new", [events])
    assert [part["content"] for part in theirs[0]["parts"]] == ["A", "hm", "AB"]
    assert [part["content"] for part in folded(events)[0]["parts"]] == ["A", "hm", "B"]
