"""Settings that cannot hold what their annotations exclude.

A type checker says so sooner. Who has none would, say, give `retention_policy=3600`, and nothing takes that for an age:
records would stay for ever.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Union, get_args

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import force_setattr

from ..errors import Invalid


class Checked(Struct, frozen=True):
    """A `Struct` whose fields are checked when it is made; a plain string becomes the member that it equals.

    Raises `Invalid`.
    """

    def __post_init__(self) -> None:
        for name, kind, may_be_unset in _fields(type(self)):
            value = getattr(self, name)
            if may_be_unset and value is UNSET:
                continue
            try:
                fitting = msgspec.convert(value, kind)
            except msgspec.ValidationError:
                raise Invalid(f"`{name}` must be {_told(kind)}, got {value!r}") from None
            if fitting is not value:
                force_setattr(self, name, fitting)


@cache
def _fields(kind: type[Struct]) -> tuple[tuple[str, Any, bool], ...]:
    """Name, type without `UnsetType`, and whether that was in it."""
    return tuple([(field.name, *_without_unset(field.type)) for field in msgspec.structs.fields(kind)])


def _without_unset(kind: Any) -> tuple[Any, bool]:
    others = tuple([part for part in get_args(kind) if part is not UnsetType])
    return (Union[others], True) if UnsetType in get_args(kind) else (kind, False)  # noqa: UP007  # made, not written


def _told(kind: Any) -> str:
    parts = [part.__name__ for part in get_args(kind) or (kind,) if part is not type(None)]
    return " or ".join(parts)
