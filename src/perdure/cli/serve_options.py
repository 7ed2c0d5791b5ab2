"""The options of `perdure serve`, apart from its work, which needs more packages than its help does."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Final, Literal, TypeAlias

from cyclopts import Group, Parameter

from ..errors import UsageError
from ..server.limits import DEFAULT_LIMITS
from .option_types import (
    at_least_one,
    directory,
    domain,
    each_parsed_by,
    engine,
    named_location,
    parsed_by,
    port_number,
)
from .targets import DATA_VARIABLE, ENGINE_VARIABLE

PORT: Final = 3458
"""The one after the demo's. Ports up to 1023 need privileges, from 32768 on they are lent to outgoing connections."""

DEFAULT_DATA: Final = "./perdure-data"

INIT_FILE_VARIABLE: Final = "PERDURE_INIT_FILE"

_KEPT: Final = Group("Where the data is", sort_key=1)
_ACCESS: Final = Group("Access", sort_key=3)
_TLS: Final = Group("TLS", sort_key=4)
_LIMITS: Final = Group("Limits of each worker", sort_key=5)
_LOG: Final = Group("Log, on the standard error", sort_key=6)

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]


@Parameter(name="*", group=_LIMITS)
@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """The limits of each worker, by the names that `ServerLimits` has for them."""

    max_inflight_append_bytes: Annotated[
        int,
        Parameter(name="--append-inflight-bytes", metavar="BYTES", help="Appends not yet acknowledged; more wait."),
    ] = DEFAULT_LIMITS.max_inflight_append_bytes
    max_sessions: Annotated[
        int, Parameter(metavar="COUNT", help="Append and read sessions at a time, and reads that wait.")
    ] = DEFAULT_LIMITS.max_sessions
    max_sessions_per_connection: Annotated[int, Parameter(metavar="COUNT", help="The same on one connection.")] = (
        DEFAULT_LIMITS.max_sessions_per_connection
    )
    body_timeout_secs: Annotated[float, Parameter(metavar="SECONDS", help="How long a request's body may take.")] = (
        DEFAULT_LIMITS.body_timeout_secs
    )
    stall_timeout_secs: Annotated[
        float, Parameter(metavar="SECONDS", help="How long a client may take nothing, or not end a frame.")
    ] = DEFAULT_LIMITS.stall_timeout_secs
    header_timeout_secs: Annotated[float, Parameter(metavar="SECONDS", help="How long a request's head may take.")] = (
        DEFAULT_LIMITS.header_timeout_secs
    )
    idle_timeout_secs: Annotated[
        float, Parameter(metavar="SECONDS", help="How long a connection may have no request.")
    ] = DEFAULT_LIMITS.idle_timeout_secs
    drain_secs: Annotated[
        float, Parameter(metavar="SECONDS", help="How long running requests may take once the server is to stop.")
    ] = DEFAULT_LIMITS.drain_secs


OPTION_OF_LIMIT: Final = {
    field.name: "--append-inflight-bytes"
    if field.name == "max_inflight_append_bytes"
    else f"--{field.name.replace('_', '-')}"
    for field in fields(LimitOptions)
}
"""What the command line calls each limit."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What `perdure serve` can be told."""

    data: Annotated[
        str | None,
        Parameter(
            group=_KEPT,
            converter=parsed_by(directory),
            metavar="DIR",
            help=f"Data directory, or :memory: with one worker; {DATA_VARIABLE} if this is not given, and without both "
            f"{DEFAULT_DATA}.",
        ),
    ] = None
    engine: Annotated[
        str | None,
        Parameter(
            group=_KEPT,
            converter=parsed_by(engine),
            metavar="URL",
            help=f"postgres://… instead of a directory; one with a password is better given as {ENGINE_VARIABLE}.",
        ),
    ] = None
    locations: Annotated[
        tuple[tuple[str, str], ...],
        Parameter(
            name="--location",
            group=_KEPT,
            n_tokens=1,
            converter=each_parsed_by(named_location),
            metavar="NAME=URL",
            help="Serve several stores, postgres://… or directories, each a location by its name: give this once for "
            "each; the first is the home, which keeps access tokens and the names of basins.",
        ),
    ] = ()
    host: Annotated[str, Parameter(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Parameter(converter=parsed_by(port_number), metavar="PORT", help="Port, 0 for any.")] = PORT
    workers: Annotated[
        int, Parameter(converter=parsed_by(at_least_one), metavar="COUNT", help="Processes that serve.")
    ] = 1
    pin_workers: Annotated[
        bool,
        Parameter(
            help="Keep each worker on a CPU: small requests take half of the CPU, large reads are slower (Linux).",
        ),
    ] = False
    init_file: Annotated[
        str | None,
        Parameter(
            env_var=INIT_FILE_VARIABLE,
            metavar="FILE",
            help="JSON or TOML file of basins and streams to make sure of at the start and at SIGHUP.",
        ),
    ] = None
    ui: Annotated[
        bool, Parameter(help="Serve the inspector at /ui: the page to everybody, what is stored by access token.")
    ] = False
    no_cors: Annotated[bool, Parameter(help="Do not answer pages of other origins.")] = False
    basin_domain: Annotated[
        str,
        Parameter(
            converter=parsed_by(domain),
            metavar="DOMAIN",
            help="The host BASIN.DOMAIN names the basin of its requests; an empty one for none.",
        ),
    ] = "b.localhost"
    root_token_file: Annotated[
        str | None,
        Parameter(
            group=_ACCESS, metavar="FILE", help="File with the root token; with one, every request needs a token."
        ),
    ] = None
    insecure: Annotated[
        bool,
        Parameter(
            group=_ACCESS,
            help="Let everybody do everything on a public address, without a root token.",
        ),
    ] = False
    tls_cert: Annotated[str | None, Parameter(group=_TLS, metavar="FILE", help="Certificate chain, a PEM file.")] = None
    tls_key: Annotated[str | None, Parameter(group=_TLS, metavar="FILE", help="Its private key, a PEM file.")] = None
    tls_self: Annotated[bool, Parameter(group=_TLS, help="A self-signed certificate, for development.")] = False
    limits: LimitOptions = LimitOptions()
    log_format: Annotated[Literal["text", "json"], Parameter(group=_LOG)] = "text"
    log_level: Annotated[LogLevel, Parameter(group=_LOG)] = "info"


def serve(*, options: ServeOptions = ServeOptions()) -> int:
    """Serve until a signal comes; gives the exit status."""
    given = [name for name in ("data", "engine") if getattr(options, name)] + ["location"] * bool(options.locations)
    if len(given) > 1:
        raise UsageError(f"--{given[0]} and --{given[1]} both say where the data is; give one of them")
    from .serve import run_serve

    return run_serve(options)
