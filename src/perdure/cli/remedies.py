"""What can be done about a failure, in a line that follows the message."""

from __future__ import annotations

from ..errors import (
    AccessTokenNotFound,
    AuthenticationFailed,
    BadRequest,
    BasinNotFound,
    FencingTokenMismatch,
    PerdureError,
    PermissionDenied,
    ReadUnwritten,
    ResourceExists,
    StreamNotFound,
    TransportError,
)


def remedy(exc: Exception) -> str | None:
    """One sentence; None if the message itself says all that there is to say."""
    match exc:
        case StreamNotFound():
            return "`perdure ls s2://BASIN` shows which streams there are, `perdure create-stream` makes one"
        case BasinNotFound():
            return "`perdure ls` shows which basins there are, `perdure create-basin` makes one"
        case AccessTokenNotFound():
            return "`perdure list-access-tokens` shows which there are"
        case ResourceExists():
            return "`perdure ensure-basin` and `ensure-stream` take what is there, and configure it as they are told"
        case FencingTokenMismatch():
            return "say the current one with --fencing-token; another writer may have set it"
        case AuthenticationFailed():
            return "set S2_ACCESS_TOKEN, or give --token-file, to a token that this service knows"
        case PermissionDenied():
            return "the token permits less: `perdure list-access-tokens`, by who may list them, shows what"
        case ReadUnwritten():
            return "--clamp starts at the tail then, and --tail-offset 10 so many records before it"
        case BadRequest() if "missing encryption key" in exc.message:
            from .encryption import KEY_VARIABLE  # help has no use for what that imports

            return f"give the key with --encryption-key-file, or as {KEY_VARIABLE}"
        case TransportError():
            return "look whether the service runs, and at --endpoint or S2_ACCOUNT_ENDPOINT and S2_BASIN_ENDPOINT"
        case PerdureError():
            return None
        case _:
            return None
