"""Usage metrics over HTTP (store API, section 8.4): every set, every refusal, and what a token sees of them."""

import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest

from perdure.model.metrics import AccountMetricSet, BasinMetricSet, StreamMetricSet, TimeseriesInterval
from tests.server.running import BASIN, Running, running

DAY = 86_400
STREAM = "a/stream with ü"
QUOTED = "a%2Fstream%20with%20%C3%BC"
PATHS = {
    **{f"/v1/metrics?set={each}": each for each in AccountMetricSet},
    **{f"/v1/metrics/{BASIN}?set={each}": each for each in BasinMetricSet},
    **{f"/v1/metrics/{BASIN}/{QUOTED}?set={each}": each for each in StreamMetricSet},
}


def now() -> int:
    return int(time.time())


@pytest.fixture(autouse=True)
async def stream(server: Running, basin: httpx.AsyncClient) -> None:
    await server.store.create_stream(BASIN, STREAM)
    answer = await basin.post(f"/v1/streams/{QUOTED}/records", json={"records": [{"body": "hello"}]})
    assert answer.status_code == 200


async def get(server: Running, path: str, **bounds: object) -> httpx.Response:
    """The answer about the last hour, or about what `bounds` says; a bound of None is left out."""
    given = {"start": now() - 3600, "end": now(), **bounds}
    query = "&".join(f"{name}={value}" for name, value in given.items() if value is not None)
    return await server.http.get(f"{path}&{query}" if "?" in path else f"{path}?{query}")


async def values(server: Running, path: str, **bounds: object) -> list[Mapping[str, Mapping[str, object]]]:
    answer = await get(server, path, **bounds)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert list(found) == ["values"]
    metrics: list[Mapping[str, Mapping[str, object]]] = found["values"]
    return metrics


def refused(answer: httpx.Response, status: int, code: str) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["code"] == code
    return str(body["message"])


@pytest.mark.parametrize("path", PATHS)
async def test_every_set_answers_on_a_sane_range(server: Running, path: str) -> None:
    for bounds in ((now() - 3600, now()), (now() - 30 * DAY + 60, now()), (0, 3600), (now(), now() + 500)):
        for metric in await values(server, path, start=bounds[0], end=bounds[1]):
            (kind,) = metric
            assert kind in ("accumulation", "gauge", "label")
            assert {"name", "values"} <= set(metric[kind])
            assert kind == "label" or metric[kind]["unit"] in ("bytes", "operations")


@pytest.mark.parametrize("path", PATHS)
async def test_a_bad_range_is_422(server: Running, path: str) -> None:
    for bounds in (
        {"start": None},
        {"end": None},
        {"start": None, "end": None},
        {"start": now(), "end": now() - 1},
        {"start": now(), "end": now() + 600},
        {"start": now() - 40 * DAY, "end": now()},
    ):
        refused(await get(server, path, **bounds), 422, "invalid")


@pytest.mark.parametrize("path", PATHS)
async def test_malformed_queries_are_400(server: Running, path: str) -> None:
    for bounds in (
        {"start": "x"},
        {"end": ""},
        {"end": 2**32},
        {"start": -1},
        {"start": 1.5},
        {"interval": "week"},
        {"interval": "Hour"},
        {"interval": ""},
    ):
        refused(await get(server, path, **bounds), 400, "bad_query")


@pytest.mark.parametrize("path", ["/v1/metrics", f"/v1/metrics/{BASIN}", f"/v1/metrics/{BASIN}/{QUOTED}"])
async def test_a_set_is_wanted_and_must_be_known(server: Running, path: str) -> None:
    assert "`set` is missing" in refused(await get(server, path), 400, "bad_query")
    for unknown in ("", "no-such-set", "Storage"):
        refused(await get(server, f"{path}?set={unknown}"), 400, "bad_query")


async def test_a_set_of_another_level_is_unknown(server: Running) -> None:
    refused(await get(server, "/v1/metrics?set=storage"), 400, "bad_query")
    refused(await get(server, f"/v1/metrics/{BASIN}?set=account-ops"), 400, "bad_query")
    refused(await get(server, f"/v1/metrics/{BASIN}/{QUOTED}?set=append-ops"), 400, "bad_query")


