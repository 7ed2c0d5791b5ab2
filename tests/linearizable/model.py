"""What one stream may answer, as steps on a state that is only numbers.

Each call of a history becomes steps, each of which must have happened at one moment between the call and its answer.
The texts of records are not in the state: before anything else, all that was told of each sequence number is put
together (`Known`), and contradictions end the check there. A write then fits only where it does not contradict what is
known, which comes to the same as carrying the whole log along, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tests.linearizable.history import (
    FENCE,
    TRIM,
    Acked,
    Appended,
    Call,
    Followed,
    InDoubt,
    ReadOnce,
    ReadRefused,
    Seen,
    SeqNumRefused,
    TailChecked,
    TokenRefused,
)


class NotLinearizable(AssertionError):
    """No order of the calls explains the answers; the message tells how far the best one got."""


class State(NamedTuple):
    tail: int = 0
    token: str = ""
    trim_point: int = 0


class Step(Protocol):
    """Something that happened at one moment."""

    def __call__(self, state: State) -> State | None:
        """The state after it, or None if it cannot happen in `state`."""
        ...


class Known:
    """The record at each sequence number, as far as acknowledgements and readers tell."""

    def __init__(self, stream: str) -> None:
        self._stream = stream
        self._texts: dict[int, str] = {}
        self._places: dict[str, int] = {}
        """Where each text that is no command was found first."""
        self.tail = 0
        """The furthest tail that anybody was told of."""
        self.is_settled = False
        """Whether somebody was told so when all other calls had been answered."""
        self._timestamps: dict[int, int] = {}

    def learn(self, seq_num: int, text: str) -> None:
        there = self._texts.setdefault(seq_num, text)
        if there != text:
            raise NotLinearizable(f"{self._stream}: record {seq_num} is told to be both {there!r} and {text!r}")
        if not is_command(text):
            self._places.setdefault(text, seq_num)
        self.tail = max(self.tail, seq_num + 1)

    def start_of(self, records: tuple[str, ...]) -> int | None:
        """Where a batch in doubt must be, if any of its records was found anywhere."""
        starts = [self._places[text] - index for index, text in enumerate(records) if text in self._places]
        return starts[0] if starts else None

    def see(self, record: Seen) -> None:
        self.learn(record.seq_num, record.text)
        timestamp = self._timestamps.setdefault(record.seq_num, record.timestamp)
        if timestamp != record.timestamp:
            raise NotLinearizable(f"{self._stream}: record {record.seq_num} changed its timestamp")

    def check_timestamps(self) -> None:
        """They never run backwards."""
        latest = 0
        for seq_num, timestamp in sorted(self._timestamps.items()):
            if timestamp < latest:
                raise NotLinearizable(f"{self._stream}: time runs backwards at record {seq_num}")
            latest = timestamp

    def allows(self, start: int, records: tuple[str, ...]) -> bool:
        return all(self._texts.get(seq_num, text) == text for seq_num, text in enumerate(records, start))

    @classmethod
    def of(cls, stream: str, calls: Sequence[Call]) -> Known:
        """What all calls of a history of a stream tell together. Raises `NotLinearizable` if they contradict."""
        known = cls(stream)
        for call in calls:
            match call.operation:
                case Appended(records=records, outcome=Acked() as ack):
                    if ack.end != ack.start + len(records) or ack.tail < ack.end:
                        raise NotLinearizable(f"{stream}: {ack} makes no sense for {len(records)} records")
                    for seq_num, text in enumerate(records, ack.start):
                        known.learn(seq_num, text)
                    known.tail = max(known.tail, ack.tail)
                case ReadOnce(start=start, records=records):
                    for expected, record in zip(_at_least(start, records), records, strict=True):
                        if record.seq_num < expected:
                            raise NotLinearizable(f"{stream}: a read gave {record.seq_num} where {expected} comes next")
                        known.see(record)
                case Followed(record=record):
                    known.see(record)
                case TailChecked(tail=tail) | ReadRefused(tail=tail) | Appended(outcome=SeqNumRefused(expected=tail)):
                    known.tail = max(known.tail, tail)
        known.check_timestamps()
        answered = sorted(call.returned for call in calls if call.returned is not None)
        known.is_settled = any(
            call.returned == answered[-1] and (len(answered) == 1 or call.invoked >= answered[-2])
            for call in calls
            if isinstance(call.operation, (TailChecked, ReadRefused)) and call.operation.tail == known.tail
        )
        return known


def steps_of(call: Call, known: Known) -> tuple[Step, ...]:
    """What must have happened between the call and its answer."""
    match call.operation:
        case Appended(outcome=Acked() as ack) as append:
            # The tail is that of the moment in which the batch became durable, or later.
            return _write(append, known, ack.start), _tail_is(ack.tail)
        case Appended(outcome=InDoubt()) as append:
            return (_write_in_doubt(append, known),)
        case Appended(outcome=SeqNumRefused(expected=expected)) as append:
            return (_seq_num_refused(append, expected),)
        case Appended(outcome=TokenRefused(expected=token)) as append:
            return (_token_refused(append, token),)
        case TailChecked(tail=tail):
            return (_tail_is(tail),)
        case ReadRefused(start=start, tail=tail):
            return (_unwritten(start, tail),)
        case ReadOnce(records=()) as read:
            return () if read.count == 0 else (_all_trimmed_from(read.start),)
        case ReadOnce() as read:
            # A read goes on while records come, so a trim may overtake it: it begins anew behind the trim point.
            wanted = _at_least(read.start, read.records)
            jumps = [
                (least, record.seq_num)
                for least, record in zip(wanted, read.records, strict=True)
                if record.seq_num != least or least == read.start
            ]
            end = read.records[-1].seq_num + 1
            at_tail = len(read.records) < read.count
            return *(_begins(least, first) for least, first in jumps), _ends(end, at_tail=at_tail)
        case Followed(record=record):
            return (_ends(record.seq_num + 1, at_tail=False),)
    raise AssertionError(call)


def _at_least(start: int, records: tuple[Seen, ...]) -> list[int]:
    """Where a read that began at `start` was, before each of its records."""
    return [start, *(record.seq_num + 1 for record in records[:-1])][: len(records)]


def is_command(text: str) -> bool:
    return text.startswith((FENCE, TRIM))


def after(state: State, records: tuple[str, ...]) -> State:
    """The state once a batch was appended: its last fence counts, and a trim reaches at most itself."""
    tail, token, trim_point = state
    for text in records:
        if text.startswith(FENCE):
            token = text.removeprefix(FENCE)
        elif text.startswith(TRIM):
            trim_point = max(trim_point, min(int(text.removeprefix(TRIM)), tail + 1))
        tail += 1
    return State(tail, token, trim_point)


def _write(append: Appended, known: Known, start: int | None) -> Step:
    def step(state: State) -> State | None:
        if (
            (start is not None and start != state.tail)
            or append.match_seq_num not in (None, state.tail)
            or append.fencing_token not in (None, state.token)
            or not known.allows(state.tail, append.records)
        ):
            return None
        return after(state, append.records)

    return step


def _write_in_doubt(append: Appended, known: Known) -> Step:
    start = known.start_of(append.records)
    write = _write(append, known, start)
    # One that was found did happen, and without a last look at the tail a fence, say, may explain a refusal.
    if start is not None or (any(map(is_command, append.records)) and not known.is_settled):
        return write
    # Behind the furthest tail that anybody heard of nobody would notice it, and it may as well not have happened: to
    # try that would take for ever where many are in doubt.
    last = known.tail - len(append.records)
    return lambda state: write(state) if state.tail <= last else None


def _seq_num_refused(append: Appended, expected: int) -> Step:
    def step(state: State) -> State | None:
        holds = append.fencing_token in (None, state.token) and append.match_seq_num != state.tail == expected
        return state if holds else None

    return step


def _token_refused(append: Appended, expected: str) -> Step:
    def step(state: State) -> State | None:
        return state if append.fencing_token != state.token == expected else None

    return step


def _tail_is(tail: int) -> Step:
    return lambda state: state if state.tail == tail else None


def _unwritten(start: int, tail: int) -> Step:
    return lambda state: state if state.tail == tail <= start else None


def _all_trimmed_from(start: int) -> Step:
    return lambda state: state if start < state.tail <= state.trim_point else None


def _begins(start: int, first: int) -> Step:
    return lambda state: state if max(start, state.trim_point) == first else None


def _ends(end: int, *, at_tail: bool) -> Step:
    return lambda state: state if state.tail == end or (state.tail > end and not at_tail) else None
