"""The commands and their options; each command's work is a module of its own, imported when it is used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from .. import __version__
from ..errors import PerdureError, UsageError
from .backup import add_backup
from .copy import add_copy
from .option_types import BAD_USAGE, directory, port_number
from .serve_options import add_serve


def build_parser() -> argparse.ArgumentParser:
    """The command line, as `perdure --help` shows it."""
    parser = argparse.ArgumentParser(prog="perdure", description="Durable streams and resumable AI chats.")
    parser.add_argument("--version", action="version", version=f"perdure {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser("demo", help="run the chat that survives a refresh, on the embedded store")
    demo.add_argument(
        "--data", type=directory, default="./perdure-demo", help="data directory, or :memory: (default: %(default)s)"
    )
    demo.add_argument("--engine", help="an engine's URL instead of a data directory")
    demo.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    demo.add_argument(
        "--port", type=port_number, default=3457, help="port to listen on, 0 for any (default: %(default)s)"
    )
    demo.add_argument("--no-browser", action="store_true", help="do not open the page in the browser")
    demo.set_defaults(run=_run_demo, needs=("fastapi", "granian", "httpx"), extra="demo")
    add_serve(commands)
    add_backup(commands)
    add_copy(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status (0 fine, 1 failed, 2 bad usage)."""
    options = build_parser().parse_args(arguments)
    missing = [name for name in options.needs if find_spec(name) is None]
    if missing:
        print(
            f"perdure {options.command}: needs {', '.join(missing)}; "
            f"install it with: pip install 'perdure[{options.extra}]'",
            file=sys.stderr,
        )
        return 1
    try:
        status: int = options.run(options)
    except (PerdureError, OSError) as exc:
        print(f"perdure {options.command}: {exc}", file=sys.stderr)
        return BAD_USAGE if isinstance(exc, UsageError) else 1
    except KeyboardInterrupt:
        return 130
    return status


def _run_demo(options: argparse.Namespace) -> int:
    from .demo import run_demo

    return run_demo(options.engine or options.data, options.host, options.port, open_browser=not options.no_browser)
