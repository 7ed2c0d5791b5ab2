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

from importlib import import_module
from typing import TYPE_CHECKING, Final

from ._version import __version__

if TYPE_CHECKING:
    from . import errors
    from .client import (
        S2,
        AccessToken,
        AccessTokens,
        AppendSession,
        AppendTicket,
        Basin,
        Basins,
        Locations,
        Metrics,
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
        AccessTokenNotFound,
        AppendConditionFailed,
        AuthenticationFailed,
        BasinDeletionPending,
        BasinNotFound,
        DecryptionFailed,
        DeletionPending,
        FencingTokenMismatch,
        Invalid,
        NotFound,
        NotImplementedByServer,
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
    from .model.access_tokens import (
        AccessTokenInfo,
        AccessTokenScope,
        ExactMatch,
        Operation,
        OperationGroupPermissions,
        Permission,
        PrefixMatch,
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
    from .model.metrics import (
        AccountMetricSet,
        AccumulationMetric,
        BasinMetricSet,
        GaugeMetric,
        LabelMetric,
        Metric,
        MetricPoint,
        MetricUnit,
        ScalarMetric,
        StreamMetricSet,
        TimeseriesInterval,
    )
    from .model.positions import ReadStart, SeqNum, StreamPosition, TailOffset, Timestamp
    from .model.records import AppendRecord, CommandKind, SequencedRecord
    from .model.resources import BasinInfo, LocationInfo, Page, ProvisionResult, StreamInfo
    from .wire.compression import Compression

__all__ = [
    "S2",
    "AccessToken",
    "AccessTokenInfo",
    "AccessTokenNotFound",
    "AccessTokenScope",
    "AccessTokens",
    "AccountMetricSet",
    "AccumulationMetric",
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
    "BasinMetricSet",
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
    "ExactMatch",
    "FencingTokenMismatch",
    "GaugeMetric",
    "InfiniteRetention",
    "Invalid",
    "LabelMetric",
    "LocationInfo",
    "Locations",
    "Metric",
    "MetricPoint",
    "MetricUnit",
    "Metrics",
    "NotFound",
    "NotImplementedByServer",
    "Operation",
    "OperationGroupPermissions",
    "Page",
    "PerdureError",
    "Permission",
    "PermissionDenied",
    "PrefixMatch",
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
    "ScalarMetric",
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
    "StreamMetricSet",
    "StreamNotFound",
    "StreamPosition",
    "StreamReconfiguration",
    "Streams",
    "TailOffset",
    "TimeseriesInterval",
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

_HOMES: Final = (
    "client",
    "client.endpoints",
    "client.retries",
    "errors",
    "model.access_tokens",
    "model.batches",
    "model.configs",
    "model.encryption",
    "model.metrics",
    "model.positions",
    "model.records",
    "model.resources",
    "wire.compression",
)
"""Where the names above come from, in the order in which they are looked for.

They are imported when they are used first: the `perdure` command, among others, has no use for most of them, and they
take ten times as long as the interpreter itself.
"""

_PARTS: Final = frozenset({"client", "errors", "model", "wire"})
"""What `import perdure` alone makes usable as `perdure.errors` and the like."""

if not TYPE_CHECKING:  # type checkers would take it for a promise that there is any name at all

    def __getattr__(name: str) -> object:
        """Import what is asked for."""
        if name in _PARTS:
            return import_module(f".{name}", __name__)
        if name in __all__:
            for home in _HOMES:
                module = import_module(f".{home}", __name__)
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__, *_PARTS})
