"""The blocking classes. Written by `make sync` from those of `perdure.client`; do not edit."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Iterator
from datetime import datetime
from types import TracebackType

from msgspec import UNSET, UnsetType

from .. import client
from ..client.access_tokens import AccessToken
from ..client.batching import DEFAULT_LINGER_MS
from ..client.endpoints import Endpoints
from ..client.in_flight import DEFAULT_MAX_IN_FLIGHT_BYTES
from ..client.producer import RecordAck
from ..client.retries import RetryPolicy
from ..client.settings import DEFAULT_CONNECTION_TIMEOUT_SECS, DEFAULT_REQUEST_TIMEOUT_SECS, ForcedTransport
from ..client.transport import Transport
from ..model.access_tokens import AccessTokenInfo, AccessTokenScope
from ..model.batches import AppendAck, AppendInput, ReadBatch
from ..model.configs import (
    BasinConfig,
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
from ..model.limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_PAGE_ITEMS
from ..model.metrics import AccountMetricSet, BasinMetricSet, Metric, StreamMetricSet, TimeseriesInterval
from ..model.positions import ReadStart, StreamPosition
from ..model.records import AppendRecord, SequencedRecord
from ..model.resources import BasinInfo, LocationInfo, Page, ProvisionResult, StreamInfo
from ..wire.compression import Compression
from .face import Account, BlockingIterator, Face, give_each

__all__ = [
    "S2",
    "AccessTokens",
    "AppendSession",
    "AppendTicket",
    "Basin",
    "Basins",
    "Locations",
    "Metrics",
    "Producer",
    "ReadSession",
    "RecordTicket",
    "Stream",
    "Streams",
]


class AccessTokens(Face[client.AccessTokens]):
    """The access tokens of an account, from `S2.access_tokens`.

    A store that is embedded asks nobody for a token: whoever can open the directory may do everything. What is issued
    there is for clients of a server with access control (`perdure serve` with a root token) on the same directory, and
    is in force without a restart.
    """

    def issue(
        self, id: str, *, scope: AccessTokenScope, expires_at: datetime | None = None, auto_prefix_streams: bool = False
    ) -> AccessToken:
        """Issue a token, and give its secret. It is shown this once: the store keeps a hash of it.

        ::

            token = s2.access_tokens.issue(
                "reader-7",
                scope=AccessTokenScope(
                    basins=ExactMatch("my-first-basin"),
                    streams=PrefixMatch("public/"),
                    op_groups=OperationGroupPermissions(stream=Permission.READ),
                ),
                expires_at=datetime.now(UTC) + timedelta(days=7),
            )

        Args:
            id: what the token is called: 1 to 96 bytes, unique in the account. It is no secret.
            scope: the operations that the token permits, and the names that they may be used on; a call needs both.
            expires_at: from when on it is refused, with a time zone. If not given, it is that of this client's own
                token, which is the latest possible, and never for the root.
            auto_prefix_streams: put the prefix of `scope.streams` before each stream name that is used with the token,
                and take it off in answers, so that its holder works in a namespace of its own. `scope.streams` must be
                a `PrefixMatch`.

        Raises:
            ResourceExists: the id is in use.
            Invalid: a scope that permits nothing, a bad name, a time without a zone.
            PermissionDenied: this client's own token may not issue tokens, or permits less than `scope`.
            TransportError: the answer was lost, and with it the secret. Such a call is not retried: if it
                `may_have_applied`, `revoke` the id before you issue it again.
        """
        return self._run(
            lambda: self._async.issue(id, scope=scope, expires_at=expires_at, auto_prefix_streams=auto_prefix_streams)
        )

    def revoke(self, id: str, *, ignore_not_found: bool = False) -> None:
        """Make a token worthless: at once, or within a second where a server has several workers.

        What is under way with it ends as well. Raises `AccessTokenNotFound`, unless `ignore_not_found`.
        """
        return self._run(lambda: self._async.revoke(id, ignore_not_found=ignore_not_found))

    def list(self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS) -> Page[AccessTokenInfo]:
        """One page of the tokens whose ids start with `prefix` and sort after `start_after`, in order of their ids.

        Secrets are in none of them. `limit` is the most that the page may hold; 0, and more than 1000, mean 1000.
        `list_all` goes through all pages. Raises `Invalid`.
        """
        return self._run(lambda: self._async.list(prefix=prefix, start_after=start_after, limit=limit))

    def list_all(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS
    ) -> Iterator[AccessTokenInfo]:
        """All tokens whose ids start with `prefix` and sort after `start_after`, in order of their ids.

        ::

            for token in s2.access_tokens.list_all(prefix="reader-"):
                print(token.id, token.expires_at)

        Each page of up to `limit` is fetched when the loop gets there. The loop raises what `list` does.
        """
        return BlockingIterator(self._loop, self._async.list_all(prefix=prefix, start_after=start_after, limit=limit))


class AppendSession(Face[client.AppendSession]):
    """A pipeline of batches to one stream, from `Stream.append_session`.

    Batches are appended in the order in which their `submit` got room, and acknowledged in that order. The
    first one that fails ends the session: every later batch and every later call fails with the same
    error, and nothing after the failed batch is applied.

    Over HTTP, what was not acknowledged is sent again after a lost connection, as the retry policy says. A batch with
    `match_seq_num` that was there already is refused then: the `SeqNumMismatch` is `in_doubt`, and reading from
    `match_seq_num` on tells whose records those are.

    `submit` gives a ticket for each batch. `write` and `write_all` take batches like a sink, for which `acks` tells
    what became of them, all in order.

    Use it in a `with` block: a clean exit is `close`; an exit by an error gives up what is not
    acknowledged yet, without waiting. Without `with`, the first `submit` connects.
    """

    @property
    def failure(self) -> BaseException | None:
        """What ended the session; None while it works, and after a clean close."""
        return self._look(lambda: self._async.failure)

    @property
    def in_flight_bytes(self) -> int:
        """Metered bytes submitted and not yet acknowledged."""
        return self._look(lambda: self._async.in_flight_bytes)

    @property
    def in_flight_batches(self) -> int:
        """Batches submitted and not yet acknowledged."""
        return self._look(lambda: self._async.in_flight_batches)

    def submit(
        self, records: Iterable[AppendRecord], *, match_seq_num: int | None = None, fencing_token: str | None = None
    ) -> AppendTicket:
        """Submit 1 to 1000 records as one batch; wait only while too much is in flight.

        Args:
            records: appended together or not at all; at most 1 MiB of metered bytes.
            match_seq_num: append only if the first record would get this sequence number.
            fencing_token: append only if this is the stream's current token.

        Raises:
            Invalid: the batch breaks a limit; the session goes on.
            SessionClosed: the session was closed, also while this call waited.
            PerdureError: what ended the session.

        Interrupting the call while it waits for room gives its place up: the batch is not appended.
        """
        records = tuple(records)
        return AppendTicket(
            self._loop,
            self._run(lambda: self._async.submit(records, match_seq_num=match_seq_num, fencing_token=fencing_token)),
        )

    def submit_batch(self, batch: AppendInput) -> AppendTicket:
        """`submit` for a batch that was built with `AppendInput.of`."""
        return AppendTicket(self._loop, self._run(lambda: self._async.submit_batch(batch)))

    def write(self, batch: AppendInput) -> None:
        """Hand a batch over; returns when it has its place, so that a loop goes as fast as the stream takes it.

        It is durable when `close` has returned, or its acknowledgement has come out of `acks`. Raises as `submit`
        does: after a batch that failed, each call raises the same error.
        """
        return self._run(lambda: self._async.write(batch))

    def write_all(self, batches: Iterable[AppendInput]) -> None:
        """`write` each batch; the source is asked for the next one only when there is room.

        A generator is closed at the end, however it comes to that: its `finally` runs before this call raises. What
        failed shows with the next batch, or in `close`; a source that is silent is not interrupted.
        """
        give_each(batches, self.write)

    def acks(self) -> Iterator[AppendAck]:
        """The acknowledgements of all batches that are submitted or written from now on, in order, each once.

        Call it before the first batch, and give what it returns to whoever is to loop over it. The loop ends after the
        last one when the session is closed, and raises what ended the session after those that came before. What
        nobody has taken yet is kept, some hundred bytes for each batch.
        """
        return BlockingIterator(self._loop, self._look(lambda: self._async.acks()))

    def try_submit(self, batch: AppendInput) -> AppendTicket | None:
        """`submit_batch` if it need not wait; otherwise None, and nothing happened. Raises as `submit` does."""
        answer = self._ask(lambda: self._async.try_submit(batch))
        return None if answer is None else AppendTicket(self._loop, answer)

    def __enter__(self) -> AppendSession:
        self._enter(self._async.__aenter__, self._async.abandon)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(lambda: self._async.__aexit__(exc_type, exc, traceback), quietly=exc is not None)

    def close(self) -> None:
        """Take no more batches, wait for what is in flight, and let go of the stream.

        Submits that still wait for room fail with `SessionClosed`. Raises what ended the session, if
        something did, unless it was abandoned. Idempotent. Interrupting it abandons what is still in flight.
        """
        self._leave(self._async.aclose, quietly=False)

    def abandon(self) -> None:
        """Close without waiting: what is not acknowledged yet may be applied or not, as with a lost connection.

        Tickets that wait raise `SessionClosed`. Never raises what ended the session.
        """
        self._leave(self._async.abandon, quietly=True)


class AppendTicket(Face[client.AppendTicket]):
    """A submitted batch. `result` waits for the acknowledgement.

    Dropping a ticket, or giving up waiting for it, has no effect on the batch.
    """

    def done(self) -> bool:
        """Whether the batch was answered, so that `result` does not wait."""
        return self._look(lambda: self._async.done())

    def result(self) -> AppendAck:
        """The acknowledgement. Raises why the batch was not applied, or why that is unknown."""

        async def answered() -> AppendAck:
            return await self._async

        return self._result(self._async.done, answered)


class Basin(Face[client.Basin]):
    """A handle on one basin, from `S2.basin` or from what creates basins. It holds nothing open."""

    @property
    def streams(self) -> Streams:
        """Creating, configuring, listing and deleting the streams of this basin."""
        return Streams(self._loop, self._async.streams)

    @property
    def name(self) -> str:
        return self._async.name

    @property
    def info(self) -> BasinInfo | None:
        """What the call that gave this handle told about the basin; None when it asked nothing."""
        return self._async.info

    @property
    def provision_result(self) -> ProvisionResult | None:
        """What `create` or `ensure` did; None for a handle that came from elsewhere."""
        return self._async.provision_result

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
        return Stream(self._loop, self._async.stream(name, encryption_key=encryption_key, stream_config=stream_config))

    def __repr__(self) -> str:
        return repr(self._async)


class Basins(Face[client.Basins]):
    """The basins of an account, from `S2.basins`."""

    def create(
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
        return Basin(
            self._loop,
            self._run(
                lambda: self._async.create(
                    name,
                    default_stream_config=default_stream_config,
                    stream_cipher=stream_cipher,
                    create_stream_on_append=create_stream_on_append,
                    create_stream_on_read=create_stream_on_read,
                    location=location,
                )
            ),
        )

    def ensure(
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
        return Basin(
            self._loop,
            self._run(
                lambda: self._async.ensure(
                    name,
                    default_stream_config=default_stream_config,
                    stream_cipher=stream_cipher,
                    create_stream_on_append=create_stream_on_append,
                    create_stream_on_read=create_stream_on_read,
                    location=location,
                )
            ),
        )

    def get_config(self, name: str) -> BasinConfig:
        """What is set at the basin. Raises `BasinNotFound`."""
        return self._run(lambda: self._async.get_config(name))

    def reconfigure(
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
        return self._run(
            lambda: self._async.reconfigure(
                name,
                default_stream_config=default_stream_config,
                stream_cipher=stream_cipher,
                create_stream_on_append=create_stream_on_append,
                create_stream_on_read=create_stream_on_read,
            )
        )

    def delete(self, name: str, *, ignore_not_found: bool = False) -> None:
        """Start the deletion of a basin and of all its streams; its name becomes free later.

        Raises `BasinNotFound`, unless `ignore_not_found`.
        """
        return self._run(lambda: self._async.delete(name, ignore_not_found=ignore_not_found))

    def list(self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS) -> Page[BasinInfo]:
        """One page of the basins that start with `prefix` and sort after `start_after`, in order of their names.

        Those being deleted are included. `limit` is the most that the page may hold; 0, and more than 1000, mean 1000.
        `list_all` goes through all pages. Raises `Invalid`.
        """
        return self._run(lambda: self._async.list(prefix=prefix, start_after=start_after, limit=limit))

    def list_all(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS, include_deleted: bool = False
    ) -> Iterator[BasinInfo]:
        """All basins that start with `prefix` and sort after `start_after`, in order of their names.

        ::

            for basin in s2.basins.list_all(prefix="app-"):
                print(basin.name)

        Each page of up to `limit` is fetched when the loop gets there. Those being deleted are left out, unless
        `include_deleted`. The loop raises what `list` does.
        """
        return BlockingIterator(
            self._loop,
            self._async.list_all(prefix=prefix, start_after=start_after, limit=limit, include_deleted=include_deleted),
        )


class Locations(Face[client.Locations]):
    """The places where a basin can be, from `S2.locations`; a server of one's own, and a directory, are one place."""

    def list(self) -> tuple[LocationInfo, ...]:
        """All of them: there are few, and no pages."""
        return self._run(lambda: self._async.list())

    def get_default(self) -> LocationInfo:
        """Where a basin is made unless it says otherwise."""
        return self._run(lambda: self._async.get_default())

    def set_default(self, name: str) -> LocationInfo:
        """Make basins there from now on, unless they say otherwise. Raises `Invalid` for a place that there is not."""
        return self._run(lambda: self._async.set_default(name))


