"""Basins and streams that a server is to have: the file that declares them, and making them so.

The file is JSON (store API, section 2.10), or the same as TOML::

    {"basins": [{"name": "my-basin",
                 "config": {"create_stream_on_append": true,
                            "default_stream_config": {"retention_policy": "7d"}},
                 "streams": [{"name": "events", "config": {"retention_policy": "infinite"}}]}]}

Configurations have the fields of the API's (sections 4.1 and 4.2). A time is a text such as "7d" or "1h 30m", or a
number of seconds; a retention may also be written as the API does, `{"age": …}` or `{"infinite": {}}`. A field that
nobody knows is refused, since it is a mistake that would otherwise go unnoticed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, TypeAlias

import msgspec
from msgspec import Struct

from ..errors import Invalid, PerdureError, UsageError
from ..model.configs import (
    BasinConfig,
    Cipher,
    DeleteOnEmptyConfig,
    InfiniteRetention,
    Retention,
    RetentionAge,
    StorageClass,
    StreamConfig,
    TimestampingConfig,
    TimestampingMode,
)
from ..model.limits import MAX_U64
from ..model.names import check_basin_name, check_stream_name
from ..model.resources import ProvisionResult
from .served_store import WholeStore

INFINITE: Final = "infinite"
TOML_SUFFIX: Final = ".toml"

_SECONDS: Final[dict[str, int]] = {
    name: seconds
    for names, seconds in (
        (("s", "sec", "secs", "second", "seconds"), 1),
        (("m", "min", "mins", "minute", "minutes"), 60),
        (("h", "hr", "hrs", "hour", "hours"), 3_600),
        (("d", "day", "days"), 86_400),
        (("w", "week", "weeks"), 604_800),
    )
    for name in names
}
_DURATION: Final = re.compile(r"(?:[0-9]{1,20}\s*[a-z]+\s*)+")
_PART: Final = re.compile(r"([0-9]+)\s*([a-z]+)")


class DeclaredStream(Struct, frozen=True):
    """A stream that is to exist, with its own layer of configuration."""

    name: str
    config: StreamConfig | None = None


class DeclaredBasin(Struct, frozen=True):
    """A basin that is to exist, and streams in it."""

    name: str
    config: BasinConfig = BasinConfig()
    streams: tuple[DeclaredStream, ...] = ()


class _Form(Struct, frozen=True, forbid_unknown_fields=True):
    """The base of what stands in the file."""


class _Empty(_Form, frozen=True):
    pass


_Time: TypeAlias = str | int


class _RetentionForm(_Form, frozen=True):
    age: _Time | None = None
    infinite: _Empty | None = None


class _TimestampingForm(_Form, frozen=True):
    mode: TimestampingMode | None = None
    uncapped: bool | None = None


class _DeleteOnEmptyForm(_Form, frozen=True):
    min_age: _Time | None = None
    min_age_secs: int | None = None


class _StreamConfigForm(_Form, frozen=True):
    storage_class: StorageClass | None = None
    retention_policy: str | _RetentionForm | None = None
    timestamping: _TimestampingForm | None = None
    delete_on_empty: _DeleteOnEmptyForm | None = None


class _BasinConfigForm(_Form, frozen=True):
    default_stream_config: _StreamConfigForm | None = None
    stream_cipher: Cipher | None = None
    create_stream_on_append: bool = False
    create_stream_on_read: bool = False


class _StreamForm(_Form, frozen=True):
    name: str
    config: _StreamConfigForm | None = None


class _BasinForm(_Form, frozen=True):
    name: str
    config: _BasinConfigForm | None = None
    streams: tuple[_StreamForm, ...] = ()


class _FileForm(_Form, frozen=True):
    basins: tuple[_BasinForm, ...] = ()


def read_init_file(path: Path, *, called: str = "the init file") -> tuple[DeclaredBasin, ...]:
    """What the file declares: TOML if its name ends so, else JSON.

    Raises `UsageError` that names the file, as what it is `called`, and the place in it.
    """
    try:
        text = path.read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read {called} {path}: {exc.strerror}") from exc
    try:
        return parse_toml_declarations(text) if path.suffix.lower() == TOML_SUFFIX else parse_declarations(text)
    except Invalid as exc:
        raise UsageError(f"{called} {path} is not valid: {exc.message}") from None


def parse_declarations(text: bytes) -> tuple[DeclaredBasin, ...]:
    """What a JSON file's text declares. Raises `Invalid` that names the place."""
    try:
        return _declared(msgspec.json.decode(text, type=_FileForm))
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Invalid(str(exc)) from None


