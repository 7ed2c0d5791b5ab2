"""The pieces in which reads are sent: everything comes, and as much waits for a client as that client takes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from perdure.server.pieces import PIECE_BYTES, QUEUED_PIECES, SLOW_SECS, SMALLEST_PIECE_BYTES, PieceSize, pieces

waits = st.floats(0, 10 * SLOW_SECS)


def taken_by(size: PieceSize, count: int, waited_secs: float) -> int:
    """The bytes of so many pieces that all waited for so long."""
    total = 0
    for _ in range(count):
        total += size.bytes
        size.sent(size.bytes, waited_secs)
    return total


def grown() -> PieceSize:
    """As it is for a client that takes what it can get."""
    size = PieceSize()
    taken_by(size, 200, 0)
    return size


@given(
    st.lists(
        st.builds(
            lambda whole, more: max(whole * SMALLEST_PIECE_BYTES + more, 0), st.integers(0, 9), st.integers(-2, 2)
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 200),
)
def test_what_is_large_is_sent_in_pieces(sizes: list[int], before: int) -> None:
    size = PieceSize()
    taken_by(size, before, 0)
    parts = [bytes([number]) * length for number, length in enumerate(sizes)]
    found = list(pieces(parts, size))
    assert b"".join(found) == b"".join(parts)
    assert all(len(piece) == size.bytes for piece in found[:-1])
    assert len(found[-1]) <= size.bytes
    assert found[-1] or not any(parts)


def test_what_is_one_small_part_is_sent_as_it_is() -> None:
    part = b"a frame for many followers"
    (found,) = pieces((part,), PieceSize())
    assert found is part


def test_what_is_queued_for_a_client_that_takes_nothing_is_small() -> None:
    size = PieceSize()
    assert taken_by(size, QUEUED_PIECES, 0) == QUEUED_PIECES * SMALLEST_PIECE_BYTES


def test_a_client_that_takes_what_it_can_get_is_sent_the_largest() -> None:
    assert grown().bytes == PIECE_BYTES


def test_a_client_that_becomes_slow_is_soon_sent_the_smallest() -> None:
    size = grown()
    taken_by(size, 3, 2 * SLOW_SECS)
    assert size.bytes == SMALLEST_PIECE_BYTES


@given(st.lists(st.tuples(st.integers(0, PIECE_BYTES), waits), max_size=200))
def test_pieces_stay_within_their_bounds(sent: list[tuple[int, float]]) -> None:
    size = PieceSize()
    for length, waited in sent:
        size.sent(length, waited)
        assert SMALLEST_PIECE_BYTES <= size.bytes <= PIECE_BYTES
