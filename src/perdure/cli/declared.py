"""`perdure apply` and `perdure diff`: basins and streams as a file declares them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec
from cyclopts import Parameter
from msgspec import Struct
from rich.text import Text

from ..client import S2
from ..errors import NotFound, PerdureError, UsageError
from ..model.configs import StreamConfig
from ..server.declared import DeclaredBasin, declarations_schema, read_init_file
from .declared_plan import Action, Actual, BasinStep, FieldChange, Step, Value, plan
from .exits import ExitStatus, status_of, tell_failure
from .option_types import directory, parsed_by
from .output import console, print_json, printable, tell
from .targets import Target, Use

T = TypeVar("T")

_AT_ONCE: Final = 16
"""Configurations that are asked for at the same time: a file may name thousands of streams."""

_SIGNS: Final = {Action.CREATE: ("+", "green"), Action.CHANGE: ("~", "yellow"), Action.KEEP: ("=", "dim")}
_DONE: Final = {Action.CREATE: "created", Action.CHANGE: "changed", Action.KEEP: "as declared"}
_TO_DO: Final = {Action.CREATE: "to create", Action.CHANGE: "to change", Action.KEEP: "as declared"}

File: TypeAlias = Annotated[
    str,
    Parameter(
        converter=parsed_by(directory),
        metavar="FILE",
        help="What is to be there: JSON, or TOML if its name ends with .toml, as for `perdure serve --init-file`.",
    ),
]
Json: TypeAlias = Annotated[bool, Parameter(help="Print the steps as one JSON document.")]


class _Shown(Struct, frozen=True, omit_defaults=True):
    """A step, for `--json`. `done` tells whether `apply` has taken it."""

    address: str
    action: Action
    fields: tuple[FieldChange, ...] = ()
    done: bool | None = None


async def diff(file: File, /, *, json: Json = False, target: Target | None = None) -> int:
    """Show what `perdure apply` would change. The exit status is 0 if that is nothing, and 5 if it is something."""
    declared = read_init_file(Path(file), called="the file")
    async with (target or Target()).open(Use.LOOKS) as s2:
        steps = plan(declared, await _actual(s2, declared))
    if json:
        _print_json([_Shown(step.address, step.action, step.fields) for step in steps])
    else:
        _print_steps(steps)
        tell(_totals(steps, _TO_DO))
    return ExitStatus.FINE if all(step.action is Action.KEEP for step in steps) else ExitStatus.DIFFERENT


async def apply(
    file: File | None = None,
    /,
    *,
    dry_run: Annotated[bool, Parameter(help="Show what would be done, and change nothing.")] = False,
    schema: Annotated[bool, Parameter(help="Print the JSON Schema of such files, and do nothing else.")] = False,
    json: Json = False,
    target: Target | None = None,
) -> int:
    """Create what the file declares, and give what is there the configuration that it declares."""
    if schema:
        print_json(msgspec.json.encode(declarations_schema()))
        return ExitStatus.FINE
    if file is None:
        raise UsageError("a FILE is needed, which says what is to be there; `perdure apply --schema` prints its form")
    declared = read_init_file(Path(file), called="the file")
    async with (target or Target()).open(Use.LOOKS if dry_run else Use.MAKES) as s2:
        steps = plan(declared, await _actual(s2, declared))
        taken, failure = (len(steps), None) if dry_run else await _take(s2, steps)
    if json:
        done = [None if dry_run else number < taken for number in range(len(steps))]
        shown = zip(steps, done, strict=True)
        _print_json([_Shown(step.address, step.action, step.fields, was_done) for step, was_done in shown])
    else:
        _print_steps(steps[:taken])
    if failure is not None:
        left = len(steps) - taken - 1
        tell_failure(
            "apply",
            f"{steps[taken].address} was not made as declared: {failure}",
            f"before it: {_totals(steps[:taken], _DONE)}; {left} behind it were not touched",
            "once the cause is gone, apply the file again: what is done already stays as it is",
        )
        return status_of(failure)
    tell(f"{_totals(steps, _TO_DO)}; nothing was changed" if dry_run else _totals(steps, _DONE))
    return ExitStatus.FINE


async def _actual(s2: S2, declared: Sequence[DeclaredBasin]) -> Actual:
    """What there is of what is declared. Raises what the store raises, but not for what is missing."""
    places = asyncio.Semaphore(_AT_ONCE)

    async def found(config: Callable[[], Awaitable[T]]) -> T | None:
        async with places:
            try:
                return await config()
            except NotFound:
                return None

    names = [basin.name for basin in declared]
    keys = [(basin.name, stream.name) for basin in declared for stream in basin.streams]
    basins = await asyncio.gather(*(found(partial(s2.basins.get_config, name)) for name in names))
    streams = await asyncio.gather(*(found(partial(s2.basin(basin).streams.get_config, name)) for basin, name in keys))
    return Actual(
        {name: config for name, config in zip(names, basins, strict=True) if config is not None},
        {key: config for key, config in zip(keys, streams, strict=True) if config is not None},
    )


async def _take(s2: S2, steps: Sequence[Step]) -> tuple[int, PerdureError | None]:
    """Take the steps one after the other, up to the first that fails; gives how many there were before it, and why."""
    for number, step in enumerate(steps):
        try:
            await _take_one(s2, step)
        except PerdureError as exc:
            return number, exc
    return len(steps), None


async def _take_one(s2: S2, step: Step) -> None:
    if step.action is Action.KEEP:
        return
    if isinstance(step, BasinStep):
        basin = step.config
        await s2.basins.ensure(
            step.basin,
            default_stream_config=basin.default_stream_config,
            stream_cipher=basin.stream_cipher,
            create_stream_on_append=basin.create_stream_on_append,
            create_stream_on_read=basin.create_stream_on_read,
        )
        return
    config = step.config or StreamConfig()
    await s2.basin(step.basin).streams.ensure(
        step.stream,
        storage_class=config.storage_class,
        retention_policy=config.retention_policy,
        timestamping=config.timestamping,
        delete_on_empty=config.delete_on_empty,
    )


def _print_json(steps: Sequence[_Shown]) -> None:
    print_json(msgspec.json.encode(steps))


def _print_steps(steps: Sequence[Step]) -> None:
    """Each step in a line, and under it the settings that it changes."""
    screen = console()
    for step in steps:
        sign, style = _SIGNS[step.action]
        screen.print(Text(f"{sign} {printable(step.address)}", style), soft_wrap=True)
        width = max((len(change.field) for change in step.fields), default=0)
        for change in step.fields:
            line = Text(f"    {change.field:{width}}  ")
            if step.action is Action.CHANGE:
                line.append(_value_text(change.old), "dim")
                line.append(" → ")
            line.append(_value_text(change.new), "bold")
            screen.print(line, soft_wrap=True)


def _value_text(value: Value) -> str:
    match value:
        case None:
            return "not set"
        case bool():
            return "true" if value else "false"
        case _:
            return value


def _totals(steps: Sequence[Step], words: Mapping[Action, str]) -> str:
    return ", ".join(f"{sum(step.action is action for step in steps)} {word}" for action, word in words.items())
