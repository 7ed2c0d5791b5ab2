"""Where text streams are kept and how they are written, by arguments and by the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from ..client.endpoints import Endpoints
from ..client.settings import token_from_env
from ..errors import Invalid, UsageError
from ..model.names import check_basin_name
from .settings import DEFAULT_BATCH_SIZE, ChatSettings

BASIN_NAME_VARIABLE: Final = "S2_BASIN"
BATCH_SIZE_VARIABLE: Final = "S2_BATCH_SIZE"
LINGER_VARIABLE: Final = "S2_LINGER_DURATION_MS"
DEFAULT_TEXT_LINGER_MS: Final = 500.0


class Place(Struct, frozen=True):
    """A basin, and the service that has it; without a token it is a client or a directory that was given."""

    basin: str
    access_token: str | None = None
    endpoints: Endpoints | None = None

    def __repr__(self) -> str:
        return f"<Place {self.basin}>"  # the token is nobody's business


def place_of(basin: str | None, environment: Mapping[str, str], *, has_store: bool) -> Place:
    """Where the streams are; raises `UsageError` for what is not set, and `Invalid` for what can be no basin."""
    token = None if has_store else token_from_env(environment)
    name = basin or environment.get(BASIN_NAME_VARIABLE)
    if not name:
        raise UsageError(f"{BASIN_NAME_VARIABLE} is not set; set it, or give basin=…")
    return Place(check_basin_name(name), token, None if has_store else Endpoints.from_env(environment))


def settings_of(environment: Mapping[str, str], lease_ms: int | None) -> ChatSettings:
    """How streams are written; raises `Invalid`, a `ValueError`, for what is no number or out of range."""
    batch_size = _number(environment, BATCH_SIZE_VARIABLE, DEFAULT_BATCH_SIZE)
    linger_ms = _number(environment, LINGER_VARIABLE, DEFAULT_TEXT_LINGER_MS)
    if batch_size != int(batch_size):
        raise Invalid(f"{BATCH_SIZE_VARIABLE} must be a whole number, got {batch_size!r}")
    return ChatSettings.of(
        # A text stream keeps what was written to it, and is not trimmed at its end.
        mode="session",
        batch_size=int(batch_size),
        linger_ms=linger_ms,
        session_lease_ms=lease_ms,
        keep_alive_ms=None,
    )


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not 0 <= number < float("inf"):
        raise Invalid(f"{name} must be a number, 0 or more, got {text!r}")
    return number
