"""What holds for every route: health, routing, HTTP versions, CORS, compression, limits (checklist 123 to 130)."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
from collections.abc import Iterable

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import zstandard

from perdure.errors import StorageFailed
from perdure.model.limits import MAX_BODY_BYTES
from perdure.server.app import create_app
from perdure.server.context import ServerSettings
from perdure.server.limits import ServerLimits
from perdure.server.serving import listen
from tests.server.running import BASIN, Running, Serve

PAGE_URL = "https://page.example"


async def test_health_needs_no_header(server: Running) -> None:
    for path in ("/health", "/ping"):
        answer = await server.http.get(path)
        assert (answer.status_code, answer.text) == (200, "OK")
        assert answer.headers["content-type"].startswith("text/plain")
        assert (await server.http.head(path)).status_code == 200


async def test_health_tells_of_a_closed_store(server: Running) -> None:
    await server.engine.aclose()
    answer = await server.http.get("/health")
    assert answer.status_code == 503
    assert answer.text.startswith("the store does not answer")


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v1/basins/", "/v1/streams/s/records/", "//v1/basins"]
)
async def test_an_unknown_path_is_not_found(server: Running, path: str) -> None:
    answer = await server.http.send(server.http.build_request("GET", f"{server.url}{path}"))
    assert (answer.status_code, answer.content) == (404, b"")
    assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/basins", "GET,POST"),
        ("POST", "/v1/basins/some-basin", "DELETE,GET,PATCH,PUT"),
        ("DELETE", "/v1/streams", "GET,POST"),
        ("POST", "/v1/streams/s/records/tail", "GET"),
        ("POST", "/v1/locations/default", "GET,PUT"),
        ("POST", "/health", "GET,HEAD"),
    ],
)
async def test_a_known_path_names_its_methods(server: Running, method: str, path: str, allow: str) -> None:
    answer = await server.http.request(method, path)
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (405, b"", allow)


@pytest.mark.parametrize("authorization", ["Bearer anything", "Basic x", "", "x" * 1000])
async def test_without_access_control_the_token_is_ignored(server: Running, authorization: str) -> None:
    assert (await server.http.get("/v1/basins", headers={"authorization": authorization})).status_code == 200


async def test_locations_are_one(serve: Serve) -> None:
    async with serve(location="eu:here-1") as server:
        here = {"name": "eu:here-1", "is_private": True}
        assert (await server.http.get("/v1/locations")).json() == [here]
        assert (await server.http.get("/v1/locations/default")).json() == here
        assert (await server.http.put("/v1/locations/default", json="eu:here-1")).json() == here
        for name, status, code in (
            ("aws:us-east-1", 422, "invalid"),
            ("no spaces", 400, "bad_json"),
            (7, 400, "bad_json"),
        ):
            answer = await server.http.put("/v1/locations/default", json=name)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await server.http.put("/v1/locations/default")).json()["code"] == "bad_json"


async def test_every_view_of_a_basin_tells_its_location(serve: Serve) -> None:
    async with serve(location="eu:here-1") as server:
        made = await server.http.post("/v1/basins", json={"basin": "made-basin"})
        ensured = await server.http.put("/v1/basins/ensured-basin")
        again = await server.http.put("/v1/basins/ensured-basin")
        await server.http.delete("/v1/basins/made-basin")
        # The deleted basin is listed until it is swept, which may have happened by now.
        listed = (await server.http.get("/v1/basins")).json()["basins"]
        infos = [made.json(), ensured.json(), again.json(), *listed]
        assert "ensured-basin" in [info["name"] for info in listed]
        assert {info["location"] for info in infos} == {"eu:here-1"}


# HTTP/2 ---------------------------------------------------------------------------------------------


async def exchange_http2(port: int, fields: Iterable[tuple[str, str]]) -> tuple[dict[str, str], bytes]:
    """One request in HTTP/2 with prior knowledge: the head and the body of its answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    connection.send_headers(1, list(fields), end_stream=True)
    writer.write(connection.data_to_send())
    head: dict[str, str] = {}
    body = b""
    try:
        while True:
            data = await reader.read(65_536)
            assert data, "the connection was closed in the middle of an answer"
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    head = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, h2.events.DataReceived):
                    body += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    return head, body
            writer.write(connection.data_to_send())
    finally:
        writer.close()
        await writer.wait_closed()


