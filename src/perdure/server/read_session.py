"""Read sessions over s2s: stored blocks are passed on as they are, framed (store API, sections 6.7 and 6.9)."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.configs import StreamConfig
from ..model.encryption import EncryptionKey
from ..model.reads import ReadRequest
from ..store.reading import Delivery
from ..wire import headers
from ..wire.compression import Compression
from ..wire.errors_json import terminal_frame
from ..wire.media import session_coding
from ..wire.protobuf import encode_records, encode_tail
from ..wire.s2s import MAX_PAYLOAD_BYTES, encode_frame, frame_header, with_advice
from .context import Context
from .delivering import DeliveringSession
from .live_forms import LiveForm, LiveForms
from .pieces import PIECE_BYTES
from .request import Request
from .sessions import SessionKind


async def open_session(
    context: Context, request: Request, wanted: ReadRequest, key: EncryptionKey | None, config: StreamConfig | None
) -> DeliveringSession:
    """Open the session. Raises what opening a read raises, `RateLimited` too."""
    slot = context.sessions.open(SessionKind.READ, request.client)
    try:
        read = await request.store.open_read_session(request.basin, request.names[0], wanted, key, config)
    except BaseException:
        slot.close()
        raise
    form = FramedRead(session_coding(request.header(headers.ACCEPT_ENCODING)), context.live_forms)
    return DeliveringSession(read, form, slot, stalls=context.stalls)


class FramedRead:
    """Deliveries as frames, packed as was agreed."""

    __slots__ = ("_advised", "_coding", "_live")

    def __init__(self, coding: Compression, live: LiveForms) -> None:
        self._coding = coding
        self._live = live
        self._advised = False

    @property
    def content_type(self) -> bytes:
        return headers.S2S

    def encode(self, delivery: Delivery) -> Sequence[bytes]:
        parts = self._live.get(delivery, self._coding, self._make).parts
        return (with_advice(parts[0]), *parts[1:]) if self._advised else parts

    def advise(self) -> None:
        self._advised = True

    def done(self) -> bytes:
        return b""

    def failed(self, error: BaseException) -> bytes:
        return terminal_frame(error)

    def _make(self, delivery: Delivery) -> LiveForm:
        parts = list(delivery.blocks)
        if delivery.cut:
            parts.append(encode_records(delivery.cut))
        if delivery.tail is not None:
            parts.append(encode_tail(delivery.tail))
        size = sum(map(len, parts))
        if size > MAX_PAYLOAD_BYTES:
            # Many tiny headers take twice their metered size as protobuf. One block always fits, and only a delivery
            # of one block has a tail, so nothing belongs together here that is sent apart.
            return LiveForm(tuple([encode_frame(part, self._coding) for part in parts]))
        if self._coding is not Compression.NONE:
            return LiveForm((encode_frame(b"".join(parts), self._coding),))
        if size <= PIECE_BYTES:  # put together once, and not for each follower
            return LiveForm((b"".join((frame_header(size), *parts)),))
        return LiveForm((frame_header(size), *parts))
