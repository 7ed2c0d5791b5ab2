"""The commands by their names, and how one of them is run."""

from __future__ import annotations

import inspect
import os
import sys
from importlib.util import find_spec
from typing import Final, NamedTuple

from cyclopts import App, CycloptsError, Group, Parameter

from .._extras import missing
from .._version import __version__
from ..errors import PerdureError
from .exits import STATUS_HELP, ExitStatus, failure_text, status_of, tell_failure
from .misuse import misuse_message
from .remedies import remedy
from .standard_streams import supply_standard_streams

RECORDS: Final = Group("Records", sort_key=1)
BASINS: Final = Group("Basins and streams", sort_key=2)
ACCOUNT: Final = Group("Account", sort_key=3)
MEASURING: Final = Group("Measuring", sort_key=4)
SERVERS: Final = Group("Servers", sort_key=5)
STORES: Final = Group("Whole stores", sort_key=6)
HELP: Final = Group("Help", sort_key=9)


class Command(NamedTuple):
    """One command: where its function is, and what is said about it without importing that."""

    name: str
    function: str
    help: str
    """The first paragraph stands in the list of commands, all of it in the command's own help."""

    group: Group
    needs: tuple[str, ...] = ()
    """Packages beyond those of the command line itself."""

    extra: str = ""
    """What brings them."""

    plain_status: bool = False
    """Whether every failure but a wrong call ends with 1, as befits what works on whole stores."""


