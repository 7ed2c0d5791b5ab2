"""The page of what everything costs, from the benchmark's own results: `python -m tools.manual.results`.

`make bench ARGS="--json docs/results/two-cores.json"` measures and then runs this. Below each comment
`<!-- results: … -->` of the page it writes the figure and the table; whatever else is there stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.scenario import Limit, Row
from bench.table import limit_of, measured, verdict

from .charts import Bar, chart

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "performance.md"
DATA: Final = DOCS / "results"
_PART: Final = re.compile(r"^(<!-- results: (.+?) -->\n).*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)
_HEAD: Final = re.compile(r"^(<!-- measured on: (\S+) -->\n).*?^(<!-- end -->)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Results:
    """One file: what was measured, and on what."""

    header: Mapping[str, str]
    rows: Mapping[str, list[Row]]
    commits: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Results:
        found = json.loads(path.read_text())
        rows = {name: [_row(row) for row in scenario["rows"]] for name, scenario in found["results"].items()}
        commits = {name: scenario.get("commit", "") for name, scenario in found["results"].items()}
        return cls({key: value for key, value in found.items() if isinstance(value, str)}, rows, commits)


@dataclass(frozen=True)
class Part:
    """What a comment of the page asks for: `figure=server: served_append served_read [beside three-nodes]`."""

    figure: str
    scenarios: Sequence[str]
    beside: str | None

    @classmethod
    def parse(cls, text: str) -> Part:
        figure, _, rest = text.partition(": ")
        names, _, beside = rest.partition(" beside ")
        return cls(figure, names.split(), beside or None)


def _row(found: dict[str, object]) -> Row:
    limit, value = found["limit"], found["value"]
    assert isinstance(value, (int, float))
    return Row(
        str(found["what"]).removeprefix("server: ").removeprefix("SDK: "),
        value,
        str(found["unit"]),
        None if not isinstance(limit, dict) else Limit(limit["value"], limit["kind"] == "at least", limit["reason"]),
        str(found["notes"]),
        missed=found["passed"] is False,
    )


def page(text: str, files: Mapping[str, Results]) -> tuple[str, dict[str, str]]:
    """The page with its tables, and the figures by name."""
    main, figures = files["two-cores"], dict[str, str]()

    def part(found: re.Match[str]) -> str:
        wanted = Part.parse(found[2])
        rows = [row for name in wanted.scenarios for row in main.rows[name]]
        beside = None if wanted.beside is None else files[wanted.beside]
        others = {} if beside is None else {row.what: row for name in wanted.scenarios for row in beside.rows[name]}
        figures[wanted.figure] = figure = figure_of(wanted.figure, rows)
        title = re.search(r"<title[^>]*>(.*?)</title>", figure)
        assert title is not None
        notes = _commits({main.commits[name] for name in wanted.scenarios if main.commits[name]})
        table = "\n".join(as_table(rows, None if beside is None else others))
        return f"{found[1]}\n![{title[1]}](results/{wanted.figure}.svg)\n\n{table}\n{notes}\n{found[3]}"

    def head(found: re.Match[str]) -> str:
        header = files[found[2]].header
        started = f" Measured {header['started']}." if "started" in header else ""
        return f"{found[1]}\n{header['machine']}, {header['disk']}; {header['versions']}.{started}\n\n{found[3]}"

    return _PART.sub(part, _HEAD.sub(head, text)), figures


def as_table(rows: Sequence[Row], others: Mapping[str, Row] | None) -> list[str]:
    """The lines of a table; with a column more for the same measured elsewhere."""
    if others is None:
        lines = ["| what | measured | limit | |", "| --- | ---: | --- | --- |"]
        return lines + [f"| {row.what} | {measured(row)} | {limit_of(row)} | {verdict(row)} |" for row in rows]
    lines = ["| what | one node | three nodes | limit | |", "| --- | ---: | ---: | --- | --- |"]
    for row in rows:
        there = measured(others[row.what]) if row.what in others else ""
        lines.append(f"| {row.what} | {measured(row)} | {there} | {limit_of(row)} | {verdict(row)} |")
    return lines


def figure_of(name: str, rows: Sequence[Row]) -> str:
    """How much better each is than what it is compared with: another package, or else its limit."""
    units = dict.fromkeys(row.unit for row in rows if row.unit.startswith("× ") and "fdatasync" not in row.unit)
    if units:
        others = [unit.removeprefix("× ") for unit in units]

        def beside(other: str) -> str:
            return "" if len(others) == 1 else f", beside {other}"

        bars = [
            Bar(
                row.what if len(others) == 1 else f"{row.what}, beside {other}", row.value, measured(row)[: -len(other)]
            )
            for other in others
            for row in rows
            if row.unit == f"× {other}"
        ]
        title = f"Perdure beside {' and beside '.join(others)}"
        return chart(bars, name=name, title=title, worse="behind", better="ahead")
    bars = [Bar(row.what, _headroom(row.limit, row.value), measured(row)) for row in rows if row.limit is not None]
    return chart(
        bars, name=name, title="How far from the limits", worse="misses its limit", better="better than its limit"
    )


def _headroom(limit: Limit | None, value: float) -> float:
    assert limit is not None
    return value / limit.value if limit.at_least else limit.value / value


def _commits(commits: set[str]) -> str:
    return f"\nMeasured at commit {', '.join(sorted(commits))}.\n" if commits else ""


def main() -> None:
    files = {path.stem: Results.read(path) for path in sorted(DATA.glob("*.json"))}
    text, figures = page(PAGE.read_text(), files)
    PAGE.write_text(text)
    for name, figure in figures.items():
        (DATA / f"{name}.svg").write_text(figure)


if __name__ == "__main__":
    main()
