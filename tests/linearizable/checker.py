"""Is there an order of the calls that explains all answers, and in which no call comes after one made after its answer?

The search is that of Wing and Gong (1993) as Lowe (2017) made it practical: take any call that may come next, remember
what was reached by which calls, and turn back where that was seen before. A history of several streams is
linearizable if that of each stream is (Herlihy and Wing, 1990), so they are checked one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.linearizable.history import Call
from tests.linearizable.model import Known, NotLinearizable, State, Step, steps_of

MOST_CONFIGURATIONS: Final = 2_000_000
"""So many ways to get somewhere are looked at; histories that fit a test need a few thousand."""


class Undecided(Exception):
    """The search was given up: the history has too many calls at once."""


@dataclass(eq=False, slots=True)
class _Entry:
    """The beginning or the end of a step, in a list in the order of time."""

    number: int
    call: Call
    step: Step | None
    """None for an end."""
    end: _Entry | None = None
    """Of a beginning; None for a step that need not have happened."""
    before: _Entry | None = None
    behind: _Entry | None = None

    def lift(self) -> None:
        """Take a beginning and its end out of the list; `put_back` undoes the last that was not undone."""
        for entry in (self, self.end):
            if entry is not None:
                assert entry.before is not None
                entry.before.behind = entry.behind
                if entry.behind is not None:
                    entry.behind.before = entry.before

    def put_back(self) -> None:
        for entry in (self.end, self):
            if entry is not None:
                assert entry.before is not None
                entry.before.behind = entry
                if entry.behind is not None:
                    entry.behind.before = entry


def check(history: Iterable[Call], *, most_configurations: int = MOST_CONFIGURATIONS) -> int:
    """Raises `NotLinearizable` if no order of the calls explains the answers; gives how many calls there were.

    Streams begin empty. Raises `Undecided` when that cannot be told with so many configurations for a stream.
    """
    streams: defaultdict[str, list[Call]] = defaultdict(list)
    for call in history:
        streams[call.stream].append(call)
    for stream, calls in streams.items():
        _check_stream(stream, calls, most_configurations)
    return sum(map(len, streams.values()))


def _listed(calls: list[Call], known: Known) -> tuple[_Entry, int]:
    """The list of all beginnings and ends, from an entry that is neither, and how many must be explained."""
    moments: list[tuple[int, bool, _Entry]] = []
    wanted = 0
    steps = [(call, step) for call in calls for step in steps_of(call, known)]
    for number, (call, step) in enumerate(steps):
        begin = _Entry(number, call, step)
        moments.append((call.invoked, False, begin))
        if call.returned is not None:
            wanted += 1
            begin.end = _Entry(number, call, None)
            # A call that was made in the very moment in which another was answered counts as made before.
            moments.append((call.returned, True, begin.end))
    moments.sort(key=lambda moment: moment[:2])
    head = last = _Entry(-1, calls[0], None)
    for _, _, entry in moments:
        last.behind, entry.before = entry, last
        last = entry
    return head, wanted


def _check_stream(stream: str, calls: list[Call], most_configurations: int) -> None:
    head, wanted = _listed(calls, Known.of(stream, calls))
    state, done = State(), 0
    seen: set[tuple[int, State]] = set()
    way: list[tuple[_Entry, State]] = []
    """The steps in the order that is tried, and the state before each."""
    left = wanted
    best: tuple[int, State, _Entry] = (wanted + 1, state, head)
    entry = head.behind
    while left:
        assert entry is not None, "an answer that is not explained yet ends the list"
        if entry.step is not None:
            following = entry.step(state)
            configuration = None if following is None else (done | 1 << entry.number, following)
            if following is None or configuration is None or configuration in seen:
                entry = entry.behind
                continue
            seen.add(configuration)
            if len(seen) > most_configurations:
                raise Undecided(f"{stream}: gave up after {most_configurations} configurations of {len(calls)} calls")
            way.append((entry, state))
            entry.lift()
            done, state = configuration
            left -= entry.end is not None
            entry = head.behind
            continue
        if left < best[0]:
            best = (left, state, entry)
        changed = False
        while not changed:
            if not way:
                raise NotLinearizable(_told(stream, calls, wanted, best))
            undone, before = way.pop()
            undone.put_back()
            done &= ~(1 << undone.number)
            left += undone.end is not None
            # What was only looked at may be looked at as soon as it holds: to do so later explains nothing more.
            changed = before != state
            state, entry = before, undone.behind


def _told(stream: str, calls: list[Call], wanted: int, best: tuple[int, State, _Entry]) -> str:
    left, state, entry = best
    stuck = entry.call
    around = [
        call
        for call in calls
        if (call.returned is None or call.returned >= stuck.invoked) and call.invoked <= (stuck.returned or 0)
    ]
    nearest = sorted(around, key=lambda call: call.invoked)[-20:]
    return "\n".join(
        [
            f"{stream}: no order explains all answers. The best explains {wanted - left} of {wanted} steps,",
            f"leads to {state}, and then has no place for {stuck}.",
            "Made while that waited for its answer:",
            *(f"  {call}" for call in nearest if call is not stuck),
        ]
    )
