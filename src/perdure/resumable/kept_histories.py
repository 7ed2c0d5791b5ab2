"""Folded histories that are kept between calls, so that a call reads only what is new.

A kept fold stands where it was last settled, which is after a terminal fence. It counts only if the stream still begins
and goes on where the fold knew it to: retention may have taken the first records, and a deleted stream may have been
made anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, Generic, Protocol, Self, TypeAlias, TypeVar

from msgspec import Struct

from ..errors import ReadUnwritten, StreamNotFound
from ..model.positions import SeqNum
from ..model.records import SequencedRecord
from ..telemetry.spans import BASIN, STREAM, span

if TYPE_CHECKING:
    from ..client import Stream

_ENTRY_BYTES: Final = 500
"""What a kept history counts beside its JSON, so that chats without a message are bounded too."""

_Place: TypeAlias = tuple[int, int]
"""Sequence number and timestamp of one record, by which a stream is known again."""


class HistoryFold(Protocol):
    """Records of one session stream in, from its first one on; the chat's history out, in the adapter's form."""

    @property
    def is_settled(self) -> bool:
        """Whether nothing is half done: the records so far amount to the same whatever follows them."""
        ...

    @property
    def size_bytes(self) -> int:
        """About how much memory the fold keeps, measured as JSON."""
        ...

    def feed(self, records: Iterable[SequencedRecord]) -> None:
        """Take the next records."""
        ...

    def settled(self) -> Self:
        """A fold that stands where this one was last settled; the two go on independently."""
        ...


FoldT = TypeVar("FoldT", bound=HistoryFold)


class _Kept(Struct, Generic[FoldT], frozen=True):
    fold: FoldT
    first: _Place
    last: _Place
    size_bytes: int


class KeptHistories(Generic[FoldT]):
    """The folds of the chats that were asked for lately; `new_fold` makes one that has seen nothing.

    About `max_bytes` are kept, over all chats, measured as JSON: the least recently used go first, and one that is
    larger than all is not kept.
    """

    def __init__(self, new_fold: Callable[[], FoldT], *, max_bytes: int) -> None:
        self._new_fold = new_fold
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept[FoldT]] = OrderedDict()
        self.size_bytes: int = 0
        """About how much is kept, as JSON."""

    def __len__(self) -> int:
        return len(self._kept)

    async def fold(self, stream: Stream) -> FoldT:
        """The whole stream, folded up to its tail. The caller reads from it and feeds it nothing."""
        with span("perdure.history", attributes={BASIN: stream.basin_name, STREAM: stream.name}):
            return await self._fold(stream)

    async def _fold(self, stream: Stream) -> FoldT:
        first = await _record_at_or_after(stream, 0)
        kept = self._kept.get(stream.name)
        fold = self._new_fold()
        cursor = 0
        last: _Place | None = None
        if kept is not None:
            if first is None or _place(first) != kept.first:
                self.forget(stream.name)
            else:
                fold, cursor, last = kept.fold.settled(), kept.last[0], kept.last
        return fold if first is None else await self._read_on(stream, fold, cursor, last, first)

    async def _read_on(
        self, stream: Stream, fold: FoldT, cursor: int, last: _Place | None, first: SequencedRecord
    ) -> FoldT:
        settled: _Place | None = last
        while True:
            try:
                batch = await stream.read(SeqNum(cursor), clamp=True, wait=0)
            except ReadUnwritten:
                break
            if not batch.records:
                break
            records = batch.records
            if last is not None:  # the first page begins with the record that the kept fold ended with
                if _place(records[0]) != last:
                    self.forget(stream.name)
                    return await self._fold(stream)
                records, last = records[1:], None
            for record in records:
                fold.feed((record,))
                if fold.is_settled:
                    settled = _place(record)
            cursor = batch.records[-1].seq_num + 1
        if settled is not None:
            self._keep(stream.name, _Kept(fold.settled(), _place(first), settled, _ENTRY_BYTES + fold.size_bytes))
        return fold

    def _keep(self, name: str, kept: _Kept[FoldT]) -> None:
        self.forget(name)
        if kept.size_bytes > self._max_bytes:
            return
        self._kept[name] = kept
        self.size_bytes += kept.size_bytes
        while self.size_bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.size_bytes -= oldest.size_bytes

    def forget(self, name: str) -> None:
        """Begin anew with the next call for this chat."""
        kept = self._kept.pop(name, None)
        if kept is not None:
            self.size_bytes -= kept.size_bytes


def _place(record: SequencedRecord) -> _Place:
    return record.seq_num, record.timestamp


async def _record_at_or_after(stream: Stream, seq_num: int) -> SequencedRecord | None:
    try:
        batch = await stream.read(SeqNum(seq_num), count=1, clamp=True, wait=0)
    except (ReadUnwritten, StreamNotFound):
        return None
    return batch.records[0] if batch.records else None