class Metrics(Face[client.Metrics]):
    """Usage of the account, of a basin, of a stream, from `S2.metrics`.

    ::

        appended = s2.metrics.basin(
            "my-first-basin", BasinMetricSet.APPEND_THROUGHPUT, start=datetime.now(UTC) - timedelta(days=1)
        )
        for metric in appended:
            if isinstance(metric, AccumulationMetric):
                for point in metric.points:
                    print(metric.name, point.time, point.value, metric.unit)

    Each call asks for one set, from `start` to `end` (now, if not given): times with a zone, at most 30 days apart.
    `interval` is what a point stands for, an hour if not given. Only storage has its own: an hour for a basin, a minute
    for a stream. All raise `Invalid` for times and intervals that the set does not have, and `PermissionDenied`.
    """

    def account(
        self,
        metric_set: AccountMetricSet,
        *,
        start: datetime,
        end: datetime | None = None,
        interval: TimeseriesInterval | None = None,
    ) -> tuple[Metric, ...]:
        """Of everything in the account: which basins had streams, how often which operation was used."""
        return self._run(lambda: self._async.account(metric_set, start=start, end=end, interval=interval))

    def basin(
        self,
        basin: str,
        metric_set: BasinMetricSet,
        *,
        start: datetime,
        end: datetime | None = None,
        interval: TimeseriesInterval | None = None,
    ) -> tuple[Metric, ...]:
        """Of one basin, all its streams together. Raises `BasinNotFound`."""
        return self._run(lambda: self._async.basin(basin, metric_set, start=start, end=end, interval=interval))

    def stream(
        self,
        basin: str,
        stream: str,
        metric_set: StreamMetricSet,
        *,
        start: datetime,
        end: datetime | None = None,
        interval: TimeseriesInterval | None = None,
    ) -> tuple[Metric, ...]:
        """Of one stream. Raises `StreamNotFound`, `BasinNotFound`."""
        return self._run(lambda: self._async.stream(basin, stream, metric_set, start=start, end=end, interval=interval))


