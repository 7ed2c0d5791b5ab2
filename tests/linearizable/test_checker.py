"""The checker agrees with one that tries every order on a list of records, too slowly for any real history.

The model of the slow one is `ListModel`, with which the engines are compared as well.
"""

from __future__ import annotations

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from perdure.errors import FencingTokenMismatch, SeqNumMismatch
from perdure.model.batches import AppendInput
from tests.linearizable.checker import check
from tests.linearizable.clients import record_of
from tests.linearizable.history import (
    TRIM,
    Acked,
    Appended,
    Call,
    InDoubt,
    Operation,
    ReadOnce,
    ReadRefused,
    Seen,
    SeqNumRefused,
    TailChecked,
    TokenRefused,
)
from tests.linearizable.model import NotLinearizable
from tests.store.list_model import ListModel

NOW = 7
MOST_CALLS = 6


def perform(model: ListModel, operation: Operation) -> Operation:
    """What the model answers to the call of an operation, which it applies."""
    match operation:
        case Appended(records=texts, match_seq_num=match, fencing_token=token):
            batch = AppendInput.of([record_of(t) for t in texts], match_seq_num=match, fencing_token=token)
            told = model.append(batch, NOW)
            outcome: Acked | SeqNumRefused | TokenRefused
            match told:
                case (kind, int(expected)) if kind is SeqNumMismatch:
                    outcome = SeqNumRefused(expected)
                case (kind, str(expected)) if kind is FencingTokenMismatch:
                    outcome = TokenRefused(expected)
                case (int(start), int(end), *_):
                    outcome = Acked(start, end, end)
                case _:
                    raise AssertionError(told)
            return Appended(texts, outcome, match, token)
        case TailChecked():
            return TailChecked(len(model.records))
        case ReadOnce(start=start) | ReadRefused(start=start):
            if start >= len(model.records):
                return ReadRefused(start, len(model.records))
            count = operation.count if isinstance(operation, ReadOnce) else 1
            visible = model.visible(start, NOW)[:count]
            return ReadOnce(start, count, tuple(Seen(n, at, text_of(body)) for n, at, body in visible))
        case _:
            raise AssertionError(operation)


def text_of(body: bytes) -> str:
    """Reads show bodies; in these histories that of a command is unlike any text."""
    texts = {record_of(text).body: text for text in ("fence me", "trim 1", "trim 2")}
    return texts.get(body, body.decode())


def explains(order: tuple[Call, ...]) -> bool:
    """Whether the calls, one after the other, give just these answers."""
    for number, call in enumerate(order):
        if any(later.returned is not None and later.returned < call.invoked for later in order[number + 1 :]):
            return False
    model = ListModel()
    for call in order:
        answer = perform(model, call.operation)
        if isinstance(call.operation, Appended) and isinstance(call.operation.outcome, InDoubt):
            if not isinstance(answer, Appended) or not isinstance(answer.outcome, Acked):
                return False  # then it was not applied: another order leaves it out
        elif answer != call.operation:
            return False
    return True


def slowly_linearizable(history: list[Call]) -> bool:
    sure = [call for call in history if call.returned is not None]
    doubtful = [call for call in history if call.returned is None]
    chosen = [[call for bit, call in enumerate(doubtful) if choice >> bit & 1] for choice in range(1 << len(doubtful))]
    return any(explains(order) for some in chosen for order in permutations([*sure, *some]))


def quickly_linearizable(history: list[Call]) -> bool:
    try:
        check(history)
    except NotLinearizable:
        return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Call]:
    """What a stream answered to calls that overlap, with an answer or two that may have been changed."""
    count = draw(st.integers(1, MOST_CALLS))
    moments = draw(st.permutations(range(2 * count)))
    spans = [tuple(sorted(moments[2 * n : 2 * n + 2])) for n in range(count)]
    model, calls = ListModel(), []
    for number, (invoked, returned) in enumerate(sorted(spans, key=lambda span: draw(st.integers(*span)))):
        operation = draw(operations(number))
        answer = perform(model, operation)
        if isinstance(answer, Appended) and isinstance(answer.outcome, Acked) and draw(st.integers(0, 3)) == 0:
            answer = Appended(answer.records, InDoubt(), answer.match_seq_num, answer.fencing_token)
            calls.append(Call("s", "c", invoked, None, answer))
        else:
            calls.append(Call("s", "c", invoked, returned, answer))
    return [draw(changed(each)) if draw(st.integers(0, 5)) == 0 else each for each in calls]


def operations(number: int) -> st.SearchStrategy[Operation]:
    mine = st.sampled_from([(f"a{number}",), (f"a{number}", f"b{number}"), ("trim 1",), ("trim 2",), ("fence me",)])
    match = st.sampled_from([None, None, 0, 1, 2])
    token = st.sampled_from([None, None, "", "me"])
    append = st.builds(Appended, mine, st.just(InDoubt()), match, token)
    read = st.builds(ReadOnce, st.integers(0, 3), st.sampled_from([1, 2, 100]), st.just(()))
    return append | append | read | st.just(TailChecked(0))


def changed(call: Call) -> st.SearchStrategy[Call]:
    """The call with another answer, or none."""
    operation = call.operation
    others: list[Operation] = []
    match operation:
        case Appended(records=texts, match_seq_num=match, fencing_token=token):
            outcomes = [Acked(at, at + len(texts), at + len(texts)) for at in range(4)]
            others = [Appended(texts, outcome, match, token) for outcome in outcomes]
        case TailChecked():
            others = [TailChecked(tail) for tail in range(4)]
        case ReadOnce(start=start, count=count, records=records) if records:
            others = [ReadOnce(start, count, records[:-1]), ReadOnce(start, count, records[1:])]
    returned = call.returned
    if returned is None:
        return st.just(call)
    return st.sampled_from([call, *[Call("s", "c", call.invoked, returned, other) for other in others]])


@settings(deadline=None, max_examples=150)
@given(histories())
def test_the_search_agrees_with_trying_every_order(history: list[Call]) -> None:
    slow, quick = slowly_linearizable(history), quickly_linearizable(history)
    if slow or not has_trims(history):
        assert quick == slow


def has_trims(history: list[Call]) -> bool:
    """Then a read may begin before a trim and end behind it, which the slow one does not know."""
    return any(
        isinstance(call.operation, Appended) and any(text.startswith(TRIM) for text in call.operation.records)
        for call in history
    )
