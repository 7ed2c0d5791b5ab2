"""Basins and their streams: creating, configuring, listing, deleting."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

from msgspec import UNSET, UnsetType

from ..errors import Invalid, NotFound
from ..model.configs import (
    BasinConfig,
    BasinReconfiguration,
    Cipher,
    DeleteOnEmptyConfig,
    DeleteOnEmptyReconfiguration,
    Retention,
    StorageClass,
    StreamConfig,
    StreamReconfiguration,
    TimestampingConfig,
    TimestampingReconfiguration,
)
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_PAGE_ITEMS
from ..model.names import (
    check_basin_name,
    check_basin_prefix,
    check_location_name,
    check_stream_name,
    check_stream_prefix,
)
from ..model.resources import BasinInfo, Page, Provisioned, ProvisionResult, StreamInfo
from .listing import check_page, every
from .stream import Stream
from .transport import Transport


def _new_request_token() -> str:
    """Names one call, so that a retry of it after a lost answer is recognised."""
    return secrets.token_hex(16)


def _check_named(basin: str, location: str | None) -> None:
    check_basin_name(basin)
    if location is not None:
        check_location_name(location)


class Basin:
    """A handle on one basin, from `S2.basin` or from what creates basins. It holds nothing open."""

    def __init__(self, transport: Transport, name: str, *, provisioned: Provisioned[BasinInfo] | None = None) -> None:
        check_basin_name(name)
        self._transport = transport
        self._name = name
        self._provisioned = provisioned
        self.streams: Streams = Streams(transport, name)
        """Creating, configuring, listing and deleting the streams of this basin."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def info(self) -> BasinInfo | None:
        """What the call that gave this handle told about the basin; None when it asked nothing."""
        return None if self._provisioned is None else self._provisioned.info

    @property
    def provision_result(self) -> ProvisionResult | None:
        """What `create` or `ensure` did; None for a handle that came from elsewhere."""
        return None if self._provisioned is None else self._provisioned.result

    def stream(
        self,
        name: str,
        *,
        encryption_key: EncryptionKey | bytes | str | None = None,
        stream_config: StreamConfig | None = None,
    ) -> Stream:
        """A handle on the stream of this name, without asking whether it exists. Raises `Invalid`.

        Args:
            name: the stream.
            encryption_key: what the records of a stream with a cipher are sealed and opened with: 32 bytes, or
                their base64. The store keeps no keys; who loses one has lost the records. Plain streams ignore it.
            stream_config: what the stream is configured with, over the basin's defaults, should an append or a read of
                this handle create it (`create_stream_on_append`, `create_stream_on_read`). A stream that exists stays
                as it is.
        """
        key = None if encryption_key is None else EncryptionKey.of(encryption_key)
        if stream_config is not None and not isinstance(stream_config, StreamConfig):
            raise Invalid(f"`stream_config` must be StreamConfig(…), got {stream_config!r}")
        return Stream(self._transport, self._name, name, encryption_key=key, stream_config=stream_config)

    def __repr__(self) -> str:
        return f"<Basin {self._name!r}>"