class Producer(Face[client.Producer]):
    """Records to one stream in the order of their submits, from `Stream.producer`.

    Records wait up to `linger_ms` for company. The first batch that fails ends the producer: what was
    not acknowledged, and every later call, fails with the same error. Use it in a `with` block: a clean exit is
    `close`; an exit by an error drops what was not sent and does not wait for the rest.
    """

    def submit(self, record: AppendRecord) -> RecordTicket:
        """Take `record` into the next batch; wait only while the append session has no room.

        Raises `Invalid` for a record above the byte limit of a batch (the producer goes on without it),
        `SessionClosed`, and what ended the producer. Interrupting the call while it waits takes nothing.
        """
        return RecordTicket(self._loop, self._run(lambda: self._async.submit(record)))

    def flush(self) -> None:
        """Send what waits for company now, and wait until every record submitted before is durable.

        Raises what ended the producer.
        """
        return self._run(lambda: self._async.flush())

    def close(self) -> None:
        """`flush`, then let go of the stream; no record is taken any more. Idempotent.

        Raises what ended the producer, unless it was abandoned. Interrupting it abandons the rest.
        """
        self._leave(self._async.aclose, quietly=False)

    def __enter__(self) -> Producer:
        self._enter(self._async.__aenter__, self._async.abandon)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(lambda: self._async.__aexit__(exc_type, exc, traceback), quietly=exc is not None)

    def abandon(self) -> None:
        """Close without waiting: what was not sent is dropped, what was sent may be applied or not.

        Tickets that wait raise `SessionClosed`. Never raises what ended the producer.
        """
        self._leave(self._async.abandon, quietly=True)


