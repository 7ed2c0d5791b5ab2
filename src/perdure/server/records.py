"""Records over HTTP: unary appends and reads, the tail, and the way into sessions (store API, sections 3.11, 5, 6)."""

from __future__ import annotations

from time import perf_counter
from typing import Final

from msgspec import Struct

from ..errors import Invalid
from ..model.batches import AppendInput
from ..model.configs import StreamConfig
from ..model.encryption import EncryptionKey
from ..model.limits import MAX_U32
from ..model.positions import ReadStart, SeqNum, TailOffset, Timestamp
from ..model.reads import ReadRequest
from ..wire import headers, protobuf, records_json
from ..wire.configs_json import decode_stream_config_header
from ..wire.media import Media, ack_kind, append_kind, parse_format, read_kind, require_json
from ..wire.sse_reads import LastEventId
from . import append_session, read_session, sse_session
from .context import Context
from .request import Request
from .response import Response, Session
from .waiting_read import waiting_read

_STARTS: Final = (("seq_num", SeqNum), ("timestamp", Timestamp), ("tail_offset", TailOffset))


class ReadQuery(Struct, frozen=True, kw_only=True):
    """The query of a read, each parameter right by itself."""

    starts: tuple[ReadStart, ...]
    clamp: bool
    count: int | None
    bytes: int | None
    until: int | None
    wait: int | None

    def checked(self) -> ReadRequest:
        """The read, if the parameters go together. Raises `Invalid`, which is told after what is wrong with headers."""
        if len(self.starts) > 1:
            raise Invalid("only one of seq_num, timestamp, or tail_offset can be provided")
        return ReadRequest.of(
            self.starts[0] if self.starts else None,
            count=self.count,
            bytes=self.bytes,
            until=self.until,
            clamp=self.clamp,
            wait=self.wait,
        )


async def append(context: Context, request: Request) -> Response | Session:
    """`POST /streams/{stream}/records`: one batch, or a session of them."""
    kind = append_kind(request.header(headers.CONTENT_TYPE))
    key, config = key_of(request), config_of(request)
    if kind is Media.S2S:
        return await append_session.open_session(context, request, key, config)
    batch = await _batch_of(request, kind)
    admission, size = context.admission, batch.metered_bytes
    asked = admitted = perf_counter()
    if not admission.take_nowait(size):
        await admission.take(size)
        admitted = perf_counter()
    try:
        ack = await request.store.append(request.basin, request.names[0], batch, key, config)
    finally:
        admission.release(size)
    context.telemetry.acked(len(batch.records), size, admitted - asked, perf_counter() - admitted)
    if ack_kind(request.header(headers.ACCEPT)) is Media.PROTOBUF:
        return Response(200, protobuf.encode_append_ack(ack), headers.PROTOBUF)
    return Response(200, records_json.encode_append_ack(ack), headers.JSON)


async def read(context: Context, request: Request) -> Response | Session:
    """`GET /streams/{stream}/records`: one read, or a session."""
    kind = read_kind(request.header(headers.CONTENT_TYPE), request.header(headers.ACCEPT))
    query = read_query(request)
    key, config = key_of(request), config_of(request)
    if kind is Media.S2S:
        return await read_session.open_session(context, request, query.checked(), key, config)
    form = parse_format(request.header(headers.S2_FORMAT))
    if kind is Media.EVENT_STREAM:
        last_id = request.header(headers.LAST_EVENT_ID)
        resume = None if last_id is None else LastEventId.parse(last_id)
        return await sse_session.open_session(context, request, query.checked(), key, config, form, resume)
    wanted = query.checked()
    if wanted.wait:
        batch = await waiting_read(context, request, wanted, key, config)
    else:
        batch = await request.store.read(request.basin, request.names[0], wanted, key, config)
    if kind is Media.PROTOBUF:
        return Response(200, protobuf.encode_read_batch(batch), headers.PROTOBUF)
    return Response(200, records_json.encode_read_batch(batch, form), headers.JSON)


async def check_tail(context: Context, request: Request) -> Response:
    """`GET /streams/{stream}/records/tail`."""
    tail = await request.store.check_tail(request.basin, request.names[0], config_of(request))
    return Response(200, records_json.encode_tail(tail), headers.JSON)


async def _batch_of(request: Request, kind: Media) -> AppendInput:
    if kind is Media.PROTOBUF:
        return protobuf.decode_append_input(await request.body("bad_proto"))
    form = parse_format(request.header(headers.S2_FORMAT))
    require_json(request.header(headers.CONTENT_TYPE))
    return records_json.decode_append_input(await request.body("bad_json"), form)


def key_of(request: Request) -> EncryptionKey | None:
    """The client's key, of which a plain stream needs no more than this. Raises `BadRequest` (`bad_header`)."""
    value = request.header(headers.S2_ENCRYPTION_KEY)
    return None if value is None else EncryptionKey.parse(value.decode("latin-1"))


def config_of(request: Request) -> StreamConfig | None:
    """The configuration of the stream, should the request create it.

    Raises `BadRequest` (`bad_header`), and `Invalid` for what is well formed and against a rule.
    """
    value = request.header(headers.S2_STREAM_CONFIG)
    return None if value is None else decode_stream_config_header(value)


def read_query(request: Request) -> ReadQuery:
    """The query of a read (section 6.1). Raises `BadRequest` (`bad_query`)."""
    query = request.query()
    starts: list[ReadStart] = []
    for name, start in _STARTS:
        number = query.number(name)
        if number is not None:
            starts.append(start(number))
    return ReadQuery(
        starts=tuple(starts),
        clamp=query.boolean("clamp") or False,
        count=query.number("count"),
        bytes=query.number("bytes"),
        until=query.number("until"),
        wait=query.number("wait", MAX_U32),
    )
