"""OpenTelemetry in the processes of `perdure serve`, and a whole path through several of them as one trace."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from perdure import S2, AppendRecord
from perdure.telemetry import setup
from tests.serve_command import ServeCommand
from tests.telemetry.recorder import Recorder, ids


def printed_spans(log: list[str]) -> Iterator[dict[str, object]]:
    """What the SDK's console exporter has printed among the lines of a log."""
    text, decoder = "\n".join(log), json.JSONDecoder()
    at = text.find("\n{\n")
    while at >= 0:
        found, end = decoder.raw_decode(text, at + 1)
        yield found
        at = text.find("\n{\n", end - 1)


async def test_the_server_records_if_the_environment_names_an_exporter(recorder: Recorder, tmp_path: Path) -> None:
    command = ServeCommand(
        tmp_path / "data",
        *("--log-format", "json", "--log-level", "debug"),
        OTEL_TRACES_EXPORTER="console",
        OTEL_SERVICE_NAME="the-store",
    )
    async with command as server:
        async with S2(access_token="any", endpoints=server.url) as s2:
            with recorder.tracer.start_as_current_span("work"):
                basin = await s2.basins.create("basin-one", create_stream_on_append=True)
                await basin.stream("one").append([AppendRecord("one")])
        assert await server.stop() == 0
    trace_id = f"{ids(recorder.span('work'))[0]:032x}"
    spans = {str(span["name"]): span for span in printed_spans(server.log)}
    append = spans["POST /v1/streams/{stream}/records"]
    context, resource = append["context"], append["resource"]
    assert isinstance(context, dict)
    assert isinstance(resource, dict)
    assert context["trace_id"] == f"0x{trace_id}"
    assert resource["attributes"]["service.name"] == "the-store"
    answered = [json.loads(line) for line in server.log if line.startswith('{"time"') and '"append"' in line]
    assert [line["trace_id"] for line in answered] == [trace_id]
    assert f"0x{answered[0]['span_id']}" == context["span_id"]


async def test_an_exporter_that_is_not_there_is_told_and_the_server_serves(tmp_path: Path) -> None:
    command = ServeCommand(tmp_path / "data", OTEL_TRACES_EXPORTER="nobody_has_this")
    async with command as server, server.client() as http:
        assert (await http.get("/health")).status_code == 200
        await server.wait_for_log("opentelemetry-exporter-nobody-has-this")


def test_nothing_is_set_up_that_nobody_asked_for() -> None:
    assert not setup.set_up({})
    assert not setup.set_up({setup.TRACES_EXPORTER: "none", setup.METRICS_EXPORTER: ""})
