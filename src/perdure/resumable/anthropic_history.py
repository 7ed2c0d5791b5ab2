"""A log of Anthropic events folded to the turns of its chat.

Operations: `feed` records in order, in any slices; `snapshot` what they amount to; `settled` to keep a fold between
calls. Work is linear in the log. A turn begins with a `user_message` and gets the first whole message that follows, or
the error; a message that is still arriving is nowhere yet, and the cursor stays in front of it, so that a replay from
there delivers all of it. How a turn ended is told also when it has an answer already, as in a tool loop that failed
or was stopped after its first message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NotRequired, TypedDict

from msgspec import Struct
from msgspec.structs import replace

from ..model.records import CommandKind, SequencedRecord
from . import tokens
from .anthropic_conversation import END, Answer, ToolResult, UserText, Utterance
from .anthropic_message import RAW_EVENT_TYPES, MessageFold
from .anthropic_records import API_ERROR, TOOL_RESULT_TYPE, USER_MESSAGE_TYPE
from .json_body import JsonObject, JsonValue, encode_body, parse_object

UNKNOWN_ERROR: Final = "unknown"

_GOES_ON: Final = frozenset({"tool_use", "pause_turn"})
"""Why a message ended that the answer was to go on after."""


class TurnError(TypedDict):
    """Why a turn has no answer: `type` and `message` of the stored `error` event."""

    type: str
    message: str


class Turn(TypedDict):
    """What the user said, and what came of it.

    `assistant` is the first whole message of the answer. `error` tells that the generation failed, before that message
    was whole or later in a tool loop; `partial` is then what there was of the message that broke off, if partial
    messages were asked for. `stopped` is present, and true, if the answer was stopped: its last message ends where it
    was stopped, and `assistant` is absent if nothing was said till then. Since the API refuses what was cut off, take
    the `conversation` of the chat for the next request.
    """

    user: str
    assistant: NotRequired[JsonObject]
    error: NotRequired[TurnError]
    stopped: NotRequired[bool]
    partial: NotRequired[JsonObject]


class History(TypedDict):
    """A chat as its log tells it, ready to be sent as JSON.

    `messages` are all whole messages of the assistant, in order: those of a tool loop too, of which a turn has the
    first only, and those whose user text another store keeps. `nextSeqNum` is where a replay goes on without a gap.
    """

    turns: list[Turn]
    messages: list[JsonObject]
    nextSeqNum: int


class _TurnState(Struct, frozen=True, gc=False):
    user: str
    assistant: JsonObject | None = None
    error: TurnError | None = None
    stopped: bool = False
    partial: JsonObject | None = None

    @property
    def is_open(self) -> bool:
        """Whether the turn still waits for its answer."""
        return self.assistant is None and self.error is None

    def shown(self, *, partials: bool) -> Turn:
        turn: Turn = {"user": self.user}
        if self.assistant is not None:
            turn["assistant"] = self.assistant
        if self.error is not None:
            turn["error"] = self.error
        if self.stopped:
            turn["stopped"] = True
        if partials and self.partial is not None:
            turn["partial"] = self.partial
        return turn


class _Settled(Struct, frozen=True, gc=False):
    """Where a fold was after a terminal fence: the lists only grow, but for the last turn."""

    seen_seq: int = 0
    next_seq_num: int = 0
    turns: int = 0
    last_turn: _TurnState | None = None
    messages: int = 0
    said: int = 0
    size_bytes: int = 0


class TurnsFold:
    """Records of one stream in, from its first one on; the history out.

    The fold may be kept: feed it what came since. A record that it has seen is passed over. Start anew when the stream
    has lost its first records, or was deleted. What it hands out is shared with it, so nobody may change that.
    """

    def __init__(self) -> None:
        self.generating: bool = False
        """Whether the last fence began a generation."""
        self._seen_seq = 0
        self._next_seq_num = 0
        self._turns: list[_TurnState] = []
        self._messages: list[JsonObject] = []
        self._said: list[Utterance] = []
        self._ended_said = 0
        self._message = MessageFold()
        self._speaks_to_turn = False
        """Whether this generation has begun the last turn, or a message of it: its end is then the turn's."""
        self._goes_on = False
        """Whether the answer was to go on after its last whole message."""
        self._size_bytes = 0
        self._settled = _Settled()

    @property
    def is_settled(self) -> bool:
        """Whether the last record was a terminal fence, so that nothing is half told."""
        return self._settled.seen_seq == self._seen_seq

    @property
    def size_bytes(self) -> int:
        """About how much memory the fold keeps, measured as JSON."""
        return self._size_bytes

    def feed(self, records: Iterable[SequencedRecord]) -> None:
        """Take the next records."""
        for record in records:
            if record.seq_num >= self._seen_seq:
                self._seen_seq = record.seq_num + 1
                self._feed(record)

    def snapshot(self, *, partials: bool = False) -> History:
        """What the records amount to; with what there was of failed answers, if `partials`."""
        return {
            "turns": [turn.shown(partials=partials) for turn in self._turns],
            "messages": list(self._messages),
            "nextSeqNum": self._next_seq_num,
        }

    def said(self) -> Sequence[Utterance]:
        """What was said in the generations that are over."""
        return self._said[: self._ended_said]

    def settled(self) -> TurnsFold:
        """A fold that stands where this one stood after the last terminal fence; the two go on independently."""
        was = self._settled
        fold = TurnsFold()
        fold._settled = was
        fold._seen_seq, fold._next_seq_num, fold._size_bytes = was.seen_seq, was.next_seq_num, was.size_bytes
        fold._messages = self._messages[: was.messages]
        fold._said, fold._ended_said = self._said[: was.said], was.said
        if was.last_turn is not None:
            fold._turns = [*self._turns[: was.turns - 1], was.last_turn]
        return fold

    def _feed(self, record: SequencedRecord) -> None:
        command = record.command
        if command is CommandKind.FENCE:
            self._fence(record.text)
        elif command is None and record.body and (event := parse_object(record.body)) is not None:
            self._event(event, record)

    def _fence(self, token: str) -> None:
        kind = tokens.kind_of(token)
        self.generating = not kind.is_terminal
        turn = self._turns[-1] if self._turns else None
        if kind is tokens.FenceKind.ERROR:
            self._keep_partial()
        elif kind is tokens.FenceKind.STOP and turn is not None and (turn.is_open or self._goes_on):
            self._turns[-1] = replace(turn, stopped=True)
        self._said.append(END)
        self._ended_said = len(self._said)
        self._speaks_to_turn = self._goes_on = False
        if not kind.is_terminal:
            return
        self._message.reset()
        self._next_seq_num = self._seen_seq
        self._settled = _Settled(
            self._seen_seq,
            self._next_seq_num,
            len(self._turns),
            self._turns[-1] if self._turns else None,
            len(self._messages),
            self._ended_said,
            self._size_bytes,
        )

    def _event(self, event: JsonObject, record: SequencedRecord) -> None:
        kind = event.get("type")
        if not isinstance(kind, str):
            return
        if kind == USER_MESSAGE_TYPE:
            text = event.get("message")
            if not isinstance(text, str):
                return
            self._turns.append(_TurnState(text))
            self._said.append(UserText(text))
            self._size_bytes += len(record.body)
            self._speaks_to_turn, self._goes_on = True, False
            self._message.reset()
        elif kind == "error":
            self._fail(event.get("error"))
        elif kind in RAW_EVENT_TYPES and (self._message.has_begun or kind == "message_start"):
            self._speaks_to_turn = True
            self._message.feed(event)
            if kind != "message_stop":
                return
            self._complete()
        elif kind == TOOL_RESULT_TYPE:
            call_id = event.get("tool_use_id")
            if isinstance(call_id, str):
                self._said.append(ToolResult(call_id, event))
                self._size_bytes += len(record.body)
            return  # for readers that know nothing of it, the cursor is where it was
        else:
            return
        self._next_seq_num = self._seen_seq

    def _fail(self, error: JsonValue) -> None:
        """The generation failed: its turn tells why, and what there was."""
        self._keep_partial()
        turn = self._turn()
        if turn is not None and turn.error is None:
            told = error if isinstance(error, dict) else {}
            kind, message = told.get("type"), told.get("message")
            detail: TurnError = {
                "type": kind if isinstance(kind, str) else API_ERROR,
                "message": message if isinstance(message, str) else UNKNOWN_ERROR,
            }
            self._turns[-1] = replace(turn, error=detail)
        self._message.reset()

    def _keep_partial(self) -> None:
        """Keep what there is of a message that will not go on."""
        if not self._message.has_begun or not self._message.has_content:
            return
        partial = self._message.message_so_far()
        self._size_bytes += len(encode_body(partial))
        self._said.append(Answer(partial, failed=True))
        if (turn := self._turn()) is not None:
            self._turns[-1] = replace(turn, partial=partial)

    def _turn(self) -> _TurnState | None:
        """The turn that ends as this generation does: one that still waits for its answer, or that it speaks to."""
        turn = self._turns[-1] if self._turns else None
        return turn if turn is not None and (turn.is_open or self._speaks_to_turn) else None

    def _complete(self) -> None:
        """A message is whole: it is the answer of a turn that waits for one."""
        stopped = self._message.stop_reason is None
        self._goes_on = str(self._message.stop_reason) in _GOES_ON
        turn = self._turn()
        if stopped and not self._message.has_content:
            if turn is not None:
                self._turns[-1] = replace(turn, stopped=True)
        else:
            message = self._message.message()
            self._size_bytes += len(encode_body(message))
            self._messages.append(message)
            self._said.append(Answer(message))
            if turn is not None and turn.is_open:
                self._turns[-1] = replace(turn, assistant=message, stopped=stopped, partial=None)
            elif turn is not None and stopped:
                self._turns[-1] = replace(turn, stopped=True)
        self._message.reset()