class Basins:
    """The basins of an account, from `S2.basins`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        name: str,
        *,
        default_stream_config: StreamConfig | None = None,
        stream_cipher: Cipher | None = None,
        create_stream_on_append: bool = False,
        create_stream_on_read: bool = False,
        location: str | None = None,
    ) -> Basin:
        """Create a basin.

        Args:
            name: 8 to 48 of a-z, 0-9 and hyphens; globally unique.
            default_stream_config: what streams created here are configured with, where they say nothing.
            stream_cipher: seal the records of streams created from now on.
            create_stream_on_append, create_stream_on_read: create a missing stream instead of failing.
            location: where the basin is kept, for good; the account's default if not given. See `S2.locations`. A store
                that is one place takes any.

        Raises `Invalid`, `ResourceExists`, `BasinDeletionPending`.
        """
        config = BasinConfig(default_stream_config, stream_cipher, create_stream_on_append, create_stream_on_read)
        _check_named(name, location)
        token = _new_request_token()
        made = await self._transport.create_basin(name, config, location=location, request_token=token)
        return Basin(self._transport, name, provisioned=made)

    async def ensure(
        self,
        name: str,
        *,
        default_stream_config: StreamConfig | None = None,
        stream_cipher: Cipher | None = None,
        create_stream_on_append: bool = False,
        create_stream_on_read: bool = False,
        location: str | None = None,
    ) -> Basin:
        """Create the basin, or replace its **whole** configuration: what is not given becomes the default.

        `provision_result` of the returned handle tells which. The arguments are those of `create`. Raises
        `Invalid`, `BasinDeletionPending`.
        """
        config = BasinConfig(default_stream_config, stream_cipher, create_stream_on_append, create_stream_on_read)
        _check_named(name, location)
        made = await self._transport.ensure_basin(name, config, location=location)
        return Basin(self._transport, name, provisioned=made)

    async def get_config(self, name: str) -> BasinConfig:
        """What is set at the basin. Raises `BasinNotFound`."""
        check_basin_name(name)
        return await self._transport.get_basin_config(name)

    async def reconfigure(
        self,
        name: str,
        *,
        default_stream_config: StreamReconfiguration | UnsetType | None = UNSET,
        stream_cipher: Cipher | UnsetType | None = UNSET,
        create_stream_on_append: bool | UnsetType = UNSET,
        create_stream_on_read: bool | UnsetType = UNSET,
    ) -> BasinConfig:
        """Change what is given, keep the rest, and give the whole configuration.

        `None` clears a setting; `default_stream_config` is merged field by field. Streams that exist keep
        theirs. Raises `BasinNotFound`, `BasinDeletionPending`, `Invalid`.
        """
        check_basin_name(name)
        change = BasinReconfiguration(
            default_stream_config, stream_cipher, create_stream_on_append, create_stream_on_read
        )
        return await self._transport.reconfigure_basin(name, change)

    async def delete(self, name: str, *, ignore_not_found: bool = False) -> None:
        """Start the deletion of a basin and of all its streams; its name becomes free later.

        Raises `BasinNotFound`, unless `ignore_not_found`.
        """
        check_basin_name(name)
        try:
            await self._transport.delete_basin(name)
        except NotFound as exc:
            if not (ignore_not_found or exc.in_doubt):  # in doubt: an attempt whose answer was lost has deleted it
                raise

    async def list(self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS) -> Page[BasinInfo]:
        """One page of the basins that start with `prefix` and sort after `start_after`, in order of their names.

        Those being deleted are included. `limit` is the most that the page may hold; 0, and more than 1000, mean 1000.
        `list_all` goes through all pages. Raises `Invalid`.
        """
        check_page(check_basin_prefix, prefix, start_after, limit)
        return await self._transport.list_basins(prefix=prefix, start_after=start_after, limit=limit)

    def list_all(
        self,
        *,
        prefix: str = "",
        start_after: str = "",
        limit: int = MAX_PAGE_ITEMS,
        include_deleted: bool = False,
    ) -> AsyncIterator[BasinInfo]:
        """All basins that start with `prefix` and sort after `start_after`, in order of their names.

        ::

            async for basin in s2.basins.list_all(prefix="app-"):
                print(basin.name)

        Each page of up to `limit` is fetched when the loop gets there. Those being deleted are left out, unless
        `include_deleted`. The loop raises what `list` does.
        """

        async def page(after: str) -> Page[BasinInfo]:
            return await self.list(prefix=prefix, start_after=after, limit=limit)

        found = every(page, start_after, lambda info: info.name)
        return (info async for info in found if include_deleted or info.deleted_at is None)


class Streams:
    """The streams of a basin, from `Basin.streams`."""

    def __init__(self, transport: Transport, basin: str) -> None:
        self._transport = transport
        self._basin = basin

    async def create(
        self,
        name: str,
        *,
        storage_class: StorageClass | None = None,
        retention_policy: Retention | None = None,
        timestamping: TimestampingConfig | None = None,
        delete_on_empty: DeleteOnEmptyConfig | None = None,
    ) -> Stream:
        """Create a stream; what is not given comes from the basin's defaults, now and for good.

        Args:
            name: 1 to 512 bytes of UTF-8, not "." or "..".
            storage_class: stored and reported.
            retention_policy: `RetentionAge(secs)` after storing, or `InfiniteRetention()`.
            timestamping: whose clock counts, and whether timestamps may lie in the future.
            delete_on_empty: delete the stream when it was empty and unwritten for so many seconds.

        Raises `Invalid`, `BasinNotFound`, `ResourceExists`, `BasinDeletionPending`, `StreamDeletionPending`.
        """
        config = StreamConfig(storage_class, retention_policy, timestamping, delete_on_empty)
        check_stream_name(name)
        token = _new_request_token()
        made = await self._transport.create_stream(self._basin, name, config, request_token=token)
        return Stream(self._transport, self._basin, name, provisioned=made)

    async def ensure(
        self,
        name: str,
        *,
        storage_class: StorageClass | None = None,
        retention_policy: Retention | None = None,
        timestamping: TimestampingConfig | None = None,
        delete_on_empty: DeleteOnEmptyConfig | None = None,
    ) -> Stream:
        """Create the stream, or replace its **whole** configuration by this over the basin's defaults.

        `provision_result` of the returned handle tells which. The arguments are those of `create`. Raises
        `Invalid`, `BasinNotFound`, `BasinDeletionPending`, `StreamDeletionPending`.
        """
        config = StreamConfig(storage_class, retention_policy, timestamping, delete_on_empty)
        check_stream_name(name)
        made = await self._transport.ensure_stream(self._basin, name, config)
        return Stream(self._transport, self._basin, name, provisioned=made)

    async def get_config(self, name: str) -> StreamConfig:
        """What the stream works by, every field set. Raises `StreamNotFound`, `StreamDeletionPending`."""
        check_stream_name(name)
        return await self._transport.get_stream_config(self._basin, name)

    async def reconfigure(
        self,
        name: str,
        *,
        storage_class: StorageClass | UnsetType | None = UNSET,
        retention_policy: Retention | UnsetType | None = UNSET,
        timestamping: TimestampingReconfiguration | UnsetType | None = UNSET,
        delete_on_empty: DeleteOnEmptyReconfiguration | UnsetType | None = UNSET,
    ) -> StreamConfig:
        """Change what is given, keep the rest, and give the whole configuration.

        `None` goes back to the basin's current default. It counts for what is appended from now on. Raises
        `BasinNotFound`, `StreamNotFound`, `BasinDeletionPending`, `StreamDeletionPending`, `Invalid`.
        """
        check_stream_name(name)
        change = StreamReconfiguration(storage_class, retention_policy, timestamping, delete_on_empty)
        return await self._transport.reconfigure_stream(self._basin, name, change)

    async def delete(self, name: str, *, ignore_not_found: bool = False) -> None:
        """Close the stream to all use for good; its records go in the background, then its name is free.

        Raises `StreamNotFound`, unless `ignore_not_found`.
        """
        check_stream_name(name)
        try:
            await self._transport.delete_stream(self._basin, name)
        except NotFound as exc:
            if not (ignore_not_found or exc.in_doubt):  # in doubt: an attempt whose answer was lost has deleted it
                raise

    async def list(self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS) -> Page[StreamInfo]:
        """One page of the streams that start with `prefix` and sort after `start_after`, in order of their names.

        Those being deleted are included. `limit` is the most that the page may hold; 0, and more than 1000, mean 1000.
        `list_all` goes through all pages. An unknown basin has no streams, or the server raises `BasinNotFound`.
        Raises `Invalid`.
        """
        check_page(check_stream_prefix, prefix, start_after, limit)
        return await self._transport.list_streams(self._basin, prefix=prefix, start_after=start_after, limit=limit)

    def list_all(
        self,
        *,
        prefix: str = "",
        start_after: str = "",
        limit: int = MAX_PAGE_ITEMS,
        include_deleted: bool = False,
    ) -> AsyncIterator[StreamInfo]:
        """All streams that start with `prefix` and sort after `start_after`, in order of their names.

        ::

            async for stream in basin.streams.list_all(prefix="app-"):
                print(stream.name)

        Each page of up to `limit` is fetched when the loop gets there. Those being deleted are left out, unless
        `include_deleted`. The loop raises what `list` does.
        """

        async def page(after: str) -> Page[StreamInfo]:
            return await self.list(prefix=prefix, start_after=after, limit=limit)

        found = every(page, start_after, lambda info: info.name)
        return (info async for info in found if include_deleted or info.deleted_at is None)
