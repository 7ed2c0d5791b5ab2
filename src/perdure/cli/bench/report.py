"""What a run ends with, for people: tables of what went through, of latencies, and whether all was as written."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..progress import size_text
from ..quantities import rate_text, time_text
from .latencies import Latencies
from .measured import PERCENTS, Flow, Run
from .view import APPEND_STYLE, CATCH_UP_STYLE, ROOMY, TAIL_STYLE, title_line

_BAR_COLUMNS = 18
_LEAST_BAR_COLUMNS = 4
"""A shorter bar tells nothing."""

_FIGURE_COLUMNS = 10
"""What a latency and the title above it take at most."""


def print_report(run: Run, screen: Console) -> None:
    """Print the outcome."""
    screen.print()
    screen.print(title_line(run), soft_wrap=True)
    screen.print()
    screen.print(_throughput(run, screen.width))
    screen.print()
    if run.append.latencies.count:
        screen.print(_latencies(run.append.latencies, run.tail.latencies, screen.width))
        screen.print()
    screen.print(_verdict(run), soft_wrap=True)


def _throughput(run: Run, width: int) -> Table:
    gap = 3 if width >= ROOMY else 1
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, gap, 0, 0))
    table.add_column("throughput", no_wrap=True)
    for title in ("MiB/s", "records/s", "records", "size", "time"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, style, flow in (
        ("append", APPEND_STYLE, run.append),
        ("tail", TAIL_STYLE, run.tail),
        ("catch up", CATCH_UP_STYLE, run.catch_up),
    ):
        table.add_row(Text(name, style), *_flow(flow))
    return table


def _flow(flow: Flow) -> list[Text]:
    if not flow.records:
        return [Text("–", "dim")] * 5
    return [
        Text(rate_text(flow.mibps), "bold"),
        Text(f"{flow.records_per_sec:,.0f}"),
        Text(f"{flow.records:,}"),
        Text(size_text(flow.bytes)),
        Text(f"{flow.seconds:.2f} s"),
    ]


def _latencies(ack: Latencies, end_to_end: Latencies, width: int) -> Table:
    figures = _FIGURE_COLUMNS + (4 if width >= ROOMY else 0)
    # Beside the names of the rows, two figures and what is between five columns. Figures must be whole, bars need not
    # be there.
    bars = min(_BAR_COLUMNS, (width - len("latency") - 2 * figures - 4 * 2) // 2)
    bars = bars if bars >= _LEAST_BAR_COLUMNS else 0
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("latency", no_wrap=True)
    for title in ("ack", "end to end"):
        table.add_column(title, justify="right", no_wrap=True, min_width=figures)
        table.add_column("", no_wrap=True, min_width=bars)
    most = max(ack.max_ns, end_to_end.max_ns, 1)
    rows = [(f"p{percent:g}", ack.percentile(percent), end_to_end.percentile(percent)) for percent in PERCENTS]
    rows += [("max", ack.max_ns, end_to_end.max_ns), ("mean", round(ack.mean_ns), round(end_to_end.mean_ns))]
    for name, of_ack, of_both in rows:
        both = Text(time_text(of_both)) if end_to_end.count else Text("–", "dim")
        table.add_row(
            Text(name),
            Text(time_text(of_ack)),
            Text(bar(of_ack / most, bars), APPEND_STYLE),
            both,
            Text(bar(of_both / most, bars), TAIL_STYLE),
        )
    return table


def bar(share: float, columns: int) -> str:
    """A bar that fills `share` of the columns, to an eighth of one; what is not nothing shows."""
    eighths = round(share * columns * 8)
    if share > 0:
        eighths = max(eighths, 1)
    whole, rest = divmod(min(eighths, columns * 8), 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]


def _verdict(run: Run) -> Text:
    if run.fault is not None:
        return Text.assemble(("✗ ", "bold red"), (f"{run.fault_of}, {run.fault}", "red"))
    if not run.tail.records:
        return Text("! no record was read: there is no result", "yellow")
    twice = f"{run.tail.records:,} records followed"
    if run.catch_up.records:
        twice += f" and {run.catch_up.records:,} read again"
    verified = f"{twice}: each as it was written, in order, none missing, none twice"
    if run.complete:
        return Text.assemble(("✓ ", "bold green"), verified)
    return Text.assemble(("✓ ", "bold green"), verified, ("\n! ended early: these results are partial", "yellow"))
