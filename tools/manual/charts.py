"""A chart of ratios as SVG: bars from a line in the middle, to the right where it is better. No dependency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
ROW_HEIGHT: Final = 38
TOP: Final = 44
LEFT: Final = 20
RIGHT: Final = WIDTH - 118
"""Where bars end; what was measured is written behind them."""
FARTHEST: Final = 10.0
"""A bar that would be longer ends here, with an arrow."""
TICKS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

STYLE: Final = """<style>
svg.drawing{--ink:#1f2933;--soft:#5f6b7a;--line:#cfd6de;--fill:#eef2f6;--good:#0f766e;--miss:#c2410c;
font-family:system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;font-size:13px}
@media (prefers-color-scheme:dark){svg.drawing{--ink:#e6e9ed;--soft:#a3adb8;--line:#434c57;--fill:#232a32;
--good:#2dd4bf;--miss:#fb923c}}
svg.drawing text{fill:var(--ink)}svg.drawing .soft{fill:var(--soft)}svg.drawing .line{stroke:var(--line);fill:none}
svg.drawing .ink{stroke:var(--ink);fill:none}svg.drawing .box{fill:var(--fill);stroke:var(--line)}
svg.drawing .good{fill:var(--good)}svg.drawing .miss{fill:var(--miss)}
svg.drawing .end{text-anchor:end}svg.drawing .mid{text-anchor:middle}svg.drawing .small{font-size:11.5px}
</style>"""
"""For all drawings of the manual, by hand or not: readable on light and on dark."""


@dataclass(frozen=True)
class Bar:
    """One measure: how many times better than what the line stands for, and what was measured, in words."""

    label: str
    ratio: float
    shown: str


def chart(bars: Sequence[Bar], *, name: str, title: str, worse: str, better: str) -> str:
    """An SVG document. `name` makes its ids unlike those of others in one page."""
    low = max(min([0.5, *(bar.ratio for bar in bars)]), 1 / FARTHEST)
    high = min(max([2.0, *(bar.ratio for bar in bars)]), FARTHEST)
    scale = (RIGHT - LEFT) / math.log(high / low)

    def x(ratio: float) -> float:
        return round(LEFT + math.log(min(max(ratio, low), high) / low) * scale, 1)

    height, middle = TOP + ROW_HEIGHT * len(bars) + 8, x(1)
    ahead = sum(bar.ratio >= 1 for bar in bars)
    described = f"{ahead} of {len(bars)} bars go to the right, where it is better. " + "; ".join(
        f"{bar.label}: {bar.shown}" for bar in bars
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="drawing" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">',
        f'<title id="{name}-title">{escape(title)}</title>',
        f'<desc id="{name}-desc">{escape(described)}</desc>',
        STYLE,
        f'<text class="small soft end" x="{middle - 8}" y="14">← {escape(worse)}</text>' if middle > 150 else "",
        f'<text class="small soft" x="{middle + 8}" y="14">{escape(better)} →</text>',
    ]
    for tick in TICKS:
        if low <= tick <= high:
            kind = "ink" if tick == 1 else "line"
            # Beside the bars only: through the labels a line would be hard to read past.
            beside = " ".join(f"M{x(tick)} {TOP + row * ROW_HEIGHT + 15}v15" for row in range(len(bars)))
            lines += [
                f'<path class="{kind}" d="{beside}"/>',
                f'<text class="small soft mid" x="{x(tick)}" y="{TOP - 12}">{tick:g} ×</text>',
            ]
    for number, bar in enumerate(bars):
        y, start, end = TOP + number * ROW_HEIGHT, min(middle, x(bar.ratio)), max(middle, x(bar.ratio))
        kind = "good" if bar.ratio >= 1 else "miss"
        shown = f"{bar.shown}{' ▸' if bar.ratio > high else ' ◂' if bar.ratio < low else ''}"
        lines += [
            f'<text x="{LEFT - 12}" y="{y + 11}">{escape(bar.label)}</text>',
            f'<rect class="{kind}" x="{start}" y="{y + 17}" width="{max(end - start, 1.5):.1f}" height="11" rx="2"/>',
            f'<text class="small" x="{end + 6}" y="{y + 27}">{escape(shown)}</text>',
        ]
    return "\n".join([*filter(None, lines), "</svg>\n"])
