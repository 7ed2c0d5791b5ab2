"""The options of `perdure ui`, apart from its work, which needs more packages than its help does."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import Parameter

from .option_types import parsed_by, port_number
from .targets import Target

PORT: Final = 3459
"""The one after the server's."""


def ui(
    *,
    target: Target = Target(),
    host: Annotated[str, Parameter(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, Parameter(converter=parsed_by(port_number), metavar="PORT", help="Port to listen on, 0 for any.")
    ] = PORT,
    no_browser: Annotated[bool, Parameter(help="Do not open the page in the browser.")] = False,
) -> int:
    """Serve the inspector until a signal comes; gives the exit status."""
    from .ui import run_ui

    return run_ui(target.place(), host, port, open_browser=not no_browser)
