"""What is in a backup: the directory's layout, and the manifest that a restore checks it against.

::

    manifest.json    written last, so a directory without it is no backup
    database         the database, with its log merged in
    large-blocks/    the segments, each up to its last block

The names differ from those of a data directory on purpose: a server that is pointed at a backup by mistake
finds no store there, and neither writes to the database nor deletes the segments.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import apsw
import msgspec
from msgspec import Meta, Struct

from ...errors import StorageFailed, UsageError
from .failures import translate_os
from .schema import FORMAT_VERSION

BACKUP_VERSION: Final = 1
"""The version of the layout above. What the database holds has a version of its own, `format_version`."""

MANIFEST: Final = "manifest.json"
DATABASE: Final = "database"
SEGMENTS: Final = "large-blocks"

_Count = Annotated[int, Meta(ge=0)]
_SegmentName = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]+$")]
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class CopiedFile(Struct, frozen=True):
    """A file's length and the SHA-256 of its content, in hexadecimal as `sha256sum` prints it."""

    size_bytes: _Count
    sha256: _Sha256


class Contents(Struct, frozen=True):
    """How much a store holds, what is being deleted included."""

    basins: _Count
    streams: _Count
    blocks: _Count


class Manifest(Struct, frozen=True, kw_only=True):
    """A complete backup. `created_at` is when its view of the store was taken, as an RFC 3339 time."""

    backup_version: int
    format_version: _Count
    perdure_version: str
    created_at: str
    contents: Contents
    database: CopiedFile
    segments: dict[_SegmentName, CopiedFile]

    @property
    def total_bytes(self) -> int:
        """The size of the backup without its manifest."""
        return self.database.size_bytes + sum(file.size_bytes for file in self.segments.values())


class _Head(Struct, frozen=True):
    backup_version: int
    format_version: int


def encode_manifest(manifest: Manifest) -> bytes:
    """As JSON for people and programs, with a line for each file."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def decode_manifest(content: bytes) -> Manifest:
    """Raises `StorageFailed` if it is damaged, `UsageError` if a newer Perdure wrote it."""
    try:
        head = msgspec.json.decode(content, type=_Head)
        if head.backup_version > BACKUP_VERSION or head.format_version > FORMAT_VERSION:
            raise UsageError(
                f"the backup has version {head.backup_version} with data of format version {head.format_version}; this "
                f"Perdure knows both up to {BACKUP_VERSION} and {FORMAT_VERSION}; use a newer Perdure"
            )
        return msgspec.json.decode(content, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise StorageFailed(f"the backup is damaged: its {MANIFEST} is not what was written ({exc})") from None


def read_manifest(backup: Path) -> Manifest:
    """The manifest of the backup in a directory. Raises as `decode_manifest`, `UsageError` if there is no backup."""
    path = backup / MANIFEST
    try:
        return decode_manifest(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{backup} is not a complete backup, since it has no {MANIFEST}; give what `perdure backup` made"
        ) from None
    except OSError as exc:
        raise translate_os(exc, f"reading {path}") from exc


def contents_of(connection: apsw.Connection) -> Contents:
    """Counted in the database itself."""
    counts = (connection.execute(f"SELECT count(*) FROM {table}").get for table in ("basin", "stream", "block"))
    return Contents(*(int(str(count)) for count in counts))


def segment_sizes(connection: apsw.Connection) -> Iterator[tuple[str, int]]:
    """Each segment that the database names, with the end of its last block."""
    for segment, size in connection.execute(
        "SELECT segment, max(place + length) FROM block WHERE segment IS NOT NULL GROUP BY segment"
    ):
        yield str(segment), int(str(size))


def open_finished(database: Path) -> apsw.Connection:
    """A database that nobody writes to any more, without making a log beside it or taking locks."""
    return apsw.Connection(
        f"{database.absolute().as_uri()}?immutable=1", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
