"""The options of `perdure demo`, apart from its work, which needs more packages than its help does."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from .option_types import directory, parsed_by, port_number


def demo(
    *,
    data: Annotated[
        str, Parameter(converter=parsed_by(directory), metavar="DIR", help="Data directory, or :memory:.")
    ] = "./perdure-demo",
    engine: Annotated[str | None, Parameter(metavar="URL", help="An engine's URL instead of a data directory.")] = None,
    host: Annotated[str, Parameter(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, Parameter(converter=parsed_by(port_number), metavar="PORT", help="Port to listen on, 0 for any.")
    ] = 3457,
    no_browser: Annotated[bool, Parameter(help="Do not open the page in the browser.")] = False,
) -> int:
    """Serve the demo until a signal comes; gives the exit status."""
    from .demo import run_demo

    return run_demo(engine or data, host, port, open_browser=not no_browser)
