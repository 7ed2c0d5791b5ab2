"""Parameters that many commands have, defined once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, TypeAlias, TypeVar

from cyclopts import Group, Parameter

from ..model.limits import MAX_PAGE_ITEMS
from .completion import complete_basin, complete_stream
from .option_types import at_least_one, parsed_by
from .uri import StreamUri, parse_basin, parse_stream

T = TypeVar("T")

BasinArgument: TypeAlias = Annotated[
    str,
    Parameter(
        name="BASIN",
        converter=parsed_by(parse_basin),
        completer=complete_basin,
        help="The basin: s2://BASIN, or its name.",
    ),
]

StreamArgument: TypeAlias = Annotated[
    StreamUri,
    Parameter(
        name="STREAM",
        converter=parsed_by(parse_stream),
        n_tokens=1,
        accepts_keys=False,
        completer=complete_stream,
        help="The stream: s2://BASIN/STREAM. The name is taken as it is, and may hold slashes.",
    ),
]

Json: TypeAlias = Annotated[
    bool, Parameter(name="--json", help="One JSON document on the standard output, in the form of the S2 API.")
]

JsonLines: TypeAlias = Annotated[
    bool, Parameter(name="--json", help="A line of JSON for each, in the form of the S2 API.")
]

Yes: TypeAlias = Annotated[bool, Parameter(name=("--yes", "-y"), help="Do not ask, as one is asked on a terminal.")]

IgnoreNotFound: TypeAlias = Annotated[bool, Parameter(help="It is fine if it is not there.")]


@Parameter(name="*", group=Group("What is listed", sort_key=1))
@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which part of a listing is asked for; without any of it, everything, page after page."""

    prefix: Annotated[str, Parameter(help="Only what starts with this.")] = ""
    start_after: Annotated[str, Parameter(metavar="NAME", help="Only what sorts after this.")] = ""
    limit: Annotated[
        int | None,
        Parameter(converter=parsed_by(at_least_one), metavar="COUNT", help="At most so many; all by default."),
    ] = None

    @property
    def page(self) -> int:
        """How many to ask for at a time."""
        return min(self.limit or MAX_PAGE_ITEMS, MAX_PAGE_ITEMS)


async def first(items: AsyncIterator[T], limit: int | None) -> AsyncIterator[T]:
    """So many of `items`; all of them if `limit` is None."""
    left = limit
    async for item in items:
        yield item
        if left is not None:
            left -= 1
            if not left:
                return
