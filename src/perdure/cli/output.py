"""What commands print: tables for people, tab-separated lines for other programs, JSON for those that ask for it.

Results go to the standard output, and everything else to the standard error: progress, what was done, questions,
failures. With `--json`, a listing is JSON Lines, one object for each entry as it comes, and everything else is one JSON
document; both in the form that the S2 API has for it. Colours and rules are for terminals, colours not with NO_COLOR.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable, Sequence
from typing import IO, TYPE_CHECKING, Generic, Literal, TypeVar

from msgspec import Struct

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")


class Column(Struct, Generic[T], frozen=True):
    """A column of a table: its title, and what stands in it for a row."""

    title: str
    text: Callable[[T], str]
    justify: Literal["left", "right"] = "left"
    style: str = ""
    """For terminals, as rich understands it; empty for none."""

    whole: bool = False
    """Whether it stays in one line, however narrow the terminal is."""


def printable(text: str, *, keep: str = "") -> str:
    """`text` with what a terminal would obey, or what would break a line, written as an escape such as `\\\\x1b`.

    Names may hold any character, and come from whoever may make a stream. `keep` are characters to leave as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def stdout() -> IO[str]:
    """Where results go, now."""
    return sys.stdout


def is_terminal(file: IO[str]) -> bool:
    """Whether somebody looks at it."""
    return file.isatty()


def console(file: IO[str] | None = None) -> Console:
    """Rich's view of the standard output, or of `file`; nothing in what it prints is taken for markup."""
    from rich.console import Console

    return Console(file=file or sys.stdout, markup=False, highlight=False, emoji=False, soft_wrap=False)


def tell(text: str) -> None:
    """Say what was done, or is being done, on the standard error."""
    print(printable(text, keep="\n"), file=sys.stderr, flush=True)


def print_json(document: bytes) -> None:
    """One JSON document, which is one line; for people it is spread over several."""
    if is_terminal(sys.stdout):
        import msgspec

        document = msgspec.json.format(document, indent=2)
    print(document.decode(), flush=True)


def print_table(rows: Sequence[T], columns: Sequence[Column[T]], *, empty: str) -> None:
    """All rows: as a table on a terminal, or what `empty` says if there are none; elsewhere as tab-separated lines."""
    if not is_terminal(sys.stdout):
        for row in rows:
            _print_line(row, columns)
        return
    if not rows:
        tell(empty)
        return
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(column.text(row)) for column in columns] for row in rows]
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    # A column in which nothing stands only takes room from the others.
    shown = [index for index in range(len(columns)) if any(line[index] for line in cells)]
    for column in (columns[index] for index in shown):
        # What is too long goes on in the next line: a name that is cut is of no use.
        table.add_column(
            column.title, justify=column.justify, style=column.style, overflow="fold", no_wrap=column.whole
        )
    for line in cells:
        table.add_row(*(Text(line[index]) for index in shown))
    console().print(table)


async def print_listing(
    rows: AsyncIterable[T], columns: Sequence[Column[T]], as_json: Callable[[T], bytes] | None, *, empty: str
) -> None:
    """A listing as it comes in: JSON Lines if `as_json` is given, tab-separated lines, or a table on a terminal."""
    if as_json is not None:
        async for row in rows:
            print(as_json(row).decode())
    elif is_terminal(sys.stdout):
        print_table([row async for row in rows], columns, empty=empty)
    else:
        async for row in rows:
            _print_line(row, columns)


def _print_line(row: T, columns: Sequence[Column[T]]) -> None:
    print("\t".join(printable(column.text(row)) for column in columns))
