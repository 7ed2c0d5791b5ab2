"""Spans and metrics of requests and sessions, on both sides of HTTP, and the trace that joins them."""

from __future__ import annotations

import logging

import pytest
from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint
from opentelemetry.trace import SpanKind, StatusCode

from perdure import S2, AppendRecord, FencingTokenMismatch, SeqNum, Stream, telemetry
from perdure.telemetry import JsonLines, TraceContext, carried
from tests.server.running import Running
from tests.telemetry.recorder import Recorder, ids, parent_of

ROUTE = "/v1/streams/{stream}/records"
TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", 1, "vendor=value")


async def test_a_request_is_one_trace_from_the_application_to_the_server(recorder: Recorder, stream: Stream) -> None:
    with recorder.tracer.start_as_current_span("work"):
        await stream.append([AppendRecord("one"), AppendRecord("two")])
    work = recorder.span("work")
    sent, served = await recorder.sides(f"POST {ROUTE}")
    assert (served.kind, sent.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert ids(work)[0] == ids(sent)[0] == ids(served)[0]
    assert (parent_of(sent), parent_of(served)) == (ids(work)[1], ids(sent)[1])
    assert sent.attributes is not None
    assert served.attributes is not None
    assert sent.attributes["messaging.batch.message_count"] == 2
    for attributes in (sent.attributes, served.attributes):
        assert attributes["http.request.method"] == "POST"
        assert attributes["http.response.status_code"] == 200
        assert attributes["perdure.basin"] == "basin-one"
        assert attributes["perdure.stream"] == "stream/one"
    assert served.attributes["http.route"] == ROUTE == sent.attributes["url.template"]
    assert served.attributes["perdure.operation"] == "append"
    assert served.attributes["network.protocol.version"] == "2"


async def test_a_refusal_is_told_by_its_code_and_is_no_failure_of_the_server(
    recorder: Recorder, stream: Stream
) -> None:
    with pytest.raises(FencingTokenMismatch):
        await stream.append([AppendRecord("one")], fencing_token="wrong")
    sent, served = await recorder.sides(f"POST {ROUTE}")
    assert served.attributes is not None
    assert sent.attributes is not None
    assert served.attributes["perdure.error.code"] == "append_condition_failed"
    assert served.attributes["http.response.status_code"] == 412
    assert served.status.status_code is StatusCode.UNSET
    assert sent.attributes["error.type"] == "append_condition_failed"
    assert sent.status.status_code is StatusCode.ERROR


async def test_sessions_are_one_span_each_on_both_sides(recorder: Recorder, stream: Stream) -> None:
    async with stream.append_session() as appends:
        for number in range(5):
            await (await appends.submit([AppendRecord(str(number))]))
    async with stream.read_session(SeqNum(0), count=5) as records:
        assert [record.text async for record in records] == list("01234")
    appended, took_in = await recorder.sides(f"POST {ROUTE}")
    read, gave_out = await recorder.sides(f"GET {ROUTE}")
    assert appended.attributes is not None
    assert read.attributes is not None
    assert appended.attributes["perdure.session"] == "append"
    assert read.attributes["perdure.session"] == "read"
    assert (parent_of(took_in), parent_of(gave_out)) == (ids(appended)[1], ids(read)[1])
    assert {span.status.status_code for span in (appended, took_in, read, gave_out)} == {StatusCode.UNSET}


async def test_what_asks_all_the_time_has_no_span(recorder: Recorder, server: Running) -> None:
    await server.http.get("/health")
    await server.http.get("/metrics")
    await server.http.get("/nowhere")
    await recorder.until(lambda: bool(recorder.spans("GET")))
    assert [span.name for span in recorder.spans()] == ["GET"]


async def test_the_server_goes_on_with_the_trace_of_any_client(recorder: Recorder, server: Running) -> None:
    fields = {"traceparent": TRACE.traceparent, "tracestate": TRACE.state}
    await server.http.get("/v1/basins", headers=fields)
    await server.http.get("/v1/basins", headers={"traceparent": "00-nonsense"})
    await recorder.until(lambda: len(recorder.spans("GET /v1/basins")) == 2)
    begun, continued = sorted(recorder.spans("GET /v1/basins"), key=lambda span: span.parent is not None)
    assert continued.parent is not None
    assert (f"{continued.parent.trace_id:032x}", f"{continued.parent.span_id:016x}") == (TRACE.trace_id, TRACE.span_id)
    assert continued.context is not None
    assert continued.context.trace_state.to_header() == TRACE.state
    assert begun.parent is None


async def test_a_trace_is_carried_to_the_logs_of_the_server_where_nobody_records(
    stream: Stream, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(JsonLines().format(record))

    handler = Lines()
    logger = logging.getLogger("perdure.server.access")
    logger.addHandler(handler)
    try:
        with caplog.at_level(logging.DEBUG, "perdure.server.access"), carried(TRACE):
            telemetry.use()
            await stream.append([AppendRecord("one")])
            await recorder.until(lambda: any('"append"' in line for line in lines))
    finally:
        logger.removeHandler(handler)
    assert recorder.spans(f"POST {ROUTE}") == []
    (line,) = [line for line in lines if '"append"' in line]
    assert f'"trace_id":"{TRACE.trace_id}"' in line
    assert f'"span_id":"{TRACE.span_id}"' in line
    assert '"stream":"stream/one"' in line
    assert '"status":200' in line


async def test_requests_and_what_the_store_does_are_counted(recorder: Recorder, stream: Stream) -> None:
    for _ in range(3):
        await stream.append([AppendRecord("one"), AppendRecord("two")])

    def answered() -> list[HistogramDataPoint]:
        points = recorder.points("http.server.request.duration")
        return [
            point
            for point in points
            if isinstance(point, HistogramDataPoint) and (point.attributes or {}).get("http.route") == ROUTE
        ]

    await recorder.until(lambda: [point.count for point in answered()] == [3])
    (served,) = answered()
    assert served.explicit_bounds[0] == 0.005
    assert dict(served.attributes or {}) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": ROUTE,
        "network.protocol.version": "2",
    }
    sent = [point for point in recorder.points("http.client.request.duration") if isinstance(point, HistogramDataPoint)]
    assert sum(point.count for point in sent if (point.attributes or {})["http.request.method"] == "POST") >= 3
    (records,) = recorder.points("perdure.store.records")
    assert isinstance(records, NumberDataPoint)
    assert records.value == 6


async def test_nothing_that_is_secret_or_was_written_is_told(
    recorder: Recorder, s2: S2, server: Running, caplog: pytest.LogCaptureFixture
) -> None:
    key = "c2VjcmV0LWtleS1zZWNyZXQta2V5LXNlY3JldC1rZXk="
    with caplog.at_level(logging.DEBUG):
        stream = s2.basin("basin-one").stream("sealed", encryption_key=key)
        await stream.append([AppendRecord("private words", headers={"private-name": "private-value"})])
        await stream.read(SeqNum(0))
        with pytest.raises(FencingTokenMismatch):
            await stream.append([AppendRecord("private words")], fencing_token="private-fence")
        url = server.url.replace("http://", "http://user:private-password@")
        await server.http.get(
            f"{url}/v1/basins?prefix=private-query", headers={"authorization": "Bearer private-token"}
        )
    ours = [vars(record) for record in caplog.records if record.name.startswith("perdure")]
    told = recorder.everything() + str(ours)
    assert "stream" in told
    found = [secret for secret in (key, "private", "sk-secret-token") if secret in told]
    assert found == []