async def test_http1_and_http2_share_the_port(server: Running) -> None:
    await server.store.create_basin(BASIN)
    await server.store.create_stream(BASIN, "s")
    request = [(":method", "GET"), (":scheme", "http"), (":path", "/v1/streams")]
    by_header = [*request, (":authority", f"127.0.0.1:{server.port}"), ("s2-basin", BASIN)]
    by_host = [*request, (":authority", f"{BASIN}.b.localhost:{server.port}")]
    over_http1 = await server.http.get("/v1/streams", headers={"s2-basin": BASIN})
    assert over_http1.http_version == "HTTP/1.1"
    for fields in (by_header, by_host):
        head, body = await exchange_http2(server.port, fields)
        assert (head[":status"], body) == ("200", over_http1.content)


# Cross-origin requests --------------------------------------------------------------------------------


async def test_any_page_may_ask(server: Running) -> None:
    for path, status in (("/health", 200), ("/v1/basins", 200), ("/v1/streams", 400), ("/nothing", 404)):
        answer = await server.http.get(path, headers={"origin": PAGE_URL})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == PAGE_URL
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "origin" in answer.headers["vary"]
    assert "access-control-allow-origin" not in (await server.http.get("/health")).headers


@pytest.mark.parametrize("path", ["/v1/basins", "/v1/streams/s/records", "/health", "/nothing"])
async def test_a_preflight_allows_what_it_asks_for(server: Running, path: str) -> None:
    fields = {
        "origin": PAGE_URL,
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization,s2-basin",
    }
    answer = await server.http.options(path, headers=fields)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE_URL
    assert answer.headers["access-control-allow-methods"] == "PATCH"
    assert answer.headers["access-control-allow-headers"] == "authorization,s2-basin"
    assert (await server.http.options(path)).status_code == 200


async def test_cross_origin_requests_can_be_turned_off(serve: Serve) -> None:
    async with serve(ServerSettings(cors=False)) as server:
        answer = await server.http.get("/health", headers={"origin": PAGE_URL})
        assert "access-control-allow-origin" not in answer.headers
        assert (await server.http.options("/health", headers={"origin": PAGE_URL})).status_code == 405


# Compression ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accepted", "coding"), [("gzip", "gzip"), ("gzip, zstd", "zstd"), ("br", None), ("", None)])
async def test_long_answers_are_compressed(server: Running, accepted: str, coding: str | None) -> None:
    for number in range(20):
        await server.store.create_basin(f"basin-number-{number}")
    plain = (await server.http.get("/v1/basins")).content
    assert len(plain) >= 1024
    async with server.http.stream("GET", "/v1/basins", headers={"accept-encoding": accepted}) as answer:
        packed = b"".join([part async for part in answer.aiter_raw()])
        assert answer.headers.get("content-encoding") == coding
        assert answer.headers.get("vary") == (None if coding is None else "accept-encoding")
    if coding == "gzip":
        packed = gzip.decompress(packed)
    elif coding == "zstd":
        packed = zstandard.ZstdDecompressor().decompress(packed)
    assert packed == plain


async def test_short_answers_are_not_compressed(server: Running) -> None:
    answer = await server.http.get("/v1/basins", headers={"accept-encoding": "gzip, zstd"})
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_bodies_may_be_compressed(server: Running, coding: str) -> None:
    body = b'{"basin":"packed-basin"}'
    packed = gzip.compress(body) if coding == "gzip" else zstandard.ZstdCompressor().compress(body)
    fields = {"content-type": "application/json", "content-encoding": coding}
    assert (await server.http.post("/v1/basins", content=packed, headers=fields)).status_code == 201
    damaged = await server.http.post("/v1/basins", content=packed[:-6], headers=fields)
    assert (damaged.status_code, damaged.json()["code"]) == (400, "bad_json")


