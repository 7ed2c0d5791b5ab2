"""What a run shows while it runs: a view that is drawn anew on a terminal, or now and then a line."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..output import console, is_terminal, printable, tell
from ..progress import size_text
from ..quantities import rate_text, time_text
from .measured import MIB, Flow, Phase, Run, Settings

DRAW_SECS: Final = 0.25
LINE_SECS: Final = 5.0
_SPARKS: Final = "▁▂▃▄▅▆▇█"
_SPARK_COUNT: Final = 24
_NARROW: Final = 96
"""A terminal with fewer columns has no room for what else is nice to see."""

ROOMY: Final = 80
"""With fewer columns still, a few figures are left out so that the others are whole."""

APPEND_STYLE: Final = "cyan"
TAIL_STYLE: Final = "green"
CATCH_UP_STYLE: Final = "magenta"


class Recent:
    """The rate of a flow in the last intervals, each measured when `look` is called."""

    def __init__(self, flow: Flow) -> None:
        self.flow: Final = flow
        self.mibps: Final = deque[float](maxlen=_SPARK_COUNT)
        self._seen: tuple[int, int] | None = None

    def look(self, now_ns: int) -> None:
        """An interval has ended."""
        if self._seen is not None and now_ns > self._seen[0]:
            self.mibps.append((self.flow.bytes - self._seen[1]) / MIB / ((now_ns - self._seen[0]) / 1e9))
        if self.flow.records or self._seen is not None:
            self._seen = now_ns, self.flow.bytes

    @property
    def last_mibps(self) -> float:
        """Over the last second, or what there is of it."""
        last = list(self.mibps)[-round(1 / DRAW_SECS) :]
        return sum(last) / len(last) if last else 0.0


def sparks(rates: list[float]) -> str:
    """Rates as columns of little blocks, the highest of them full."""
    highest = max(rates, default=0.0)
    if highest <= 0:
        return _SPARKS[0] * len(rates)
    return "".join(_SPARKS[min(int(rate / highest * len(_SPARKS)), len(_SPARKS) - 1)] for rate in rates)


class View:
    """The run as it is drawn."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._append, self._tail, self._catch_up = Recent(run.append), Recent(run.tail), Recent(run.catch_up)

    def look(self, now_ns: int) -> None:
        """Take note of how far each flow is."""
        if self._run.phase is Phase.WRITING:
            self._append.look(now_ns)
            self._tail.look(now_ns)
        elif self._run.phase is Phase.CATCHING_UP:
            self._catch_up.look(now_ns)

    def drawn(self, now_ns: int, width: int, *, stopping: bool) -> RenderableType:
        """The whole view, for a terminal of this width."""
        wide, roomy = width >= _NARROW, width >= ROOMY
        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        table.add_column("", no_wrap=True)
        for title in (
            ("MiB/s", "records/s", "records", "p50", "p99", "max") if roomy else ("MiB/s", "records/s", "p50", "p99")
        ):
            table.add_column(title, justify="right", no_wrap=True)
        if wide:
            table.add_column("", no_wrap=True, min_width=_SPARK_COUNT)
        for name, style, recent, latencies in (
            ("append", APPEND_STYLE, self._append, True),
            ("tail", TAIL_STYLE, self._tail, True),
            ("catch up", CATCH_UP_STYLE, self._catch_up, False),
        ):
            table.add_row(*self._row(name, style, recent, latencies=latencies, wide=wide, roomy=roomy))
        head = title_line(self._run)
        head.no_wrap, head.overflow = True, "ellipsis"
        hint = (
            Text("ending: what is in flight is waited for", "yellow")
            if stopping
            else Text("Ctrl-C ends it with what there is", "dim")
        )
        return Padding(Group(head, Text(), self._phase(now_ns, wide), Text(), table, Text(), hint), (1, 2, 0, 2))

    def _row(self, name: str, style: str, recent: Recent, *, latencies: bool, wide: bool, roomy: bool) -> list[Text]:
        flow = recent.flow
        if not flow.records:
            return [
                Text(name, "dim"),
                *(Text("–", "dim") for _ in range(6 if roomy else 4)),
                *([Text()] if wide else []),
            ]
        writing = self._run.phase is Phase.WRITING
        mibps = recent.last_mibps if writing and latencies else flow.mibps
        per_record = self._run.settings.record_bytes / MIB
        measured = [
            Text(time_text(ns)) if latencies else Text("–", "dim")
            for ns in (flow.latencies.percentile(50), flow.latencies.percentile(99), flow.latencies.max_ns)[
                : 3 if roomy else 2
            ]
        ]
        return [
            Text(name, f"bold {style}"),
            Text(rate_text(mibps), "bold"),
            Text(f"{mibps / per_record:,.0f}"),
            *([Text(f"{flow.records:,}")] if roomy else []),
            *measured,
            *([Text(sparks(list(recent.mibps)), style)] if wide else []),
        ]

    def _phase(self, now_ns: int, wide: bool) -> RenderableType:
        run, secs = self._run, self._run.phase_secs
        gone = (now_ns - run.phase_begun_ns) / 1e9
        if secs is None:
            done, total, times = (
                run.catch_up.records,
                run.append.records,
                f"{run.catch_up.records:,} of {run.append.records:,}",
            )
        else:
            done, total = int(min(gone, secs) * 100), int(secs * 100)
            times = f"{min(gone, secs):.0f} s of {secs:g} s"
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(total=max(total, 1), completed=done, width=36 if wide else 20, complete_style="cyan")
        line.add_row(Text(f"{run.phase.value:15}", "bold"), bar, Text(times))
        return line