COMMANDS: Final = (
    Command(
        "append",
        "append:append",
        "Append records from the standard input, or from a file.\n\n"
        "Records are sent as they come, each batch when it is full or its first record has waited for --linger; what "
        "is read is never ahead of the stream by more than a few MiB. Ctrl-C appends what was read, and tells how much "
        "that was.",
        RECORDS,
    ),
    Command(
        "read",
        "read:read",
        "Read records to the standard output, or into a file.\n\n"
        "With --count, --bytes, --until or --no-follow it ends at the latest at the tail; otherwise it waits there for "
        "what comes. It starts at the tail too unless told where, or at the beginning if it ends by itself.",
        RECORDS,
    ),
    Command("tail", "read:tail", "Print the last records of a stream, and with -f what comes.", RECORDS),
    Command(
        "apply",
        "declared:apply",
        "Make basins and streams as a file declares them.\n\n"
        "What is missing is created, and what is there gets the configuration that the file gives it: what the file "
        "does not say of it gets its default. What the file does not name stays as it is; nothing is deleted. To apply "
        "a file again changes nothing.",
        BASINS,
    ),
    Command(
        "diff",
        "declared:diff",
        "Show what `perdure apply` would change.\n\nThe exit status is 0 if that is nothing, and 5 if it is something.",
        BASINS,
    ),
    Command(
        "bench",
        "bench.command:bench",
        "Measure a store: appends, a reader that follows, and a reader of everything.\n\n"
        "Records are appended to a stream of the bench's own, which is deleted at the end. Each record commits to all "
        "before it, so a record that is lost, comes twice, in another place or changed is found, and ends with status "
        "1. Ctrl-C ends early with what there is.",
        MEASURING,
    ),
    Command(
        "serve",
        "serve_options:serve",
        "Serve the S2 API over a data directory or a database.\n\n"
        "Over it, the S2 SDK of any language works. GET /health tells whether it serves, GET /metrics how it does, as "
        "Prometheus text. The root token comes from a file or from the environment (PERDURE_ROOT_TOKEN), never from an "
        "argument.",
        SERVERS,
        needs=("cryptography", "granian", "prometheus_client", "uvloop", "zstandard"),
        extra="server",
        plain_status=True,
    ),
    Command(
        "ui",
        "ui_options:ui",
        "Look into a store in the browser.\n\n"
        "Basins and streams, records as they come, chats, usage. A data directory or a database is opened by this "
        "process; a service is asked with its access token, which does not reach the browser. For the inspector of a "
        "server that runs, start it with `perdure serve --ui`.",
        SERVERS,
        needs=("cryptography", "granian", "prometheus_client", "uvloop", "zstandard"),
        extra="server",
    ),
    Command(
        "demo",
        "demo_options:demo",
        "Run the chat that survives a refresh.",
        SERVERS,
        needs=("fastapi", "granian", "httpx"),
        extra="demo",
        plain_status=True,
    ),
    Command(
        "backup",
        "backup:backup",
        "Copy a data directory that may be in use.\n\n"
        "Any number of processes may use it meanwhile. Everything that was acknowledged before the beginning is in the "
        "copy. The backup holds everything: records, the hashes of access tokens, and encrypted records as they are.",
        STORES,
        plain_status=True,
    ),
    Command(
        "restore",
        "backup:restore",
        "Make a data directory from a backup.\n\nThe backup is checked against its checksums, and stays.",
        STORES,
        plain_status=True,
    ),
    Command(
        "copy",
        "copy:copy",
        "Copy streams from one store to another, as from a directory to PostgreSQL.\n\n"
        "Both are given as a data directory or as postgres://…; the original may be in use. A copy has the same "
        "sequence numbers, timestamps, fencing tokens and trim points. What was copied before is not copied again. "
        "Nobody may append to the copies before you move over: stop the writers, let the copy end, start the writers "
        "on the target. Access tokens and metrics are not copied.",
        STORES,
        plain_status=True,
    ),
    Command("ls", "streams:ls", "List basins, or the streams of one.", BASINS),
    Command("list-basins", "basins:list_basins", "List basins.", BASINS),
    Command("create-basin", "basins:create_basin", "Create a basin.", BASINS),
    Command(
        "ensure-basin",
        "basins:ensure_basin",
        "Make sure of a basin that is configured like this.\n\n"
        "One that is there gets this configuration: what is not given gets its default.",
        BASINS,
    ),
    Command("get-basin-config", "basins:get_basin_config", "Show how a basin is configured.", BASINS),
    Command(
        "reconfigure-basin",
        "basins:reconfigure_basin",
        "Change how a basin is configured.\n\nWhat is not given stays as it is.",
        BASINS,
    ),
    Command(
        "delete-basin",
        "basins:delete_basin",
        "Delete a basin with all of its streams.\n\nOn a terminal you are asked first.",
        BASINS,
    ),
    Command("list-streams", "streams:list_streams", "List the streams of a basin.", BASINS),
    Command("create-stream", "streams:create_stream", "Create a stream.", BASINS),
    Command(
        "ensure-stream",
        "streams:ensure_stream",
        "Make sure of a stream that is configured like this.\n\n"
        "One that is there gets this configuration: what is not given gets its default.",
        BASINS,
    ),
    Command("get-stream-config", "streams:get_stream_config", "Show how a stream is configured.", BASINS),
    Command(
        "reconfigure-stream",
        "streams:reconfigure_stream",
        "Change how a stream is configured.\n\nWhat is not given stays as it is.",
        BASINS,
    ),
    Command(
        "delete-stream",
        "streams:delete_stream",
        "Delete a stream with all of its records.\n\nOn a terminal you are asked first.",
        BASINS,
    ),
    Command("check-tail", "positions:check_tail", "Show where the tail of a stream is.", RECORDS),
    Command(
        "trim",
        "positions:trim",
        "Let the records below a sequence number go.\n\nThey cannot be had back.",
        RECORDS,
    ),
    Command(
        "fence",
        "positions:fence",
        "Set the fencing token of a stream.\n\nAppends that say another one are refused from then on.",
        RECORDS,
    ),
    Command(
        "issue-access-token",
        "tokens:issue_access_token",
        "Issue an access token.\n\n"
        "Its secret alone goes to the standard output, this once: perdure issue-access-token … > token. In a data "
        "directory or a database, tokens are for the clients of a server on it that has a root token.",
        ACCOUNT,
    ),
    Command("list-access-tokens", "tokens:list_access_tokens", "List access tokens, without their secrets.", ACCOUNT),
    Command(
        "revoke-access-token",
        "tokens:revoke_access_token",
        "Make an access token worthless.\n\nOn a terminal you are asked first.",
        ACCOUNT,
    ),
    Command("get-account-metrics", "metrics:get_account_metrics", "Show how much the account is used.", ACCOUNT),
    Command("get-basin-metrics", "metrics:get_basin_metrics", "Show how much a basin is used.", ACCOUNT),
    Command("get-stream-metrics", "metrics:get_stream_metrics", "Show how much a stream is used.", ACCOUNT),
    Command("list-locations", "locations:list_locations", "List the places where basins can be.", ACCOUNT),
    Command("get-default-location", "locations:get_default_location", "Show where basins are made.", ACCOUNT),
    Command("set-default-location", "locations:set_default_location", "Say where basins are made.", ACCOUNT),
    Command(
        "completion",
        "completion:completion",
        "Print a script that completes commands, options, basins and streams.\n\n"
        'For bash: eval "$(perdure completion bash)" in ~/.bashrc. For zsh: perdure completion zsh > '
        "~/.zfunc/_perdure, where ~/.zfunc is in fpath. For fish: perdure completion fish > "
        "~/.config/fish/completions/perdure.fish.",
        HELP,
    ),
)

