"""Durable streams, and AI chats that survive a refresh, a crash or a change of tab.

::

    async with S2.open("./data") as s2:
        basin = await s2.basins.ensure("my-first-basin", create_stream_on_append=True)
        stream = basin.stream("greetings")
        await stream.append([AppendRecord("Hello")])
        async with stream.read_session(SeqNum(0)) as records:
            async for record in records:
                print(record.seq_num, record.text)
"""

from . import errors
from ._version import __version__
from .client import (
    S2,
    AppendSession,
    AppendTicket,
    Basin,
    Basins,
    Producer,
    ReadSession,
    RecordAck,
    RecordTicket,
    Stream,
    Streams,
)
from .client.endpoints import Endpoints
from .client.retries import AppendRetryPolicy, RetryPolicy
from .errors import (
    AppendConditionFailed,
    AuthenticationFailed,
    BasinDeletionPending,
    BasinNotFound,
    DecryptionFailed,
    DeletionPending,
    FencingTokenMismatch,
    Invalid,
    NotFound,
    PerdureError,
    PermissionDenied,
    RateLimited,
    ReadUnwritten,
    RequestRejected,
    ResourceExists,
    SeqNumMismatch,
    SessionClosed,
    StorageFailed,
    StorageFull,
    StoreFailure,
    StreamDeletionPending,
    StreamNotFound,
    TransportError,
    Unavailable,
    UsageError,
)
from .model.batches import AppendAck, AppendInput, ReadBatch
from .model.configs import (
    BasinConfig,
    Cipher,
    DeleteOnEmptyConfig,
    DeleteOnEmptyReconfiguration,
    InfiniteRetention,
    RetentionAge,
    StorageClass,
    StreamConfig,
    StreamReconfiguration,
    TimestampingConfig,
    TimestampingMode,
    TimestampingReconfiguration,
)
from .model.encryption import EncryptionKey
from .model.positions import ReadStart, SeqNum, StreamPosition, TailOffset, Timestamp
from .model.records import AppendRecord, CommandKind, SequencedRecord
from .model.resources import BasinInfo, Page, ProvisionResult, StreamInfo
from .wire.compression import Compression

__all__ = [
    "S2",
    "AppendAck",
    "AppendConditionFailed",
    "AppendInput",
    "AppendRecord",
    "AppendRetryPolicy",
    "AppendSession",
    "AppendTicket",
    "AuthenticationFailed",
    "Basin",
    "BasinConfig",
    "BasinDeletionPending",
    "BasinInfo",
    "BasinNotFound",
    "Basins",
    "Cipher",
    "CommandKind",
    "Compression",
    "DecryptionFailed",
    "DeleteOnEmptyConfig",
    "DeleteOnEmptyReconfiguration",
    "DeletionPending",
    "EncryptionKey",
    "Endpoints",
    "FencingTokenMismatch",
    "InfiniteRetention",
    "Invalid",
    "NotFound",
    "Page",
    "PerdureError",
    "PermissionDenied",
    "Producer",
    "ProvisionResult",
    "RateLimited",
    "ReadBatch",
    "ReadSession",
    "ReadStart",
    "ReadUnwritten",
    "RecordAck",
    "RecordTicket",
    "RequestRejected",
    "ResourceExists",
    "RetentionAge",
    "RetryPolicy",
    "SeqNum",
    "SeqNumMismatch",
    "SequencedRecord",
    "SessionClosed",
    "StorageClass",
    "StorageFailed",
    "StorageFull",
    "StoreFailure",
    "Stream",
    "StreamConfig",
    "StreamDeletionPending",
    "StreamInfo",
    "StreamNotFound",
    "StreamPosition",
    "StreamReconfiguration",
    "Streams",
    "TailOffset",
    "Timestamp",
    "TimestampingConfig",
    "TimestampingMode",
    "TimestampingReconfiguration",
    "TransportError",
    "Unavailable",
    "UsageError",
    "__version__",
    "errors",
]