async def test_another_coding_is_not_supported(server: Running) -> None:
    fields = {"content-type": "application/json", "content-encoding": "br"}
    answer = await server.http.post("/v1/basins", content=b"{}", headers=fields)
    assert (answer.status_code, answer.content) == (415, b"")


# Bounds -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_may_not_be_larger_than_the_limit(server: Running, packed: bool) -> None:
    body = b'{"basin":"first-basin","x":"' + b"x" * MAX_BODY_BYTES + b'"}'
    fields = {"content-type": "application/json"} | ({"content-encoding": "gzip"} if packed else {})
    answer = await server.http.post("/v1/basins", content=gzip.compress(body) if packed else body, headers=fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


async def test_header_fields_may_not_be_larger_than_the_limit(serve: Serve) -> None:
    async with serve(ServerSettings(limits=ServerLimits(max_header_bytes=8192))) as server:
        assert (await server.http.get("/v1/basins", headers={"x-fill": "x" * 7000})).status_code == 200
        for answer in (
            await server.http.get("/v1/basins", headers={"x-fill": "x" * 8192}),
            await server.http.get(f"/v1/basins?x={'x' * 8192}"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_header")


async def test_a_body_that_does_not_come_is_not_waited_for(serve: Serve) -> None:
    async with serve(ServerSettings(limits=ServerLimits(body_timeout_secs=0.05))) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /v1/basins HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{"
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 ")
        writer.close()
        await writer.wait_closed()


BROKEN_BODIES = {
    "cut off": b"content-length: 100\r\n\r\n{",
    "cut off between chunks": b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    "no chunk": b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "no chunk after one": b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n",
}


@pytest.mark.parametrize("body", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
async def test_a_body_that_breaks_off_is_the_clients_mistake(server: Running, body: bytes) -> None:
    """It was a 500: the server underneath answers so when the application answers nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"POST /v1/basins HTTP/1.1\r\nhost: h\r\ncontent-type: application/json\r\n" + body)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b'"code":"bad_json","message":"the body broke off after ' in answer


async def test_a_failure_inside_is_logged_and_not_told(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        """What a handler gets when the disk fails under it."""

        async def list_basins(self, **page: object) -> None:
            raise StorageFailed("cannot read /secret/place")

    answer = await _answer_over(Broken(), caplog)
    assert answer == (500, b'{"code":"storage","message":"the storage failed"}')
    assert "/secret/place" in caplog.text
    assert "Traceback" not in caplog.text, "a full disk fails every append, and a trace of each would not help"


async def _answer_over(store: object, caplog: pytest.LogCaptureFixture) -> tuple[int, bytes]:
    """The application alone: nothing between it and the failing store."""
    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b""}

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "path": "/v1/basins",
        "raw_path": b"/v1/basins",
        "query_string": b"",
        "headers": [],
    }
    with caplog.at_level(logging.ERROR, "perdure.server"):
        await create_app(store)(scope, receive, send)  # type: ignore[arg-type]  # the one call it gets is there
    status, body = sent[0]["status"], sent[1]["body"]
    assert isinstance(status, int)
    assert isinstance(body, bytes)
    return status, body


async def test_the_description_of_the_api_is_served(server: Running) -> None:
    answer = await server.http.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.json()["openapi"].startswith("3.1")


async def test_requests_on_one_connection_follow_each_other(server: Running) -> None:
    """An answer that comes before its request's body was read must not leave that body to the next request."""
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=server.url, limits=limits) as client:
        for _ in range(3):
            refused = await client.put("/v1/basins", content=b"GET / HTTP/1.1\r\n" * 100)
            assert refused.status_code == 405
            assert (await client.get("/health")).text == "OK"


def test_no_write_waits_for_the_acknowledgement_of_the_one_before() -> None:
    """Otherwise what follows a session's head right away comes up to 40 ms late."""
    with listen("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        listener.setblocking(True)
        connection, _ = listener.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
