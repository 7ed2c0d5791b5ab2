"""Random chunk sequences that the stock readers of a given AI SDK version accept."""

import random
from collections.abc import Callable

from perdure.resumable.json_body import JsonObject, JsonValue

_CITED: JsonObject = {"type": "source", "sourceType": "url", "id": "s1", "url": "https://x"}
_WORDS = ["Hello", " wörld", "\u2028", "😀", "", "<b>", "\n"]


def _tool(call_id: str) -> str:
    """Each call keeps its tool: version 5 does not rename a part."""
    return "search" if call_id[-1] in "02468" else "get-weather"


class Script:
    """Writes one generation. What it knows of the state is just what keeps the chunks valid."""

    def __init__(self, seed: int, version: int, *, message_id: str = "m1", base: JsonObject | None = None) -> None:
        self.rng = random.Random(seed)
        self.version = version
        self.chunks: list[JsonObject] = []
        self.names = 0
        self.texts: dict[tuple[str, str], int] = {}
        """Open parts, and the step that they began in."""
        self.calls: dict[str, tuple[bool, str]] = {}
        """Tool calls of the message: whether dynamic, and their state."""
        self.streaming: set[str] = set()
        self.step_calls: set[str] = set()
        """Calls made since the last step began."""
        self.approvals: dict[str, str] = {}
        self.steps = 0
        self.message_id = message_id
        if base is not None:
            self._know(base)

    def write(self, length: int) -> list[JsonObject]:
        """A generation with about `length` chunks."""
        self.add("start", messageId=self.message_id, **self.maybe(messageMetadata=self.metadata()))
        actions = self.actions()
        for _ in range(length):
            self.rng.choice(actions)()
        # With metadata, because the stock readers show a trailing step only once something else changes.
        self.add("finish", **self.maybe(finishReason="stop"), messageMetadata=self.metadata())
        return self.chunks

    def actions(self) -> list[Callable[[], None]]:
        """What may happen, likely things more often."""
        common = [self.text_start, self.text_delta, self.text_delta, self.text_delta, self.text_end, self.data]
        common += [self.start_step, self.finish_step, self.tool_input_start, self.tool_delta, self.tool_delta]
        common += [self.tool_available, self.tool_available, self.tool_output, self.tool_output, self.part]
        common += [self.tool_output_error, self.tool_input_error, self.message_metadata, self.restart]
        if self.version >= 6:
            common += [self.approval_request, self.denied]
        if self.version >= 7:
            common += [self.approval_response, self.reset_step, self.later_part]
        return common

    # --- ingredients ---

    def add(self, kind: str, /, **fields: JsonValue) -> None:
        self.chunks.append({"type": kind, **fields})

    def maybe(self, **fields: JsonValue) -> JsonObject:
        return {key: value for key, value in fields.items() if self.rng.random() < 0.4}

    def name(self, prefix: str) -> str:
        self.names += 1
        return f"{prefix}{self.names}"

    def provider(self) -> JsonObject:
        return self.maybe(providerMetadata={"p": {"k": self.rng.randrange(9)}})

    def value(self) -> JsonValue:
        values: list[JsonValue] = [None, 1, "x", [1, {"a": None}], {"b": {"c": "é"}}, {}, False]
        return self.rng.choice(values)

    def metadata(self) -> JsonValue:
        values: list[JsonValue] = [{"a": 1}, {"a": {"b": 1}}, {"a": {"c": [1]}, "n": None}, {"b": "x"}]
        values.append({"a": {"b": {"d": 2}}})
        return self.rng.choice(values)

    # --- text, parts, steps ---

    def text_start(self) -> None:
        kind = self.rng.choice(["text", "reasoning"])
        text_id = self.rng.choice(["0", self.name("t")])
        self.texts[kind, text_id] = self.steps
        self.add(f"{kind}-start", id=text_id, **self.provider())

    def text_delta(self) -> None:
        if self.texts:
            kind, text_id = self.rng.choice(list(self.texts))
            self.add(f"{kind}-delta", id=text_id, delta=self.rng.choice(_WORDS), **self.provider())

    def text_end(self) -> None:
        if self.texts:
            kind, text_id = self.rng.choice(list(self.texts))
            del self.texts[kind, text_id]
            citations: JsonValue = [{"source": dict(_CITED), "startIndex": 0, "endIndex": 1}]
            extra = self.maybe(citations=citations) if self.version == 7 and kind == "text" else {}
            self.add(f"{kind}-end", id=text_id, **self.provider(), **extra)

    def start_step(self) -> None:
        self.steps += 1
        self.step_calls.clear()
        self.add("start-step")

    def finish_step(self) -> None:
        if self.version < 7:
            self.texts.clear()
        self.add("finish-step")

    def reset_step(self) -> None:
        for call_id in self.step_calls:
            self.calls.pop(call_id, None)
        self.approvals = {a: call_id for a, call_id in self.approvals.items() if call_id in self.calls}
        self.step_calls.clear()
        self.streaming.clear()
        self.texts.clear()
        self.add("reset-step")

    def data(self) -> None:
        kind = self.rng.choice(["data-weather", "data-x-y"])
        extra: JsonObject = {"transient": True} if self.rng.random() < 0.2 else {}
        self.add(kind, data=self.value(), **self.maybe(id=self.rng.choice(["d1", "d2"])), **extra)

    def part(self) -> None:
        match self.rng.randrange(3):
            case 0:
                self.add("file", url="data:,x", mediaType="text/plain", **self.provider())
            case 1:
                self.add("source-url", sourceId="s", url="https://x", **self.maybe(title="T"), **self.provider())
            case _:
                extra = self.maybe(filename="f") | self.provider()
                self.add("source-document", sourceId="s", mediaType="a/b", title="", **extra)

    def later_part(self) -> None:
        match self.rng.randrange(3):
            case 0:
                self.add("custom", kind="a.b", **self.provider())
            case 1:
                self.add("reasoning-file", url="data:,y", mediaType="image/png", **self.provider())
            case _:
                self.add("steering-message", id=self.name("s"), parts=[{"type": "text", "text": "go"}])

    def message_metadata(self) -> None:
        self.add("message-metadata", messageMetadata=self.metadata())

    def restart(self) -> None:
        """Merged streams say `start` again; rarely one begins another message."""
        if self.rng.random() < 0.8:
            self.add("start", **self.maybe(messageId=self.message_id), **self.maybe(messageMetadata=self.metadata()))
            return
        for kind, text_id in self.texts:
            self.add(f"{kind}-end", id=text_id)
        self.texts.clear()
        self.add("data-end", data=1)  # a message with nothing in it leaves no trace in a history
        self.message_id = self.name("m-new-")
        self.calls.clear()
        self.streaming.clear()
        self.step_calls.clear()
        self.approvals.clear()
        self.add("start", messageId=self.message_id, **self.maybe(messageMetadata=self.metadata()))

    # --- tools ---

    def of_the_call(self) -> JsonObject:
        fields = self.maybe(providerExecuted=self.rng.random() < 0.5)
        if self.version >= 6:
            fields |= self.provider() | self.maybe(title=self.rng.choice(["A", "B"]), toolMetadata={"m": 1})
        return fields

    def result_fields(self, dynamic: bool) -> JsonObject:
        """Version 5 needs `dynamic` on results, and keeps no `providerExecuted` of dynamic ones."""
        if self.version == 5:
            return {"dynamic": True} if dynamic else self.maybe(providerExecuted=True)
        return self.maybe(dynamic=dynamic, providerExecuted=True, toolMetadata={"m": 2}) | self.provider()

    def _pick(self, *states: str) -> tuple[str, bool] | None:
        found = [(call_id, dynamic) for call_id, (dynamic, state) in self.calls.items() if state in states]
        return self.rng.choice(found) if found else None

    def _new_call(self, state: str) -> tuple[str, bool]:
        call_id, dynamic = self.name("c"), self.rng.random() < 0.4
        self.calls[call_id] = (dynamic, state)
        self.step_calls.add(call_id)
        return call_id, dynamic

    def _set(self, call_id: str, state: str) -> None:
        self.calls[call_id] = (self.calls[call_id][0], state)

    def tool_input_start(self) -> None:
        call_id, dynamic = self._new_call("input-streaming")
        self.streaming.add(call_id)
        extra = self.maybe(inputEncoding=self.rng.choice(["json", "text"])) if self.version >= 6 else {}
        self.add(
            "tool-input-start",
            toolCallId=call_id,
            toolName=_tool(call_id),
            **({"dynamic": True} if dynamic else {}),
            **self.of_the_call(),
            **extra,
        )

    def tool_delta(self) -> None:
        # Only in the step of the call: readers of dynamic parts lose `rawInput` for one delta in the next step.
        open_here = sorted(self.streaming & self.step_calls)
        if open_here:
            pieces = ['{"a":', "1", ',"b":"x', '"}', "[", "tr", "e9", " "]
            if self.version >= 6:  # version 5 shows nothing at all while an escape is cut
                pieces.append("\\u00")
            piece = self.rng.choice(pieces)
            self.add("tool-input-delta", toolCallId=self.rng.choice(open_here), inputTextDelta=piece)

    def tool_available(self) -> None:
        picked = self._pick("input-streaming") if self.rng.random() < 0.5 else None
        picked = picked or self._new_call("input-available")
        call_id, dynamic = picked
        self._set(call_id, "input-available")
        self.streaming.discard(call_id)
        self.step_calls.add(call_id)
        self.add(
            "tool-input-available",
            toolCallId=call_id,
            toolName=_tool(call_id),
            input=self.value(),
            **({"dynamic": True} if dynamic else {}),
            **self.of_the_call(),
        )

    def tool_input_error(self) -> None:
        call_id, dynamic = self._new_call("input-error")
        self.add(
            "tool-input-error",
            toolCallId=call_id,
            toolName=_tool(call_id),
            input=self.value(),
            errorText="bad",
            **({"dynamic": True} if dynamic else {}),
            **{key: value for key, value in self.of_the_call().items() if key != "title"},
        )

    def tool_output(self) -> None:
        picked = self._pick("input-available", "input-streaming", "approval-responded", "preliminary")
        if picked:
            call_id, dynamic = picked
            preliminary = self.maybe(preliminary=True)
            self._set(call_id, "preliminary" if preliminary else "output")
            self.streaming.discard(call_id)
            extra = preliminary | self.result_fields(dynamic)
            self.add("tool-output-available", toolCallId=call_id, output=self.value(), **extra)

    def tool_output_error(self) -> None:
        picked = self._pick("input-available", "preliminary")
        if picked:
            call_id, dynamic = picked
            self._set(call_id, "output")
            extra = self.result_fields(dynamic)
            self.add("tool-output-error", toolCallId=call_id, errorText="failed", **extra)

    def approval_request(self) -> None:
        picked = self._pick("input-available")
        if picked:
            call_id, _ = picked
            self._set(call_id, "approval-requested")
            approval_id = self.name("a")
            self.approvals[approval_id] = call_id
            extra = self.maybe(signature="s", inputSchemaInput=None, approvalDescriptor={"d": 1})
            if self.version == 7:
                extra |= self.maybe(reason="why", isAutomatic=self.rng.random() < 0.5)
            self.add("tool-approval-request", toolCallId=call_id, approvalId=approval_id, **extra)

    def approval_response(self) -> None:
        if self.approvals:
            approval_id, call_id = self.rng.choice(list(self.approvals.items()))
            del self.approvals[approval_id]
            self._set(call_id, "approval-responded")
            extra = self.maybe(reason="because", providerExecuted=True) | self.provider()
            self.add("tool-approval-response", approvalId=approval_id, approved=self.rng.random() < 0.5, **extra)

    def denied(self) -> None:
        picked = self._pick("approval-responded")
        if picked:
            self._set(picked[0], "output")
            self.add("tool-output-denied", toolCallId=picked[0])

    def _know(self, base: JsonObject) -> None:
        """Take over the calls of the message that is continued."""
        parts = base["parts"]
        assert isinstance(parts, list)
        for part in parts:
            assert isinstance(part, dict)
            if "toolCallId" in part:
                dynamic, state = part["type"] == "dynamic-tool", str(part["state"])
                known = state if state in ("input-available", "approval-responded") else "other"
                self.calls[str(part["toolCallId"])] = (dynamic, known)
        self.names = 1000