async def test_storage_has_one_interval(server: Running) -> None:
    for path, only in (
        (f"/v1/metrics/{BASIN}", TimeseriesInterval.HOUR),
        (f"/v1/metrics/{BASIN}/{QUOTED}", TimeseriesInterval.MINUTE),
    ):
        for interval in TimeseriesInterval:
            answer = await get(server, f"{path}?set=storage", interval=interval)
            if interval is only:
                assert answer.status_code == 200
            else:
                refused(answer, 422, "invalid")


@pytest.mark.parametrize("interval", list(TimeseriesInterval))
async def test_other_sets_have_all(server: Running, interval: TimeseriesInterval) -> None:
    for path, each in PATHS.items():
        if each.value == "storage":
            continue
        for metric in await values(server, path, interval=interval):
            if "accumulation" in metric:
                assert metric["accumulation"]["interval"] == interval.value


async def test_what_is_not_there_is_404(server: Running) -> None:
    refused(await get(server, "/v1/metrics/no-such-basin?set=storage"), 404, "basin_not_found")
    refused(await get(server, "/v1/metrics/no-such-basin/s?set=storage"), 404, "basin_not_found")
    refused(await get(server, f"/v1/metrics/{BASIN}/none?set=storage"), 404, "stream_not_found")
    refused(await get(server, "/v1/metrics/X?set=storage"), 400, "bad_path")
    assert (await server.http.post("/v1/metrics")).status_code == 405


async def total(server: Running, path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for metric in await values(server, path, start=now() - 7200, end=now() + 60):
        series = metric["accumulation"]["values"]
        assert isinstance(series, list)
        found[str(metric["accumulation"]["name"])] = sum(value for _, value in series)
    return found


async def test_what_is_done_over_http_is_counted(server: Running, basin: httpx.AsyncClient) -> None:
    await basin.get(f"/v1/streams/{QUOTED}/records?seq_num=0")
    await basin.get(f"/v1/streams/{QUOTED}/records/tail")
    await basin.get(f"/v1/streams/{QUOTED}/records?seq_num=0&count=1", headers={"accept": "text/event-stream"})
    for _ in range(3):
        await server.http.get("/health")
        await server.http.get("/v1/locations")
    assert await total(server, f"/v1/metrics/{BASIN}?set=append-ops") == {"unary": 1, "session": 0}
    assert await total(server, f"/v1/metrics/{BASIN}?set=append-throughput") == {"append-throughput": 13}
    assert await total(server, f"/v1/metrics/{BASIN}?set=read-ops") == {"unary": 1, "session": 1}
    assert await total(server, f"/v1/metrics/{BASIN}?set=read-throughput") == {"read-throughput": 26}
    operations = await total(server, f"/v1/metrics/{BASIN}?set=basin-ops")
    assert operations == {"basin-metrics": 4, "check-tail": 1, "create-stream": 1}
    assert await total(server, "/v1/metrics?set=account-ops") == {"create-basin": 1, "list-locations": 3}
    (gauge,) = await values(server, f"/v1/metrics/{BASIN}/{QUOTED}?set=storage", end=now() + 60)
    level = gauge["gauge"]["values"]
    assert isinstance(level, list)
    assert level[-1][1] == 13
    assert await values(server, "/v1/metrics?set=active-basins") == [
        {"label": {"name": "active-basins", "values": [BASIN]}}
    ]


async def test_counts_survive_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        async with running(tmp_path / "kept") as server:
            await server.store.ensure_basin(BASIN)
            await server.store.ensure_stream(BASIN, "s")
            async with server.in_basin() as basin:
                for _ in range(3):
                    await basin.post("/v1/streams/s/records", json={"records": [{"body": "hello"}]})
            found = await total(server, f"/v1/metrics/{BASIN}?set=append-ops")
    assert found == {"unary": 6, "session": 0}
