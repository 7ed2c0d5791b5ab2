"""One stream: appending, reading, following."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..model.batches import AppendAck, AppendInput, ReadBatch
from ..model.configs import StreamConfig
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS
from ..model.names import check_stream_name
from ..model.positions import ReadStart, StreamPosition
from ..model.reads import ReadRequest
from ..model.records import AppendRecord
from ..model.resources import Provisioned, ProvisionResult, StreamInfo
from .append_session import AppendSession
from .batching import DEFAULT_LINGER_MS
from .in_flight import DEFAULT_MAX_IN_FLIGHT_BYTES
from .producer import Producer
from .read_session import ReadSession
from .transport import ReadChannel, Transport


class Stream:
    """A handle on one stream, from `Basin.stream` or from what creates streams. It holds nothing open."""

    def __init__(
        self,
        transport: Transport,
        basin: str,
        name: str,
        *,
        provisioned: Provisioned[StreamInfo] | None = None,
        encryption_key: EncryptionKey | None = None,
        stream_config: StreamConfig | None = None,
    ) -> None:
        check_stream_name(name)
        self._transport = transport
        self._basin = basin
        self._name = name
        self._provisioned = provisioned
        self._key = encryption_key
        self._config = stream_config

    @property
    def name(self) -> str:
        return self._name

    @property
    def basin_name(self) -> str:
        return self._basin

    @property
    def info(self) -> StreamInfo | None:
        """What the call that gave this handle told about the stream; None when it asked nothing."""
        return None if self._provisioned is None else self._provisioned.info

    @property
    def provision_result(self) -> ProvisionResult | None:
        """What `create` or `ensure` did; None for a handle that came from elsewhere."""
        return None if self._provisioned is None else self._provisioned.result

    def __repr__(self) -> str:
        return f"<Stream {self._name!r} in basin {self._basin!r}>"

    async def append(
        self,
        records: Iterable[AppendRecord],
        *,
        match_seq_num: int | None = None,
        fencing_token: str | None = None,
    ) -> AppendAck:
        """Append records as one batch; returns when it is durable.

        Args:
            records: 1 to 1000, together at most 1 MiB of metered bytes.
            match_seq_num: append only if the first record would get this sequence number.
            fencing_token: append only if this is the stream's current token ("": only if it has none).

        Raises:
            SeqNumMismatch, FencingTokenMismatch: a condition did not hold; nothing was appended. Over HTTP there is an
                exception, which the error tells by its `in_doubt`: the first answer was lost, and the retry may have
                met the records of its own call. Read from `match_seq_num` on to see whose they are.
            Invalid: the batch breaks a limit, or lacks a timestamp that the stream requires.
            StreamNotFound, StreamDeletionPending: the stream cannot be appended to.
            BadRequest: the stream has a cipher, and the handle has no key.
            StoreFailure, TransportError: whether it was appended is unknown, unless `has_no_side_effects` says
                otherwise.

        Cancelling the call leaves it open whether the batch is appended.
        """
        batch = AppendInput.of(records, match_seq_num=match_seq_num, fencing_token=fencing_token)
        return await self._transport.append(self._basin, self._name, batch, key=self._key, config=self._config)

    async def fence(
        self, token: str, *, fencing_token: str | None = None, match_seq_num: int | None = None
    ) -> AppendAck:
        """Make `token` (up to 36 bytes; "" clears) the stream's fencing token, by a command record.

        With `fencing_token`, only if that is the current one. Raises as `append` does.
        """
        record = AppendRecord.fence(token)
        return await self.append([record], fencing_token=fencing_token, match_seq_num=match_seq_num)

    async def trim(
        self, seq_num: int, *, fencing_token: str | None = None, match_seq_num: int | None = None
    ) -> AppendAck:
        """Let the records below `seq_num` go, by a command record. Raises as `append` does.

        A point above the command itself means everything up to and including the command; what is
        appended later always stays.
        """
        record = AppendRecord.trim(seq_num)
        return await self.append([record], fencing_token=fencing_token, match_seq_num=match_seq_num)

    async def check_tail(self) -> StreamPosition:
        """The sequence number that the next record will get, and the timestamp of the last record.

        Both are 0 for a stream that was never written to. Raises `StreamNotFound`, `StreamDeletionPending`.
        """
        return await self._transport.check_tail(self._basin, self._name, config=self._config)

    async def read(
        self,
        start: ReadStart | None = None,
        *,
        count: int | None = None,
        bytes: int | None = None,
        until: int | None = None,
        clamp: bool = False,
        wait: float | None = None,
        ignore_command_records: bool = False,
    ) -> ReadBatch:
        """Read once: at most 1000 records and 1 MiB of metered bytes.

        Args:
            start: `SeqNum`, `Timestamp` or `TailOffset`; the tail if not given.
            count, bytes: at most so many records, so many metered bytes.
            until: only records with a timestamp (milliseconds) below this.
            clamp: a start beyond the tail becomes the tail.
            wait: seconds to wait at the tail for records, at most 60; not at all if not given.
            ignore_command_records: leave out fence and trim records; the limits count them all the same.

        Raises:
            ReadUnwritten: the start is at the tail, and the read does not wait, or beyond it.
            Invalid: the arguments contradict each other or are out of range.
            StreamNotFound, StreamDeletionPending: the stream cannot be read.
            DecryptionFailed: the records were sealed with another key than the handle's.
            BadRequest: the stream has a cipher, and the handle has no key.
        """
        request = ReadRequest.of(start, count=count, bytes=bytes, until=until, clamp=clamp, wait=wait)
        batch = await self._transport.read(self._basin, self._name, request, key=self._key, config=self._config)
        if ignore_command_records:
            return ReadBatch(tuple([record for record in batch.records if record.command is None]), batch.tail)
        return batch

    def read_session(
        self,
        start: ReadStart | None = None,
        *,
        count: int | None = None,
        bytes: int | None = None,
        until: int | None = None,
        clamp: bool = False,
        wait: float | None = None,
        ignore_command_records: bool = False,
    ) -> ReadSession:
        """Read on and on: everything from `start`, and then what is appended.

        It follows for ever if nothing bounds it. With `count`, `bytes` or `until`, or with `wait=0`, it
        ends at the latest at the tail; with `wait`, when nothing came for so many seconds at the tail.
        The arguments are those of `read`, without its caps.

        Raises `Invalid`. Entering the session raises `ReadUnwritten`, `StreamNotFound` and
        `StreamDeletionPending`; reading raises `Unavailable` when the stream is deleted underneath
        (over HTTP one of those two), and `DecryptionFailed` where records were sealed with another key than the
        handle's.
        """
        request = ReadRequest.of(start, count=count, bytes=bytes, until=until, clamp=clamp, wait=wait)

        async def open_channel(on_interruption: Callable[[], None]) -> ReadChannel:
            return await self._transport.open_read(
                self._basin,
                self._name,
                request,
                key=self._key,
                config=self._config,
                on_interruption=on_interruption,
            )

        return ReadSession(open_channel, ignore_command_records=ignore_command_records)

    def append_session(
        self,
        *,
        max_in_flight_bytes: int = DEFAULT_MAX_IN_FLIGHT_BYTES,
        max_in_flight_batches: int | None = None,
    ) -> AppendSession:
        """A pipeline of batches: submit without waiting for each acknowledgement.

        Args:
            max_in_flight_bytes: metered bytes submitted and not acknowledged; at least 1 MiB.
            max_in_flight_batches: batches submitted and not acknowledged; unbounded if not given.

        Raises `Invalid`. Entering the session, or the first submit, raises `StreamNotFound` and the like.
        """
        return AppendSession(
            lambda: self._transport.open_append(self._basin, self._name, key=self._key, config=self._config),
            max_in_flight_bytes=max_in_flight_bytes,
            max_in_flight_batches=max_in_flight_batches,
        )

    def producer(
        self,
        *,
        linger_ms: float = DEFAULT_LINGER_MS,
        max_batch_records: int = MAX_BATCH_RECORDS,
        max_batch_bytes: int = MAX_BATCH_BYTES,
        fencing_token: str | None = None,
        match_seq_num: int | None = None,
        max_in_flight_bytes: int = DEFAULT_MAX_IN_FLIGHT_BYTES,
        max_in_flight_batches: int | None = None,
    ) -> Producer:
        """Submit single records, which are gathered into batches.

        Args:
            linger_ms: how long the first record of a batch waits for others; 0 sends each at once.
            max_batch_records, max_batch_bytes: a batch goes when it is so full; at most 1000 and 1 MiB.
            fencing_token: the token for every batch.
            match_seq_num: the sequence number that the first record must get, and so on from there.
            max_in_flight_bytes, max_in_flight_batches: as for `append_session`.

        Raises `Invalid`.
        """
        return Producer(
            self.append_session(max_in_flight_bytes=max_in_flight_bytes, max_in_flight_batches=max_in_flight_batches),
            linger_ms=linger_ms,
            max_batch_records=max_batch_records,
            max_batch_bytes=max_batch_bytes,
            fencing_token=fencing_token,
            match_seq_num=match_seq_num,
        )
