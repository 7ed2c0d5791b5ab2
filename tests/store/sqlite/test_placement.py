"""Which blocks of a group go to a segment."""

from hypothesis import given
from hypothesis import strategies as st

from perdure.store.sqlite.placement import LARGE_BYTES, MEDIUM_BYTES, Placement

SIZES = st.lists(
    st.one_of(
        st.integers(0, 2 * MEDIUM_BYTES),
        st.integers(MEDIUM_BYTES, 2 * LARGE_BYTES),
        st.sampled_from([MEDIUM_BYTES - 1, MEDIUM_BYTES, LARGE_BYTES - 1, LARGE_BYTES]),
    ),
    max_size=12,
)


def rows_that_go(placement: Placement, sizes: list[int], *, sync_was_due: bool = False) -> list[int]:
    """The rows that are sent to a segment, in the order in which they are."""
    going: list[int] = []
    for row, size in enumerate(sizes):
        body = bytes(size)
        sent = placement.offer(row, body, sync_is_due=sync_was_due or bool(going))
        assert all(len(sent_body) == sizes[sent_row] for sent_row, sent_body in sent)
        going += [sent_row for sent_row, _ in sent]
    return going


@given(SIZES)
def test_all_that_are_not_small_go_if_they_make_up_a_large_one(sizes: list[int]) -> None:
    """In whatever order they come: all or none of them."""
    candidates = [row for row, size in enumerate(sizes) if size >= MEDIUM_BYTES]
    enough = sum(sizes[row] for row in candidates) >= LARGE_BYTES
    assert rows_that_go(Placement(), sizes) == (candidates if enough else [])


@given(SIZES)
def test_all_that_are_not_small_go_where_something_has_gone_already(sizes: list[int]) -> None:
    candidates = [row for row, size in enumerate(sizes) if size >= MEDIUM_BYTES]
    assert rows_that_go(Placement(), sizes, sync_was_due=True) == candidates


@given(SIZES, SIZES)
def test_what_was_written_does_not_count_any_more(before: list[int], sizes: list[int]) -> None:
    placement = Placement()
    rows_that_go(placement, before)
    placement.clear()
    assert rows_that_go(placement, sizes) == rows_that_go(Placement(), sizes)
