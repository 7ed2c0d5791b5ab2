"""The options of `perdure serve`, apart from its work, which needs more packages than its help does."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

from ..server.limits import DEFAULT_LIMITS
from .option_types import at_least_one, directory, domain, engine, named_location, port_number

if TYPE_CHECKING:
    # The public name of what `add_subparsers` gives is missing from the standard library.
    from argparse import _SubParsersAction

PORT: Final = 3458
"""The one after the demo's. Ports up to 1023 need privileges, from 32768 on they are lent to outgoing connections."""

DEFAULT_DATA: Final = "./perdure-data"

ENGINE_VARIABLE: Final = "PERDURE_ENGINE"
"""What --engine is if none of the options is given that say where data is kept."""

INIT_FILE_VARIABLE: Final = "PERDURE_INIT_FILE"

NEEDED_PACKAGES: Final = ("cryptography", "granian", "prometheus_client", "uvloop", "zstandard")


LIMITS: Final = (
    ("--append-inflight-bytes", "max_inflight_append_bytes", int, "appends not yet acknowledged; more wait"),
    ("--max-sessions", "max_sessions", int, "append and read sessions at a time, and reads that wait"),
    ("--max-sessions-per-connection", "max_sessions_per_connection", int, "the same on one connection"),
    ("--body-timeout-secs", "body_timeout_secs", float, "how long a request's body may take"),
    ("--stall-timeout-secs", "stall_timeout_secs", float, "how long a client may take nothing, or not end a frame"),
    ("--header-timeout-secs", "header_timeout_secs", float, "how long a request's head may take"),
    ("--idle-timeout-secs", "idle_timeout_secs", float, "how long a connection may have no request"),
    ("--drain-secs", "drain_secs", float, "how long running requests may take once the server is to stop"),
)
"""Options that set limits: which field of `ServerLimits`, its type, and what it is."""


def add_serve(commands: _SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command with its options."""
    serve = commands.add_parser(
        "serve",
        help="serve the S2 API over a data directory",
        description="Serve the S2 v1 API over a data directory, for the S2 SDK of any language. "
        "GET /health tells whether it serves, GET /metrics how it does, as Prometheus text.",
        epilog="The root token comes from a file or from the environment (PERDURE_ROOT_TOKEN), never from an argument.",
    )
    serve.set_defaults(run=_run, needs=NEEDED_PACKAGES, extra="server")
    kept = serve.add_mutually_exclusive_group()
    kept.add_argument(
        "--data", type=directory, help=f"data directory, or :memory: with one worker (default: {DEFAULT_DATA})"
    )
    kept.add_argument(
        "--engine",
        type=engine,
        metavar="URL",
        help=f"postgres://… instead of a directory; one with a password is better given as {ENGINE_VARIABLE}",
    )
    kept.add_argument(
        "--location",
        dest="locations",
        type=named_location,
        action="append",
        metavar="NAME=URL",
        help="serve several stores, postgres://… or directories, each a location by its name: give this once for each; "
        "the first is the home, which keeps access tokens and the names of basins",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    serve.add_argument("--port", type=port_number, default=PORT, help="port, 0 for any (default: %(default)s)")
    serve.add_argument("--workers", type=at_least_one, default=1, help="processes that serve (default: %(default)s)")
    serve.add_argument(
        "--pin-workers",
        action="store_true",
        help="keep each worker on a CPU: small requests take half of the CPU, large reads are slower (Linux)",
    )
    serve.add_argument(
        "--init-file",
        default=os.environ.get(INIT_FILE_VARIABLE) or None,
        help=f"JSON file of basins and streams to make sure of at the start and at SIGHUP (or {INIT_FILE_VARIABLE})",
    )
    serve.add_argument("--no-cors", action="store_true", help="do not answer pages of other origins")
    serve.add_argument(
        "--basin-domain",
        type=domain,
        metavar="DOMAIN",
        default="b.localhost",
        help="the host BASIN.DOMAIN names the basin of its requests; an empty one for none (default: %(default)s)",
    )

    access = serve.add_argument_group("access")
    access.add_argument("--root-token-file", help="file with the root token; with one, every request needs a token")
    access.add_argument(
        "--insecure", action="store_true", help="let everybody do everything on a public address, without a root token"
    )

    tls = serve.add_argument_group("TLS")
    tls.add_argument("--tls-cert", help="certificate chain, a PEM file")
    tls.add_argument("--tls-key", help="its private key, a PEM file")
    tls.add_argument("--tls-self", action="store_true", help="a self-signed certificate, for development")

    limits = serve.add_argument_group("limits of each worker")
    for option, field, kind, text in LIMITS:
        limits.add_argument(
            option,
            dest=field,
            type=kind,
            metavar="BYTES" if "bytes" in field else "SECONDS" if kind is float else "COUNT",
            help=f"{text} (default: {_shown(getattr(DEFAULT_LIMITS, field))})",
        )

    log = serve.add_argument_group("log, on the standard error")
    log.add_argument("--log-format", choices=("text", "json"), default="text", help="default: %(default)s")
    log.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default: %(default)s"
    )


def _shown(value: float) -> str:
    """A default as one would write it after the option."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _run(options: argparse.Namespace) -> int:
    from .serve import run_serve

    return run_serve(options)
