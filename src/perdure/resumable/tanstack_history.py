"""A session log of TanStack AI folded to its UI messages, and to what a page needs that opens it.

Operations: `feed` records in order, in any slices; `history` and `opening` for what they amount to; `settled` to keep a
fold between calls. Work is linear in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NotRequired, TypedDict

from msgspec import Struct

from ..model.records import CommandKind, SequencedRecord
from .json_body import JsonObject, encode_body, parse_object
from .tanstack_fold import MessagesFold
from .tanstack_records import Pause, pause_of
from .tokens import is_terminal


class History(TypedDict):
    """A chat as its log tells it, ready to be sent as JSON.

    `messages` are UI messages; what an active generation has written so far is left out, since a client gets it by
    following from `nextSeqNum`. `interrupts` is there while the last run waits for the user.
    """

    messages: list[JsonObject]
    nextSeqNum: int
    active: bool
    interrupts: NotRequired[Interrupts]


class Interrupts(TypedDict):
    """What a run has asked the user, in the form in which TanStack AI loads it."""

    runId: str
    pending: list[JsonObject]


class Opening(Struct, frozen=True):
    """What a replay without a cursor begins with: `messages` as of the cursor `snapshot_id`, then records.

    `run_id` is the id of the run that is active, and begins there; None if none is, or if it has none.
    """

    messages: tuple[JsonObject, ...]
    snapshot_id: int
    live_from: int
    run_id: str | None = None


class SessionFold:
    """Records of one session stream in, from its first one on; UI messages out.

    The fold may be kept: feed it what came since. A record that it has seen is passed over. Start anew when the stream
    has lost its first records, or was deleted. What it hands out is shared with it, so nobody may change that.
    """

    def __init__(self) -> None:
        self.next_seq_num: int = 0
        """The first sequence number that the fold has not seen."""
        self._data_end = 0
        self.run_starts: dict[str, int] = {}
        """Where each run began: in a generation that starts it several times, as loops of agents do, the first time."""
        self._fold = MessagesFold()
        self._generation: tuple[int, tuple[JsonObject, ...]] | None = None
        """The number of the fence that began the generation, and the messages before it."""
        self._run: Opening | None = None
        """What a page begins with while a run is active: what was there before it, and where it began."""
        self._paused: tuple[Pause, Opening] | None = None
        """The run that waits for the user, and what a page begins with meanwhile."""
        self._settled: tuple[JsonObject, ...] = ()
        self._settled_at = (0, 0)
        self._settled_runs: dict[str, int] = {}
        self._settled_pause: tuple[Pause, Opening] | None = None
        self._sizes: dict[int, tuple[JsonObject, int]] = {}

    @property
    def active(self) -> bool:
        """Whether the last fence began a generation."""
        return self._generation is not None

    @property
    def generation_start(self) -> int | None:
        """Where the active generation began; None if none is active."""
        return None if self._generation is None else self._generation[0]

    @property
    def pause(self) -> Pause | None:
        """What the last run asks the user, if no run has begun since."""
        return None if self._paused is None else self._paused[0]

    @property
    def is_settled(self) -> bool:
        """Whether the last record was a terminal fence, so that nothing is half told."""
        return self._settled_at[0] == self.next_seq_num

    @property
    def size_bytes(self) -> int:
        """About how much memory the fold keeps, measured as JSON."""
        sizes = {}
        for message in self._settled:
            known = self._sizes.get(id(message))
            sizes[id(message)] = known or (message, len(encode_body(message)))
        self._sizes = sizes
        return sum(size for _, size in sizes.values())

    def feed(self, records: Iterable[SequencedRecord]) -> None:
        """Take the next records."""
        for record in records:
            if record.seq_num >= self.next_seq_num:
                self.next_seq_num = record.seq_num + 1
                self._feed(record)

    def history(self) -> History:
        """What a page loads, and where it goes on."""
        if self._generation is None:
            messages = list(self._fold.messages())
            history: History = {"messages": messages, "nextSeqNum": self.next_seq_num, "active": False}
            if self.pause is not None:
                history["interrupts"] = {"runId": self.pause.run_id, "pending": [*self.pause.interrupts]}
            return history
        fence_seq_num, before = self._generation
        return {"messages": list(before), "nextSeqNum": fence_seq_num, "active": True}

    def opening(self) -> Opening:
        """What a page gets that asks for everything: whole turns as messages, a run that is active from its start."""
        if self._run is not None:
            return self._run
        return Opening(self._fold.messages(), self._data_end, self.next_seq_num)

    def live_opening(self) -> Opening:
        """The same for a page that goes on from there: where a run waits for the user, the end of it follows.

        Pages learn from that event what they have to ask; messages do not tell them.
        """
        return self.opening() if self._run is not None or self._paused is None else self._paused[1]

    def settled(self) -> SessionFold:
        """A fold that stands where this one stood after the last terminal fence; the two go on independently."""
        fold = SessionFold()
        fold.next_seq_num, fold._data_end = fold._settled_at = self._settled_at
        fold._settled = self._settled
        fold._fold = MessagesFold(self._settled)
        fold._sizes = self._sizes
        fold._settled_runs = self._settled_runs
        fold.run_starts = dict(self._settled_runs)
        fold._paused = fold._settled_pause = self._settled_pause
        return fold

    def _feed(self, record: SequencedRecord) -> None:
        command = record.command
        if command is CommandKind.FENCE:
            self._fence(record)
        elif command is None and record.body:
            event = parse_object(record.body)
            if event is not None and isinstance(event.get("type"), str):
                self._event(event, record.seq_num)
            self._data_end = record.seq_num + 1

    def _fence(self, fence: SequencedRecord) -> None:
        if not is_terminal(fence.text):
            self._fold.end_generation()  # of a writer that was taken over
            self._generation = fence.seq_num, self._fold.messages()
            self._run = None
            return
        self._fold.end_generation()
        self._run = self._generation = None
        self._settled = self._fold.messages()
        self._settled_at = self.next_seq_num, self._data_end
        self._settled_runs = dict(self.run_starts)
        self._settled_pause = self._paused

    def _event(self, event: JsonObject, seq_num: int) -> None:
        kind = event["type"]
        if kind == "RUN_STARTED":
            run_id = event.get("runId")
            run_id = run_id if isinstance(run_id, str) else None
            self._run = Opening(self._fold.messages(), self._data_end, seq_num, run_id)
            if run_id is not None:
                generation = -1 if self._generation is None else self._generation[0]
                if self.run_starts.get(run_id, -1) <= generation:
                    self.run_starts[run_id] = seq_num
        elif kind in ("RUN_FINISHED", "RUN_ERROR"):
            self._run = None
        self._fold.feed(event, seq_num)
        if kind in ("RUN_STARTED", "RUN_FINISHED", "RUN_ERROR"):
            pause, self._paused = pause_of(event), None
            if pause is not None:
                # The messages hold what the end of the run did to them; to be told it once more changes nothing.
                self._paused = pause, Opening(self._fold.messages(), self._data_end, seq_num)
