"""Reads as server-sent events (store API, section 6.8)."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..model.configs import StreamConfig
from ..model.encryption import EncryptionKey
from ..model.reads import ReadRequest
from ..store.reading import Delivery
from ..wire import headers, records_json
from ..wire.media import Format
from ..wire.sse_reads import (
    DONE,
    NOTHING_DELIVERED,
    LastEventId,
    encode_error_event,
    encode_ping,
    frame_batch,
)
from .context import Context
from .delivering import DeliveringSession
from .live_forms import LiveForm, LiveForms
from .request import Request
from .sessions import SessionKind


async def open_session(
    context: Context,
    request: Request,
    wanted: ReadRequest,
    key: EncryptionKey | None,
    config: StreamConfig | None,
    form: Format,
    resume: LastEventId | None,
) -> DeliveringSession:
    """Open the session, after the batch with the id `resume` if there is one. Raises as other reads do."""
    slot = context.sessions.open(SessionKind.SSE, request.client)
    try:
        if resume is not None:
            wanted = resume.resumed(wanted)
        read = await request.store.open_read_session(request.basin, request.names[0], wanted, key, config)
    except BaseException:
        slot.close()
        raise
    return DeliveringSession(read, EventRead(form, context.live_forms), slot, stalls=context.stalls)


class EventRead:
    """Deliveries as events, which count what was delivered on this connection."""

    __slots__ = ("_delivered", "_form", "_live")

    def __init__(self, form: Format, live: LiveForms) -> None:
        self._form = form
        self._live = live
        self._delivered = NOTHING_DELIVERED

    @property
    def content_type(self) -> bytes:
        return headers.EVENT_STREAM

    def encode(self, delivery: Delivery) -> Sequence[bytes]:
        if delivery.is_heartbeat:
            assert delivery.tail is not None, "a delivery without records tells where the tail is"
            return (encode_ping(time.time_ns() // 1_000_000, delivery.tail),)
        live = self._live.get(delivery, self._form, self._make)
        before, step = self._delivered, live.advance
        self._delivered = LastEventId(
            step.seq_num, before.count + step.count, before.metered_bytes + step.metered_bytes
        )
        return frame_batch(live.parts, self._delivered)

    def advise(self) -> None:
        """Events have no word for it; the end of the session will say why it came."""

    def done(self) -> bytes:
        return DONE

    def failed(self, error: BaseException) -> bytes:
        return encode_error_event(error)

    def _make(self, delivery: Delivery) -> LiveForm:
        batch = delivery.decoded()
        return LiveForm((records_json.encode_read_batch(batch, self._form),), NOTHING_DELIVERED.advanced(batch))
