"""What a read session asks for after a lost connection (store API, section 10.6)."""

from hypothesis import given
from hypothesis import strategies as st

from perdure.client.read_progress import ReadProgress
from perdure.model.batches import ReadBatch
from perdure.model.positions import SeqNum, StreamPosition, TailOffset, Timestamp
from perdure.model.reads import ReadRequest
from perdure.model.records import SequencedRecord


def batch(start: int, bodies: list[bytes], tail: int | None = None) -> ReadBatch:
    records = [SequencedRecord(start + index, 7, body) for index, body in enumerate(bodies)]
    return ReadBatch(tuple(records), None if tail is None else StreamPosition(tail, 7))


starts = st.one_of(
    st.builds(SeqNum, st.integers(0, 100)),
    st.builds(Timestamp, st.integers(0, 5)),
    st.builds(TailOffset, st.integers(0, 9)),
)
limits = st.none() | st.integers(0, 400)


@st.composite
def stories(draw: st.DrawFn) -> tuple[ReadRequest, list[tuple[ReadBatch, float]]]:
    request = ReadRequest.of(
        draw(starts),
        count=draw(limits),
        bytes=draw(limits),
        clamp=draw(st.booleans()),
        wait=draw(st.none() | st.integers(0, 30)),
    )
    at, now, steps = draw(st.integers(0, 50)), 0.0, []
    for bodies in draw(st.lists(st.lists(st.binary(max_size=20), max_size=5), max_size=8)):
        now += draw(st.floats(0, 10))
        tail = at + len(bodies) if not bodies or draw(st.booleans()) else None
        steps.append((batch(at, bodies, tail), now))
        at += len(bodies)
    return request, steps


class TestRest:
    @given(stories())
    def test_it_goes_on_after_the_last_record_with_what_the_limits_leave(
        self, story: tuple[ReadRequest, list[tuple[ReadBatch, float]]]
    ) -> None:
        request, steps = story
        progress = ReadProgress(request)
        assert progress.rest(0.0) == request
        records: list[SequencedRecord] = []
        for received, now in steps:
            progress.received(received, now)
            records += received.records
            rest = progress.rest(now)
            count, size = len(records), sum(record.metered_bytes for record in records)
            limits = request.limits
            if (limits.count is not None and count >= limits.count) or (
                limits.bytes is not None and size >= limits.bytes
            ):
                assert rest is None
                continue
            assert rest is not None
            end = received.records[-1].seq_num + 1 if received.records else received.tail and received.tail.seq_num
            assert rest.start == SeqNum(end or 0)
            assert rest.limits.count == (None if limits.count is None else limits.count - count)
            assert rest.limits.bytes == (None if limits.bytes is None else limits.bytes - size)
            assert (rest.clamp, rest.limits.until) == (request.clamp, limits.until)

    def test_waiting_counts_from_the_last_word_about_the_tail(self) -> None:
        progress = ReadProgress(ReadRequest.of(SeqNum(0), wait=10))
        progress.received(batch(0, [b"a"]), 100.0)
        assert (rest := progress.rest(200.0)) is not None
        assert rest.wait == 10, "it was catching up"
        progress.received(batch(1, [], tail=1), 200.0)
        for now, left in ((200.5, 10), (203.9, 7), (209.99, 1), (210.0, 0), (999.0, 0)):
            assert (rest := progress.rest(now)) is not None
            assert rest.wait == left

    def test_a_heartbeat_alone_fixes_the_place(self) -> None:
        """Else records that came while the connection was away would be skipped."""
        progress = ReadProgress(ReadRequest.of(TailOffset(0)))
        progress.received(batch(0, [], tail=17), 0.0)
        assert (rest := progress.rest(1.0)) is not None
        assert rest.start == SeqNum(17)
