"""What the store tells about basins and streams."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

from msgspec import Struct

from .configs import Cipher

T = TypeVar("T")


class BasinInfo(Struct, frozen=True):
    """`deleted_at` is set while the deletion of the basin is pending.

    `location` names where the basin is; None if the server does not tell.
    """

    name: str
    created_at: datetime
    deleted_at: datetime | None = None
    location: str | None = None


class StreamInfo(Struct, frozen=True):
    """`cipher` is fixed when the stream is created; `deleted_at` is set while deletion is pending."""

    name: str
    created_at: datetime
    deleted_at: datetime | None = None
    cipher: Cipher | None = None


class ProvisionResult(StrEnum):
    """What a create or ensure did."""

    CREATED = "created"
    UPDATED = "updated"
    NOOP = "noop"


class Provisioned(Struct, Generic[T], frozen=True):
    """The outcome of a create or ensure."""

    info: T
    result: ProvisionResult


class Page(Struct, Generic[T], frozen=True):
    """One page of a listing, in order of names; `has_more` tells whether another follows."""

    items: tuple[T, ...]
    has_more: bool


class LocationInfo(Struct, frozen=True):
    """Where basins can be; a server of one's own is one location."""

    name: str
    is_private: bool
