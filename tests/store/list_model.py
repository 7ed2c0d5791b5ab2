"""What a stream does, as a list does it: the model that engines are compared with."""

from __future__ import annotations

from dataclasses import dataclass, field

from perdure.errors import FencingTokenMismatch, SeqNumMismatch
from perdure.model.batches import AppendAck, AppendInput
from perdure.model.records import CommandKind

RETENTION_SECONDS = 60


@dataclass
class ListModel:
    """A stream as a list of (timestamp, body, time of storing); the index is the sequence number."""

    records: list[tuple[int, bytes, int]] = field(default_factory=list)
    token: str = ""
    trimmed: int = 0
    uncapped: bool = False

    def append(self, batch: AppendInput, now: int) -> object:
        if batch.fencing_token not in (None, self.token):
            return FencingTokenMismatch, self.token
        if batch.match_seq_num not in (None, len(self.records)):
            return SeqNumMismatch, len(self.records)
        start = len(self.records)
        for record in batch.records:
            wanted = now if record.timestamp is None else record.timestamp
            if not self.uncapped:
                wanted = min(wanted, now)
            previous = self.records[-1][0] if self.records else 0
            self.records.append((max(wanted, previous), record.body, now))
            if record.command is CommandKind.TRIM:
                self.trimmed = max(self.trimmed, min(int.from_bytes(record.body, "big"), len(self.records)))
            if record.command is CommandKind.FENCE:
                self.token = record.body.decode()
        return start, len(self.records), self.records[start][0], self.records[-1][0]

    def visible(self, start: int, now: int) -> list[tuple[int, int, bytes]]:
        return [
            (number, timestamp, body)
            for number, (timestamp, body, stored) in enumerate(self.records)
            if number >= max(start, self.trimmed) and stored + RETENTION_SECONDS * 1000 > now
        ]

    def copy(self) -> ListModel:
        return ListModel(list(self.records), self.token, self.trimmed, self.uncapped)


def told(outcome: object) -> object:
    """An engine's answer in the words of the model."""
    if isinstance(outcome, AppendAck):
        assert outcome.tail.seq_num >= outcome.end.seq_num
        return outcome.start.seq_num, outcome.end.seq_num, outcome.start.timestamp, outcome.end.timestamp
    if isinstance(outcome, (SeqNumMismatch, FencingTokenMismatch)):
        return type(outcome), outcome.expected
    raise AssertionError(outcome)