COMPLETE: Final = "__complete"
"""What the scripts of `perdure completion` call for names of basins and streams."""

_BY_NAME: Final = {command.name: command for command in COMMANDS}


def build_app() -> App:
    """The command line, as `perdure --help` shows it; no command is imported."""
    app = App(
        name="perdure",
        help="Durable streams, and AI chats that survive a refresh, a crash or a change of tab.",
        help_epilogue=STATUS_HELP,
        help_flags=("--help", "-h"),
        help_format="plaintext",
        version=f"perdure {__version__}",
        version_flags=("--version", "-V"),
        group_commands=HELP,
        default_parameter=Parameter(negative=(), show_default=_shown_default),
        result_action="return_value",
    )
    for command in COMMANDS:
        app.command(
            f"{__package__}.{command.function}",
            name=command.name,
            help=command.help,
            group=command.group,
            help_epilogue="",
        )
    return app


def _shown_default(value: object) -> str | None:
    """A default as one would write it after the option; None for what says nothing."""
    if value is None or value is False or value in ("", ()) or repr(value) == "UNSET":
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)


def run(arguments: list[str]) -> int:
    """Run what the arguments say; gives the exit status."""
    supply_standard_streams()
    try:
        status = _run(build_app(), arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has enough, as `head` does. The interpreter would complain when it flushes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitStatus.PIPE_CLOSED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    return status


def _run(app: App, arguments: list[str]) -> int:
    if arguments[:1] == [COMPLETE]:
        app(arguments)
        return ExitStatus.FINE
    if not arguments:
        app.help_print([])
        return ExitStatus.USAGE
    try:
        function, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False, help_on_error=False)
    except CycloptsError as exc:
        return _tell_misuse(exc)
    known = _BY_NAME.get(arguments[0])
    if known is None or function.__module__ != f"{__package__}.{known.function.partition(':')[0]}":
        function(*bound.args, **bound.kwargs)  # --help and --version
        return ExitStatus.FINE
    absent = [name for name in known.needs if find_spec(name) is None]
    if absent:
        tell_failure(known.name, missing("this command", ", ".join(absent), known.extra))
        return ExitStatus.FAILED
    try:
        outcome = function(*bound.args, **bound.kwargs)
        if inspect.iscoroutine(outcome):
            from .running import run_until_terminated  # help has no use for an event loop

            outcome = run_until_terminated(outcome)
    except BrokenPipeError:
        raise
    except (PerdureError, OSError) as exc:
        told = remedy(exc)
        tell_failure(known.name, failure_text(exc), *([] if told is None else [told]))
        status = status_of(exc)
        return status if status is ExitStatus.USAGE or not known.plain_status else ExitStatus.FAILED
    return int(outcome or ExitStatus.FINE)


def _tell_misuse(exc: CycloptsError) -> int:
    """Say what is wrong with the call, and where to look."""
    chain = exc.command_chain or ()
    tell_failure(
        " ".join(chain), misuse_message(exc, tuple(_BY_NAME)), f"`{' '.join(('perdure', *chain, '--help'))}` tells more"
    )
    return ExitStatus.USAGE