def title_line(run: Run) -> Text:
    """What is measured, in one line."""
    return Text.assemble((printable(run.address), "bold"), ("   " + settings_text(run.settings), "dim"))


def settings_text(settings: Settings) -> str:
    """What is measured, in words."""
    rate = "as fast as it goes" if settings.target_mibps is None else f"{settings.target_mibps:g} MiB/s"
    return f"records of {size_text(settings.record_bytes)}, {rate}, for {settings.duration_secs:g} s"


def progress_line(run: Run, now_ns: int) -> str:
    """How far the run is, for a log."""
    gone = f"{(now_ns - run.phase_begun_ns) / 1e9:5.1f} s"
    match run.phase:
        case Phase.WRITING:
            ack, e2e = run.append.latencies, run.tail.latencies
            return (
                f"{gone}  append {rate_text(run.append.mibps)} MiB/s, ack p50 {time_text(ack.percentile(50))} "
                f"p99 {time_text(ack.percentile(99))};  tail {rate_text(run.tail.mibps)} MiB/s, end to end "
                f"p50 {time_text(e2e.percentile(50))} p99 {time_text(e2e.percentile(99))}"
            )
        case Phase.WAITING:
            return f"{gone}  waiting {run.settings.catchup_delay_secs:g} s before everything is read again"
        case Phase.CATCHING_UP:
            return f"{gone}  catch up {rate_text(run.catch_up.mibps)} MiB/s, {run.catch_up.records:,} records"


@asynccontextmanager
async def shown(run: Run, stop: asyncio.Event) -> AsyncIterator[None]:
    """Show the run on the standard error for as long as the context lasts; the view is gone afterwards."""
    drawing = asyncio.create_task(
        _draw(run, stop, console(sys.stderr)) if is_terminal(sys.stderr) else _tell_lines(run), name="bench view"
    )
    try:
        yield
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])
        if not drawing.cancelled() and drawing.exception() is not None:
            raise drawing.exception() or AssertionError


async def _draw(run: Run, stop: asyncio.Event, screen: Console) -> None:
    view = View(run)
    # Drawn by this task and not by a thread of its own, which would see a run that changes.
    with Live(console=screen, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            now = time.perf_counter_ns()
            view.look(now)
            live.update(view.drawn(now, screen.width, stopping=stop.is_set()), refresh=True)
            await asyncio.sleep(DRAW_SECS)


async def _tell_lines(run: Run) -> None:
    tell(f"bench {run.address}: {settings_text(run.settings)}")
    while True:
        await asyncio.sleep(LINE_SECS)
        tell(progress_line(run, time.perf_counter_ns()))