def parse_toml_declarations(text: bytes) -> tuple[DeclaredBasin, ...]:
    """What a TOML file's text declares, with the fields that JSON has. Raises `Invalid` that names the place."""
    try:
        return _declared(msgspec.convert(tomllib.loads(text.decode()), type=_FileForm))
    except (msgspec.ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Invalid(str(exc)) from None


def declarations_schema() -> dict[str, object]:
    """The JSON Schema of such a file, for editors and checkers."""
    return msgspec.json.schema(_FileForm)


async def ensure_declared(store: WholeStore, declared: Iterable[DeclaredBasin]) -> tuple[int, int]:
    """Create what is missing and configure what is there; safe to repeat.

    Gives how many basins and streams were created or changed, and how many were so already. Raises `UsageError` that
    names the basin or stream that could not be made.
    """
    results: list[ProvisionResult] = []
    for basin in declared:
        where = f"the basin `{basin.name}`"
        try:
            results.append((await store.ensure_basin(basin.name, basin.config)).result)
            for stream in basin.streams:
                where = f"the stream `{stream.name}` in the basin `{basin.name}`"
                results.append((await store.ensure_stream(basin.name, stream.name, stream.config)).result)
        except PerdureError as exc:
            raise UsageError(f"cannot make {where}, which the init file declares: {exc.message}") from exc
    unchanged = results.count(ProvisionResult.NOOP)
    return len(results) - unchanged, unchanged


def parse_duration(text: str) -> int:
    """The seconds of a time such as "7d", "12h" or "1h 30m". Raises `Invalid`."""
    folded = text.strip().lower()
    if _DURATION.fullmatch(folded) is not None:
        parts = _PART.findall(folded)
        if all(unit in _SECONDS for _, unit in parts):
            seconds = sum(int(count) * _SECONDS[unit] for count, unit in parts)
            if seconds <= MAX_U64:
                return seconds
    raise Invalid(f'{text!r} is not a time; write a number and a unit (s, m, h, d, w), such as "7d" or "1h 30m"')


def _declared(form: _FileForm) -> tuple[DeclaredBasin, ...]:
    basins = tuple(_basin(basin, f"$.basins[{index}]") for index, basin in enumerate(form.basins))
    _check_once((basin.name for basin in basins), "$.basins")
    return basins


def _check_once(names: Iterable[str], place: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Invalid(f"{name!r} is declared twice - at `{place}`")
        seen.add(name)


def _basin(form: _BasinForm, place: str) -> DeclaredBasin:
    config = form.config or _BasinConfigForm()
    streams = tuple(_stream(stream, f"{place}.streams[{index}]") for index, stream in enumerate(form.streams))
    _check_once((stream.name for stream in streams), f"{place}.streams")
    try:
        check_basin_name(form.name)
    except Invalid as exc:
        raise Invalid(f"{exc.message} - at `{place}.name`") from None
    return DeclaredBasin(
        form.name,
        BasinConfig(
            default_stream_config=_layer(config.default_stream_config, f"{place}.config.default_stream_config"),
            stream_cipher=config.stream_cipher,
            create_stream_on_append=config.create_stream_on_append,
            create_stream_on_read=config.create_stream_on_read,
        ),
        streams,
    )


def _stream(form: _StreamForm, place: str) -> DeclaredStream:
    try:
        check_stream_name(form.name)
    except Invalid as exc:
        raise Invalid(f"{exc.message} - at `{place}.name`") from None
    return DeclaredStream(form.name, _layer(form.config, f"{place}.config"))


def _layer(form: _StreamConfigForm | None, place: str) -> StreamConfig | None:
    if form is None:
        return None
    timestamping = form.timestamping
    return StreamConfig(
        storage_class=form.storage_class,
        retention_policy=_retention(form.retention_policy, f"{place}.retention_policy"),
        timestamping=None if timestamping is None else TimestampingConfig(timestamping.mode, timestamping.uncapped),
        delete_on_empty=_delete_on_empty(form.delete_on_empty, f"{place}.delete_on_empty"),
    )


def _retention(form: str | _RetentionForm | None, place: str) -> Retention | None:
    if form is None:
        return None
    if isinstance(form, _RetentionForm):
        if (form.age is None) == (form.infinite is None):
            raise Invalid(f"expected exactly one of `age` and `infinite` - at `{place}`")
        if form.age is None:
            return InfiniteRetention()
        return _age(form.age, f"{place}.age")
    return InfiniteRetention() if form.strip().lower() == INFINITE else _age(form, place)


def _age(time: _Time, place: str) -> RetentionAge:
    seconds = _seconds(time, place)
    try:
        return RetentionAge(seconds)
    except Invalid as exc:
        raise Invalid(f"{exc.message} - at `{place}`") from None


def _delete_on_empty(form: _DeleteOnEmptyForm | None, place: str) -> DeleteOnEmptyConfig | None:
    if form is None:
        return None
    if form.min_age is not None and form.min_age_secs is not None:
        raise Invalid(f"expected one of `min_age` and `min_age_secs`, not both - at `{place}`")
    if form.min_age is not None:
        return DeleteOnEmptyConfig(_seconds(form.min_age, f"{place}.min_age"))
    return DeleteOnEmptyConfig(_seconds(form.min_age_secs or 0, f"{place}.min_age_secs"))


def _seconds(time: _Time, place: str) -> int:
    try:
        if isinstance(time, str):
            return parse_duration(time)
        if not 0 <= time <= MAX_U64:
            raise Invalid(f"expected seconds from 0 to {MAX_U64}, got {time}")
    except Invalid as exc:
        raise Invalid(f"{exc.message} - at `{place}`") from None
    return time
