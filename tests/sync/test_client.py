"""The client without `await`: what its calls, iterators, sessions and time limits do."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from perdure import (
    AccessTokenScope,
    AppendInput,
    AppendRecord,
    BasinNotFound,
    ExactMatch,
    FencingTokenMismatch,
    GaugeMetric,
    Invalid,
    Operation,
    PrefixMatch,
    ProvisionResult,
    ReadUnwritten,
    SeqNum,
    SeqNumMismatch,
    SessionClosed,
    StreamMetricSet,
    StreamNotFound,
    TailOffset,
    UsageError,
)
from perdure.sync import S2, Basin, RecordTicket, Stream, timeout

pytestmark = pytest.mark.usefixtures("debugged_loops")


def records(*bodies: str) -> list[AppendRecord]:
    return [AppendRecord(body) for body in bodies]


def test_the_directory_keeps_what_was_written(tmp_path: Path) -> None:
    for expected in (0, 1):
        with S2.open(tmp_path / "data") as s2:
            basin = s2.basins.ensure("my-first-basin", create_stream_on_append=True)
            ack = basin.stream("greetings").append(records("Hello"))
            assert ack.start.seq_num == expected


def test_a_client_is_open_without_a_with_block() -> None:
    s2 = S2.open(":memory:")
    try:
        assert s2.basins.create("some-basin").provision_result is ProvisionResult.CREATED
    finally:
        s2.close()


def test_handles_give_what_they_know(s2: S2, basin: Basin, stream: Stream) -> None:
    assert (basin.name, stream.name, stream.basin_name) == ("blocking-basin", "s", "blocking-basin")
    assert repr(stream) == repr(s2.basin("blocking-basin").stream("s"))
    assert stream.info is not None
    assert stream.info.name == "s"
    assert s2.basin("blocking-basin").info is None


def test_lists_are_loops(s2: S2, basin: Basin) -> None:
    names = [f"s{number}" for number in range(5)]
    for name in names:
        basin.streams.create(name)
    assert [info.name for info in basin.streams.list_all(prefix="s")] == names
    assert [info.name for info in s2.basins.list_all()] == ["blocking-basin"]
    assert next(basin.streams.list_all(start_after="s1")).name == "s2"
    assert [info.name for info in basin.streams.list(limit=2).items] == names[:2]


def test_configurations_are_changed_and_resources_deleted(s2: S2, basin: Basin, stream: Stream) -> None:
    assert s2.basins.reconfigure("blocking-basin", create_stream_on_append=True).create_stream_on_append
    basin.streams.delete("s")
    with pytest.raises(StreamNotFound):
        basin.streams.delete("t")
    basin.streams.delete("t", ignore_not_found=True)
    with pytest.raises(BasinNotFound):
        s2.basins.get_config("another-basin")


def test_appends_are_conditional_and_fenced(stream: Stream) -> None:
    stream.fence("mine")
    with pytest.raises(FencingTokenMismatch) as refused:
        stream.append(records("x"), fencing_token="theirs")
    assert refused.value.expected == "mine"
    assert stream.append((record for record in records("a", "b")), match_seq_num=1).end.seq_num == 3
    assert stream.check_tail().seq_num == 3
    assert [record.text for record in stream.read(SeqNum(0), ignore_command_records=True).records] == ["a", "b"]


def test_an_iterable_of_records_is_run_by_its_caller(stream: Stream) -> None:
    def replies() -> list[AppendRecord]:
        return [AppendRecord(record.body) for record in stream.read(SeqNum(0)).records]

    stream.append(records("a"))
    # It makes a blocking call of its own, which would wait for itself in the client's thread.
    stream.append(record for make in [replies] for record in make())
    assert [record.text for record in stream.read(SeqNum(0)).records] == ["a", "a"]


def test_a_read_session_is_a_loop_that_ends_where_it_was_told_to(stream: Stream) -> None:
    stream.append(records("a", "b", "c"))
    with stream.read_session(SeqNum(0), wait=0) as session:
        assert next(session).text == "a"
        assert session.next_read_position is not None
        assert session.next_read_position.seq_num == 1
        assert [record.text for record in session] == ["b", "c"]
        assert list(session) == []
    with stream.read_session(SeqNum(0), wait=0) as session:
        assert [record.text for batch in session.batches() for record in batch.records] == ["a", "b", "c"]
    with stream.read_session(TailOffset(1)) as session:
        assert next(session).text == "c"
        assert session.caught_up().seq_num == 3
        assert session.is_caught_up


def test_a_read_session_that_cannot_begin_says_so_at_the_with(stream: Stream) -> None:
    with pytest.raises(ReadUnwritten), stream.read_session(SeqNum(5)):
        raise AssertionError("not entered")


def test_batches_are_submitted_and_their_tickets_asked(stream: Stream) -> None:
    with stream.append_session(max_in_flight_batches=2) as session:
        tickets = [session.submit(records(str(number))) for number in range(20)]
        assert [ticket.result().start.seq_num for ticket in tickets] == list(range(20))
        assert all(ticket.done() for ticket in tickets)
        assert session.in_flight_batches == 0
        at_once = session.try_submit(AppendInput.of(records("more")))
        assert at_once is not None
    assert at_once.result().start.seq_num == 20
    with pytest.raises(SessionClosed):
        session.submit(records("late"))


def test_the_batch_that_fails_ends_the_session(stream: Stream) -> None:
    session = stream.append_session()
    with pytest.raises(SeqNumMismatch):
        session.submit(records("x"), match_seq_num=7).result()
    assert isinstance(session.failure, SeqNumMismatch)
    with pytest.raises(SeqNumMismatch):
        session.close()


def test_an_error_in_the_block_abandons_the_session(stream: Stream) -> None:
    tickets: list[RecordTicket] = []

    def work() -> None:
        with stream.producer(linger_ms=1e6) as producer:
            tickets.append(producer.submit(AppendRecord("dropped")))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with pytest.raises(SessionClosed):
        tickets[0].result()
    assert stream.check_tail().seq_num == 0


def test_a_producer_gathers_records(stream: Stream) -> None:
    with stream.producer(linger_ms=1e6) as producer:
        tickets = [producer.submit(record) for record in records("a", "b")]
        assert not tickets[0].done()
        producer.flush()
        assert [ticket.result().seq_num for ticket in tickets] == [0, 1]
        assert tickets[0].result().batch == tickets[1].result().batch
        last = producer.submit(AppendRecord("c"))
    assert last.result().seq_num == 2


def test_a_call_ends_in_time(stream: Stream) -> None:
    with stream.read_session(SeqNum(0), clamp=True) as session:
        with pytest.raises(TimeoutError), timeout(0.01):
            next(session)
        stream.append(records("a"))
        assert next(session).text == "a"  # nothing was lost by giving up
    with pytest.raises(TimeoutError), timeout(0):
        stream.check_tail()
    with timeout(float("inf")):
        assert stream.check_tail().seq_num == 1


def test_the_earliest_time_limit_holds_and_a_session_is_left_all_the_same(stream: Stream) -> None:
    leaving = ExitStack()
    session = leaving.enter_context(stream.read_session(SeqNum(0), clamp=True))
    with pytest.raises(TimeoutError), timeout(0.01), leaving, timeout(60):
        next(session)
    assert list(session) == []  # closed


def test_a_time_limit_is_a_number_of_seconds_that_is_not_negative() -> None:
    for seconds in (-1.0, float("nan")):
        with pytest.raises(UsageError), timeout(seconds):
            raise AssertionError("not entered")


def test_it_works_where_an_event_loop_runs(stream: Stream) -> None:
    async def cell() -> str:
        stream.append(records("a"))
        with stream.read_session(SeqNum(0), wait=0) as session:
            return "".join(record.text for record in session)

    assert asyncio.run(cell()) == "a"


def test_what_is_wrong_is_said_before_anything_is_opened(stream: Stream) -> None:
    with pytest.raises(Invalid):
        stream.read_session(SeqNum(0), count=-1)
    with pytest.raises(UsageError):
        S2.open("mysql://there/is/none")


def test_a_store_that_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    before = set(threading.enumerate())
    with pytest.raises(UsageError, match="not a directory"):
        S2.open(tmp_path / "file")
    assert [thread.name for thread in set(threading.enumerate()) - before if thread.name == "perdure-sync"] == []


def test_a_session_is_a_sink_for_what_the_callers_thread_runs(stream: Stream) -> None:
    closed = []

    def batches() -> Iterator[AppendInput]:
        try:
            for number in range(20):
                yield AppendInput.of([AppendRecord(str(number))], match_seq_num=number if number != 15 else 99)
        finally:
            closed.append(threading.current_thread())

    session = stream.append_session(max_in_flight_batches=2)
    acks = session.acks()
    with pytest.raises(SeqNumMismatch), session:
        session.write_all(batches())
    assert closed == [threading.current_thread()]
    assert [next(acks).start.seq_num for _ in range(15)] == [*range(15)]
    with pytest.raises(SeqNumMismatch):
        next(acks)


def test_the_account_has_tokens_metrics_and_locations(s2: S2, basin: Basin, stream: Stream) -> None:
    scope = AccessTokenScope(ExactMatch("blocking-basin"), PrefixMatch(""), ops=[Operation.READ])
    token = s2.access_tokens.issue("reader", scope=scope, expires_at=datetime.now(UTC) + timedelta(days=1))
    assert token.startswith("perdure_")
    assert token not in repr(token)
    assert [info.id for info in s2.access_tokens.list_all(prefix="r")] == ["reader"]
    s2.access_tokens.revoke("reader")
    assert s2.access_tokens.list().items == ()
    stream.append(records("a", "b"))
    start = datetime.now(UTC) - timedelta(hours=1)
    (stored,) = s2.metrics.stream("blocking-basin", "s", StreamMetricSet.STORAGE, start=start)
    assert isinstance(stored, GaugeMetric)
    assert stored.points[-1].value == 18
    assert s2.locations.list() == (s2.locations.get_default(),)