class ReadSession(Face[client.ReadSession]):
    """The records of a stream in order, each once, from `Stream.read_session`.

    Iterate over it for records, or over `batches()` for batches with their tails. Use it in a `with` block,
    which connects, raises what keeps the read from starting, and ends the read on exit. Without
    it, the first record asked for connects, and `close` ends it.
    """

    @property
    def next_read_position(self) -> StreamPosition | None:
        """Where a new read would go on after what was handed out here; None before that is known."""
        return self._look(lambda: self._async.next_read_position)

    @property
    def last_observed_tail(self) -> StreamPosition | None:
        """The latest tail that the stream reported to this session; None before the first."""
        return self._look(lambda: self._async.last_observed_tail)

    @property
    def is_caught_up(self) -> bool:
        """Whether every record below the last reported tail was handed out.

        It ends with the next batch, until that was handed out to its end, and with a lost connection, until the tail
        was seen again. What was appended and has not been pulled yet is not known here, so it takes somebody who reads.
        """
        return self._look(lambda: self._async.is_caught_up)

    def caught_up(self) -> StreamPosition:
        """Wait until every record below the last reported tail was handed out; gives that tail.

        While nobody else reads, this call drives the session; records that it finds wait for their reader,
        so somebody must take them for it to return. Returns at once while `is_caught_up`, also after
        the end. Raises what ended the session, and `SessionClosed` if it ended before.
        """
        return self._run(lambda: self._async.caught_up())

    def __iter__(self) -> Iterator[SequencedRecord]:
        return self

    def __next__(self) -> SequencedRecord:
        return self._next(self._async.__anext__)

    def batches(self) -> Iterator[ReadBatch]:
        """The session batch by batch, as `next_batch` gives them."""
        return BlockingIterator(self._loop, self._look(lambda: self._async.batches()))

    def next_batch(self) -> ReadBatch | None:
        """The next records as they came together, or None at the clean end.

        A batch with a `tail` came from following live, and says where the stream's tail was after it. One
        without records is a heartbeat: it comes on reaching the tail, and then in every silence. With
        `ignore_command_records`, a batch of nothing but commands counts as one too.
        """
        return self._run(lambda: self._async.next_batch())

    def __enter__(self) -> ReadSession:
        self._enter(self._async.__aenter__, self._async.aclose)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(lambda: self._async.__aexit__(exc_type, exc, traceback), quietly=True)

    def close(self) -> None:
        """End the read. Records not taken yet are dropped; whoever waits sees the end. Idempotent."""
        self._leave(self._async.aclose, quietly=True)


