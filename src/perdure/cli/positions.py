"""Commands on the ends of a stream: where its tail is, what is trimmed, who may append."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias

from cyclopts import Parameter

from ..model.names import check_fencing_token
from ..model.positions import StreamPosition
from .common_options import Json, StreamArgument
from .durations import timestamp_text
from .option_types import number_from_0, parsed_by
from .output import Column, print_json, print_table, tell
from .targets import Target, Use

if TYPE_CHECKING:
    from ..model.batches import AppendAck

Number: TypeAlias = Annotated[int, Parameter(converter=parsed_by(number_from_0), metavar="SEQ_NUM")]

Expected: TypeAlias = Annotated[
    str | None,
    Parameter(
        converter=parsed_by(check_fencing_token),
        metavar="TOKEN",
        help='Only if this is the current fencing token; "" if there is none.',
    ),
]

Matching: TypeAlias = Annotated[
    Number | None, Parameter(help="Only if the command gets this sequence number, which is the tail until then.")
]


async def check_tail(stream: StreamArgument, /, *, json: Json = False, target: Target = Target()) -> None:
    """Show the sequence number that the next record will get, and the timestamp of the last one."""
    from ..wire.records_json import encode_tail

    async with target.open(Use.LOOKS) as s2:
        tail = await s2.basin(stream.basin).stream(stream.stream).check_tail()
    if json:
        print_json(encode_tail(tail))
        return
    columns: list[Column[StreamPosition]] = [
        Column("Tail", lambda tail: str(tail.seq_num), style="cyan"),
        Column("Timestamp", lambda tail: str(tail.timestamp)),
        Column("Last record", lambda tail: timestamp_text(tail.timestamp) if tail.seq_num else "none yet"),
    ]
    print_table([tail], columns, empty="")


async def trim(
    stream: StreamArgument,
    seq_num: Annotated[Number, Parameter(name="SEQ_NUM", help="The first record that stays.")],
    /,
    *,
    fencing_token: Expected = None,
    match_seq_num: Matching = None,
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Let the records below a sequence number go; they cannot be had back."""
    async with target.open(Use.CHANGES) as s2:
        ack = await (
            s2.basin(stream.basin)
            .stream(stream.stream)
            .trim(seq_num, fencing_token=fencing_token, match_seq_num=match_seq_num)
        )
    _tell_command(f"trimmed {stream}: records below {seq_num:,} are let go", ack, json=json)


async def fence(
    stream: StreamArgument,
    token: Annotated[
        str,
        Parameter(
            name="TOKEN", converter=parsed_by(check_fencing_token), help='The new token, up to 36 bytes; "" for none.'
        ),
    ],
    /,
    *,
    fencing_token: Expected = None,
    match_seq_num: Matching = None,
    json: Json = False,
    target: Target = Target(),
) -> None:
    """Set the fencing token: appends that say another one are refused from then on."""
    async with target.open(Use.CHANGES) as s2:
        ack = await (
            s2.basin(stream.basin)
            .stream(stream.stream)
            .fence(token, fencing_token=fencing_token, match_seq_num=match_seq_num)
        )
    done = f"fenced {stream}: its token is {token!r}" if token else f"fenced {stream}: it has no token any more"
    _tell_command(done, ack, json=json)


def _tell_command(done: str, ack: AppendAck, *, json: bool) -> None:
    from ..wire.records_json import encode_append_ack

    tell(f"{done} (by record {ack.start.seq_num:,}; the tail is {ack.tail.seq_num:,})")
    if json:
        print_json(encode_append_ack(ack))
