"""The key with which a command's records are sealed, from where no other process can see it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter

from ..errors import Invalid, UsageError
from ..model.encryption import MAX_KEY_CHARS, EncryptionKey

KEY_VARIABLE: Final = "S2_ENCRYPTION_KEY"

KeyOption: TypeAlias = Annotated[
    str | None,
    Parameter(
        metavar="FILE",
        help=f"The file that holds the key of a stream with a cipher, 32 bytes as base64 (or {KEY_VARIABLE}).",
    ),
]


def encryption_key(file: str | None, environment: Mapping[str, str] = os.environ) -> EncryptionKey | None:
    """The key in the file, else the one in the environment; None without either. Raises `UsageError`."""
    if file is None:
        text, source = environment.get(KEY_VARIABLE), KEY_VARIABLE
        if not text:
            return None
    else:
        try:
            with Path(file).open("rb") as opened:
                text, source = opened.read(2 * MAX_KEY_CHARS).decode("utf-8", "replace"), file
        except OSError as exc:
            raise UsageError(f"cannot read the encryption key from {file}: {exc.strerror}") from exc
    try:
        return EncryptionKey.of(text)
    except Invalid as exc:
        raise UsageError(f"{source} holds no encryption key: {exc.message}") from None
