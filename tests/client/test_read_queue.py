"""A slow reader holds up the peer; a reader that waits never does."""

from hypothesis import given
from hypothesis import strategies as st

from perdure.client.transports.read_queue import ReadQueue

WINDOW = 100


@given(
    sizes=st.lists(st.integers(1, 3 * WINDOW), max_size=20),
    pieces=st.lists(st.integers(1, WINDOW), min_size=1, max_size=20),
    takes=st.lists(st.booleans(), min_size=1, max_size=20),
)
def test_all_items_come_through_a_window_and_no_more_than_it_waits(
    sizes: list[int], pieces: list[int], takes: list[bool]
) -> None:
    queue: ReadQueue[int] = ReadQueue()
    window = WINDOW
    ends: list[int] = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    sent, came, taken = 0, 0, list[int]()
    for turn in range(100_000):
        if len(taken) == len(sizes):
            break
        size = min(pieces[turn % len(pieces)], window, sum(sizes) - sent)
        if size:
            sent += size
            window -= size
            whole = [number for number in range(came, len(ends)) if ends[number] <= sent]
            came += len(whole)
            window += queue.put(whole, size)
        if len(queue) and (takes[turn % len(takes)] or not size):
            number, given_back = queue.take()
            taken.append(number)
            window += given_back
        if not len(queue):
            assert window == WINDOW, "whoever waits has given everything back"
        waiting = sent - (ends[len(taken) - 1] if taken else 0)
        assert waiting <= WINDOW + max(sizes)
    assert taken == list(range(len(sizes)))


def test_a_long_item_that_comes_in_pieces_counts_while_others_wait() -> None:
    queue: ReadQueue[str] = ReadQueue()
    assert queue.put(["first"], 10) == 0
    assert [queue.put([], 10) for _ in range(5)] == [0] * 5
    assert queue.put(["second"], 10) == 0
    assert queue.put([], 7) == 0
    assert queue.take() == ("first", 10)
    assert queue.take() == ("second", 67)
    assert queue.put([], 7) == 7
