"""Short ways to the requests that tests of appends and reads begin with."""

from __future__ import annotations

from collections.abc import Iterable

import httpx
import msgspec

from perdure.model.batches import AppendAck, AppendInput, ReadBatch
from perdure.model.records import AppendRecord
from perdure.wire.protobuf import decode_append_ack, decode_read_batch, encode_append_input
from perdure.wire.s2s import Frame, FrameDecoder, Terminal, encode_frame
from tests.server.h2_peer import H2Peer, H2Stream
from tests.server.running import BASIN

STREAM = "s"
RECORDS = f"/v1/streams/{STREAM}/records"


def batch(*bodies: str | bytes, match: int | None = None, token: str | None = None) -> AppendInput:
    return AppendInput.of([AppendRecord(body) for body in bodies], match_seq_num=match, fencing_token=token)


def frames(*batches: AppendInput) -> bytes:
    return b"".join(encode_frame(encode_append_input(one)) for one in batches)


async def append(client: httpx.AsyncClient, *bodies: str, **more: object) -> httpx.Response:
    return await client.post(RECORDS, json={"records": [{"body": body} for body in bodies], **more})


async def appended(client: httpx.AsyncClient, *bodies: str, **more: object) -> dict[str, dict[str, int]]:
    """Append and give the ack; the append must succeed."""
    answer = await append(client, *bodies, **more)
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=dict[str, dict[str, int]])


async def open_append(peer: H2Peer, path: str = RECORDS, **fields: str) -> H2Stream:
    return await peer.open("POST", path, s2_basin=BASIN, content_type="s2s/proto", fields=fields)


async def open_read(peer: H2Peer, query: str, path: str = RECORDS, **fields: str) -> H2Stream:
    return await peer.open("GET", f"{path}?{query}", end=True, s2_basin=BASIN, content_type="s2s/proto", fields=fields)


def parsed(data: bytes) -> list[Frame]:
    decoder = FrameDecoder()
    found = list(decoder.feed(data))
    decoder.finish()
    return found


def acks_and_end(data: bytes) -> tuple[list[AppendAck], Terminal | None]:
    """What an append session was answered: its acks, and the terminal frame if there is one."""
    found = parsed(data)
    terminal = found.pop().terminal() if found and found[-1].is_terminal else None
    return [decode_append_ack(frame.message()) for frame in found], terminal


def batches_and_end(data: bytes) -> tuple[list[ReadBatch], Terminal | None]:
    found = parsed(data)
    terminal = found.pop().terminal() if found and found[-1].is_terminal else None
    return [decode_read_batch(frame.message()) for frame in found], terminal


async def next_batch(stream: H2Stream) -> ReadBatch:
    """The next frame of a read session, which must be a regular one."""
    content = await stream.frame()
    frame = Frame(content[0], content[1:])
    assert not frame.is_terminal, frame.payload
    return decode_read_batch(frame.message())


def bodies(batches: Iterable[ReadBatch]) -> list[bytes]:
    return [record.body for one in batches for record in one.records]
