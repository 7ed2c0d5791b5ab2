"""A session log of the AI SDK folded to its list of UI messages.

Operations: `feed` records in order, in any slices; `snapshot` what they amount to; `settled` to keep a fold between
calls. Each generation (a holder fence up to the next fence) changes the list at its start, by what the user posted,
and at its end, by the message that it made. Work is linear in the log, and looking costs nothing but the copy.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from ..model.records import CommandKind, SequencedRecord
from .aisdk_message import MessageFold
from .aisdk_user import UserRecord, UserRecordReader
from .json_body import JsonObject, encode_body, parse_object
from .tokens import is_terminal

REGENERATE: Final = "regenerate-message"


class _Entry(Struct, frozen=True, gc=False):
    """A message of the list, and how long its JSON is."""

    message: JsonObject
    size_bytes: int


class _Generation:
    """The generation that is running: what it was started by, and what it has made."""

    def __init__(self, fence_seq_num: int) -> None:
        self.fence_seq_num = fence_seq_num
        self.user = UserRecordReader()
        self.fold: MessageFold | None = None
        self.base_index: int | None = None
        """Where in the list the message stands that this generation continues."""
        self.size_bytes = 0


class SessionFold:
    """Records of one session stream in, from its first one on; messages out.

    The fold may be kept: feed it what came since. A record that it has seen is passed over, so two callers may feed
    it what both of them read. Start anew when the stream has lost its first records, or was deleted. The messages
    that it hands out are shared with it, so nobody may change them.
    """

    def __init__(self) -> None:
        self.next_seq_num: int = 0
        """The first sequence number that the fold has not seen."""
        self._entries: tuple[_Entry, ...] = ()
        self._generation: _Generation | None = None
        self._settled: tuple[int, tuple[_Entry, ...]] = (0, ())

    @property
    def active(self) -> bool:
        """Whether the last fence began a generation."""
        return self._generation is not None

    @property
    def is_settled(self) -> bool:
        """Whether no generation is half told."""
        return self._generation is None

    @property
    def size_bytes(self) -> int:
        """About how much memory the fold keeps, measured as JSON."""
        running = 0 if self._generation is None else self._generation.size_bytes
        return running + sum(entry.size_bytes for entry in self._entries)

    def feed(self, records: Iterable[SequencedRecord], *, tail: int | None = None) -> None:
        """Take the next records; `tail` says where the log ends when the last records are gone from it."""
        for record in records:
            if record.seq_num >= self.next_seq_num:
                self.next_seq_num = record.seq_num + 1
                self._feed(record)
        if tail is not None and tail > self.next_seq_num:
            self.next_seq_num = tail

    def snapshot(self, *, include_active: bool = False) -> JsonObject:
        """`messages`, `nextSeqNum` and `active`, for a client.

        The output of an active generation is left out unless asked for: a client gets it by resuming, and would show
        it twice. `nextSeqNum` is where that resume starts.
        """
        entries = self._entries
        generation = self._generation
        if include_active and generation is not None:
            entries = self._with_output(generation, finished=False)
        return {
            "messages": [entry.message for entry in entries],
            "nextSeqNum": self.next_seq_num if generation is None else generation.fence_seq_num,
            "active": generation is not None,
        }

    def settled(self) -> SessionFold:
        """A fold that stands where this one stood after the last terminal fence; the two go on independently."""
        fold = SessionFold()
        fold.next_seq_num, fold._entries = (
            self._settled if self._generation is not None else (self.next_seq_num, self._entries)
        )
        fold._settled = fold.next_seq_num, fold._entries
        return fold

    def _feed(self, record: SequencedRecord) -> None:
        """One record that is new."""
        command = record.command
        generation = self._generation
        if command is CommandKind.FENCE:
            if generation is not None:
                self._end(generation)
            if is_terminal(record.text):
                self._generation = None
                self._settled = self.next_seq_num, self._entries
            else:
                self._generation = _Generation(record.seq_num)
        elif command is None and record.body and generation is not None:
            # Data outside of a generation belongs to one whose beginning is gone, or to nobody.
            chunk = parse_object(record.body)
            if chunk is not None:
                generation.size_bytes += len(record.body)
                self._take(generation, chunk)

    def _take(self, generation: _Generation, chunk: JsonObject) -> None:
        """One chunk of the generation that is running."""
        fold = generation.fold
        if fold is None:
            if generation.user.feed(chunk):
                self._try_to_start(generation)
                return
            fold = self._start(generation, None)
        fold.feed(chunk)

    def _try_to_start(self, generation: _Generation) -> None:
        """Apply the user record as soon as all of it is there: the list shows it while the answer is made."""
        user = generation.user.record()
        if user is not None:
            self._start(generation, user)

    def _start(self, generation: _Generation, user: UserRecord | None) -> MessageFold:
        """The user's side is known, or known to be absent: the answer may begin."""
        base = None if user is None else self._apply(generation, user)
        message_id = f"msg-{generation.fence_seq_num}"
        generation.fold = MessageFold(message_id, base)
        return generation.fold

    def _apply(self, generation: _Generation, user: UserRecord) -> JsonObject | None:
        """Change the list by what was posted; gives the message that the generation continues, if it does."""
        messages = [entry.message for entry in self._entries]
        kept = len(messages)
        if user.trigger == REGENERATE:
            kept = _cut_to_regenerate(messages, user.message_id)
        entry = _Entry(user.message, generation.size_bytes)
        generation.size_bytes = 0
        own_id = user.message.get("id")
        if user.is_continuation:
            index = _index_of(messages[:kept], own_id)
            index = kept if index is None else index
            generation.base_index = index
            self._entries = (*self._entries[:index], entry, *self._entries[index + 1 : kept])
            return user.message
        for message_id in (user.message_id, own_id):
            index = _index_of(messages[:kept], message_id)
            if index is not None and messages[index].get("role") != "assistant":
                kept = index  # edited or sent again: what followed answered the old text
                break
        self._entries = (*self._entries[:kept], entry)
        return None

    def _end(self, generation: _Generation) -> None:
        """A fence: what the generation has made enters the list."""
        if generation.fold is not None:
            self._entries = self._with_output(generation, finished=True)

    def _with_output(self, generation: _Generation, *, finished: bool) -> tuple[_Entry, ...]:
        """The list with what the generation has made."""
        fold = generation.fold
        if fold is None:
            return self._entries
        messages = fold.finish() if finished else fold.messages()
        entries = self._entries
        if generation.base_index is not None:
            index = generation.base_index
            entries = (*entries[:index], _entry(messages.pop(0)), *entries[index + 1 :])
        return (*entries, *map(_entry, messages))


def _entry(message: JsonObject) -> _Entry:
    """A message that the log has made."""
    return _Entry(message, len(encode_body(message)))


def _cut_to_regenerate(messages: list[JsonObject], message_id: str | None) -> int:
    """How many messages stay when one is to be made again."""
    if message_id is None:
        return len(messages) - 1 if messages and messages[-1].get("role") == "assistant" else len(messages)
    index = _index_of(messages, message_id)
    if index is None:
        return len(messages)
    return index if messages[index].get("role") == "assistant" else index + 1


def _index_of(messages: list[JsonObject], message_id: object) -> int | None:
    """Where the message with this id stands; the last one, as stock clients look."""
    if message_id is None:
        return None
    return next((i for i in range(len(messages) - 1, -1, -1) if messages[i].get("id") == message_id), None)
