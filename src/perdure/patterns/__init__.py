"""Typed messages of any size over the records of a stream, each read once.

::

    events = JsonSerializer(Event)
    async with SerializingAppendSession(stream.append_session(), events.serialize, dedupe_seq=0) as session:
        await session.submit(Event("created"))

    async with DeserializingReadSession(stream.read_session(SeqNum(0)), events.deserialize) as session:
        async for event in session:
            ...

What is in the stream is what the npm package `@s2-dev/streamstore-patterns` writes and reads, byte for byte.

On the way there: `serializers` make bytes of a message, `framing` makes records of the bytes, `deduplication` counts
them. On the way back, `reassembly` has all of it. None of these waits; `append_session` and `read_session` do.
"""

from .append_session import SerializingAppendSession
from .deduplication import DedupeFilter, add_dedupe_headers, dedupe_mark
from .framing import DEFAULT_MAX_FRAME_BYTES, FrameAssembler, FrameSizeError, frame
from .headers import (
    DEDUPE_SEQ_HEADER,
    FRAME_BYTES_HEADER,
    FRAME_RECORDS_HEADER,
    MAX_CHUNK_BODY_BYTES,
    WRITER_ID_HEADER,
    MalformedHeader,
    decode_u64,
    encode_u64,
)
from .read_session import DeserializingReadSession
from .reassembly import Assembled, MessageRange, ReadCheckpoint, Reassembly
from .serializers import JsonSerializer, MsgpackSerializer, PydanticModel, PydanticSerializer, Serializer

__all__ = [
    "DEDUPE_SEQ_HEADER",
    "DEFAULT_MAX_FRAME_BYTES",
    "FRAME_BYTES_HEADER",
    "FRAME_RECORDS_HEADER",
    "MAX_CHUNK_BODY_BYTES",
    "WRITER_ID_HEADER",
    "Assembled",
    "DedupeFilter",
    "DeserializingReadSession",
    "FrameAssembler",
    "FrameSizeError",
    "JsonSerializer",
    "MalformedHeader",
    "MessageRange",
    "MsgpackSerializer",
    "PydanticModel",
    "PydanticSerializer",
    "ReadCheckpoint",
    "Reassembly",
    "Serializer",
    "SerializingAppendSession",
    "add_dedupe_headers",
    "decode_u64",
    "dedupe_mark",
    "encode_u64",
    "frame",
]
