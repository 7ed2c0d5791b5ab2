"""Bytes as a network delivers them: in any slices."""

from itertools import pairwise

from hypothesis import strategies as st


@st.composite
def slices(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` cut at arbitrary places, with empty slices among them."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    return [data[begin:end] for begin, end in pairwise([0, *cuts, len(data)])]
