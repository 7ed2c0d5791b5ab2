"""The sequencing decision, rule by rule (store API, sections 5.2 to 5.7 and 1.7)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perdure.errors import FencingTokenMismatch, Invalid, SeqNumMismatch
from perdure.model.batches import AppendInput, ReadBatch
from perdure.model.configs import Cipher, ResolvedStreamConfig, TimestampingMode
from perdure.model.limits import MAX_BATCH_BYTES, MAX_FRAME_BYTES, MAX_U64
from perdure.model.positions import StreamPosition
from perdure.model.records import AppendRecord
from perdure.store.sequencing import MAX_AES_GCM_SEQ_NUM, MAX_BLOCK_BYTES, StreamState, sequence, terminal_trim
from perdure.wire.protobuf import decode_records, encode_read_batch

NOW = 1000
DEFAULT = ResolvedStreamConfig()
PREFER, REQUIRE, ARRIVAL = TimestampingMode.CLIENT_PREFER, TimestampingMode.CLIENT_REQUIRE, TimestampingMode.ARRIVAL


def of(*records: AppendRecord, match: int | None = None, token: str | None = None) -> AppendInput:
    return AppendInput.of(records, match_seq_num=match, fencing_token=token)


def timed(mode: TimestampingMode, uncapped: bool) -> ResolvedStreamConfig:
    return ResolvedStreamConfig(timestamping_mode=mode, timestamping_uncapped=uncapped)


def after(state: StreamState, *records: AppendRecord) -> StreamState:
    return sequence(state, DEFAULT, None, of(*records), now_ms=NOW)[0]


class TestConditions:
    FENCED = StreamState(tail=5, last_timestamp=900, fencing_token="me")

    @pytest.mark.parametrize(("match", "token"), [(None, None), (5, None), (None, "me"), (5, "me")])
    def test_those_that_hold(self, match: int | None, token: str | None) -> None:
        state, _, ack = sequence(self.FENCED, DEFAULT, None, of(AppendRecord(), match=match, token=token), now_ms=NOW)
        assert (ack.start.seq_num, ack.end.seq_num, state.tail) == (5, 6, 6)

    @pytest.mark.parametrize(
        ("match", "token"), [(None, "other"), (None, ""), (None, "ME"), (5, "other"), (9, "other")]
    )
    def test_a_wrong_token_is_reported_before_anything_else(self, match: int | None, token: str) -> None:
        batch = of(AppendRecord(), match=match, token=token)
        with pytest.raises(FencingTokenMismatch) as caught:
            sequence(self.FENCED, timed(REQUIRE, False), None, batch, now_ms=NOW)
        assert caught.value.expected == "me"

    @pytest.mark.parametrize("match", [0, 4, 6, MAX_U64])
    def test_a_wrong_number_is_reported_before_a_missing_timestamp(self, match: int) -> None:
        batch = of(AppendRecord(), match=match, token="me")
        with pytest.raises(SeqNumMismatch) as caught:
            sequence(self.FENCED, timed(REQUIRE, False), None, batch, now_ms=NOW)
        assert caught.value.expected == 5

    def test_the_empty_token_matches_only_an_unfenced_stream(self) -> None:
        sequence(StreamState(), DEFAULT, None, of(AppendRecord(), match=0, token=""), now_ms=NOW)
        with pytest.raises(FencingTokenMismatch):
            sequence(self.FENCED, DEFAULT, None, of(AppendRecord(), token=""), now_ms=NOW)

    def test_commands_do_not_influence_their_own_batch(self) -> None:
        batch = of(AppendRecord.fence("new"), AppendRecord(), token="me")
        state, _, _ = sequence(self.FENCED, DEFAULT, None, batch, now_ms=NOW)
        assert state.fencing_token == "new"
        with pytest.raises(FencingTokenMismatch):
            sequence(self.FENCED, DEFAULT, None, of(AppendRecord.fence("new"), token="new"), now_ms=NOW)


class TestTimestamps:
    @pytest.mark.parametrize(
        ("mode", "uncapped", "previous", "client", "stored"),
        [
            (PREFER, False, 900, None, 1000),
            (PREFER, False, 900, 950, 950),
            (PREFER, False, 900, 100, 900),
            (PREFER, False, 900, 5000, 1000),
            (PREFER, False, 900, 0, 900),
            (PREFER, False, 0, 0, 0),
            (PREFER, True, 900, 5000, 5000),
            (PREFER, True, 900, None, 1000),
            (PREFER, False, 5000, None, 5000),
            (PREFER, True, 5000, None, 5000),
            (PREFER, False, 5000, 6000, 5000),
            (REQUIRE, False, 900, 950, 950),
            (REQUIRE, False, 900, 5000, 1000),
            (REQUIRE, True, 900, 5000, 5000),
            (REQUIRE, True, 900, MAX_U64, MAX_U64),
            (ARRIVAL, False, 900, 5000, 1000),
            (ARRIVAL, True, 900, 5000, 1000),
            (ARRIVAL, True, 900, 100, 1000),
            (ARRIVAL, False, 5000, 100, 5000),
        ],
    )
    def test_the_table(
        self, mode: TimestampingMode, uncapped: bool, previous: int, client: int | None, stored: int
    ) -> None:
        start = StreamState(tail=1, last_timestamp=previous)
        record = AppendRecord(timestamp=client)
        state, block, ack = sequence(start, timed(mode, uncapped), None, of(record), now_ms=NOW)
        assert decode_records(block.body)[0].timestamp == stored
        assert state.last_timestamp == block.last_timestamp == ack.start.timestamp == ack.end.timestamp == stored

    @pytest.mark.parametrize("uncapped", [False, True])
    def test_a_required_one_that_is_missing(self, uncapped: bool) -> None:
        batch = of(AppendRecord(timestamp=5), AppendRecord())
        with pytest.raises(Invalid, match="record timestamp was required but was missing"):
            sequence(StreamState(), timed(REQUIRE, uncapped), None, batch, now_ms=NOW)

    @given(
        clients=st.lists(st.none() | st.integers(0, 2000), min_size=1, max_size=20),
        mode=st.sampled_from([PREFER, ARRIVAL]),
        uncapped=st.booleans(),
        previous=st.integers(0, 2000),
    )
    def test_they_never_run_backwards(
        self, clients: list[int | None], mode: TimestampingMode, uncapped: bool, previous: int
    ) -> None:
        batch = of(*[AppendRecord(timestamp=client) for client in clients])
        start = StreamState(tail=3, last_timestamp=previous)
        state, block, ack = sequence(start, timed(mode, uncapped), None, batch, now_ms=NOW)
        stored = [record.timestamp for record in decode_records(block.body)]
        assert stored == sorted(stored)
        assert stored[0] >= previous
        assert (ack.start.timestamp, ack.end.timestamp, state.last_timestamp) == (stored[0], stored[-1], stored[-1])
        if not uncapped or mode is ARRIVAL:
            assert stored[-1] <= max(previous, NOW)
        for client, timestamp in zip(clients, stored, strict=True):
            wanted = NOW if client is None or mode is ARRIVAL else client
            assert timestamp >= (wanted if uncapped else min(wanted, NOW))


class TestFences:
    def test_the_last_of_a_batch_wins(self) -> None:
        assert after(StreamState(), AppendRecord.fence("a"), AppendRecord.fence("b")).fencing_token == "b"
        assert after(StreamState(), AppendRecord.fence("a"), AppendRecord.fence("")).fencing_token == ""

    def test_other_records_leave_it_alone(self) -> None:
        fenced = StreamState(fencing_token="me")
        record = AppendRecord("new", headers=[("fence", "fence")])
        assert after(fenced, record, AppendRecord.trim(99), AppendRecord()).fencing_token == "me"


class TestTrims:
    STATE = StreamState(tail=10, last_timestamp=900, trim_point=4)

    @pytest.mark.parametrize(
        ("points", "expected"),
        [
            ([0], 4),
            ([3], 4),
            ([4], 4),
            ([5], 5),
            ([10], 10),
            ([11], 11),
            ([12], 11),
            ([MAX_U64], 11),
            ([7, 5], 7),
            ([5, 7], 7),
            ([MAX_U64, 0], 11),
            ([0, MAX_U64], 12),
            ([0, 12, 5], 12),
        ],
    )
    def test_they_go_forward_and_at_most_to_themselves(self, points: list[int], expected: int) -> None:
        state = after(self.STATE, *map(AppendRecord.trim, points))
        assert state.trim_point == expected
        assert state.tail == 10 + len(points)

    def test_deleting_a_stream_trims_everything(self) -> None:
        state, block = terminal_trim(StreamState(5, 2000, "me", 3), now_ms=NOW)
        assert state == StreamState(6, 2000, "me", 6)
        (record,) = decode_records(block.body)
        assert (record.seq_num, record.timestamp, record.body) == (5, 2000, b"\xff" * 8)
        assert (block.start_seq, block.end_seq, block.tail) == (5, 6, StreamPosition(6, 2000))
        assert block.metered_bytes == 22
        assert terminal_trim(StreamState(), now_ms=NOW)[0].last_timestamp == NOW


class TestBlocks:
    def test_it_carries_when_it_was_stored_and_when_it_expires(self) -> None:
        for retention, expires in ((60, NOW + 60_000), (None, None)):
            config = ResolvedStreamConfig(retention_secs=retention)
            batch = of(AppendRecord(timestamp=5))
            _, block, _ = sequence(StreamState(), config, None, batch, now_ms=NOW)
            assert (block.stored_ms, block.expires_ms) == (NOW, expires)

    def test_a_batch_that_does_not_fit_a_frame_as_readers_get_it_is_refused(self) -> None:
        """Tiny headers cost twice their metered size on the wire; a full batch of them is too much."""
        record = AppendRecord(headers=[(b"k", b"v")] * (MAX_BATCH_BYTES // 4 - 2))
        assert record.metered_bytes == MAX_BATCH_BYTES
        with pytest.raises(Invalid, match="as encoded for readers"):
            sequence(StreamState(), DEFAULT, None, of(record), now_ms=NOW)

    def test_an_ordinary_full_batch_fits(self) -> None:
        for records in ([AppendRecord(b"x" * (MAX_BATCH_BYTES - 8))], [AppendRecord(b"x" * 1040)] * 1000):
            _, block, ack = sequence(StreamState(MAX_U64 // 2, 2**62), DEFAULT, None, of(*records), now_ms=2**62)
            assert len(block.body) <= MAX_BLOCK_BYTES
            live = encode_read_batch(ReadBatch(tuple(decode_records(block.body)), ack.tail))
            assert len(live) + 1 <= MAX_FRAME_BYTES


class TestCipherRange:
    """Random nonces bound how many records one AES-256-GCM key may seal."""

    AT_THE_END = StreamState(tail=MAX_AES_GCM_SEQ_NUM)

    def test_the_last_record_that_may_be_sealed(self) -> None:
        sequence(self.AT_THE_END, DEFAULT, Cipher.AES_256_GCM, of(AppendRecord()), now_ms=NOW)
        with pytest.raises(Invalid, match="max assignable sequence number is 4294967295; attempted 4294967296"):
            sequence(self.AT_THE_END, DEFAULT, Cipher.AES_256_GCM, of(AppendRecord(), AppendRecord()), now_ms=NOW)

    def test_commands_are_not_sealed(self) -> None:
        batch = of(AppendRecord(), AppendRecord.fence("me"), AppendRecord.trim(5))
        state, _, _ = sequence(self.AT_THE_END, DEFAULT, Cipher.AES_256_GCM, batch, now_ms=NOW)
        assert state.tail == 2**32 + 2

    @pytest.mark.parametrize("cipher", [None, Cipher.AEGIS_256])
    def test_others_have_no_end(self, cipher: Cipher | None) -> None:
        sequence(StreamState(tail=2**40), DEFAULT, cipher, of(AppendRecord()), now_ms=NOW)

    def test_it_is_checked_after_the_conditions(self) -> None:
        batch = of(AppendRecord(), AppendRecord(), match=3)
        with pytest.raises(SeqNumMismatch):
            sequence(self.AT_THE_END, DEFAULT, Cipher.AES_256_GCM, batch, now_ms=NOW)


tokens = st.sampled_from(["", "a", "b", "ü"])
records = st.one_of(
    st.builds(
        AppendRecord,
        st.binary(max_size=30),
        headers=st.lists(st.tuples(st.binary(min_size=1, max_size=5), st.binary(max_size=5)), max_size=3),
        timestamp=st.none() | st.integers(0, 3000),
    ),
    st.builds(AppendRecord.fence, tokens),
    st.builds(AppendRecord.trim, st.integers(0, 100) | st.just(MAX_U64)),
)
batches = st.lists(st.lists(records, min_size=1, max_size=5), max_size=10)


@given(batches=batches)
def test_numbers_have_no_gaps_and_blocks_are_the_batches(batches: list[list[AppendRecord]]) -> None:
    state, given_records, stored = StreamState(), [], []
    for batch in batches:
        before = state
        state, block, ack = sequence(before, DEFAULT, None, AppendInput.of(batch), now_ms=NOW)
        assert (ack.start.seq_num, ack.end.seq_num) == (before.tail, before.tail + len(batch))
        assert ack.tail == ack.end == state.position == block.tail
        assert (block.start_seq, block.end_seq) == (ack.start.seq_num, ack.end.seq_num)
        assert block.metered_bytes == sum(record.metered_bytes for record in batch)
        assert before.trim_point <= state.trim_point <= state.tail
        given_records += batch
        stored += decode_records(block.body)
    assert [record.seq_num for record in stored] == list(range(len(given_records)))
    assert [(r.body, r.headers, r.command) for r in stored] == [(r.body, r.headers, r.command) for r in given_records]


@given(
    state=st.builds(StreamState, st.integers(0, 20), st.integers(0, 2000), tokens, st.integers(0, 5)),
    batch=st.lists(records, min_size=1, max_size=5),
    match=st.none() | st.integers(0, 20),
    token=st.none() | tokens,
)
def test_a_batch_is_taken_exactly_when_its_conditions_hold(
    state: StreamState, batch: list[AppendRecord], match: int | None, token: str | None
) -> None:
    append = AppendInput.of(batch, match_seq_num=match, fencing_token=token)
    holds = token in (None, state.fencing_token) and match in (None, state.tail)
    try:
        sequence(state, DEFAULT, None, append, now_ms=NOW)
    except (FencingTokenMismatch, SeqNumMismatch):
        assert not holds
    else:
        assert holds


@given(first=st.lists(records, min_size=1, max_size=5), second=st.lists(records, min_size=1, max_size=5))
def test_a_retry_of_a_batch_that_was_applied_is_recognised(
    first: list[AppendRecord], second: list[AppendRecord]
) -> None:
    state, _, ack = sequence(StreamState(), DEFAULT, None, AppendInput.of(first, match_seq_num=0), now_ms=NOW)
    state, _, _ = sequence(state, DEFAULT, None, AppendInput.of(second), now_ms=NOW)
    assume(state.fencing_token == "")
    with pytest.raises(SeqNumMismatch) as caught:
        sequence(state, DEFAULT, None, AppendInput.of(first, match_seq_num=0), now_ms=NOW)
    assert caught.value.expected >= ack.end.seq_num
