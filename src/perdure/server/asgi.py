"""The types of ASGI (version 3), as this package uses them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
"""One event; what its keys hold depends on its `type`, as the ASGI specification says."""

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

HeaderPairs: TypeAlias = tuple[tuple[bytes, bytes], ...]
