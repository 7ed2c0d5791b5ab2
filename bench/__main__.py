"""Measure Perdure on this machine, and print one table with the limits beside the values.

Progress goes to standard error, the table to standard output. Every scenario runs in a process of its
own and can be run alone: `python -m bench.append_idle`. The limits are those of the project's two-core
reference machine; they are computed from the disk's own speed where that decides.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import machine
from .children import Child, ChildFailed
from .scenario import DEFAULT_DATA, Row, Run, run_by_name, scratch
from .table import as_markdown, as_text, as_values

SCENARIOS = (
    "append_idle",
    "append_streams",
    "append_large",
    "read_back",
    "writers",
    "follow",
    "first_token",
    "generations",
    "histories",
    "resumable",
    "tabs",
    "served_append",
    "served_read",
    "replicated",
    "sdk",
)


@dataclass(frozen=True)
class Outcome:
    """What became of one scenario."""

    name: str
    rows: list[Row]
    failure: str | None
    seconds: float
    load: str


def _measure(name: str, position: str, data: Path, quick: bool) -> Outcome:
    started = time.monotonic()
    rows, failure = list[Row](), None
    with scratch(data) as directory:
        child = Child(run_by_name, name, Run(directory, quick, f"{position} {name}: "))
        try:
            rows = child.result()
        except ChildFailed as exc:
            failure = str(exc)
        finally:
            child.end()
    return Outcome(name, rows, failure, time.monotonic() - started, machine.load())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, metavar="NAME", help=", ".join(SCENARIOS))
    parser.add_argument("--quick", action="store_true", help="short runs with fewer samples, to see that it works")
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="write the results there as well; a file that is there keeps what was not measured anew",
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="on the disk to measure")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def _write(path: Path, header: dict[str, str], outcomes: list[Outcome]) -> None:
    """The results as a file. What it has of scenarios that did not run, or that failed, stays, with its commit."""
    kept = json.loads(path.read_text())["results"] if path.exists() else {}
    measured = {
        outcome.name: {
            "commit": header["commit"],
            "seconds": round(outcome.seconds, 1),
            "load_after": outcome.load,
            "rows": [as_values(row) for row in outcome.rows],
        }
        for outcome in outcomes
        if outcome.failure is None
    }
    results = {name: {**kept, **measured}[name] for name in SCENARIOS if name in kept or name in measured}
    path.write_text(json.dumps({**header, "results": results}, indent=2, ensure_ascii=False) + "\n")


def main() -> int:
    options = _parse()
    options.data.mkdir(parents=True, exist_ok=True)
    header = machine.describe(options.data)
    if options.quick:
        header["note"] = "--quick: too short to judge by"
    for key, value in header.items():
        print(f"{key:<9} {value}", file=sys.stderr)
    names = [name for name in SCENARIOS if options.only is None or name in options.only]
    outcomes: list[Outcome] = []
    for number, name in enumerate(names, 1):
        outcome = _measure(name, f"[{number}/{len(names)}]", options.data, options.quick)
        outcomes.append(outcome)
        print(f"[{number}/{len(names)}] {name}: {outcome.seconds:.0f} s, load {outcome.load}", file=sys.stderr)
    header["load"] += f" at the start, {machine.load()} at the end"
    rows = [row for outcome in outcomes for row in outcome.rows]
    failures = [f"{outcome.name} failed: {outcome.failure}" for outcome in outcomes if outcome.failure]
    missed = sum(row.passed is False for row in rows)
    summary = f"{sum(row.passed is True for row in rows)} limits met, {missed} missed"
    if options.markdown:
        print("\n".join(f"- {key}: {value}" for key, value in header.items()) + "\n")
        print(as_markdown(rows))
    else:
        print("\n".join(f"{key:<9} {value}" for key, value in header.items()) + "\n")
        print(as_text(rows))
    print("\n" + "\n".join([summary, *failures]))
    if options.json:
        _write(options.json, header, outcomes)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
