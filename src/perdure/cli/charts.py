"""Small charts of text: a series in one line, and bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

_LEVELS: Final = "▁▂▃▄▅▆▇█"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def spark_line(values: Sequence[float], width: int) -> str:
    """`values` from left to right, as levels between 0 and the highest; several to a character if there are too many.

    Where several share a character it shows the highest of them, so that a peak is never lost.
    """
    if not values or width < 1:
        return ""
    columns = min(width, len(values))
    edges = [len(values) * column // columns for column in range(columns + 1)]
    shown = [max(values[begin:end]) for begin, end in pairwise(edges)]
    top = max(shown)
    if top <= 0:
        return _LEVELS[0] * columns
    return "".join(_LEVELS[min(len(_LEVELS) - 1, int(max(value, 0) / top * len(_LEVELS)))] for value in shown)


def bar(value: float, top: float, width: int) -> str:
    """A bar of `value`, where `top` is `width` characters long; to an eighth of a character, and never nothing at all
    for more than nothing.
    """
    if top <= 0 or value <= 0:
        return ""
    eighths = max(1, round(min(value / top, 1.0) * width * 8))
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")
