"""The results as a table for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from .scenario import Row

_HEADINGS = ("", "measured", "limit", "")


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def measured(row: Row) -> str:
    return f"{_number(row.value)} {row.unit}"


def limit_of(row: Row) -> str:
    if row.limit is None:
        return ""
    sign = "≥" if row.limit.at_least else "≤"
    text = f"{sign} {_number(row.limit.value)} {row.unit}"
    return f"{text} ({row.limit.reason})" if row.limit.reason else text


def verdict(row: Row) -> str:
    return {None: "", True: "pass", False: "miss"}[row.passed]


def _loudly(word: str) -> str:
    return word.upper() if word == "miss" else word


def as_text(rows: Sequence[Row]) -> str:
    """One aligned line a value, its notes below it."""
    cells = [
        _HEADINGS,
        *((row.what, measured(row), limit_of(row), _loudly(verdict(row))) for row in rows),
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
    room = max(40, min(shutil.get_terminal_size((120, 24)).columns, 140) - 4)
    lines: list[str] = []
    for number, line in enumerate(cells):
        what, value, limit, word = line
        lines.append(f"{what:<{widths[0]}}  {value:>{widths[1]}}  {limit:<{widths[2]}}  {word}".rstrip())
        if number == 0:
            lines.append("─" * (sum(widths) + 6))
        elif rows[number - 1].notes:
            lines.extend(textwrap.wrap(rows[number - 1].notes, room, initial_indent="    ", subsequent_indent="    "))
    return "\n".join(lines)


def as_markdown(rows: Sequence[Row]) -> str:
    lines = ["| what | measured | limit | | notes |", "| --- | ---: | --- | --- | --- |"]
    lines += [f"| {row.what} | {measured(row)} | {limit_of(row)} | {verdict(row)} | {row.notes} |" for row in rows]
    return "\n".join(lines)


def as_values(row: Row) -> dict[str, Any]:
    limit = row.limit
    return {
        "what": row.what,
        "value": row.value,
        "unit": row.unit,
        "limit": None
        if limit is None
        else {"value": limit.value, "kind": "at least" if limit.at_least else "at most", "reason": limit.reason},
        "passed": row.passed,
        "notes": row.notes,
    }
