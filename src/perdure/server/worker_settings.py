"""What the supervisor tells a worker process, and what it hears from it.

Both go through pipes, the worker's standard input and output, so the root token is in no argument and no environment.
The input stays open for as long as the supervisor lives: its end tells a worker that it is alone.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from ..store.opening import shown
from .context import ServerSettings
from .declared import DeclaredBasin
from .log_lines import LogFormat
from .scoreboard import Place


class NamedLocation(Struct, frozen=True):
    """A location: its name, and the store that it is, as `store.opening` takes it."""

    name: str
    where: str


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """Everything that a worker needs.

    `data`: the store that it serves, as `store.opening` takes it; or else `locations`, the first of which is the home.
    `number`: which of the workers it is; its successor has the same. `pinned`: whether it serves on one CPU.
    `listener`: the descriptor of the listening socket, which the worker inherits. `declared`: what it makes sure of
    before it serves. `certificate`, `key`: PEM files; both or neither. `place`: where it counts for operators; None if
    it counts for itself alone. `inspector`: whether it serves the page that shows what is stored.
    """

    name: str
    data: str
    locations: tuple[NamedLocation, ...] = ()
    listener: int
    number: int = 1
    pinned: bool = False
    server: ServerSettings = ServerSettings()
    root_token: str | None = None
    declared: tuple[DeclaredBasin, ...] = ()
    certificate: str | None = None
    key: str | None = None
    place: Place | None = None
    inspector: bool = False
    log_format: LogFormat = LogFormat.TEXT
    log_level: str = "info"

    def __repr__(self) -> str:
        return f"WorkerSettings(name={self.name!r}, data={shown(self.data)!r})"  # no secret must reach a log


class Ready(Struct, frozen=True, tag="ready"):
    """The worker serves."""


class Failed(Struct, frozen=True, tag="failed"):
    """The worker cannot serve, and ends."""

    message: str


Report: TypeAlias = Ready | Failed

_SETTINGS: Final = msgspec.json.Decoder(WorkerSettings)
_REPORT: Final[msgspec.json.Decoder[Report]] = msgspec.json.Decoder(Report)


def encode_line(value: WorkerSettings | Report) -> bytes:
    """`value` as one line."""
    return msgspec.json.encode(value) + b"\n"


def decode_settings(line: bytes) -> WorkerSettings:
    """The settings in a line. Raises `msgspec.DecodeError`."""
    return _SETTINGS.decode(line)


def decode_report(line: bytes) -> Report:
    """The report in a line. Raises `msgspec.DecodeError`."""
    return _REPORT.decode(line)