class RecordTicket(Face[client.RecordTicket]):
    """A submitted record. `result` waits for its acknowledgement; dropping it has no effect on the record."""

    def done(self) -> bool:
        """Whether the record was answered, so that `result` does not wait."""
        return self._look(lambda: self._async.done())

    def result(self) -> RecordAck:
        """The acknowledgement. Raises why the record was not appended, or why that is unknown."""

        async def answered() -> RecordAck:
            return await self._async

        return self._result(self._async.done, answered)


class S2(Account):
    """A store of durable streams, as one account sees it.

    `S2(…)` speaks to a store behind HTTP; `S2.open` embeds one in this process.
    Use it in a `with` block. Any thread may call, many at once.
    """

    def __init__(
        self,
        *,
        access_token: str | None = None,
        endpoints: Endpoints | str | None = None,
        retries: RetryPolicy | None = None,
        compression: Compression = Compression.NONE,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT_SECS,
        connection_timeout: float = DEFAULT_CONNECTION_TIMEOUT_SECS,
        ssl_context: ssl.SSLContext | None = None,
        force_transport: ForcedTransport | None = None,
        proxy: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        """A client for a store behind HTTP, opened at once.

        Args:
            access_token: what the store knows this account by; a server without access control needs none.
            endpoints: where the store is: `"https://host:port"` for one server, `Endpoints` for an account and a
                basin address; s2.dev if not given.
            retries: how failures are tried again; three attempts if not given.
            compression: how request bodies and batches are packed, and answers asked for.
            request_timeout: seconds for each attempt of a request, and for each acknowledgement of an append session. A
                read may take its `wait` more.
            connection_timeout: seconds for a new connection, until the server has shown which HTTP it speaks.
            ssl_context: how servers are verified; by the certificates of the system if not given. The client sets
                which protocols it offers (ALPN), so clients with different `force_transport` need one each.
            force_transport: `"s2s"` for HTTP/2 or an error, `"fetch"` for HTTP/1.1. If not given, it is HTTP/2 unless
                the server or a proxy speaks HTTP/1.1 only. Over HTTP/1.1 nothing is missing, but append sessions have
                one batch in flight at a time, and tell what is wrong with their stream with the first; and read
                sessions need a connection each.
            proxy: the HTTP proxy that leads to the store, as `"http://user:password@host:port"`; `"direct"` for none.
                If not given, the variables `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, except for
                this machine's own addresses. An `http` address is reached through it by HTTP/1.1, or a tunnel with
                `force_transport="s2s"`; an `https` one always through a tunnel.
            transport: what carries the requests, for stores that this package does not know. The other
                arguments mean nothing then.

        Raises `UsageError` for arguments that make no sense.
        """
        self._start(
            lambda: client.S2(
                access_token=access_token,
                endpoints=endpoints,
                retries=retries,
                compression=compression,
                request_timeout=request_timeout,
                connection_timeout=connection_timeout,
                ssl_context=ssl_context,
                force_transport=force_transport,
                proxy=proxy,
                transport=transport,
            )
        )

    @property
    def basins(self) -> Basins:
        """Creating, configuring, listing and deleting basins."""
        return Basins(self._loop, self._async.basins)

    @property
    def access_tokens(self) -> AccessTokens:
        """Issuing, listing and revoking access tokens."""
        return AccessTokens(self._loop, self._async.access_tokens)

    @property
    def metrics(self) -> Metrics:
        """How much the account, its basins and their streams are used."""
        return Metrics(self._loop, self._async.metrics)

    @property
    def locations(self) -> Locations:
        """Where basins can be."""
        return Locations(self._loop, self._async.locations)

    @classmethod
    def open(cls, location: str | os.PathLike[str]) -> S2:
        """The store in a directory on this machine's disk, opened at once.

        Args:
            location: the directory, made if it is missing; other processes may use it at the same time.
                ":memory:" is a private store that is gone when it is closed.

        Raises `UsageError` for a location that this version has no engine for, and
        `StorageFailed` when the directory cannot be used.
        """
        return cls._started(lambda: client.S2.open(location))

    @classmethod
    def from_env(
        cls,
        *,
        retries: RetryPolicy | None = None,
        compression: Compression = Compression.NONE,
        request_timeout: float = DEFAULT_REQUEST_TIMEOUT_SECS,
        connection_timeout: float = DEFAULT_CONNECTION_TIMEOUT_SECS,
        ssl_context: ssl.SSLContext | None = None,
        force_transport: ForcedTransport | None = None,
        proxy: str | None = None,
    ) -> S2:
        """A client for the store that the environment names; the arguments are those of `S2`.

        `S2_ACCESS_TOKEN` is the token, and `S2_ACCOUNT_ENDPOINT` with `S2_BASIN_ENDPOINT` the addresses; without these
        two it is s2.dev. Raises `UsageError` when the token is missing, or one of the addresses.
        """
        return cls._started(
            lambda: client.S2.from_env(
                retries=retries,
                compression=compression,
                request_timeout=request_timeout,
                connection_timeout=connection_timeout,
                ssl_context=ssl_context,
                force_transport=force_transport,
                proxy=proxy,
            )
        )

    def __repr__(self) -> str:
        return repr(self._async)

    def basin(self, name: str) -> Basin:
        """A handle on the basin of this name, without asking whether it exists. Raises `Invalid`."""
        return Basin(self._loop, self._async.basin(name))


class Stream(Face[client.Stream]):
    """A handle on one stream, from `Basin.stream` or from what creates streams. It holds nothing open."""

    @property
    def name(self) -> str:
        return self._async.name

    @property
    def basin_name(self) -> str:
        return self._async.basin_name

    @property
    def info(self) -> StreamInfo | None:
        """What the call that gave this handle told about the stream; None when it asked nothing."""
        return self._async.info

    @property
    def provision_result(self) -> ProvisionResult | None:
        """What `create` or `ensure` did; None for a handle that came from elsewhere."""
        return self._async.provision_result

    def __repr__(self) -> str:
        return repr(self._async)

    def append(
        self, records: Iterable[AppendRecord], *, match_seq_num: int | None = None, fencing_token: str | None = None
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

        Interrupting the call leaves it open whether the batch is appended.
        """
        records = tuple(records)
        return self._run(lambda: self._async.append(records, match_seq_num=match_seq_num, fencing_token=fencing_token))

    def fence(self, token: str, *, fencing_token: str | None = None, match_seq_num: int | None = None) -> AppendAck:
        """Make `token` (up to 36 bytes; "" clears) the stream's fencing token, by a command record.

        With `fencing_token`, only if that is the current one. Raises as `append` does.
        """
        return self._run(lambda: self._async.fence(token, fencing_token=fencing_token, match_seq_num=match_seq_num))

    def trim(self, seq_num: int, *, fencing_token: str | None = None, match_seq_num: int | None = None) -> AppendAck:
        """Let the records below `seq_num` go, by a command record. Raises as `append` does.

        A point above the command itself means everything up to and including the command; what is
        appended later always stays.
        """
        return self._run(lambda: self._async.trim(seq_num, fencing_token=fencing_token, match_seq_num=match_seq_num))

    def check_tail(self) -> StreamPosition:
        """The sequence number that the next record will get, and the timestamp of the last record.

        Both are 0 for a stream that was never written to. Raises `StreamNotFound`, `StreamDeletionPending`.
        """
        return self._run(lambda: self._async.check_tail())

    def read(
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
        return self._run(
            lambda: self._async.read(
                start,
                count=count,
                bytes=bytes,
                until=until,
                clamp=clamp,
                wait=wait,
                ignore_command_records=ignore_command_records,
            )
        )

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
        return ReadSession(
            self._loop,
            self._async.read_session(
                start,
                count=count,
                bytes=bytes,
                until=until,
                clamp=clamp,
                wait=wait,
                ignore_command_records=ignore_command_records,
            ),
        )

    def append_session(
        self, *, max_in_flight_bytes: int = DEFAULT_MAX_IN_FLIGHT_BYTES, max_in_flight_batches: int | None = None
    ) -> AppendSession:
        """A pipeline of batches: submit without waiting for each acknowledgement.

        Args:
            max_in_flight_bytes: metered bytes submitted and not acknowledged; at least 1 MiB.
            max_in_flight_batches: batches submitted and not acknowledged; unbounded if not given.

        Raises `Invalid`. Entering the session, or the first submit, raises `StreamNotFound` and the like.
        """
        return AppendSession(
            self._loop,
            self._async.append_session(
                max_in_flight_bytes=max_in_flight_bytes, max_in_flight_batches=max_in_flight_batches
            ),
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
            self._loop,
            self._async.producer(
                linger_ms=linger_ms,
                max_batch_records=max_batch_records,
                max_batch_bytes=max_batch_bytes,
                fencing_token=fencing_token,
                match_seq_num=match_seq_num,
                max_in_flight_bytes=max_in_flight_bytes,
                max_in_flight_batches=max_in_flight_batches,
            ),
        )


class Streams(Face[client.Streams]):
    """The streams of a basin, from `Basin.streams`."""

    def create(
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
        return Stream(
            self._loop,
            self._run(
                lambda: self._async.create(
                    name,
                    storage_class=storage_class,
                    retention_policy=retention_policy,
                    timestamping=timestamping,
                    delete_on_empty=delete_on_empty,
                )
            ),
        )

    def ensure(
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
        return Stream(
            self._loop,
            self._run(
                lambda: self._async.ensure(
                    name,
                    storage_class=storage_class,
                    retention_policy=retention_policy,
                    timestamping=timestamping,
                    delete_on_empty=delete_on_empty,
                )
            ),
        )

    def get_config(self, name: str) -> StreamConfig:
        """What the stream works by, every field set. Raises `StreamNotFound`, `StreamDeletionPending`."""
        return self._run(lambda: self._async.get_config(name))

    def reconfigure(
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
        return self._run(
            lambda: self._async.reconfigure(
                name,
                storage_class=storage_class,
                retention_policy=retention_policy,
                timestamping=timestamping,
                delete_on_empty=delete_on_empty,
            )
        )

    def delete(self, name: str, *, ignore_not_found: bool = False) -> None:
        """Close the stream to all use for good; its records go in the background, then its name is free.

        Raises `StreamNotFound`, unless `ignore_not_found`.
        """
        return self._run(lambda: self._async.delete(name, ignore_not_found=ignore_not_found))

    def list(self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS) -> Page[StreamInfo]:
        """One page of the streams that start with `prefix` and sort after `start_after`, in order of their names.

        Those being deleted are included. `limit` is the most that the page may hold; 0, and more than 1000, mean 1000.
        `list_all` goes through all pages. An unknown basin has no streams, or the server raises `BasinNotFound`.
        Raises `Invalid`.
        """
        return self._run(lambda: self._async.list(prefix=prefix, start_after=start_after, limit=limit))

    def list_all(
        self, *, prefix: str = "", start_after: str = "", limit: int = MAX_PAGE_ITEMS, include_deleted: bool = False
    ) -> Iterator[StreamInfo]:
        """All streams that start with `prefix` and sort after `start_after`, in order of their names.

        ::

            for stream in basin.streams.list_all(prefix="app-"):
                print(stream.name)

        Each page of up to `limit` is fetched when the loop gets there. Those being deleted are left out, unless
        `include_deleted`. The loop raises what `list` does.
        """
        return BlockingIterator(
            self._loop,
            self._async.list_all(prefix=prefix, start_after=start_after, limit=limit, include_deleted=include_deleted),
        )
